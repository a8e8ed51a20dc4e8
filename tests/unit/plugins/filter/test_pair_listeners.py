"""The options with which a host listens."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.filter.pair_listeners import FilterModule

PLAN = {
    "control_interface": "eth0",
    "head": {"name": "a"},
    "ports": {"api": 8000, "container_ssh": 2222},
    "hosts": [{"name": name, "address": f"10.0.0.{k}", "nics": ["eth1", "eth1"]} for k, name in enumerate("abc", 1)],
}
pair_listeners = FilterModule().filters()["pair_listeners"]


def test_a_host_listens_at_its_own_ports_for_those_that_take_part():
    options = pair_listeners(PLAN, "b", ["a", "b"])
    assert (options["interfaces"], options["address"], options["awaited"]) == (["eth0", "eth1"], "10.0.0.2", ["a"])
    assert 2222 in options["ports"]
    assert 8000 not in options["ports"]
    assert 8000 in pair_listeners(PLAN, "a", ["a", "b"])["ports"]


def test_with_tests_of_bandwidth_it_listens_until_all_of_them_can_be_done():
    names = ["a", "b", "c"]
    short, long = (pair_listeners(PLAN, "b", names, ["eth1", "eth2"], 8, seconds)["seconds"] for seconds in (0, 3))
    assert long - short >= 2 * 3 * 2 * 3  # three hosts play six rounds on two rails


def test_a_stranger_is_refused():
    with pytest.raises(AnsibleFilterError, match="pair_listeners: x is not in the plan, which has a, b, c"):
        pair_listeners(PLAN, "x", ["a"])
