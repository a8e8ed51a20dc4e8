"""The module as it runs on a host."""

from __future__ import annotations

import pytest

SUBJECTS = {
    "clock",
    "system",
    "kernel",
    "memory",
    "shm",
    "limits",
    "interfaces",
    "listeners",
    "processes",
    "segments",
    "proxies",
    "firewall",
}


@pytest.mark.parametrize("check", [False, True])
def test_this_machine_has_its_subjects(run_module, check):
    answer = run_module("host_info", {"names": ["localhost"], "files": ["/proc/self/limits"], "asked_at": 1.0}, check=check)
    host = answer["host"]
    assert answer["changed"] is False
    assert set(host) >= SUBJECTS
    assert host["memory"]["total_bytes"] > 0
    assert {"memlock", "nofile"} <= set(host["limits"]["login"])
    assert host["files"] == {"/proc/self/limits": True}
    assert host["resolved"] == {"localhost": "127.0.0.1"}


def test_a_captured_tree_is_read_and_not_this_machine(run_module, tmp_path):
    files = {
        "/proc/sys/kernel/hostname": "captured\n",
        "/proc/cmdline": "iommu=pt\n",
        "/proc/modules": "xdr 4096 0 - Live 0x0\n",
        "/.commands/iptables -S": "-P INPUT DROP\n",
        "/.commands/dmesg": "XDR disabled\n",
        "/m/config.json": '{"a": 1}',
    }
    for path, text in files.items():
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    asked = {
        "root": str(tmp_path),
        "modules": ["xdr"],
        "json_files": ["/m/config.json"],
        "kernel_log_patterns": [{"pattern": "XDR disabled", "meaning": "off"}],
    }
    host = run_module("host_info", asked)["host"]
    assert (host["system"]["hostname"], host["system"]["hostname_address"]) == ("captured", None)
    assert host["kernel"]["command_line"] == "iommu=pt"
    assert host["firewall"] == {"source": "iptables -S", "policy": "DROP", "drops": []}
    assert (host["modules"], host["json_keys"]) == ({"xdr": True}, {"/m/config.json": ["a"]})
    assert [one["meaning"] for one in host["kernel_log"]] == ["off"]
    assert host["engine"]["containers"] == []


def test_a_pattern_that_is_none_is_refused(run_module):
    answer = run_module("host_info", {"kernel_log_patterns": [{"pattern": "(", "meaning": "x"}]})
    assert answer["failed"]
    assert "kernel_log_patterns: ( (" in answer["msg"]
