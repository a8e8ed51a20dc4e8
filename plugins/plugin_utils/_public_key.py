# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Public keys of ssh, as the files of OpenSSH hold them."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import re

# The names that begin a public key in OpenSSH's files (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
_TYPE = re.compile(r"(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-sha2-)[a-z0-9@.-]+")


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """One public key.

    :ivar type: such as ``ssh-ed25519``.
    :ivar blob: the key in ssh's wire format, which begins with its type.
    """

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:...`` as ``ssh-keygen -l`` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        """Type and base64, as they stand in known_hosts and authorized_keys."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


def is_type(word: str) -> bool:
    """Whether a word names a type of key."""
    return bool(_TYPE.fullmatch(word))


def parse(text: str) -> PublicKey:
    """The key in ``TYPE BASE64``, whatever follows.

    :raises ValueError: it is none; the message says what it is instead.
    """
    words = text.split()
    if len(words) < 2 or not is_type(words[0]):
        raise ValueError("no public key")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a public key that is no base64") from None
    name = words[0].encode()
    if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name or len(blob) == 4 + len(name):
        raise ValueError(f"a key that is cut or is no {words[0]}")
    return PublicKey(words[0], blob)
