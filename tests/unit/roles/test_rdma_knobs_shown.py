"""No knob of the role rdma is forgotten: what the lab holds is read back by the scenario, the rest is what the simulator is told."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
# They say how the stage goes about, and leave nothing on a host.
HOW = {"rdma_ofed_archive", "rdma_ofed_sha256", "rdma_reboot_allowed", "rdma_rollback_seconds"}


def load(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text())


def test_every_option_is_read_back_or_told_to_the_simulator():
    options = load("roles/rdma/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    read_back = load("extensions/molecule/rdma/vars/read_back.yml")["scenario_read_back"]
    told = load("tests/integration/rdma_commands.yml")
    assert sorted([*read_back, *told, *HOW]) == sorted(options)
    assert all(reading["told"] for reading in read_back.values())
    assert all(told.values())


def test_every_option_has_a_default_and_a_line_in_the_readme():
    options = load("roles/rdma/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert sorted(load("roles/rdma/defaults/main.yml")) == sorted(options)
    readme = (ROOT / "roles/rdma/README.md").read_text().partition("## Variables")[2].replace("`, `_", "`, `rdma_ofed_")
    assert [name for name in options if f"`{name}`" not in readme] == []
