from __future__ import annotations

import os
import shlex
import shutil

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rsync as rsync
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("      1,234,567  45%   12.34MB/s    0:00:12 (xfr#3, to-chk=0/5)", 1234567),
        ("     32.768.000 100%   12,34MB/s    0:00:00", 32768000),
        ("              0   0%    0.00kB/s    0:00:00", 0),
        ("<f+++++++++ model-00001.safetensors", None),
        ("sending incremental file list", None),
        ("", None),
    ],
)
def test_bytes_sent(line, sent):
    assert rsync.sent_bytes(line) == sent


@pytest.mark.parametrize(("line", "is_file"), [("<f+++++++++ a", True), (">f.st...... a", True), ("cd+++++++++ sub/", False), ("", False)])
def test_files_sent(line, is_file):
    assert rsync.is_file_sent(line) is is_file


def test_the_first_error_is_the_reason():
    errors = (
        'rsync: [receiver] write failed on "/models/x": No space left on device (28)\n'
        "rsync error: error in file IO (code 11) at receiver.c(380) [receiver=3.2.7]\n"
        "rsync: connection unexpectedly closed (7 bytes received so far) [sender]\n"
    )
    assert rsync.reason(11, errors) == 'rsync: [receiver] write failed on "/models/x": No space left on device (28)'
    assert rsync.reason(30, errors) == "no byte moved for too long"
    assert rsync.reason(255, "") == "exit code 255"
    assert (
        rsync.reason(12, "rsync: connection unexpectedly closed (0 bytes)\nrsync error: x")
        == "rsync: connection unexpectedly closed (0 bytes)"
    )


@pytest.mark.parametrize(
    ("code", "errors", "lacks"),
    [
        (127, "sh: 1: rsync: not found\nrsync error: remote command not found (code 127) at io.c(232) [sender=3.2.7]\n", True),
        (127, "bash: line 1: rsync: command not found\n", True),
        (127, "rsync error: remote command not found (code 127) at io.c(232) [sender=3.2.7]\n", True),
        (12, "sudo: rsync: command not found\nrsync: connection unexpectedly closed (0 bytes received so far) [sender]\n", True),
        (127, "bash: sudo: command not found\nrsync error: remote command not found (code 127)\n", False),
        (12, "rsync: connection unexpectedly closed (0 bytes)\n", False),
        (23, 'rsync: [sender] link_stat "/a" failed: No such file or directory (2)\n', False),
    ],
)
def test_a_host_without_rsync_is_told_from_other_failures(code, errors, lacks):
    assert rsync.lacks_rsync(code, errors) is lacks


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1))
def test_a_remote_shell_sees_the_folder_as_one_word(name):
    command = rsync.command("/src", "/models/" + name, remote="root@h", become="sudo -n")
    (receiver,) = [part.split("=", 1)[1] for part in command if part.startswith("--rsync-path=")]
    assert shlex.split(receiver) == ["sudo", "-n", "mkdir", "-p", "--", "/models/" + name, "&&", "sudo", "-n", "rsync"]


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_links_are_sent_as_files_and_a_damaged_file_of_equal_size_and_time_is_found_by_content(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub dir").mkdir(parents=True)
    (tmp_path / "blob").write_bytes(b"a" * 1000)
    (source / "sub dir" / "shard").symlink_to(tmp_path / "blob")

    def send(compare_content):
        code, sent, errors = rsync.run(
            rsync.command(str(source), str(target), compare_content=compare_content), ["sub dir/shard"], lambda done, note: None
        )
        assert code == 0, errors
        return sent

    arrived = target / "sub dir" / "shard"
    target.mkdir()
    assert send(False) == 1
    assert arrived.read_bytes() == b"a" * 1000 and not arrived.is_symlink()
    assert send(False) == 0

    times = arrived.stat().st_mtime_ns
    arrived.write_bytes(b"b" * 1000)
    os.utime(arrived, ns=(times, times))
    assert send(False) == 0
    assert send(True) == 1
    assert arrived.read_bytes() == b"a" * 1000


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_progress_is_reported_and_a_failure_has_its_reason(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    (tmp_path / "target").mkdir()
    seen = []
    command = rsync.command(str(tmp_path), str(tmp_path / "target"))
    assert rsync.run(command, ["big"], lambda done, note: seen.append(done))[:2] == (0, 1)
    assert seen[-1] == 3_000_000
    code, sent, errors = rsync.run(command, ["nowhere"], lambda done, note: None)
    assert (code, sent) == (23, 0)
    assert "No such file or directory" in rsync.reason(code, errors)
