"""The record of the wiring as a task keeps it: written once, refused when a host is wired otherwise, exact in check mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring_record as anchor
import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.modules import topology_record

COLLECTIONS = Path(anchor.__file__).parents[5]
SUPPORT = {name: entry["support"] for name, entry in yaml.safe_load(topology_record.DOCUMENTATION)["attributes"].items()}


def accelerator(index=0):
    return {"devices": [{"pci": "0000:13:00.0", "index": index, "minor": None, "numa_node": 0, "path": ["pci0000:10", "0000:13:00.0"]}]}


def network(mac="0c:42:a1:00:00:01"):
    addresses = [{"address": "10.1.1.11", "prefix_length": 24}]
    path = ["pci0000:10", "0000:19:00.0"]
    return {"interfaces": {"eth1": {"kind": "physical", "mac": mac, "master": None, "addresses": addresses, "numa_node": 0, "path": path}}}


@pytest.fixture
def keep(tmp_path):
    """Runs the task and gives its result."""

    def run(*flags, accelerators=None, networks=None, **options):
        given = {
            "path": str(tmp_path / "cluster.topology.json"),
            "accelerators": accelerators or {"host1": accelerator()},
            "networks": networks or {"host1": network()},
            **options,
        }
        module = ["-m", "flagos.kunlunxin.topology_record", "-a", json.dumps(given)]
        variables = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "ansible.cli.adhoc", "localhost", *module, *flags],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "=> {" in done.stdout, done.stdout + done.stderr
        shown, _arrow, result = done.stdout.partition("localhost | ")
        return {**json.JSONDecoder().raw_decode(result.partition("=> ")[2])[0], "shown": shown}

    return run


def test_attributes(keep, tmp_path):
    assert SUPPORT == {"check_mode": "full", "diff_mode": "full", "idempotent": "full"}
    path = tmp_path / "cluster.topology.json"
    predicted = keep("--check", "--diff")
    assert (predicted["changed"], path.exists()) == (True, False)
    made = keep("--diff")
    assert made["changed"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert made["shown"] == predicted["shown"]
    assert all(f"+{line}\n" in made["shown"] for line in path.read_text().splitlines())
    again = keep("--diff")
    assert (again["changed"], "+" in again["shown"]) == (False, False)


def test_another_wiring_is_refused_until_it_is_accepted(keep, tmp_path):
    path = tmp_path / "cluster.topology.json"
    keep()
    before = path.read_text()
    refused = keep(networks={"host1": network(mac="0c:42:a1:00:00:02")})
    assert refused["msg"] == (
        "host1: interface eth1: mac: 0c:42:a1:00:00:02; expected 0c:42:a1:00:00:01, as recorded;"
        " put it back where it was, or run topology.yml with topology_accept=true if this is meant"
    )
    assert [finding["host"] for finding in refused["findings"]] == ["host1"]
    assert path.read_text() == before
    assert keep(networks={"host1": network(mac="0c:42:a1:00:00:02")}, accept=True)["changed"]
    assert "0c:42:a1:00:00:02" in path.read_text()


def test_a_number_is_added_when_a_driver_tells_it(keep, tmp_path):
    keep(accelerators={"host1": accelerator(index=None)})
    assert keep()["changed"]
    assert '"index": 0' in (tmp_path / "cluster.topology.json").read_text()


def test_a_file_that_is_no_record_is_left_alone(keep, tmp_path):
    path = tmp_path / "cluster.topology.json"
    path.write_text("mine")
    refused = keep(accept=True)
    assert refused["msg"].startswith(f"localhost: topology {path}: ")
    assert path.read_text() == "mine"
