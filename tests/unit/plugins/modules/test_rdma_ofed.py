"""The module rdma_ofed on a made-up host: an archive is unpacked for real, and its installer is a script."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _ofed
from ansible_collections.flagos.kunlunxin.plugins.modules import rdma_ofed
from hypothesis import given
from hypothesis import strategies as st

VERSION = "24.01-0.3.3.1"


class Host:
    """The host's commands, and the module that runs on it."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.check_mode = False
        self.version, self.installed, self.srcversion = None, VERSION, "AAAA"
        self.commands = []
        source = folder / "MLNX_OFED_LINUX-24.01-0.3.3.1-ubuntu22.04-x86_64"
        source.mkdir()
        (source / "mlnxofedinstall").write_text("#!/bin/sh\n")
        self.archive = folder / "ofed.tgz"
        with tarfile.open(self.archive, "w:gz") as archive:
            archive.add(source, source.name)
        (folder / "build").mkdir()
        monkeypatch.setattr(_ofed, "headers", lambda kernel: str(folder / "build"))
        monkeypatch.setattr(rdma_ofed, "HostTree", lambda: self)
        self.params = {"version": VERSION, "archive": str(self.archive), "sha256": hashlib.sha256(self.archive.read_bytes()).hexdigest()}

    def line(self, path):
        assert path == "/sys/module/mlx5_core/srcversion"
        return "AAAA"

    def get_bin_path(self, name):
        return name if name == "modinfo" or self.version else None

    def sha256(self, path):
        return hashlib.sha256(open(path, "rb").read()).hexdigest()

    def run_command(self, argv, check_rc=False, cwd=None):
        if argv[0] == "ofed_info":
            return 0, f"MLNX_OFED_LINUX-{self.version}:\n", ""
        if argv[0] == "modinfo":
            return 0, self.srcversion + "\n", ""
        self.commands.append(argv)
        if argv[0] == "tar":
            subprocess.run(argv, check=check_rc)
            return 0, "", ""
        assert os.path.exists(argv[0])
        if self.installed is None:
            return 1, "Checking\nfailed to build mlx5\n", ""
        self.version = self.installed
        return 0, "", ""

    def run(self, **params):
        before = {**self.params, **params}
        self.params = before
        result = {}

        class Answered(Exception):
            pass

        def exit_json(**answer):
            result.update(answer)
            raise Answered

        def fail_json(**answer):
            result.update(answer, failed=True)
            raise Answered

        self.exit_json, self.fail_json = exit_json, fail_json
        self.run_command_environ_update = {}
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Answered):
            patch.setattr(rdma_ofed, "AnsibleModule", lambda **arguments: self)
            rdma_ofed.main()
        return result


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def test_the_module_declares_what_these_tests_prove():
    attributes = yaml.safe_load(rdma_ofed.DOCUMENTATION)["attributes"]
    assert {attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")} == {"full"}


def test_check_mode_predicts_the_run_and_a_second_run_changes_nothing(host):
    host.check_mode = True
    predicted = host.run()
    assert host.commands == []
    host.check_mode = False
    made = host.run()
    assert made == predicted
    assert made["diff"][0]["before"] == "none\n"
    assert made["diff"][0]["after"] == VERSION + "\n"
    again = host.run()
    assert (again["changed"], again["version"], again["restart_required"]) == (False, VERSION, False)


def test_the_installer_gets_the_documented_options(host):
    host.run()
    kernel = os.uname().release
    assert host.commands[1][1:] == ["--without-fw-update", "--add-kernel-support", "-k", kernel, "--skip-distro-check", "--force"]
    assert not os.path.exists(host.commands[1][0])


def test_an_older_version_is_replaced(host):
    host.version = "5.8-1.1.2.1"
    made = host.run()
    assert (made["changed"], made["version"], made["restart_required"]) == (True, "5.8-1.1.2.1", True)


def test_a_reboot_is_asked_for_until_the_installed_driver_is_loaded(host):
    host.version, host.srcversion = VERSION, "BBBB"
    assert host.run()["restart_required"]
    host.srcversion = ""
    assert not host.run()["restart_required"]


def test_check_mode_needs_no_archive_on_the_host(host):
    host.check_mode = True
    host.archive.unlink()
    assert host.run()["changed"]
    host.check_mode = False
    assert "no " + str(host.archive) in host.run()["msg"]


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ({"sha256": "0" * 64}, "expected 0000"),
        ({"sha256": None}, "MLNX_OFED: no archive and SHA-256 given; expected both"),
        ({"version": "23.10-0.5.5.0"}, "version of MLNX_OFED: 24.01-0.3.3.1; expected 23.10-0.5.5.0"),
    ],
)
def test_a_wrong_archive_is_refused(host, damage, line):
    assert line in host.run(**damage)["msg"]


def test_an_archive_without_installer_and_an_installer_that_fails(host):
    host.installed = None
    assert "status 1: Checking / failed to build mlx5; expected status 0" in host.run()["msg"]
    with tarfile.open(host.archive, "w:gz") as archive:
        archive.add(__file__, "folder/other")
    assert "0 times mlnxofedinstall" in host.run(sha256=host.sha256(host.archive))["msg"]


def test_a_kernel_without_headers_is_refused_before_anything_is_done(host):
    (host.folder / "build").rmdir()
    assert re.search(r"headers of the kernel .*; expected a folder; install the headers", host.run()["msg"])
    assert host.commands == []


@given(st.text(max_size=60))
def test_a_strange_version_is_none(text):
    found = _ofed.parse_version(text)
    assert found is None or text.startswith("MLNX_OFED_LINUX-" + found)
    assert _ofed.parse_version("MLNX_OFED_LINUX-24.01-0.3.3.1:\n" + text) == ("24.01-0.3.3.1" if not text.strip() else None)
