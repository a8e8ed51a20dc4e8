# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The file authorized_keys: whether it holds a key, and what it is with one more. The format is sshd(8)'s AUTHORIZED_KEYS FILE FORMAT."""

from __future__ import annotations

import dataclasses

from ._public_key import PublicKey, is_type, parse


@dataclasses.dataclass(frozen=True)
class Authorized:
    """One line: a key and the options that bind it, such as ``command="..."``; empty where it is free."""

    options: str
    key: PublicKey


def find(content: bytes, key: PublicKey) -> Authorized | None:
    """The first line with this key, which is the one that sshd goes by."""
    found = (authorized for line in content.split(b"\n") if (authorized := _read(line.decode("utf-8", "replace").strip())))
    return next((authorized for authorized in found if authorized.key == key), None)


def _read(line: str) -> Authorized | None:
    """A line's key and options; ``None`` for a comment and for what sshd, too, takes for no key."""
    if not line or line.startswith("#"):
        return None
    options = "" if is_type(line.split()[0]) else _options(line)
    try:
        return Authorized(options, parse(line[len(options) :]))
    except ValueError:
        return None


def _options(line: str) -> str:
    """What stands before the first blank outside double quotes; a quote may be escaped."""
    quoted = False
    for position, letter in enumerate(line):
        if letter == '"' and line[position - 1 : position] != "\\":
            quoted = not quoted
        elif letter in " \t" and not quoted:
            return line[:position]
    return line


def with_line(content: bytes, line: str) -> bytes:
    """The content with a line after it; every byte that was there stays. The hosts' shell does the same, see ``_enrolment``."""
    return content + (b"\n" if content and not content.endswith(b"\n") else b"") + line.encode() + b"\n"
