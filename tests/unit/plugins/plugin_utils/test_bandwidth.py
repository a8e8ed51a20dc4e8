"""Who tests the bandwidth to whom, and which pairs are outliers."""

from __future__ import annotations

import itertools
import math

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _bandwidth as bandwidth
from hypothesis import given
from hypothesis import strategies as st

NAMES = [f"node{k}" for k in (1, 2, 3, 4)]
PAIRS = list(itertools.permutations(NAMES, 2))
PLAN = {
    "control_interface": "eth0",
    "head": {"name": "node1"},
    "ports": {},
    "hosts": [{"name": name, "address": f"10.0.0.{k}", "nics": ["eth1", "eth2"]} for k, name in enumerate(NAMES, 1)],
}


def port(address, state="ACTIVE", kind="RoCE v2"):
    return {
        "state": state,
        "rate_gbps": 200.0,
        "gids": [{"index": 1, "type": "IB/RoCE v1", "ipv4": address}, {"index": 3, "type": kind, "ipv4": address}],
        "counters": {"port_xmit_discards": 5},
    }


def told_by(rdma=False, tools=("iperf3", "ib_write_bw")):
    found = {}
    for k, name in enumerate(NAMES, 1):
        interfaces = {
            f"eth{rail}": {
                "state": "up",
                "carrier": True,
                "mtu": 9000,
                "addresses": [{"address": f"10.0.{rail}.{k}", "prefix_length": 24, "scope": "global"}],
                "sysctls": {"arp_ignore": 0, "rp_filter": 0},
                "rdma": f"mlx5_{rail}" if rdma and rail else None,
                "counters": {"rx_errors": 0, "tx_errors": 0, "rx_dropped": 0, "tx_dropped": 0},
            }
            for rail in (0, 1, 2)
        }
        devices = {f"mlx5_{rail}": {"ports": {"1": port(f"10.0.{rail}.{k}")}} for rail in (1, 2)} if rdma else {}
        found[name] = {
            "run": "r",
            "tools": list(tools),
            "listening": {f"eth{rail}": {"ports": {"4000": "listening"}, "nearby": {}, "any": 4000} for rail in (0, 1, 2)},
            "network": {"interfaces": interfaces, "rdma": devices, "routes": [], "rules": []},
        }
    return found


def answers(*dead):
    """Everybody answers everybody, but for some (asker, peer, rail)."""
    return {
        name: [
            {"peer": peer, "rail": rail, "ports": {"4000": "timeout" if (name, peer, rail) in dead else "ok"}}
            for peer in NAMES
            if peer != name
            for rail in ("eth0", "eth1", "eth2")
        ]
        for name in NAMES
    }


def made_tests(told, *dead, **request):
    return bandwidth.tests(PLAN, told, answers(*dead), bandwidth.Request(**request))


def measured(figures, tool="iperf3", rail="eth1", error=""):
    """What the hosts return; ``figures`` are those that differ from 10 Gbit/s."""
    found = {name: [] for name in NAMES}
    for pair in PAIRS:
        gbps = figures.get(pair, 10.0)
        found[pair[0]].append({"peer": pair[1], "rail": rail, "tool": tool, "gbps": gbps, "error": error if gbps is None else ""})
    return found


def lines(figures, told=None, after=None, tool="iperf3", error="", **request):
    told = told or told_by()
    after = after or {name: one["network"] for name, one in told.items()}
    found = bandwidth.judge(told, measured(figures, tool, error=error), after, bandwidth.Request(**request), ["eth1"])
    return [str(one.finding) for one in found]


def test_every_ordered_pair_is_tested_once_on_every_rail_and_not_on_the_control_interface():
    found = made_tests(told_by(), seconds=2)
    tested = [(name, one["peer"], one["rail"]) for name, all_of in found.items() for one in all_of]
    assert sorted(tested) == sorted((*pair, rail) for pair in PAIRS for rail in ("eth1", "eth2"))
    assert found["node1"][0] == {
        "peer": found["node1"][0]["peer"],
        "rail": "eth1",
        "tool": "iperf3",
        "source": "10.0.1.1",
        "destination": f"10.0.1.{found['node1'][0]['peer'][-1]}",
        "port": 4000,
        "own_port": 4000,
        "seconds": 2,
    }


def test_where_both_have_rdma_its_tool_measures():
    (first, *_rest) = made_tests(told_by(rdma=True))["node1"]
    assert (first["tool"], first["device"], first["device_port"], first["gid"]) == ("ib_write_bw", "mlx5_1", "1", 3)


@pytest.mark.parametrize("change", [{"state": "DOWN"}, {"kind": "IB/RoCE v1"}])
def test_without_an_active_port_for_roce_v2_tcp_is_measured(change):
    told = told_by(rdma=True)
    told["node2"]["network"]["rdma"]["mlx5_1"]["ports"]["1"] = port("10.0.1.2", **change)
    tools = {(name, one["peer"]): one["tool"] for name, all_of in made_tests(told).items() for one in all_of if one["rail"] == "eth1"}
    assert {pair for pair, tool in tools.items() if tool == "iperf3"} == {pair for pair in PAIRS if "node2" in pair}


def test_what_did_not_answer_is_not_tested():
    found = made_tests(told_by(), ("node1", "node2", "eth1"))
    assert ("node2", "eth1") not in [(one["peer"], one["rail"]) for one in found["node1"]]
    assert ("node1", "eth1") in [(one["peer"], one["rail"]) for one in found["node2"]]


def test_a_host_without_the_tool_is_named_and_the_others_are_tested():
    told = told_by()
    told["node3"]["tools"] = []
    assert {one["peer"] for one in made_tests(told)["node1"]} == {"node2", "node4"}
    (line,) = lines({}, told)
    assert line.startswith("node3: bandwidth: no iperf3; expected iperf3, or ib_write_bw for RDMA; install iperf3")


def test_equal_figures_are_no_finding():
    assert lines({}) == []


def test_one_slow_host_is_one_line():
    (line,) = lines({pair: 2.0 for pair in PAIRS if "node3" in pair})  # the median is 6
    assert line.startswith("node3: bandwidth eth1: 2.0 Gbit/s from and to node1, node2, node4; expected 4.2 Gbit/s or more;")


def test_one_slow_direction_names_its_two_hosts():
    (line,) = lines({("node1", "node4"): 6.9})
    assert line.startswith("node1, node4: bandwidth eth1: 6.9 Gbit/s from node1 to node4; expected 7.0 Gbit/s or more;")


def test_slow_pairs_without_a_common_host_are_one_line_the_slowest_first():
    (line,) = lines({("node1", "node4"): 6.0, ("node4", "node3"): 1.0, ("node2", "node1"): 3.0})
    assert "1.0 to 6.0 Gbit/s from node4 to node3, node2 to node1, node1 to node4; expected 7.0" in line
    (line,) = lines(
        {pair: 1.0 for pair in PAIRS if set(pair) in ({"node1", "node2"}, {"node3", "node4"}, {"node1", "node3"}, {"node2", "node4"})},
        gbps=10,
    )
    assert "and 2 more;" in line


def test_the_threshold_itself_is_enough():
    assert lines({("node1", "node4"): 7.0}) == []


@pytest.mark.parametrize("figure", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_figure_never_passes(figure):
    (line,) = lines({("node1", "node4"): figure}, error="unable to connect")
    assert line.startswith("node1, node4: bandwidth eth1: no test between node1 and node4 gives a figure (")


def test_no_figure_at_all_is_one_line():
    (line,) = lines(dict.fromkeys(PAIRS, None), error="no answer")
    assert line.startswith("node1, node2, node3, node4: bandwidth eth1: no test between any two hosts gives a figure (no answer);")


def test_rdma_is_held_to_the_rate_of_its_ports_even_if_all_are_slow():
    (line,) = lines(dict.fromkeys(PAIRS, 100.0), told_by(rdma=True), tool="ib_write_bw")
    assert "100.0 Gbit/s between any two hosts; expected 140.0 Gbit/s or more" in line
    assert lines(dict.fromkeys(PAIRS, 146.0), told_by(rdma=True), tool="ib_write_bw") == []  # a field report's 200G card


def test_what_the_operator_expects_comes_first():
    assert len(lines({}, gbps=20.0)) == 1
    assert lines({}, gbps=20.0, ratio=0.5) == []


def test_counters_that_grew_are_told_and_those_that_did_not_are_not():
    told, after = told_by(rdma=True), told_by(rdma=True)
    networks = {name: one["network"] for name, one in after.items()}
    assert lines({}, told, networks) == []
    networks["node2"]["rdma"]["mlx5_1"]["ports"]["1"]["counters"]["port_xmit_discards"] = 17
    networks["node2"]["interfaces"]["eth1"]["counters"]["rx_errors"] = 1
    networks["node2"]["interfaces"]["eth2"]["counters"]["rx_errors"] = 1  # not measured
    (line,) = lines({}, told, networks)
    assert line.startswith(
        "node2: bandwidth counters: grew under load: rx_errors of eth1 by 1, port_xmit_discards (port 1) of eth1 by 12; expected no loss"
    )


def test_the_table_has_senders_in_rows():
    figures = {("node1", "node2"): 1.25, ("node2", "node1"): None}
    assert bandwidth.table({"eth1": figures}, NAMES) == [
        "eth1: Gbit/s from row to column",
        "          node1   node2",
        "node1         -     1.2",
        "node2    failed       -",
    ]


@given(st.dictionaries(st.sampled_from(PAIRS), st.one_of(st.none(), st.floats(), st.floats(9, 11)), max_size=5))
def test_every_figure_below_the_threshold_is_found_whatever_the_others_are(figures):
    found = lines(figures, gbps=10.0)
    bad = {pair for pair, value in figures.items() if value is None or not math.isfinite(value) or value < 7.0}
    assert bool(found) == bool(bad)
    for pair in bad:
        assert any(name in line.split(":")[0] for line in found for name in pair)
