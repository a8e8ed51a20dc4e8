"""Faults made on one host of a simulated P800 cluster that is ready, and what preflight makes of them (tests/faults/preflight.yml)."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import p800
import yaml
from lab import Lab

TABLE = Path(__file__).resolve().parents[1] / "faults" / "preflight.yml"
HEALTHY_RUNS = 20  # that have to be without a word
EXIT_CODES = {"error": 2, "warning": 1}
CABLE_MTU = 1500  # of the lab's networks


@dataclass(frozen=True)
class Fault:
    """One way in which a host keeps the cluster from serving; the table says what each key means."""

    name: str
    failures: Sequence[int]
    check: str
    observed: str
    remedy: str
    simulator: str = ""
    cable: str = ""
    cable_mtu: Mapping[str, Any] = field(default_factory=dict)
    make: str = ""
    mend: str = ""
    playbook: str = ""
    severity: str = "error"
    besides: Sequence[str] = ()
    named: int = 1

    @contextlib.contextmanager
    def made(self, lab: Lab, host: str) -> Iterator[None]:
        """The fault is there as long as the block lasts.

        :param host: the lab's name of it.
        """
        if self.simulator:
            begin, end = f"p800-simulator fault set {self.simulator}", "p800-simulator fault clear"
        else:
            begin, end = (addressed(line, lab.hosts, host) for line in (self.make, self.mend))
        with contextlib.ExitStack() as stack:
            if self.cable:
                stack.enter_context(lab.cut(host, self.cable))
            if self.cable_mtu:
                end_of_cable = lab.cable(host, self.cable_mtu["interface"])
                stack.callback(lab.inside, "ip", "link", "set", end_of_cable, "mtu", str(CABLE_MTU))
                lab.inside("ip", "link", "set", end_of_cable, "mtu", str(self.cable_mtu["mtu"]))
            if self.playbook:
                stack.callback(p800.settle, self.playbook)
            if begin:
                stack.callback(lab.execute, host, f"set -e; {end or 'true'}")
                lab.execute(host, f"set -e; {begin}")
            yield


def addressed(shell: str, hosts: Mapping[str, str], host: str) -> str:
    """A line of shell with the addresses that it speaks of."""
    peer = next(name for name in hosts if name != host)
    for word, name in (("ADDRESS", host), ("PEER", peer)):
        net, _control, own = hosts[name].rsplit(".", 2)
        shell = re.sub(rf"\b{word}[(](\d)[)]", rf"{net}.\1.{own}", shell)
    return shell


FAULTS = {entry["name"]: Fault(**entry) for entry in yaml.safe_load(TABLE.read_text())}


@dataclass(frozen=True)
class Outcome:
    """What preflight made of a fault.

    :ivar seen: its lines, or the end of its output where it judged nothing.
    """

    fault: Fault
    host: str
    found: bool
    right_host: bool
    right_cause: bool
    seconds: float
    seen: Sequence[str]

    @property
    def good(self) -> bool:
        return self.found and self.right_host and self.right_cause


def judge(fault: Fault, host: str, report: Mapping[str, Any], seconds: float, output: str) -> Outcome:
    """Hold what preflight said against what was made.

    The cause is right where a line of the fault's own check says what was made and what to do, and nothing else is said but what the
    table foresees.
    """
    checks = report.get("checks", [])
    mine = [one for one in checks if one["check"] == fault.check]
    blamed = {name for one in mine for name in one["host"].split(", ")}
    observed = fault.observed.replace("HOST", host)
    told = any(observed in one["text"] and fault.remedy.replace("HOST", host) in one["remedy"] for one in mine)
    foreseen = {fault.check, *fault.besides}
    beside_the_point = [one for one in checks if one["check"] not in foreseen or host not in one["host"].split(", ")]
    return Outcome(
        fault,
        host,
        found=bool(checks) and report["exit_code"] == EXIT_CODES[fault.severity],
        right_host=host in blamed and len(blamed) == fault.named,
        right_cause=told and not beside_the_point,
        seconds=round(seconds, 1),
        seen=[one["text"] for one in checks] or output.splitlines()[-20:],
    )


def inject(fault: Fault, lab: Lab, host: str) -> Outcome:
    """Make a fault, run preflight as the gate before serving, mend the fault.

    :param host: the example's name of it.
    """
    with fault.made(lab, p800.HOSTS[host]):
        report, seconds, ended = p800.preflight("serve")
    return judge(fault, host, report, seconds, ended.output)


def alarms() -> list[str]:
    """What preflight says of hosts on which nothing is wrong."""
    report, _seconds, ended = p800.preflight("serve")
    return [one["text"] for one in report["checks"]] if report else [ended.output]


def hosts_for(names: Iterable[str], seed: int) -> dict[str, str]:
    """The host of each fault, the same for the same seed whichever faults are asked for."""
    chosen = random.Random(seed)
    hosts = {name: chosen.choice(sorted(p800.HOSTS)) for name in FAULTS}
    return {name: hosts[name] for name in names}
