"""What preflight says of a host that is wired otherwise than it was recorded, or than the vendor's tool sees it."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _preflight_topology as checks
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import Fault, Needs, Severity, View
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring_record import record_of

SWITCH = ["pci0000:10", "0000:10:01.0", "0000:11:00.0"]
ACCELERATOR = {
    "devices": [
        {"pci": "0000:13:00.0", "index": 0, "minor": 0, "numa_node": 0, "path": [*SWITCH, "0000:12:00.0", "0000:13:00.0"]},
        {"pci": "0000:73:00.0", "index": 1, "minor": 1, "numa_node": 1, "path": ["pci0000:70", "0000:70:01.0", "0000:73:00.0"]},
    ],
    "topology": {
        "names": ["XPU0", "XPU1", "NIC0"],
        "distances": {"XPU0": {"XPU0": "X", "XPU1": "XL", "NIC0": "PIX"}, "XPU1": {"XPU0": "XL", "XPU1": "X", "NIC0": "SYS"}},
        "legend": {"NIC0": "mlx5_3"},
    },
}
NETWORK = {
    "interfaces": {
        "eth1": {
            "kind": "physical",
            "mac": "0c:42:a1:00:00:01",
            "master": None,
            "addresses": [{"address": "10.1.1.11", "prefix_length": 24}],
            "numa_node": 0,
            "path": [*SWITCH, "0000:12:02.0", "0000:19:00.0"],
            "rdma": "mlx5_3",
        }
    }
}
PLAN = {"topology": {"applies": True, "named": ["eth0"]}}
RECORD = {"node1": record_of(ACCELERATOR, NETWORK, ["eth0"])}


def said(look, **changes):
    given = {"accelerator": ACCELERATOR, "wiring": RECORD, "plan": PLAN, **changes}
    return list(look(View(given["plan"], {"name": "node1"}, {}, Needs(wiring=given["wiring"]), NETWORK, given["accelerator"])))


@pytest.mark.parametrize("look", [checks._wiring, checks._tools_topology])
def test_a_host_that_is_wired_as_recorded_is_fine(look):
    assert said(look) == []


@pytest.mark.parametrize("look", [checks._wiring, checks._tools_topology])
def test_where_there_is_no_accelerator_nothing_is_claimed(look):
    (one,) = said(look, accelerator=None, plan={"topology": {"applies": False}})
    assert not isinstance(one, Fault)


def test_another_wiring_is_told_with_both():
    changed = copy.deepcopy(ACCELERATOR)
    changed["devices"][0]["index"], changed["devices"][1]["index"] = 1, 0
    faults = said(checks._wiring, accelerator=changed)
    assert [(one.about, one.observed, one.expected) for one in faults] == [
        ("device 0000:13:00.0: index", "1", "0, as recorded"),
        ("device 0000:73:00.0: index", "0", "1, as recorded"),
    ]
    assert all("topology_accept" in one.remedy and one.stage is None for one in faults)


def test_a_host_that_was_never_recorded_is_to_be_recorded():
    (one,) = said(checks._wiring, wiring={})
    assert (one.observed, one.stage) == ("not recorded", "host")


def test_a_tool_that_sees_it_otherwise_is_told():
    changed = copy.deepcopy(ACCELERATOR)
    changed["topology"]["distances"]["XPU1"]["NIC0"] = "PIX"
    (one,) = said(checks._tools_topology, accelerator=changed)
    assert (one.observed, one.severity) == ("XPU1 and NIC0 PIX instead of SYS", Severity.WARNING)


@pytest.mark.parametrize("topology", [None, {"names": ["XPU0", "NIC0"], "distances": {"XPU0": {"NIC0": "??"}}, "legend": {}}])
def test_a_tool_that_tells_nothing_that_can_be_compared_passes_nothing(topology):
    (one,) = said(checks._tools_topology, accelerator={**ACCELERATOR, "topology": topology})
    assert not isinstance(one, Fault)
