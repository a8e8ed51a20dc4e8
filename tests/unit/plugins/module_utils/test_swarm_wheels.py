"""The wheels of libtorrent: found by their bytes, fetched by pip."""

from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_wheels
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_wheels import WheelError

KIND = ("cp311", "x86_64")
CONTENT = b"a wheel"


@pytest.fixture
def wheel(monkeypatch):
    monkeypatch.setitem(_swarm_wheels.SHA256, KIND, hashlib.sha256(CONTENT).hexdigest())
    return _swarm_wheels.name_of(*KIND)


def test_every_python_has_its_wheel_on_both_architectures():
    names = {_swarm_wheels.name_of(python, machine) for python, machine in _swarm_wheels.SHA256}
    assert len(names) == len(_swarm_wheels.SHA256) == len(set(_swarm_wheels.SHA256.values())) == 10
    assert "libtorrent-2.0.11-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl" in names
    assert _swarm_wheels.name_of("cp38", "x86_64") is None
    assert _swarm_wheels.name_of("cp311", "riscv64") is None


def test_the_first_folder_that_has_it_is_taken(tmp_path, wheel):
    for name in ("empty", "one", "two"):
        (tmp_path / name).mkdir()
        if name != "empty":
            (tmp_path / name / wheel).write_bytes(CONTENT)
    folders = [str(tmp_path / name) for name in ("missing", "empty", "one", "two")]
    assert _swarm_wheels.find(folders, *KIND) == str(tmp_path / "one" / wheel)
    assert _swarm_wheels.find(folders[:2], *KIND) is None


def test_other_bytes_under_that_name_are_refused(tmp_path, wheel):
    (tmp_path / wheel).write_bytes(b"something else")
    with pytest.raises(WheelError) as refused:
        _swarm_wheels.find([str(tmp_path)], *KIND)
    assert refused.value.observed.startswith(f"{tmp_path / wheel} has sha256 ")
    assert refused.value.expected == _swarm_wheels.SHA256[KIND]


@pytest.fixture
def pip(tmp_path):
    """An interpreter whose pip writes down what it is asked for, and does as told."""

    def make(does):
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n{does}\n')
        script.chmod(0o755)
        return str(script)

    return make


def test_pip_fetches_that_very_release_for_that_kind_of_host(tmp_path, pip):
    _swarm_wheels.fetch(pip("true"), str(tmp_path / "cache" / "engine"), "cp39", "aarch64")
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "--python-version=39", "--platform=manylinux2014_aarch64", "libtorrent==2.0.11"} <= set(
        asked
    )
    assert f"--dest={tmp_path}/cache/engine" in asked
    assert os.path.isdir(tmp_path / "cache" / "engine")


def test_what_pip_says_last_is_the_reason(tmp_path, pip):
    with pytest.raises(WheelError, match=r"^pip: ERROR: No matching distribution \(expected libtorrent-2.0.11-cp311"):
        _swarm_wheels.fetch(pip("echo looking; echo 'ERROR: No matching distribution'; exit 1"), str(tmp_path), *KIND)
    with pytest.raises(WheelError, match=r"^pip: exit code 3 "):
        _swarm_wheels.fetch(pip("exit 3"), str(tmp_path), *KIND)
