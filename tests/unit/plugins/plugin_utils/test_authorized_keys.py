"""authorized_keys: found as sshd finds a key, added to by the hosts' own shell, every other line left as it is."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _enrolment
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._authorized_keys import find, with_line
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._operator_key import OperatorKey
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._public_key import PublicKey
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused
from hypothesis import example, given, settings
from hypothesis import strategies as st


def make_key(seed, kind="ssh-ed25519"):
    return PublicKey(kind, len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([seed]) * 32)


KEY, OTHER = make_key(1), make_key(2)
LINE = f'{KEY} operator\'s "own" $(key) `x`'
CONTENTS = st.binary(max_size=200) | st.lists(
    st.sampled_from([b"# comment", b"", f"{OTHER} a b".encode(), f'command="a \\" b" {OTHER}'.encode(), b"\xff\x00\r", b"ssh-rsa broken"])
).map(b"\n".join)


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (f"{KEY}", ""),
        (f"  {KEY} comment with blanks", ""),
        (f"no-pty {KEY}", "no-pty"),
        (f'from="10.0.0.*,!10.0.0.9",command="echo \\"a b\\"" {KEY} c', 'from="10.0.0.*,!10.0.0.9",command="echo \\"a b\\""'),
    ],
)
def test_a_key_is_found_with_what_binds_it(line, options):
    found = find(f"# x\n{OTHER}\n{line}\n".encode(), KEY)
    assert (found.key, found.options) == (KEY, options)


@pytest.mark.parametrize("line", ["", f"#{KEY}", f"{OTHER}", f'command="{KEY}" {OTHER}', str(KEY)[:-4]])
def test_what_sshd_does_not_take_for_the_key_is_not_it(line):
    assert find(line.encode(), KEY) is None


@given(CONTENTS)
def test_every_byte_that_was_there_stays(content):
    after = with_line(content, LINE)
    assert after.startswith(content)
    assert after[len(content) :].lstrip(b"\n") == LINE.encode() + b"\n"
    assert find(after, KEY) is not None


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_no_content_breaks_the_reader(content):
    assert find(content, KEY) is None


class Shell:
    """Runs what a host would run, with a folder as its HOME."""

    def __init__(self, home):
        self.home = home

    def run(self, script, *arguments, secret=""):
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        ended = subprocess.run(
            ["sh", "-c", script, "sh", *arguments], input=secret.encode(), capture_output=True, check=False, env=environment
        )
        return ended.returncode, ended.stdout, ended.stderr.decode()


@settings(max_examples=25)
@given(CONTENTS)
@example(b"ends in a zero byte, which the shell drops from what a command prints\x00")
def test_the_hosts_shell_makes_the_file_that_was_predicted(content):
    with tempfile.TemporaryDirectory() as name:
        home, key = Path(name), OperatorKey(KEY, LINE, ())
        (home / ".ssh").mkdir()
        (home / ".ssh" / "authorized_keys").write_bytes(content)
        account = _enrolment.read_account(Shell(home))
        assert account.content == content
        addition = _enrolment.plan_addition(account, "fresh", key)
        _enrolment.add(Shell(home), addition, "fresh", key)
        assert (home / ".ssh" / "authorized_keys").read_bytes() == with_line(content, LINE)
        assert [path.name for path in (home / ".ssh").iterdir()] == ["authorized_keys"]
        assert not _enrolment.plan_addition(_enrolment.read_account(Shell(home)), "fresh", key).changes


def test_a_link_stays_one_and_a_mode_that_is_narrow_enough_too(tmp_path):
    (tmp_path / ".ssh").mkdir(mode=0o755)
    (tmp_path / "keys").write_text(f"{OTHER}\n")
    (tmp_path / "keys").chmod(0o640)
    (tmp_path / ".ssh" / "authorized_keys").symlink_to("../keys")
    assert Shell(tmp_path).run(_enrolment.ADD, LINE)[0] == 0
    assert (tmp_path / ".ssh" / "authorized_keys").is_symlink()
    assert (tmp_path / "keys").read_text() == f"{OTHER}\n{LINE}\n"
    assert ((tmp_path / "keys").stat().st_mode & 0o777, (tmp_path / ".ssh").stat().st_mode & 0o777) == (0o640, 0o755)


def test_a_host_that_cannot_write_says_why_and_keeps_its_file(tmp_path):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "authorized_keys").mkdir()
    key = OperatorKey(KEY, LINE, ())
    with pytest.raises(Refused) as caught:
        _enrolment.add(Shell(tmp_path), _enrolment.Addition("", "", True, False), "fresh", key)
    assert caught.value.args[0] == "authorized_keys"
    assert list((tmp_path / ".ssh").iterdir()) == [tmp_path / ".ssh" / "authorized_keys"]


@pytest.mark.parametrize("output", [b"", b"zero\n/root\n", b"0\n/root\nabsent\nabsent\nnonsense\n", b"0\n/root\n700 0 yes\n\xff\n\n"])
def test_a_host_that_answers_something_else_is_told(output):
    class Odd:
        def run(self, script, *arguments, secret=""):
            return 0, output, ""

    with pytest.raises(Refused) as caught:
        _enrolment.read_account(Odd())
    assert caught.value.args[0] == "session"


def test_the_scripts_are_one_line_for_login_shells_that_need_it():
    assert "\n" not in _enrolment.READ + _enrolment.ADD + _enrolment.MEND_MODES


def at(mode=0o700, usable=True):
    return _enrolment.Path(mode, 1000, usable)


@pytest.mark.parametrize(
    ("home", "folder", "file", "content", "check", "observed"),
    [
        (at(None, False), at(None, False), at(None, False), b"", "home", "/home/x is missing"),
        (at(0o755, False), at(None, False), at(None, False), b"", "home", "/home/x is not writable for x"),
        (at(), at(0o755, False), at(0o644), b"", "home", "/home/x/.ssh is not writable for x"),
        (at(), at(), at(0o600, False), b"", "authorized_keys", "/home/x/.ssh/authorized_keys is not readable for x"),
        (at(), at(), at(0o600), f"no-pty {KEY}".encode(), "authorized_keys", "the key is there, bound by no-pty"),
    ],
)
def test_what_stands_in_the_way_is_told_before_anything_is_written(home, folder, file, content, check, observed):
    with pytest.raises(Refused) as caught:
        _enrolment.plan_addition(_enrolment.Account(1000, "/home/x", home, folder, file, content), "x", OperatorKey(KEY, LINE, ()))
    assert caught.value.args[:2] == (check, observed)


def test_an_open_home_is_why_sshd_ignores_the_key_and_a_closed_one_is_not():
    refused = Refused("own key", "refused", "a login", "look")
    for mode, check in ((0o777, "home"), (0o755, "own key")):
        account = _enrolment.Account(1000, "/home/x", at(mode), at(), at(), b"")
        assert _enrolment.explain(refused, account).args[0] == check


def test_what_is_new_is_the_accounts_alone(tmp_path):
    assert Shell(tmp_path).run(_enrolment.ADD, LINE)[0] == 0
    modes = [(tmp_path / path).stat().st_mode & 0o777 for path in (".ssh", ".ssh/authorized_keys")]
    assert modes == [0o700, 0o600]
