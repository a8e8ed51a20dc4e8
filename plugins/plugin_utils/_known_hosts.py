# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The file known_hosts: what it says of a host, and how a line is added to it. The format is sshd(8)'s SSH_KNOWN_HOSTS FILE FORMAT."""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import hmac
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ._public_key import PublicKey, parse

PORT = 22
REVOKED = "@revoked"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line.

    :ivar marker: ``@revoked``, ``@cert-authority``, or empty.
    :ivar hosts: the patterns, or one hashed name, as they stand in the file.
    """

    marker: str
    hosts: str
    key: PublicKey


def name_of(address: str, port: int) -> str:
    """The name under which ssh looks up a host that it reaches at this address."""
    return address.lower() if port == PORT else f"[{address.lower()}]:{port}"


def read(content: bytes) -> tuple[list[Entry], list[int]]:
    """The entries, and the numbers of the lines that could not be read, such as those of ssh's first protocol."""
    entries, unreadable = [], []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        line = raw.decode("utf-8", "replace").strip()
        if not line or line.startswith("#"):
            continue
        try:
            entries.append(read_line(line))
        except ValueError:
            unreadable.append(number)
    return entries, unreadable


def read_line(line: str) -> Entry:
    """One line.

    :raises ValueError: it is none.
    """
    words = line.split(None, 2)
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    hosts, _blank, key = " ".join(words).partition(" ")
    return Entry(marker, hosts, parse(key))


def matches(hosts: str, name: str) -> bool:
    """Whether the patterns of a line mean a host."""
    if hosts.startswith("|"):
        return _matches_hashed(hosts, name)
    found = False
    for pattern in hosts.lower().split(","):
        refused, plain = pattern.startswith("!"), pattern.removeprefix("!")
        if re.fullmatch("".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in plain), name, re.DOTALL):
            if refused:
                return False
            found = True
    return found


def _matches_hashed(hosts: str, name: str) -> bool:
    """``|1|SALT|HASH``; another version of it matches nothing."""
    parts = hosts.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(digest, _digest(salt, name))


def _digest(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.encode(), "sha1").digest()  # what the format prescribes


def line_of(name: str, key: PublicKey, hashed: bool) -> str:
    """The line of a host, without its end.

    The salt of a hashed one is taken from name and key, so that check mode shows the line that the run then writes. It hides a name as
    well as a random salt does: whoever guesses the name needs one attempt either way, and lines of one host share their key anyhow.
    """
    if not hashed:
        return f"{name} {key}"
    salt = hashlib.sha256(name.encode() + b"\0" + key.blob).digest()[:20]
    parts = (base64.b64encode(part).decode() for part in (salt, _digest(salt, name)))
    return f"|1|{'|'.join(parts)} {key}"


def with_lines(content: bytes, lines: Iterable[str]) -> bytes:
    """The content with lines after it; every byte that was there stays."""
    added = "".join(line + "\n" for line in lines).encode()
    return content + (b"\n" if added and content and not content.endswith(b"\n") else b"") + added


def content_of(path: Path) -> bytes:
    """The content of a file, empty where there is none.

    :raises OSError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def replace(path: Path, content: bytes) -> None:
    """Put the content at a path so that a reader, or a crash at any moment, meets the old file or the new one, never a part.

    A file that is there keeps its mode and owner, and a link to it stays a link; a new one is readable by its owner alone.

    :raises OSError: it cannot be written.
    """
    path = path.resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            with contextlib.suppress(FileNotFoundError):
                former = path.stat()
                os.fchmod(stream.fileno(), former.st_mode & 0o7777)
                if (former.st_uid, former.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), former.st_uid, former.st_gid)
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
