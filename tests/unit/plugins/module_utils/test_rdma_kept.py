"""Whether what the stage rdma set still holds, from a captured tree."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pci, _rdma_host, _rdma_kept, _rdma_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._rdma_knobs import setting

STATE = "/var/lib/cluster"
QOS = """Priority trust state: {trust}
PFC configuration:
        priority    0   1   2   3   4   5   6   7
        enabled     0   0   0   {third}   0   0   0   0
"""
SETTINGS = [
    setting("16777216", kind="file", path="/proc/sys/net/core/rmem_max"),
    setting(9000, kind="mtu", interface="eth1"),
    setting("dscp", kind="trust", interface="eth1"),
    setting("0,0,0,1,0,0,0,0", kind="pfc", interface="eth1"),
    setting(True, kind="rule", table="101", priority=32761, source="10.1.1.5"),
    setting([{"destination": "10.1.1.0/24", "gateway": None, "interface": "eth1", "source": "10.1.1.5"}], kind="table", table="101"),
]


def settled(captured, settings=None):
    captured.files(
        {
            f"{STATE}/rdma/batch.json": _rdma_state.rendered(SETTINGS if settings is None else settings, None),
            "/proc/sys/net/core/rmem_max": "16777216\n",
            "/sys/class/net/eth1/mtu": "9000\n",
        }
    )
    captured.link("/etc/systemd/system/multi-user.target.wants/flagos-kunlunxin-rdma.service", _rdma_state.UNIT_FILE)
    captured.answer("mlnx_qos -i eth1", QOS.format(trust="dscp", third=1))
    captured.answer("ip -4 rule show", "0:\tfrom all lookup local\n32761:\tfrom 10.1.1.5 lookup 101\n")
    captured.answer("ip -4 route show table 101", "10.1.1.0/24 dev eth1 scope link src 10.1.1.5\n")


def test_a_host_on_which_the_stage_set_nothing(captured):
    assert _rdma_kept.kept(captured.tree, STATE) is None
    settled(captured, settings=[])
    assert _rdma_kept.kept(captured.tree, STATE) is None


def test_a_host_that_has_what_was_set(captured):
    settled(captured)
    assert _rdma_kept.kept(captured.tree, STATE) == {"count": 6, "starts_at_boot": True, "different": [], "problem": None}


def test_each_setting_that_does_not_hold_is_told_in_the_order_of_the_batch(captured):
    settled(captured)
    captured.files({"/sys/class/net/eth1/mtu": "1500\n"})
    captured.answer("mlnx_qos -i eth1", QOS.format(trust="pcp", third=0))
    captured.answer("ip -4 rule show", "0:\tfrom all lookup local\n")
    captured.answer("ip -4 route show table 101", "")
    assert _rdma_kept.kept(captured.tree, STATE)["different"] == [
        {"what": "mtu eth1", "now": "1500", "wanted": "9000"},
        {"what": "trust eth1", "now": "pcp", "wanted": "dscp"},
        {"what": "pfc eth1", "now": "0,0,0,0,0,0,0,0", "wanted": "0,0,0,1,0,0,0,0"},
        {"what": "rule 32761 10.1.1.5 101", "now": "absent", "wanted": "present"},
        {"what": "table 101", "now": "empty", "wanted": "10.1.1.0/24 dev eth1 src 10.1.1.5"},
    ]


def test_access_control_of_bridges_is_for_others_to_tell(captured):
    settled(captured, [*SETTINGS, setting("0000", kind="pci", address="0000:10:02.0", register=_pci.ACS_CONTROL, mask="ffff")])
    assert _rdma_kept.kept(captured.tree, STATE) == {"count": 6, "starts_at_boot": True, "different": [], "problem": None}


def test_a_tool_that_is_gone_is_no_answer_and_not_what_was_set(captured):
    settled(captured)
    (captured.root / ".commands/mlnx_qos -i eth1").unlink()
    assert [(one["what"], one["now"]) for one in _rdma_kept.kept(captured.tree, STATE)["different"]] == [
        ("trust eth1", "unset"),
        ("pfc eth1", "unset"),
    ]


def test_a_command_that_tells_several_settings_runs_once(captured):
    settled(captured)
    asked = []

    class Counting:
        def command(self, *argv):
            asked.append(argv)
            return captured.tree.command(*argv)

        def __getattr__(self, name):
            return getattr(captured.tree, name)

    assert _rdma_kept.different(_rdma_host.Remembered(Counting()), SETTINGS) == []
    assert sorted(asked) == sorted(set(asked))


@pytest.mark.parametrize(
    "batch",
    [
        ["x"],
        {"settings": ["x"]},
        {"settings": [{"value": 1}]},
        {"settings": [setting(1, kind="of a later version")]},
        {"settings": [setting(1)]},
    ],
)
def test_a_batch_that_somebody_else_wrote_is_a_problem(captured, batch):
    settled(captured)
    captured.files({f"{STATE}/rdma/batch.json": json.dumps(batch)})
    found = _rdma_kept.kept(captured.tree, STATE)
    assert found["problem"].endswith("rdma/batch.json is not what the stage rdma writes")
    assert found["different"] == []


def test_without_its_unit_the_next_boot_forgets_it_all(captured):
    settled(captured)
    (captured.root / "etc/systemd/system/multi-user.target.wants/flagos-kunlunxin-rdma.service").unlink()
    assert _rdma_kept.kept(captured.tree, STATE)["starts_at_boot"] is False
