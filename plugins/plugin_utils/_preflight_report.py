# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What preflight found, for people and for programs: lines, a table, and one document."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically

from ._judgement import Judgement, Severity, listed
from ._preflight import Verdict

FINE, TOLD, STOPPED = 0, 1, 2
HOSTS_SHOWN = 6
CONTROLLER = "localhost"
PROCESS, ANY_PROCESS = re.compile(r"\bpid [0-9]+"), "pid differs"
WIDTH = 140
HOSTS_WIDTH = 48  # longer lists of hosts have a line of their own
# Worst first; the last two are no faults of what is there now.
ERROR, WARNING, TO_DO = "ERROR", "warning", "to do"
ORDER = (ERROR, WARNING, TO_DO)
NOT_HERE = "not in the lab"


def kind(judgement: Judgement, before: str) -> str:
    """What a fault is just before a stage: :data:`ERROR`, :data:`WARNING` or :data:`TO_DO`."""
    if judgement.is_to_do(before):
        return TO_DO
    return ERROR if judgement.severity is Severity.ERROR else WARNING


def folded(judgements: Iterable[Judgement]) -> list[Finding]:
    """One finding for each distinct fault, in their order, hosts that share it joined: many hosts with one fault are one line.

    Faults that differ only in the numbers of processes are one: a program has another number on every host.
    """
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for judgement in judgements:
        key = tuple(PROCESS.sub(ANY_PROCESS, field) for field in judgement.finding[1:])
        alike.setdefault(key, []).append(judgement.finding)
    return [
        Finding(listed([one.host for one in findings], HOSTS_SHOWN), *(findings[0][1:] if len(set(_said(findings))) == 1 else general))
        for general, findings in alike.items()
    ]


def _said(findings: Iterable[Finding]) -> list[tuple[str, ...]]:
    return [tuple(finding[1:]) for finding in findings]


def fold(judgements: Iterable[Judgement]) -> list[str]:
    """The folded findings as lines."""
    return [str(finding) for finding in folded(judgements)]


def exit_code(judgements: Iterable[Judgement], before: str) -> int:
    """:data:`STOPPED` where something stands in the way of a stage, :data:`TOLD` where there are only warnings and things to do."""
    kinds = {kind(one, before) for one in judgements}
    return STOPPED if ERROR in kinds else TOLD if kinds else FINE


def table(verdict: Verdict, before: str) -> list[str]:
    """The lines for a terminal: what was looked at, then the faults in rows, the worst first."""
    rows = [
        (severity, finding) for severity in ORDER for finding in folded(one for one in verdict.judgements if kind(one, before) == severity)
    ]
    lines = [summary(verdict, before, [severity for severity, _finding in rows])]
    severities = max((len(severity) for severity, _finding in rows), default=0)
    hosts = min(max((len(finding.host) for _severity, finding in rows), default=0), HOSTS_WIDTH)
    indent = " " * (severities + hosts + 6)
    for severity, finding in rows:
        head = f"  {severity:{severities}}  {finding.host:{hosts}}  "
        if len(finding.host) > hosts:
            lines.append(head.rstrip())
            head = indent
        lines += _wrapped(f"{finding.check}: {finding.observed}; expected {finding.expected}", head, indent)
        lines += _wrapped(finding.remedy, indent + "-> ", indent + "   ")
    return lines


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False)


def summary(verdict: Verdict, before: str, rows: Sequence[str]) -> str:
    """The first line: how many of what. ``passed`` and ``not read`` count checks, the others causes."""
    unread = {check for check, _why in verdict.unread} - verdict.passed.keys() - {one.check for one in verdict.judgements}
    passed = verdict.passed.keys() - {one.check for one in verdict.judgements}
    counts = [
        (rows.count(ERROR), "error", "errors"),
        (rows.count(WARNING), "warning", "warnings"),
        (rows.count(TO_DO), TO_DO, TO_DO),
        (len(passed), "check passed", "checks passed"),
        (len(unread), "not read", "not read"),
        (len(verdict.not_here), NOT_HERE, NOT_HERE),
    ]
    shown = [f"{number} {one if number == 1 else many}" for number, one, many in counts if number]
    hosts = len({host for passed in verdict.passed.values() for host in passed} - {CONTROLLER})
    names = f" ({', '.join(verdict.not_here)})" if verdict.not_here else ""
    return f"before {before}, {hosts} hosts: {', '.join(shown)}{names}"


def document(verdict: Verdict, before: str) -> dict[str, Any]:
    """The result as plain data: ``{"ok", "exit_code", "before", "checks", "passed", "not_read", "not_in_the_lab"}``.

    ``checks`` has one record for each fault on each host, the worst first. A check is in ``passed`` with the hosts where it found
    nothing, in ``not_read`` with those where it could not look and the reason. ``ok`` is whether nothing stands in the way.
    """
    faults = sorted(verdict.judgements, key=lambda one: ORDER.index(kind(one, before)))
    code = exit_code(faults, before)
    return {
        "ok": code != STOPPED,
        "exit_code": code,
        "before": before,
        "checks": [one.as_dict(before) for one in faults],
        "passed": [{"check": check, "count": len(hosts), "hosts": hosts} for check, hosts in verdict.passed.items()],
        "not_read": [{"check": check, "why": why, "hosts": hosts} for (check, why), hosts in verdict.unread.items()],
        "not_in_the_lab": list(verdict.not_here),
    }


def joined(document: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two results before the same stage as one: what the hosts are, and what they say of each other."""
    order = [one.lower() for one in ORDER]
    return {
        "ok": document["ok"] and more["ok"],
        "exit_code": max(document["exit_code"], more["exit_code"]),
        "before": more["before"],
        "checks": sorted([*document["checks"], *more["checks"]], key=lambda one: order.index(one["status"])),
        **{key: [*document[key], *more[key]] for key in ("passed", "not_read", "not_in_the_lab")},
    }


def write(path: str, document: Mapping[str, Any]) -> None:
    """Put the result into a file on the controller, all or nothing.

    :raises AnsibleActionFail: with one line, when it cannot be written.
    """
    try:
        write_atomically(str(Path(path).absolute()), json.dumps(document, indent=1) + "\n")
    except OSError as error:
        finding = Finding("localhost", "preflight_report_file", f"{path}: {error.strerror}", "a file that can be written", "mend the path")
        raise AnsibleActionFail(str(finding)) from None
