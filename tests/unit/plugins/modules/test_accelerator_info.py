"""The module accelerator_info as a host runs it."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.modules import accelerator_info

KUNLUNXIN = {
    "pci_ids": ["1d22:3686", "2057:3686"],
    "nodes": ["/dev/xpu0", "/dev/xpu1"],
    "control_nodes": ["/dev/xpuctrl"],
    "driver_module": "kunlun",
    "peer_module": "kunlun_peermem",
    "tool": "xpu-smi",
    "kernel_log_patterns": [{"pattern": "XDR disabled", "meaning": "direct RDMA is off"}],
}
ACCELERATOR = yaml.safe_load(accelerator_info.RETURN)["accelerator"]["contains"]


@pytest.mark.parametrize("check", [False, True])
def test_this_machine_has_no_accelerator(run_module, check):
    answer = run_module("accelerator_info", KUNLUNXIN, check=check)
    assert answer["changed"] is False
    found = answer["accelerator"]
    assert found["devices"] == []
    assert found["nodes"] == {"/dev/xpu0": None, "/dev/xpu1": None, "/dev/xpuctrl": None}
    assert found["driver"]["module"]["loaded"] is False
    assert found["driver"]["kernel"]
    assert (found["tool"]["path"], found["topology"]) == (None, None)
    # A machine may keep its log to itself; nothing else is out of reach here.
    assert set(found["problems"]) <= {"dmesg: gave no answer"}


def test_the_answer_is_what_the_documentation_says(run_module, captured):
    captured.pci("pci0000:50/0000:50:01.0/0000:52:00.0", "1d22", "3686")
    captured.files({"/proc/modules": "", "/proc/sys/kernel/osrelease": "6.8.0-87-generic\n", "/usr/bin/xpu-smi": "", "/dev/xpu0": ""})
    captured.answer("/usr/bin/xpu-smi", "| XPU-SMI   Driver Version: 5.0.21.26    XPU-RT Version: 5.0.21   |\n")
    captured.answer("/usr/bin/xpu-smi topo -m", "XPU0 CPU Affinity NUMA Affinity\nXPU0 X 0-51 0\n")
    captured.answer("dmesg", "[ 1.0] XDR disabled\n")
    found = run_module("accelerator_info", {**KUNLUNXIN, "root": str(captured.root)})["accelerator"]
    assert set(found) == set(ACCELERATOR)
    (device,), (line,) = found["devices"], found["kernel_log"]
    assert set(device) == set(ACCELERATOR["devices"]["contains"])
    assert set(device["link"]) == set(ACCELERATOR["devices"]["contains"]["link"]["contains"])
    assert set(line) == set(ACCELERATOR["kernel_log"]["contains"])
    for subject in ("driver", "tool", "topology"):
        assert set(found[subject]) == set(ACCELERATOR[subject]["contains"]), subject
    assert set(found["nodes"]["/dev/xpu0"]) == {"kind", "major", "minor", "mode", "owners"}
    assert found["problems"] == [f"xpu-smi {option}: gave no answer" for option in ("-m", "-L", "-q")]
    assert json.dumps(found)


@pytest.mark.parametrize("pattern", ["1d22", "1d22:", "0x1d22:3686", "1d22:36??", "*:3686", "1d22:3686 "])
def test_a_pci_id_in_another_form_is_refused_in_one_line(run_module, pattern):
    answer = run_module("accelerator_info", {**KUNLUNXIN, "pci_ids": ["1d22:*", pattern]})
    assert answer["failed"] is True
    assert answer["msg"].split(": ", 1)[1] == (
        f"pci_ids: {pattern.strip()}; expected four hexadecimal digits, a colon, and four more or *; write it as in 1d22:3686"
    )


def test_a_pattern_that_is_no_expression_is_refused_in_one_line(run_module):
    entry = {"pattern": "c2c port[", "meaning": "a link is bad"}
    answer = run_module("accelerator_info", {**KUNLUNXIN, "kernel_log_patterns": [entry]})
    assert answer["failed"] is True
    assert "kernel_log_patterns: c2c port[ (unterminated character set" in answer["msg"]
    assert answer["msg"].endswith("; expected a regular expression; mend the pattern")
