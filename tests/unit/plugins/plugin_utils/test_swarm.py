"""Who takes part in the swarm, on which addresses and with how many lanes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._swarm import CONTROLLER, SwarmError, arrange, lane_count, summary
from hypothesis import given
from hypothesis import strategies as st

GIB = 2**30
HOSTS = ["node1", "node2", "node3", "node4"]
RAILS = ["xgbe0", "xgbe1"]
PLAN = {
    "hosts": [{"name": host, "swarm_interfaces": RAILS} for host in HOSTS],
    "swarm": {"member_port": 6900, "source_port": 6916, "most_lanes": 16},
}
REACHED = {host: f"10.0.0.{number}" for number, host in enumerate(HOSTS, 11)}


def facts(number: int, **other: Any) -> dict[str, Any]:
    addresses = {rail: f"192.168.{plane}.{number}" for plane, rail in enumerate(RAILS)}
    return {
        "addresses": addresses,
        "megabits": dict.fromkeys(RAILS, 100_000),
        "login": {"client": "10.0.0.1", "server": f"10.0.0.{number}"},
        "cores": 128,
        **other,
    }


TOLD = {host: facts(number) for number, host in enumerate(HOSTS, 11)}


def manifest(files: int, size: int) -> dict[str, Any]:
    return {"bytes": files * size, "files": {str(number): {"size": size} for number in range(files)} | {"empty": {"size": 0}}}


WEIGHTS = manifest(163, 4 * GIB)


@pytest.mark.parametrize(
    ("told", "weights", "wanted", "lanes"),
    [
        (TOLD, WEIGHTS, 0, 16),
        ({**TOLD, "node2": facts(12, cores=24)}, WEIGHTS, 0, 6),
        ({**TOLD, "node2": facts(12, cores=2)}, WEIGHTS, 0, 1),
        (TOLD, manifest(5, 4 * GIB), 0, 5),
        (TOLD, manifest(32, GIB // 8), 0, 4),
        (TOLD, manifest(30, 1000), 0, 1),
        ({**TOLD, "node2": facts(12, cores=2)}, WEIGHTS, 12, 12),
        (TOLD, WEIGHTS, 40, 16),
        (TOLD, manifest(2, 1000), 12, 2),
        (TOLD, manifest(0, 0), 12, 1),
    ],
    ids=[
        "many cores",
        "the smallest host counts",
        "a small machine",
        "few files",
        "little to carry",
        "next to nothing",
        "the operator says it",
        "the ports say it",
        "no lane without a file",
        "nothing at all",
    ],
)
def test_lanes_are_what_the_smallest_host_carries_and_the_weights_are_worth(told, weights, wanted, lanes):
    assert lane_count(told, weights, wanted, 16) == lanes


def test_a_lane_takes_the_same_rail_on_every_host_and_a_port_of_its_own():
    members = arrange(PLAN, TOLD, REACHED, [CONTROLLER], 3)["members"]
    first = {host: [lane["listen"][0] for lane in lanes] for host, lanes in members.items()}
    assert first["node2"] == ["192.168.0.12:6900", "192.168.1.12:6901", "192.168.0.12:6902"]
    assert [lane["peers"] for lane in members["node1"]][1] == ["192.168.1.12:6901", "192.168.1.13:6901", "192.168.1.14:6901"]


def test_a_host_listens_where_the_controller_reaches_it_and_lets_nobody_else_in():
    lane = arrange(PLAN, TOLD, REACHED, [CONTROLLER], 1)["members"]["node1"][0]
    assert lane["listen"] == ["192.168.0.11:6900", "10.0.0.11:6900"]
    hosts = {f"{network}.{number}" for network in ("192.168.0", "192.168.1", "10.0.0") for number in range(11, 15)}
    assert set(lane["allow"]) == {*hosts, "10.0.0.1"}  # whichever of its addresses a host's routes let it speak from


def test_the_controller_dials_and_is_dialled_by_nobody():
    found = arrange(PLAN, TOLD, REACHED, [CONTROLLER], 2)
    assert found["sources"][CONTROLLER][1] == {
        "listen": [],
        "peers": ["10.0.0.11:6901", "10.0.0.12:6901", "10.0.0.13:6901", "10.0.0.14:6901"],
        "allow": ["10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"],
    }
    assert not any("10.0.0.1:" in peer for lanes in found["members"].values() for lane in lanes for peer in lane["peers"])


def test_a_host_that_is_a_source_serves_all_of_them_beside_its_own_part():
    found = arrange(PLAN, TOLD, REACHED, ["node3", CONTROLLER], 2)
    lane = found["sources"]["node3"][1]
    assert lane["listen"] == ["192.168.1.13:6917"]
    assert "192.168.1.13:6901" in lane["peers"]
    assert len(lane["peers"]) == 4
    assert set(found["sources"]) == {"node3", CONTROLLER}


def test_a_host_on_the_controllers_own_machine_is_reached_without_ssh():
    told = {**TOLD, "node1": facts(11, login=None)}
    lane = arrange(PLAN, told, REACHED, [CONTROLLER], 1)["members"]["node1"][0]
    assert (lane["listen"], lane["allow"][-1]) == (["192.168.0.11:6900", "10.0.0.11:6900"], "127.0.0.1")


def test_one_address_for_both_is_bound_once():
    told = {host: facts(number, addresses=dict.fromkeys(RAILS, f"10.0.0.{number}")) for number, host in enumerate(HOSTS, 11)}
    assert arrange(PLAN, told, REACHED, [CONTROLLER], 1)["members"]["node1"][0]["listen"] == ["10.0.0.11:6900"]


def test_a_rail_without_an_address_is_one_line_with_host_and_remedy():
    told = {**TOLD, "node3": facts(13, addresses={"xgbe0": "192.168.0.13"})}
    assert arrange(PLAN, told, REACHED, [CONTROLLER], 1)
    with pytest.raises(SwarmError) as refused:
        arrange(PLAN, told, REACHED, [CONTROLLER], 2)
    assert str(refused.value) == (
        "node3: network for the weights: no IPv4 address on xgbe1; expected one on each of xgbe0, xgbe1; "
        "run rdma.yml, which prepares the rails, or set weights_interfaces to those that have one"
    )


def test_a_source_that_takes_no_part_is_one_line():
    told = {host: TOLD[host] for host in HOSTS[:2]}
    with pytest.raises(
        SwarmError, match=r"^node3: source of the weights: not among the hosts of this run; expected node1, node2; name one"
    ):
        arrange(PLAN, told, REACHED, ["node3"], 1)


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_order_in_which_hosts_answered_changes_nobodys_part(chance: random.Random, lanes: int):
    shuffled = list(TOLD.items())
    chance.shuffle(shuffled)

    def parts(told: dict[str, Any]) -> dict[str, Any]:
        members = arrange(PLAN, told, REACHED, [CONTROLLER], lanes)["members"]
        return {
            host: [{"listen": lane["listen"], "peers": set(lane["peers"]), "allow": set(lane["allow"])} for lane in own]
            for host, own in members.items()
        }

    assert parts(dict(shuffled)) == parts(TOLD)


@given(st.sets(st.sampled_from(HOSTS), min_size=1), st.integers(1, 16))
def test_whoever_is_a_peer_listens_there_and_lets_one_in(present: set[str], lanes: int):
    told = {host: TOLD[host] for host in HOSTS if host in present}
    members = arrange(PLAN, told, REACHED, [CONTROLLER], lanes)["members"]
    listening = {address: lane for own in members.values() for lane in own for address in lane["listen"]}
    for own in members.values():
        for lane in own:
            for peer in lane["peers"]:
                assert lane["listen"][0].rpartition(":")[0] in listening[peer]["allow"]
    ports = [address for own in members.values() for lane in own for address in lane["listen"]]
    assert len(ports) == len(set(ports))


def test_the_summary_holds_it_against_the_slowest_hosts_links():
    told = {"node1": facts(11), "node2": facts(12, megabits={"xgbe0": 25_000})}
    received = {host: {"seconds": 40.0, "bytes": 100_000_000_000} for host in told}
    assert summary(told, received, 110_000_000_000, 100_000_000_000) == (
        "2 hosts in 40 s, at most 100 GB each; the source sent 1.10 copies; "
        "at 25 Gbit/s one copy takes 32.0 s, so this took 1.25 times as long"
    )
    assert summary(told, {}, 0, 1) == "nothing had to be sent"
    assert "Gbit/s" not in summary({**told, "node1": facts(11, megabits={})}, received, 1, 1)
