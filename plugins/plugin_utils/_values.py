# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Values that remember where they come from, and the problems that keep a plan from being made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from ..module_utils._finding import Finding


class Origin(StrEnum):
    """Who decided a value."""

    INVENTORY = "inventory"
    PROFILE = "profile"
    OURS = "ours"
    TOPOLOGY = "topology"


@dataclass(frozen=True, slots=True)
class Value:
    """One environment variable.

    :ivar value: exactly what the process sees.
    :ivar reason: the inventory's variable, the profile's source, or why we add it.
    """

    name: str
    value: str
    origin: Origin
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "value": self.value, "origin": str(self.origin), "reason": self.reason}


class Gravity(IntEnum):
    """How much of the plan a problem spoils; the worst is reported first."""

    NOTHING_TO_PLAN = 0
    WHOLE_CLUSTER = 1
    ONE_HOST = 2
    ONE_VALUE = 3


class PlanError(Exception):
    """The inventory cannot be planned.

    :ivar findings: every problem that was found, the worst first.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


@dataclass(slots=True)
class Problems:
    """Collects what is wrong, so that an operator mends an inventory once and not line by line.

    :ivar unreadable: fields of the request whose value is not known; nothing is concluded from their defaults.
    """

    unreadable: set[str] = field(default_factory=set)
    _found: list[tuple[Gravity, Finding]] = field(default_factory=list)

    def add(self, gravity: Gravity, host: str, check: str, observed: object, expected: str, remedy: str) -> None:
        self._found.append((gravity, Finding(host, check, observed, expected, remedy)))

    def __bool__(self) -> bool:
        return bool(self._found)

    def findings(self) -> tuple[Finding, ...]:
        """The worst first, otherwise in the order they were found; the same problem of several hosts is one finding."""
        hosts: dict[tuple[str, ...], list[str]] = {}
        for _gravity, finding in sorted(self._found, key=lambda entry: entry[0]):
            hosts.setdefault(finding[1:], []).append(finding.host)
        return tuple(Finding(_together(list(dict.fromkeys(names))), *what) for what, names in hosts.items())

    def raise_any(self) -> None:
        if self:
            raise PlanError(self.findings())


def _together(hosts: list[str]) -> str:
    return ", ".join(hosts) if len(hosts) <= 4 else f"{hosts[0]} and {len(hosts) - 1} more hosts"
