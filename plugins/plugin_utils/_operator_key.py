# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The operator's own key: the public half that goes to the hosts, and the private one that proves it, in a file or in an agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._public_key import PublicKey, is_type, parse
from ._refused import Refused
from ._ssh_session import keys_of_agent, private_key

_CHECK = "enrol_public_key"
_MAKE = "make one by ssh-keygen -t ed25519, or set enrol_public_key"


@dataclasses.dataclass(frozen=True)
class OperatorKey:
    """A key pair of the operator.

    :ivar line: the public half with its comment, as it goes into authorized_keys.
    :ivar files: where its private half may lie.
    """

    public: PublicKey
    line: str
    files: tuple[Path, ...]

    def private(self) -> Any:
        """The private half, for paramiko; an agent's where the file is encrypted or elsewhere.

        :raises Refused: it is nowhere.
        """
        told = []
        for file in self.files:
            try:
                key = private_key(str(file))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                told.append(f"{file}: {getattr(error, 'strerror', None) or error}")
                continue
            if key.asbytes() == self.public.blob:
                return key
            told.append(f"{file}: another key")
        for blob, key in keys_of_agent():
            if blob == self.public.blob:
                return key
        where = "; ".join([*told, "no agent holds it"])
        remedy = "ssh-add the private key, or set enrol_public_key to the one whose private half is beside it"
        raise Refused(_CHECK, f"the private half of {self.public.fingerprint} cannot be used: {where}", "the operator's key pair", remedy)


def operator_key(given: str, identities: Sequence[str]) -> OperatorKey:
    """The key that the operator named, or the first that ssh would try.

    :param given: a public key's file or its text; empty for ssh's own.
    :param identities: private keys that ssh tries.
    :raises Refused: there is none, or it is no public key.
    """
    private = tuple(Path(path) for path in identities)
    if given and is_type(given.split(None, 1)[0]):
        return _of_text(given, "the text", private)
    if given:
        return _of_file(Path(given).expanduser(), private)
    for file in private:
        public = file.with_name(file.name + ".pub")
        if public.is_file():
            return _of_file(public, ())
    raise Refused(_CHECK, f"none of {', '.join(f'{file}.pub' for file in private)}", "the operator's public key", _MAKE)


def _of_file(file: Path, further: tuple[Path, ...]) -> OperatorKey:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "no text"
        raise Refused(_CHECK, f"{file}: {words}", "a public key's file", _MAKE) from None
    if "PRIVATE KEY" in text:
        raise Refused(_CHECK, f"{file} is a private key", "the public one, which is beside it", f"set enrol_public_key to {file}.pub")
    return _of_text(text, str(file), (file.with_suffix(""), *further) if file.suffix == ".pub" else further)


def _of_text(text: str, source: str, files: tuple[Path, ...]) -> OperatorKey:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise Refused(_CHECK, f"{source}: {len(lines)} lines", "one public key", _MAKE)
    try:
        return OperatorKey(parse(lines[0]), lines[0].strip(), files)
    except ValueError as error:
        raise Refused(_CHECK, f"{source}: {error}", "one public key", _MAKE) from None


def other_key(path: str) -> Any:
    """The private key that a fresh host already takes.

    :raises Refused: it cannot be used.
    """
    file = Path(path).expanduser()
    try:
        return private_key(str(file))
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        remedy = "mend the path; of an encrypted one, use a copy without passphrase (ssh-keygen -p) that you remove afterwards"
        raise Refused("enrol_private_key", f"{file}: {words}", "a private key without passphrase", remedy) from None
