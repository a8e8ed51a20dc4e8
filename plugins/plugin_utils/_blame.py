# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which hosts a set of failed questions points at: the one that all failures have in common, before its peers."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from typing import NamedTuple

Pair = tuple[str, str]  # who asks, and who is asked


class Role(enum.Enum):
    """What the failures have in common."""

    ALL = "every pair fails"
    BOTH = "whatever goes to the host or comes from it"
    TARGET = "whatever the host is asked"
    ASKER = "whatever the host asks"
    PAIR = "no single host"


class Blame(NamedTuple):
    """One cause.

    :ivar hosts: who is named: one host, or for ``PAIR`` and ``ALL`` several, in alphabetical order.
    :ivar peers: with whom it fails; none for ``PAIR`` and ``ALL``.
    :ivar first: for ``PAIR``, how many of ``hosts`` are the one side.
    """

    hosts: tuple[str, ...]
    role: Role
    peers: tuple[str, ...] = ()
    first: int = 0

    def pairs(self, failing: Collection[Pair]) -> set[Pair]:
        """Those of the failures that this cause explains."""
        if self.role is Role.ALL:
            return set(failing)
        if self.role is Role.PAIR:
            one, other = set(self.hosts[: self.first]), set(self.hosts[self.first :])
            return {(a, b) for a, b in failing if (a in one and b in other) or (a in other and b in one)}
        return {pair for pair in _of(self.role, self.hosts[0], failing) if _other(pair, self.hosts[0]) in self.peers}


def blame(failing: Collection[Pair], asked: Collection[Pair]) -> list[Blame]:
    """The fewest causes that explain the failures, the largest first; the same failures give the same causes.

    A host is to blame when everything that was asked of it, or that it asked, failed with at least two others; of two hosts nobody can
    tell which one it is, and both are named.
    """
    left, known = set(failing), set(asked)
    if not left:
        return []
    names = sorted({name for pair in known for name in pair})
    if left == known and len(names) > 2 and not set.intersection(*map(set, known)):
        return [Blame(tuple(names), Role.ALL)]
    found = []
    for role in (Role.BOTH, Role.TARGET, Role.ASKER):
        while (one := _worst(role, names, left, known)) is not None:
            found.append(one)
            gone = _of(role, one.hosts[0], known)
            left -= gone
            known -= gone
    return found + list(_cuts(left))


def _of(role: Role, name: str, pairs: Collection[Pair]) -> set[Pair]:
    """The pairs in which a host has a role."""
    return {pair for pair in pairs if (role is not Role.ASKER and pair[1] == name) or (role is not Role.TARGET and pair[0] == name)}


def _worst(role: Role, names: Collection[str], left: Collection[Pair], known: Collection[Pair]) -> Blame | None:
    """The host with the most failures, all of whose questions in this role failed."""
    best: tuple[int, Blame] | None = None
    for name in names:
        own = _of(role, name, known)
        peers = tuple(sorted({_other(pair, name) for pair in own}))
        is_one_way = len({pair[0] == name for pair in own}) == 1
        if len(peers) < 2 or not own <= set(left) or (role is Role.BOTH and is_one_way):
            continue
        if best is None or len(own) > best[0]:
            best = len(own), Blame((name,), role, peers)
    return None if best is None else best[1]


def _cuts(left: Collection[Pair]) -> Iterator[Blame]:
    """What no single host explains: hosts that are cut off from the same others share a line."""
    peers: dict[str, set[str]] = {}
    for one, other in left:
        peers.setdefault(one, set()).add(other)
        peers.setdefault(other, set()).add(one)
    sides: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(peers):
        sides.setdefault(tuple(sorted(peers[name])), []).append(name)
    done: set[frozenset[str]] = set()
    for others, names in sides.items():
        edges = {frozenset((a, b)) for a in names for b in others}
        if not edges <= done:
            done |= edges
            yield Blame((*names, *others), Role.PAIR, first=len(names))


def _other(pair: Pair, name: str) -> str:
    return pair[1] if pair[0] == name else pair[0]
