"""Weights by doubling: who gives to whom."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._rsync_tree import arrange, rounds
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._swarm import SwarmError
from hypothesis import given
from hypothesis import strategies as st

HOSTS = [f"host{number}" for number in range(1, 6)]
PLAN = {"hosts": [{"name": name, "swarm_interfaces": ["xgbe0", "xgbe1"]} for name in HOSTS], "swarm": {"member_port": 6900}}


def held(absent=(), elsewhere=(), wrong=(), address="192.0.2.1"):
    addresses = {"xgbe0": address} if address else {}
    return {"absent": list(absent), "elsewhere": list(elsewhere), "wrong": list(wrong), "swarm": {"addresses": addresses}}


def all_held(**own):
    """Hosts that lack a file, and those given as they are."""
    return {name: own.get(name) or held(["a"], address=f"192.0.2.1{number}") for number, name in enumerate(HOSTS, 1)}


def pairs(arranged):
    """The rounds as lists of (giver, taker); the controller is the empty one."""
    return [
        [("", taker) for taker in one["sends"]] + [(entry["giver"], taker) for taker, entry in one["pulls"].items()] for one in arranged
    ]


@given(st.integers(1, 70), st.integers(0, 300))
def test_everybody_takes_once_from_somebody_who_has_everything_in_as_few_rounds_as_can_be(holding, lacking):
    holders, takers = [f"has{number}" for number in range(holding)], [f"lacks{number}" for number in range(lacking)]
    made = rounds(holders, takers)
    whole = set(holders)
    for one in made:
        givers, taking = [giver for giver, _taker in one], [taker for _giver, taker in one]
        assert set(givers) <= whole
        assert len(givers) == len(set(givers))
        assert not set(taking) & whole
        assert len(taking) == len(set(taking))
        whole |= set(taking)
    assert whole == {*holders, *takers}
    # Who has everything can at most double in a round.
    assert not made or holding << len(made) - 1 < holding + lacking <= holding << len(made)
    assert made == rounds(holders, takers)


@pytest.mark.parametrize(("hosts", "count"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (64, 7)])
def test_from_the_controller_alone(hosts, count):
    assert len(rounds([""], [str(number) for number in range(hosts)])) == count


def test_where_nobody_has_anything_it_says_so():
    assert rounds([], []) == []
    with pytest.raises(ValueError, match="nobody has what a lack"):
        rounds([], ["a"])


def test_hosts_that_have_everything_give_from_the_first_round_and_those_that_found_it_elsewhere_are_some():
    one, *rest = pairs(arrange(PLAN, all_held(host4=held(), host2=held(["a"], elsewhere=["a"]))))
    assert one == [("", "host1"), ("host2", "host3"), ("host4", "host5")]
    assert rest == []
    assert pairs(arrange(PLAN, all_held(host1=held(wrong=["a"]))))[0] == [("", "host1")]


def test_hosts_are_served_in_the_plans_order_and_reach_each_other_by_their_first_interface():
    backwards = dict(reversed(all_held().items()))
    second = arrange(PLAN, backwards)[1]
    assert second == {
        "sends": ["host2"],
        "serves": {"host1": {"address": "192.0.2.11", "port": 6900, "allow": ["192.0.2.13"]}},
        "pulls": {"host3": {"giver": "host1", "address": "192.0.2.11", "port": 6900, "own_address": "192.0.2.13"}},
    }


def test_asked_again_after_a_round_it_goes_on_with_those_that_are_left():
    _first, second, third = pairs(arrange(PLAN, all_held()))
    assert pairs(arrange(PLAN, all_held(), took=["host1"])) == [second, third]
    # host1 failed: the others take as long as if it had never been there
    left = {name: one for name, one in all_held().items() if name != "host1"}
    assert pairs(arrange(PLAN, left)) == [[("", "host2")], [("", "host3"), ("host2", "host4")], [("", "host5")]]
    # a host that cannot give costs the others a giver and nothing else
    assert pairs(arrange(PLAN, all_held(), took=["host1"], silent=["host1"]))[0] == [("", "host2")]
    assert arrange(PLAN, all_held(), took=HOSTS) == []


def test_a_host_without_an_address_is_refused_unless_only_the_controller_reaches_it():
    assert pairs(arrange(PLAN, {"host1": held(["a"], address="")})) == [[("", "host1")]]
    with pytest.raises(SwarmError, match="host3: network for the weights: no IPv4 address on xgbe0; expected one on each of xgbe0, xgbe1;"):
        arrange(PLAN, all_held(host3=held(["a"], address="")))
