"""What carries weights is had on the controller, by its hash, for every kind of host."""

from __future__ import annotations

import hashlib
import platform
import sys

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_wheels
from ansible_collections.flagos.kunlunxin.plugins.modules.weights_engine import provide

OWN = f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}"
KINDS = {"cp39-x86_64": ("cp39", "x86_64"), "cp312-aarch64": ("cp312", "aarch64")}


@pytest.fixture
def index(monkeypatch):
    """A package index in a function: what it was asked for."""
    asked = []

    def fetch(interpreter, folder, python, machine):
        asked.append((python, machine))
        with open(f"{folder}/{_swarm_wheels.name_of(python, machine)}", "wb") as stream:
            stream.write(f"{python} {machine}".encode())

    for kind in KINDS.values():
        monkeypatch.setitem(_swarm_wheels.SHA256, kind, hashlib.sha256(" ".join(kind).encode()).hexdigest())
    monkeypatch.setattr(_swarm_wheels, "fetch", fetch)
    return asked


def test_each_kind_is_fetched_once(index, tmp_path):
    wheels, unknown, fetched = provide(set(KINDS), [], str(tmp_path), check_mode=False)
    assert (sorted(wheels), unknown, fetched) == (["cp312-aarch64", "cp39-x86_64"], [], True)
    assert provide(set(KINDS), [], str(tmp_path), check_mode=False) == (wheels, [], False)
    assert sorted(index) == sorted(KINDS.values())


def test_check_mode_names_what_would_be_there_and_fetches_nothing(index, tmp_path):
    predicted = provide(set(KINDS), [], str(tmp_path), check_mode=True)
    assert (index, list(tmp_path.iterdir())) == ([], [])
    assert predicted == provide(set(KINDS), [], str(tmp_path), check_mode=False)


def test_a_folder_of_the_operators_comes_before_the_index(index, tmp_path):
    brought, cache = tmp_path / "brought", tmp_path / "cache"
    for folder in (brought, cache):
        folder.mkdir()
    for python, machine in KINDS.values():
        (brought / _swarm_wheels.name_of(python, machine)).write_text(f"{python} {machine}")
    wheels, _unknown, fetched = provide(set(KINDS), [str(brought)], str(cache), check_mode=False)
    assert (index, fetched) == ([], False)
    assert all(path.startswith(str(brought)) for path in wheels.values())


def test_the_controller_is_one_of_the_kinds(run_module, tmp_path):
    answer = run_module("weights_engine", {"kinds": [], "cache": str(tmp_path / "cache")}, check=True)
    assert answer["own"] == OWN
    assert (answer["changed"], list(answer["wheels"])) == (True, [OWN])
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_with_other_bytes_is_one_line_with_what_to_do(run_module, tmp_path):
    wheel = tmp_path / _swarm_wheels.name_of(*OWN.split("-", 1))
    wheel.write_bytes(b"other")
    answer = run_module("weights_engine", {"kinds": [], "folders": [str(tmp_path)], "cache": str(tmp_path / "cache")})
    assert answer["failed"]
    assert answer["msg"].startswith(f"localhost: libtorrent for the hosts: {wheel} has sha256 ")
    assert "\n" not in answer["msg"]


def test_where_a_kind_of_host_has_no_wheel_it_is_named_and_nothing_is_fetched(run_module, tmp_path):
    # Nobody fetches anything in vain: a controller without an index goes on with another transport.
    kinds = ["cp38-x86_64", "cp311-riscv64", "cp311-x86_64"]
    answer = run_module("weights_engine", {"kinds": kinds, "cache": str(tmp_path / "cache")})
    assert (answer["wheels"], answer["changed"]) == ({}, False)
    assert {"cp38-x86_64", "cp311-riscv64"} <= set(answer["unknown"])
    assert not (tmp_path / "cache").exists()
