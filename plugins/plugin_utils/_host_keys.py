# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which of the keys that a host offers are the host's: by known_hosts, by the operator's list, by the operator's word. Never by themselves."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable, Sequence

from ._known_hosts import REVOKED, Entry, matches, read_line
from ._public_key import PublicKey
from ._refused import Refused

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
_ON_ITS_CONSOLE = "on the host's own console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"


class Standing(enum.Enum):
    """What is known of an offered key."""

    KNOWN = "in known_hosts"
    LISTED = "in the list"
    CONFIRMED = "accepted by the operator"
    WAITING = "not accepted yet"
    LEFT_OUT = "not needed"
    UNLISTED = "not in the list"
    CHANGED = "CHANGED"
    REVOKED = "REVOKED"


ACCEPTED = (Standing.KNOWN, Standing.LISTED, Standing.CONFIRMED)
NEW = (Standing.LISTED, Standing.CONFIRMED)


@dataclasses.dataclass(frozen=True)
class Listed:
    """The operator's list.

    :ivar fingerprints: ``SHA256:...`` of keys, whichever host has them.
    :ivar entries: lines of known_hosts, each for the hosts that it names.
    """

    fingerprints: frozenset[str] = frozenset()
    entries: tuple[Entry, ...] = ()

    def __or__(self, other: Listed) -> Listed:
        return Listed(self.fingerprints | other.fingerprints, self.entries + other.entries)

    def __bool__(self) -> bool:
        return bool(self.fingerprints or self.entries)

    def has(self, key: PublicKey, names: Iterable[str]) -> bool:
        """Whether a key is in the list for a host of these names."""
        mine = [entry for entry in self.entries if entry.key == key and not entry.marker]
        return key.fingerprint in self.fingerprints or any(matches(entry.hosts, name) for entry in mine for name in names)


def read_list(lines: Iterable[str], source: str) -> Listed:
    """The list in lines of known_hosts, lines that ``ssh-keygen -l`` prints, or bare fingerprints; ``#`` begins a comment.

    :param source: the variable or the file, for the message.
    :raises Refused: a line is none of these.
    """
    fingerprints: set[str] = set()
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if found := _FINGERPRINT.findall(text):
            fingerprints.update(found)
            continue
        try:
            entries.append(read_line(text))
        except ValueError:
            raise Refused(
                source,
                f"line {number}: {text[:80]}",
                "a fingerprint (SHA256:...), a line of ssh-keygen -l, or a line of known_hosts",
                f"mend or remove it; {_ON_ITS_CONSOLE}",
            ) from None
    return Listed(frozenset(fingerprints), tuple(entries))


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What to make of a host's keys.

    :ivar standings: each offered key with what is known of it, in the order of the offer.
    :ivar refused: why the host cannot be trusted, if it cannot.
    """

    standings: tuple[tuple[PublicKey, Standing], ...]
    refused: Refused | None

    @property
    def accepted(self) -> list[PublicKey]:
        """The keys by which the host may be trusted; none where it is refused."""
        return [] if self.refused else [key for key, standing in self.standings if standing in ACCEPTED]

    @property
    def new(self) -> list[PublicKey]:
        """Those of them that known_hosts lacks."""
        return [] if self.refused else [key for key, standing in self.standings if standing in NEW]

    @property
    def waits(self) -> bool:
        """Whether the operator's word would make the difference."""
        return any(standing is Standing.WAITING for _key, standing in self.standings)


def judge(
    name: str, aliases: Sequence[str], offered: Sequence[PublicKey], known: Sequence[Entry], listed: Listed, confirmed: bool, file: str
) -> Judgement:
    """Judge the keys that one host offers.

    :param name: the host's name in known_hosts.
    :param aliases: other names by which a list may call it.
    :param known: all entries of the files that ssh reads.
    :param confirmed: the operator saw the keys and said yes.
    :param file: the operator's known_hosts, for the remedy.
    """
    mine = [entry for entry in known if matches(entry.hosts, name)]
    trusted = [entry.key for entry in mine if not entry.marker]
    revoked = [entry.key for entry in mine if entry.marker == REVOKED]
    is_known = any(key in trusted for key in offered)

    def standing(key: PublicKey) -> Standing:
        if key in revoked:
            return Standing.REVOKED
        if key in trusted:
            return Standing.KNOWN
        if any(other.type == key.type for other in trusted) or (trusted and not is_known):
            return Standing.CHANGED
        if listed:
            return Standing.LISTED if listed.has(key, (name, *aliases)) else Standing.UNLISTED
        if is_known:
            return Standing.LEFT_OUT
        return Standing.CONFIRMED if confirmed else Standing.WAITING

    standings = tuple((key, standing(key)) for key in offered)
    return Judgement(standings, _refusal(standings, name, file))


def _refusal(standings: Sequence[tuple[PublicKey, Standing]], name: str, file: str) -> Refused | None:
    found = {standing for _key, standing in standings}

    def shown(wanted: Standing) -> str:
        return ", ".join(f"{key.fingerprint} ({key.type})" for key, standing in standings if standing is wanted)

    if Standing.REVOKED in found:
        remedy = "keep away from it until you know why; nothing was sent to it"
        return Refused("host key", f"revoked: {shown(Standing.REVOKED)}", "a key that known_hosts does not mark @revoked", remedy)
    if Standing.CHANGED in found:
        return Refused(
            "host key",
            f"changed: {shown(Standing.CHANGED)}",
            f"the key that known_hosts has for {name}",
            f"if it was installed anew, compare ({_ON_ITS_CONSOLE}), then ssh-keygen -f {file} -R '{name}' and run this again;"
            " if not, something else answers at its address",
        )
    if found & set(ACCEPTED):
        return None
    if Standing.UNLISTED in found:
        return Refused(
            "host key",
            f"not in the list: {shown(Standing.UNLISTED)}",
            "one of enrol_fingerprints or enrol_fingerprints_file",
            f"compare ({_ON_ITS_CONSOLE}), then add it",
        )
    return Refused(
        "host key",
        f"not accepted: {shown(Standing.WAITING)}",
        "a key that the operator accepted",
        f"compare ({_ON_ITS_CONSOLE}), then set enrol_fingerprints to a list of them, or answer yes at the prompt on a terminal",
    )


def table(rows: Sequence[tuple[str, str, Judgement]]) -> list[str]:
    """Lines of host, name in known_hosts, type, fingerprint and standing, in columns."""
    cells = [("host", "name", "type", "fingerprint", "")]
    cells += [
        (host, name, key.type, key.fingerprint, standing.value) for host, name, judgement in rows for key, standing in judgement.standings
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
