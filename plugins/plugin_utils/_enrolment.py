# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What is done on a host to enrol it: its account is read, the operator's key added, sudo tried. All by one ``sh`` line each."""

from __future__ import annotations

import dataclasses
import re
from typing import Protocol

from ._authorized_keys import find, with_line
from ._operator_key import OperatorKey
from ._refused import Refused

# Who is asked, where the home is, and for home, .ssh and authorized_keys mode, owner and what may be done with it; then the file itself.
_READ = """
look() { if [ -e "$1" ]; then stat -L -c "%a %u $2" "$1"; else echo absent; fi; };
may() { if [ "$1" "$2" ]; then echo yes; else echo no; fi; };
id -u; printf "%s\\n" "$HOME"; d=$HOME/.ssh; f=$d/authorized_keys;
look "$HOME" "$(may -w "$HOME")"; look "$d" "$(may -w "$d")"; look "$f" "$(may -r "$f")";
cat "$f" 2>/dev/null; true
"""
# The key's line goes behind what is there at that moment. A mode is narrowed only where sshd's StrictModes would refuse the file.
# restorecon as ssh-copy-id does it, for hosts with SELinux.
_ADD = """
set -e; umask 077; d=$HOME/.ssh; f=$d/authorized_keys;
if [ -d "$d" ]; then chmod go-w "$d"; else mkdir "$d"; fi;
if [ -L "$f" ]; then f=$(readlink -f "$f"); fi;
t=$(mktemp "$f.XXXXXX"); trap "rm -f \\"$t\\"" EXIT;
if [ -e "$f" ]; then cp -p "$f" "$t"; chmod go-w "$t"; fi;
if [ -s "$t" ] && [ "$(tail -c 1 "$t" | wc -l)" -eq 0 ]; then echo >>"$t"; fi;
printf "%s\\n" "$1" >>"$t"; mv -f "$t" "$f"; trap - EXIT;
if command -v restorecon >/dev/null; then restorecon "$d" "$f"; fi
"""
MEND_MODES = 'chmod go-w "$HOME/.ssh" "$HOME/.ssh/authorized_keys"'


def _one_line(text: str) -> str:
    """A script in one line: a login shell that is a csh takes no newline inside quotes."""
    return " ".join(text.split())


READ, ADD = _one_line(_READ), _one_line(_ADD)


class Runs(Protocol):
    """Something that runs commands as the account; ``_ssh_session.Session`` in life."""

    def run(self, script: str, *arguments: str, secret: str = "") -> tuple[int, bytes, str]:
        """Exit code, output, errors in one line."""


@dataclasses.dataclass(frozen=True)
class Path:
    """A path of the account as the account sees it.

    :ivar mode: permission bits; ``None`` where the path does not exist.
    :ivar usable: a folder that can be written to, a file that can be read.
    """

    mode: int | None
    owner: int
    usable: bool

    @property
    def is_open(self) -> bool:
        """Whether others may write to it, so that sshd's StrictModes refuses what lies there."""
        return self.mode is not None and bool(self.mode & 0o022)


@dataclasses.dataclass(frozen=True)
class Account:
    """What was read of the account.

    :ivar content: of authorized_keys; empty where there is none.
    """

    uid: int
    home: str
    home_folder: Path
    ssh_folder: Path
    file: Path
    content: bytes


def read_account(session: Runs) -> Account:
    """Read the account.

    :raises Refused: the host answers something else.
    """
    code, output, errors = session.run(READ)
    parts = output.split(b"\n", 5)
    try:
        uid, home, *paths = (part.decode() for part in parts[:5])
        home_folder, ssh_folder, file = map(_path, paths)
        return Account(int(uid), home, home_folder, ssh_folder, file, parts[5])
    except (ValueError, IndexError):
        words = errors or output[-200:].decode("utf-8", "replace") or f"exit code {code}"
        remedy = "log in by hand and see whether sh, id and stat work"
        raise Refused("session", words, "id and mode of the account's files", remedy) from None


def _path(line: str) -> Path:
    if line == "absent":
        return Path(None, 0, False)
    match = re.fullmatch(r"([0-7]+) (\d+) (yes|no)", line)
    if not match:
        raise ValueError(line)
    return Path(int(match[1], 8), int(match[2]), match[3] == "yes")


@dataclasses.dataclass(frozen=True)
class Addition:
    """What adding the key comes to.

    :ivar adds: a line goes into the file.
    :ivar narrows: modes are narrowed, because sshd would not read the file otherwise.
    """

    before: str
    after: str
    adds: bool
    narrows: bool

    @property
    def changes(self) -> bool:
        """Whether anything differs."""
        return self.adds or self.narrows


def plan_addition(account: Account, user: str, key: OperatorKey) -> Addition:
    """What the account's authorized_keys lacks.

    :raises Refused: the key cannot be put there, or is there with options that bind it.
    """
    home, folder, file = account.home, f"{account.home}/.ssh", f"{account.home}/.ssh/authorized_keys"
    as_root = "as root on the host: "
    # Root reads and writes anything; what it cannot write to is a file system that nobody can.
    if account.home_folder.mode is None:
        remedy = f"{as_root}mkdir -m 700 {home} && chown {user}: {home}"
        raise Refused("home", f"{home} is missing", f"the home of {user}", remedy)
    if account.ssh_folder.mode is None and not account.home_folder.usable:
        raise Refused("home", f"{home} is not writable for {user}", "a home that is", f"{as_root}chown {user}: {home} && chmod u+w {home}")
    if account.file.mode is not None and not account.file.usable:
        remedy = f"{as_root}chown {user}: {file} && chmod 600 {file}"
        raise Refused("authorized_keys", f"{file} is not readable for {user}", "the account's own file", remedy)
    found = find(account.content, key.public)
    if found and found.options:
        remedy = f"remove the options of that line in {file}, or the line, and run this again"
        raise Refused("authorized_keys", f"the key is there, bound by {found.options}", "the key without options", remedy)
    if not found and account.ssh_folder.mode is not None and not account.ssh_folder.usable:
        remedy = f"{as_root}chown {user}: {folder} && chmod 700 {folder}"
        raise Refused("home", f"{folder} is not writable for {user}", "the account's own folder", remedy)
    content = account.content if found else with_line(account.content, key.line)
    narrows = account.ssh_folder.is_open or account.file.is_open
    before, after = (_shown(text, file, account, narrowed) for text, narrowed in ((account.content, False), (content, True)))
    return Addition(before, after, not found, narrows)


def _shown(content: bytes, file: str, account: Account, narrowed: bool) -> str:
    """The file as a diff shows it, with the modes that are narrowed."""
    lines = [
        f"# mode of {path} is {state.mode & ~0o022 if narrowed else state.mode:04o}\n"
        for path, state in ((f"{account.home}/.ssh", account.ssh_folder), (file, account.file))
        if state.mode is not None and state.is_open
    ]
    return "".join(lines) + content.decode("utf-8", "replace")


def add(session: Runs, addition: Addition, user: str, key: OperatorKey) -> None:
    """Make the addition.

    :raises Refused: the host could not.
    """
    code, _output, errors = session.run(ADD, key.line) if addition.adds else session.run(MEND_MODES)
    if code:
        remedy = "see that the disk is not full and the account owns its files, then run this again; nothing else was changed"
        raise Refused("authorized_keys", errors or f"exit code {code}", f"the key in the file, written as {user}", remedy)


def check_sudo(session: Runs, account: Account, user: str, password: str) -> str:
    """How the account becomes root: ``root`` already, ``no password``, or ``password``.

    A ticket of an earlier sudo does not count: ``-k``.

    :raises Refused: it does not.
    """
    if account.uid == 0:
        return "root"
    code, _output, errors = session.run("LC_ALL=C sudo -k -n -- true")
    if code == 0:
        return "no password"
    mend = f"as root on the host: visudo -f /etc/sudoers.d/enrolled, with the line '{user} ALL=(ALL) NOPASSWD: ALL'"
    if code == 127:
        raise Refused("sudo", "not installed", f"sudo, or root's own login instead of {user}'s", f"install sudo, then {mend}")
    expected = f"sudo for {user} without a password"
    if not password:
        raise Refused(
            "sudo", errors or f"exit code {code}", expected, f"{mend}; or set enrol_become_password, and ansible_become_password after"
        )
    code, _output, errors = session.run('LC_ALL=C sudo -k -S -p "" -- true', secret=password + "\n")
    if code:
        raise Refused(
            "sudo", f"with enrol_become_password: {errors or f'exit code {code}'}", expected, f"mend enrol_become_password, or {mend}"
        )
    return "password"


def explain(refused: Refused, account: Account) -> Refused:
    """Why sshd does not take a key that is in the file, where the account's home tells."""
    if not account.home_folder.is_open:
        return refused
    observed = f"mode {account.home_folder.mode:04o} of {account.home}: others may write there, so sshd ignores the key"
    return Refused("home", observed, "a home that its owner alone can write to", f"on the host: chmod go-w {account.home}")
