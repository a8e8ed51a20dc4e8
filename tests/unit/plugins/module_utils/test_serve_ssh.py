"""The files of ssh; where OpenSSH is there, it reads them itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_ssh
from hypothesis import given
from hypothesis import strategies as st


def test_known_hosts_names_address_and_port_and_drops_the_comment():
    keys = [("10.0.0.1", "ssh-ed25519 AAAA one@host\n"), ("10.0.0.2", "ssh-ed25519 BBBB")]
    assert _serve_ssh.known_hosts(2222, keys) == "[10.0.0.1]:2222 ssh-ed25519 AAAA\n[10.0.0.2]:2222 ssh-ed25519 BBBB\n"


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), st.text(st.characters(blacklist_categories=("Cs", "Cc")))))
def test_a_session_gets_the_environment_but_not_what_sshd_sets(environment):
    lines = _serve_ssh.session_environment(environment)
    kept = {name: value for name, value in environment.items() if name not in _serve_ssh.OWN_TO_A_SESSION}
    assert dict(line.split("=", 1) for line in lines.split("\n") if line) == kept


def test_a_value_of_two_lines_cannot_make_a_second_variable():
    assert _serve_ssh.session_environment({"A": "1\nB=2", "C": "3"}) == "C=3\n"


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs OpenSSH's client")
def test_ssh_itself_reads_the_client_settings(tmp_path):
    config = tmp_path / "config"
    config.write_text(_serve_ssh.client_settings(["10.0.0.1", "10.0.0.2"], 2222, "/keys"))
    result = subprocess.run(["ssh", "-G", "-F", str(config), "10.0.0.2"], capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in result.stdout.splitlines() if " " in line)
    assert said["stricthostkeychecking"] in ("true", "yes")
    assert (said["port"], said["identityfile"], said["userknownhostsfile"]) == ("2222", "/keys/id_ed25519", "/keys/known_hosts")
