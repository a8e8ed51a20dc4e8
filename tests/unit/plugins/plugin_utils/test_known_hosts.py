"""known_hosts as OpenSSH writes and reads it."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _known_hosts
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._public_key import PublicKey, parse
from hypothesis import given
from hypothesis import strategies as st


def make_key(seed, kind="ssh-ed25519"):
    return PublicKey(kind, len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([seed]) * 32)


KEY = make_key(1)
NAMES = st.from_regex(r"[a-z0-9]{1,12}(\.[a-z0-9]{1,12}){0,3}", fullmatch=True)
CONTENTS = st.binary(max_size=300) | st.lists(
    st.sampled_from([b"# a comment", b"", b"   ", f"old {make_key(9)} c".encode(), b"host 1024 35 1234", b"@revoked * x", b"\xff\xfe"])
).map(b"\n".join)


def find_by_ssh_keygen(file, name):
    return subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], check=False, capture_output=True, text=True).stdout


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("name", ["10.0.0.11", "[10.0.0.11]:2222", "p800-1.example"])
def test_ssh_finds_the_line(tmp_path, name, hashed):
    file = tmp_path / "known_hosts"
    file.write_text(_known_hosts.line_of(name, KEY, hashed) + "\n")
    assert str(KEY) in find_by_ssh_keygen(file, name)
    assert not find_by_ssh_keygen(file, "10.0.0.12")
    assert (name in file.read_text()) is not hashed


def test_a_file_that_ssh_keygen_hashed_is_understood(tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text(f"10.0.0.11,p800-1 {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    entries, unreadable = _known_hosts.read(file.read_bytes())
    assert not unreadable
    for name, expected in (("10.0.0.11", True), ("p800-1", True), ("10.0.0.12", False)):
        assert any(_known_hosts.matches(entry.hosts, name) for entry in entries) is expected


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ("10.0.0.*", "10.0.0.11", True),
        ("10.0.0.1?", "10.0.0.1", False),
        ("*,!10.0.0.11", "10.0.0.11", False),
        ("*,!10.0.0.11", "10.0.0.12", True),
        ("10.0.0.11", "10x0.0.11", False),
        ("NODE1", "node1", True),
        ("node1", "node10", False),
        ("[node1]:2222", "node1", False),
        ("|2|AAAA|BBBB", "node1", False),
        ("|1|not base64|x", "node1", False),
    ],
)
def test_patterns(patterns, name, expected):
    assert _known_hosts.matches(patterns, name) is expected


def test_names_carry_a_port_that_is_not_sshs_own():
    assert _known_hosts.name_of("Node1", 22) == "node1"
    assert _known_hosts.name_of("::1", 2222) == "[::1]:2222"


def test_a_line_that_cannot_be_read_is_named_and_the_rest_counts():
    content = f"# comment\nold 1024 35 12345\n\n@revoked bad {KEY}\n@cert-authority *.x {KEY} ca\nok {KEY} c\n".encode()
    entries, unreadable = _known_hosts.read(content)
    assert unreadable == [2]
    assert [(entry.marker, entry.hosts) for entry in entries] == [("@revoked", "bad"), ("@cert-authority", "*.x"), ("", "ok")]


@given(CONTENTS, st.lists(NAMES, max_size=3), st.booleans())
def test_every_byte_that_was_there_stays(content, names, hashed):
    lines = [_known_hosts.line_of(name, KEY, hashed) for name in names]
    after = _known_hosts.with_lines(content, lines)
    assert after.startswith(content)
    assert after[len(content) :].lstrip(b"\n").decode().splitlines() == lines
    assert (after == content) is (not lines)
    before = content.split(b"\n")
    assert after.split(b"\n")[: len(before) - 1] == before[:-1]
    entries, unreadable = _known_hosts.read(after)
    assert unreadable == _known_hosts.read(content)[1]
    for name in names:
        assert any(entry.key == KEY and _known_hosts.matches(entry.hosts, name) for entry in entries)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_no_content_breaks_the_reader(content):
    for entry in _known_hosts.read(content)[0]:
        assert _known_hosts.matches(entry.hosts, "10.0.0.11") in (True, False)


@given(NAMES)
def test_check_mode_shows_the_line_that_is_written(name):
    assert _known_hosts.line_of(name, KEY, True) == _known_hosts.line_of(name, KEY, True) != _known_hosts.line_of(name, make_key(2), True)


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path):
    file = tmp_path / "real"
    file.write_bytes(b"old")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    with file.open("rb") as reader:
        _known_hosts.replace(tmp_path / "link", b"new")
        assert reader.read() == b"old"
    assert (file.read_bytes(), file.stat().st_mode & 0o777, (tmp_path / "link").is_symlink()) == (b"new", 0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_new_file_is_its_owners_alone(tmp_path):
    _known_hosts.replace(tmp_path / "home" / ".ssh" / "known_hosts", b"x")
    modes = [(tmp_path / "home" / path).stat().st_mode & 0o777 for path in (".ssh", ".ssh/known_hosts")]
    assert modes == [0o700, 0o600]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    file = tmp_path / "known_hosts"
    file.write_bytes(b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        _known_hosts.replace(file, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("known_hosts", b"old")]


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 !!!!", "ssh-rsa " + str(KEY).split()[1], str(KEY)[:30], "rsa AAAA"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="key"):
        parse(text)


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path):
    file = tmp_path / "key.pub"
    file.write_text(f"{KEY} comment\n")
    shown = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
    assert shown.split()[1] == KEY.fingerprint
