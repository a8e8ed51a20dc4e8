# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a check is, what it sees, and what it says: the terms that all checks of preflight share.

Every fault names the stage that establishes what was looked at, or none when no stage can mend it. Run before a stage, a fault stops the
run when nothing that is still to come would mend it; otherwise its subject is "to do".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import LABEL_CLUSTER

STAGES = ("host", "rdma", "driver", "container_engine", "image", "weights", "serve", "verify")
OLDEST_PYTHON = "3.8"

Data = Mapping[str, Any]


class Severity(StrEnum):
    """How bad a fault is: an error stops the run, a warning is told."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Needs:
    """What the stages to come need of every host, as far as it is known before they run.

    Sizes are in bytes; ``image_bytes`` is 0 where it is not known here: the image is then taken for ``image_unpack_factor`` times
    its size in the registry. ``image_source`` is the reference or the archive that the image comes from. ``weights_root`` is the
    identity of the weights, empty while nobody has read them. An archive that is sent lies on the host as ``archive_copy`` until
    it is loaded.

    :ivar before: the stage about to run.
    :ivar limits: what logins and services may have at least: ``{"memlock": bytes or "infinity", "nofile": count or "infinity"}``.
    :ivar driver_version: the version that the cluster is pinned to; empty where the hosts are only compared with each other.
    :ivar firmware: the least version of parts of the firmware, by the part's name.
    :ivar rdma_rate_gbps: what every RDMA port must have; 0 where the hosts are only compared with each other.
    :ivar wiring: how each host is wired, as it was recorded; empty where nobody has recorded it.
    :ivar idle_bytes: how much of a device's memory may be used while nobody holds it.
    """

    before: str = STAGES[0]
    shm_bytes: int = 0
    weights_bytes: int = 0
    weights_root: str = ""
    image_source: str = ""
    image_bytes: int = 0
    image_unpack_factor: float = 0.0
    archive_copy: str = ""
    archive_bytes: int = 0
    disk_margin_bytes: int = 0
    oldest_engine: str = "20.10"
    clock_tolerance_seconds: float = 30.0
    clock_spread_seconds: float = 1.0
    limits: Mapping[str, int | str] = field(default_factory=dict)
    driver_version: str = ""
    firmware: Mapping[str, str] = field(default_factory=dict)
    rdma_rate_gbps: float = 0.0
    wiring: Mapping[str, Data] = field(default_factory=dict)
    idle_bytes: int = 1 << 30

    def still_to_come(self, stage: str) -> bool:
        """Whether the stage is the one about to run, or a later one."""
        return STAGES.index(stage) >= STAGES.index(self.before)


@dataclass(frozen=True)
class View:
    """What a check sees of one host.

    :ivar host: the host's part of the plan.
    :ivar facts: what the module host_info returned as ``host``.
    :ivar network: what network_info returned as ``network``; ``None`` where it was not asked.
    :ivar accelerator: what accelerator_info returned as ``accelerator``; ``None`` where it was not asked.
    :ivar asked_until: the controller's clock after the last host answered.
    """

    plan: Data
    host: Data
    facts: Data
    needs: Needs
    network: Data | None = None
    accelerator: Data | None = None
    asked_until: float = 0.0

    def is_ours(self, container: Data | None) -> bool:
        """Whether a container, as a fact names it, is one of this cluster's."""
        return container is not None and container["labels"].get(LABEL_CLUSTER) == self.plan["name"]

    @property
    def serves(self) -> bool:
        """Whether a container of this cluster runs on the host."""
        return any(one["running"] and self.is_ours(one) for one in self.facts["engine"]["containers"])


class Fault(NamedTuple):
    """What a check found.

    :ivar stage: the stage that mends it; ``None`` when no stage does.
    :ivar evidence: where it was read and what stood there; empty where the check's own source says enough.
    :ivar about: what the check's name is about, where it looks at several things.
    """

    observed: str
    expected: str
    remedy: str
    stage: str | None = None
    severity: Severity = Severity.ERROR
    evidence: str = ""
    about: str = ""


class Unread(NamedTuple):
    """A check could not look; this is neither a fault nor a pass."""

    why: str


Said = Fault | Unread


@dataclass(frozen=True)
class Check:
    """One thing that is looked at on each host.

    :ivar name: is stable, and what reports and ``preflight_not_here`` call it.
    :ivar source: where it is read.
    :ivar look: gives what is wrong; nothing where all is well.
    :ivar establishes: the stages that establish what is looked at; none where only people can.
    :ivar severity: the worst that it says.
    """

    name: str
    source: str
    look: Callable[[View], Iterator[Said]]
    establishes: tuple[str, ...]
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class ClusterCheck:
    """One thing in which the hosts are held against each other; ``look`` gives each host's name with what it says of it."""

    name: str
    source: str
    look: Callable[[Mapping[str, View]], Iterator[tuple[str, Said]]]
    establishes: tuple[str, ...]
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class Judgement:
    """A fault on a host.

    :ivar check: the name of the check. ``finding.check`` may say more, such as which registry.
    """

    check: str
    finding: Finding
    stage: str | None = None
    severity: Severity = Severity.ERROR
    evidence: str = ""

    def is_to_do(self, before: str) -> bool:
        """Whether ``before`` or a stage after it will mend it."""
        return self.stage is not None and STAGES.index(self.stage) >= STAGES.index(before)

    def fails_before(self, before: str) -> bool:
        """Whether this stops the run just before a stage."""
        return self.severity is Severity.ERROR and not self.is_to_do(before)

    def as_dict(self, before: str) -> dict[str, Any]:
        """The record as plain data; ``check`` is the check's stable name."""
        status = "to do" if self.is_to_do(before) else str(self.severity)
        record = dict(self.finding.as_dict(), check=self.check, severity=str(self.severity), stage=self.stage)
        return {**record, "evidence": self.evidence, "status": status}


def judged(check: Check | ClusterCheck, host: str, fault: Fault) -> Judgement:
    """A check's fault, with the host it was found on.

    :raises ValueError: when the fault says more than its check states: another stage, or a severity that is worse.
    """
    if fault.stage not in (None, *check.establishes) or (check.severity, fault.severity) == (Severity.WARNING, Severity.ERROR):
        raise ValueError(f"{check.name} states {check.establishes}, {check.severity} and says {fault.stage}, {fault.severity}")
    name = f"{check.name} {fault.about}" if fault.about else check.name
    finding = Finding(host, name, fault.observed, fault.expected, fault.remedy)
    return Judgement(check.name, finding, fault.stage, fault.severity, fault.evidence or check.source)


def odd_ones_out(values: Mapping[str, Any]) -> tuple[Any, str, list[str]]:
    """What most hosts have, the first host that has it, and the hosts that have something else.

    Of two equally frequent values the one of the earlier host counts, so that the same facts always blame the same hosts.
    """
    hosts = list(values)
    usual = max(values.values(), key=lambda one: (sum(other == one for other in values.values()), -_first(values, one)))
    return usual, hosts[_first(values, usual)], [host for host in hosts if values[host] != usual]


def _first(values: Mapping[str, Any], value: Any) -> int:
    return next(place for place, one in enumerate(values.values()) if one == value)


def listed(names: Any, most: int = 8) -> str:
    """Names in one phrase, the rest counted where there are many."""
    found = [str(name) for name in names]
    return ", ".join(found) if len(found) <= most else f"{', '.join(found[:most])} and {len(found) - most} more"
