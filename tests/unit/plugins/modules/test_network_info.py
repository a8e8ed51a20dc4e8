"""The module as it runs on a host."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("check", [False, True])
def test_this_machine_has_a_loopback_interface(run_module, check):
    answer = run_module("network_info", {}, check=check)
    loopback = answer["network"]["interfaces"]["lo"]
    assert answer["changed"] is False
    assert (loopback["kind"], loopback["pci"], loopback["path"]) == ("loopback", None, [])
    assert {"address": "127.0.0.1", "prefix_length": 8, "scope": "host"} in loopback["addresses"]


def test_a_captured_tree_is_read_and_not_this_machine(run_module, tmp_path):
    folder = tmp_path / "sys/class/net/rail0"
    folder.mkdir(parents=True)
    (folder / "mtu").write_text("9000\n")
    interfaces = run_module("network_info", {"root": str(tmp_path)})["network"]["interfaces"]
    assert {name: one["mtu"] for name, one in interfaces.items()} == {"rail0": 9000}
