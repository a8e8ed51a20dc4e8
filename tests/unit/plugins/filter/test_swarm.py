"""The swarm as the role asks for it."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.filter.swarm import FilterModule
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._rsync_tree import lacks

swarm = FilterModule().filters()["swarm"]
swarm_summary = FilterModule().filters()["swarm_summary"]
PLAN = {
    "hosts": [{"name": host, "swarm_interfaces": ["eth0"]} for host in ("node1", "node2", "node3")],
    "swarm": {"member_port": 6900, "source_port": 6916, "most_lanes": 16},
}
MANIFEST = {"bytes": 2**32, "files": {name: {"size": 2**31} for name in ("a", "b")}}


def held(number, absent=(), elsewhere=(), wrong=()):
    told = {"addresses": {"eth0": f"192.0.2.{number}"}, "megabits": {}, "login": None, "cores": 64}
    return {"absent": list(absent), "elsewhere": list(elsewhere), "wrong": list(wrong), "swarm": told}


HELD = {"node1": held(1), "node2": held(2, absent=["a", "b"], elsewhere=["a", "b"]), "node3": held(3, absent=["a"])}
REACHED = {"node1": "198.51.100.1", "node2": "198.51.100.2", "node3": "198.51.100.3"}


def test_all_hosts_take_part_and_only_some_receive():
    found = swarm(PLAN, HELD, REACHED, MANIFEST)
    assert (found["lanes"], sorted(found["members"])) == (2, ["node1", "node2", "node3"])
    assert [host for host, one in HELD.items() if lacks(one)] == ["node3"]
    assert [host for host, one in {**HELD, "node1": held(1, wrong=["b"])}.items() if lacks(one)] == ["node1", "node3"]


def test_lanes_may_come_as_text_as_they_do_from_a_template():
    assert swarm(PLAN, HELD, REACHED, MANIFEST, lanes="1")["lanes"] == 1


def test_a_host_without_an_address_of_its_own_is_reached_by_its_name():
    found = swarm(PLAN, {"node1": held(1)}, {"node1": "localhost"}, MANIFEST)
    assert found["sources"]["localhost"][0]["peers"] == ["127.0.0.1:6900"]


def test_what_cannot_be_arranged_is_a_finding():
    broken = {**HELD, "node3": {**held(3), "swarm": {**held(3)["swarm"], "addresses": {}}}}
    with pytest.raises(AnsibleFilterError, match="node3: network for the weights: no IPv4 address on eth0"):
        swarm(PLAN, broken, REACHED, MANIFEST)


def test_a_name_that_resolves_to_nothing_is_said():
    with pytest.raises(AnsibleFilterError, match=r"an address of no\.such\.host\.invalid cannot be resolved"):
        swarm(PLAN, {"node1": held(1)}, {"node1": "no.such.host.invalid"}, MANIFEST)


def test_the_summary_leaves_out_who_received_nothing():
    received = {"node1": {"skipped": True}, "node2": None, "node3": {"seconds": 3.0, "bytes": 2**31}}
    assert swarm_summary(HELD, received, 2**32, 2**32).startswith("1 hosts in 3 s, at most 2.15 GB each; the source sent 1.00 copies")
