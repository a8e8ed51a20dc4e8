# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Preflight: all checks, run on the plan and the hosts' facts. A pure function; no host is asked anything here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding

from . import (
    _pairs,
    _preflight_accelerator,
    _preflight_cluster,
    _preflight_container,
    _preflight_host,
    _preflight_network,
    _preflight_profile,
    _preflight_topology,
)
from ._judgement import OLDEST_PYTHON, Check, ClusterCheck, Data, Fault, Judgement, Needs, View, judged

REACHABLE, FACTS = "reachable", "facts"
OTHER_KEY = "its host key is not the known one"  # what makes a host unreachable that answers
# Looked at on the controller, by the action, not on a host.
SOURCES = ("weights_source", "image_archive", "image_registry_ca")
MODULES = {"host": "host_info", "network": "network_info", "accelerator": "accelerator_info"}
NOT_HERE_AT_MOST = 5

CHECKS = (
    *_preflight_host.CHECKS,
    *_preflight_network.CHECKS,
    *_preflight_accelerator.CHECKS,
    *_preflight_topology.CHECKS,
    *_preflight_container.CHECKS,
)
CLUSTER_CHECKS = _preflight_cluster.CHECKS


@dataclass
class Verdict:
    """What all checks said.

    :ivar judgements: the faults, in the order of the checks.
    :ivar passed: the hosts that a check found nothing on, by the check's name; a check of the whole cluster has them all.
    :ivar unread: the hosts that a check could not look at, by its name and the reason.
    :ivar serving: the hosts on which a container of the cluster runs.
    :ivar not_here: the names of checks that were left out because this machine cannot satisfy them.
    """

    judgements: list[Judgement] = field(default_factory=list)
    passed: dict[str, list[str]] = field(default_factory=dict)
    unread: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    serving: list[str] = field(default_factory=list)
    not_here: tuple[str, ...] = ()

    def take(self, check: str, host: str, faults: Iterable[Judgement], reasons: Iterable[str]) -> None:
        """Note what a check said about a host."""
        faults, reasons = list(faults), list(reasons)
        self.judgements += faults
        for why in reasons:
            self.unread.setdefault((check, why), []).append(host)
        if not faults and not reasons:
            self.passed.setdefault(check, []).append(host)


def names(plan: Data) -> tuple[str, ...]:
    """Every check's name, those of the plan's profile included."""
    on_hosts = [check.name for check in (*CHECKS, *_preflight_profile.checks(plan))]
    return (*SOURCES, REACHABLE, FACTS, *on_hosts, *(check.name for check in CLUSTER_CHECKS))


def scopes(plan: Data) -> dict[str, str]:
    """Where each check looks, by its name: at a host, its container engine and containers, pairs of hosts, the whole cluster or the controller."""
    found = {check.name: "host" for check in (*CHECKS, *_preflight_profile.checks(plan))}
    found.update({check.name: "container" for check in _preflight_container.CHECKS})
    found.update({check.name: "cluster" for check in CLUSTER_CHECKS})
    found.update(dict.fromkeys(_pairs.CHECKS, "pair"))
    return {**found, **dict.fromkeys(SOURCES, "controller"), REACHABLE: "host", FACTS: "host"}


def stated(plan: Data) -> dict[str, Check | ClusterCheck]:
    """The checks that look at facts of hosts, by name."""
    found: dict[str, Check | ClusterCheck] = {check.name: check for check in (*CHECKS, *_preflight_profile.checks(plan))}
    return {**found, **{check.name: check for check in CLUSTER_CHECKS}}


def unfit_exceptions(plan: Data, not_here: Iterable[str]) -> list[Judgement]:
    """What is wrong with the list of checks that are left out."""
    wanted, known = list(not_here), names(plan)
    found = []
    if unknown := [name for name in wanted if name not in known or name in (REACHABLE, FACTS)]:
        found.append((", ".join(unknown), "names of checks, as a report shows them", "mend preflight_not_here"))
    if len(wanted) > NOT_HERE_AT_MOST:
        found.append((f"{len(wanted)} names", f"at most {NOT_HERE_AT_MOST}", "mend the hosts instead of leaving so much out"))
    return [Judgement("preflight_not_here", Finding("localhost", "preflight_not_here", *one)) for one in found]


def judge(plan: Data, facts: Mapping[str, Data], needs: Needs, asked_until: float, not_here: Iterable[str] = ()) -> Verdict:
    """What all checks say, host by host in the order of the plan.

    ``facts`` has for each host that was asked ``{"host": ..., "network": ..., "accelerator": ...}`` as the info modules returned them,
    ``None`` for one that was not asked and ``{"failed": reason}`` for one that failed; or ``{"unreachable": reason}``.
    ``asked_until`` is the controller's clock after the last host answered.
    """
    verdict = Verdict(not_here=tuple(not_here))
    views = {}
    for host in plan["hosts"]:
        name = host["name"]
        if name not in facts:  # left out by --limit
            continue
        silence = _silence(name, facts[name])
        verdict.take(REACHABLE, name, [one for one in silence if one.check == REACHABLE], ())
        if "unreachable" not in facts[name]:
            verdict.take(FACTS, name, [one for one in silence if one.check == FACTS], ())
        if not silence:
            answers = facts[name]
            views[name] = View(plan, host, answers["host"], needs, answers.get("network"), answers.get("accelerator"), asked_until)
    verdict.serving += [name for name, view in views.items() if view.serves]
    for check in (*CHECKS, *_preflight_profile.checks(plan)):
        if check.name not in verdict.not_here:
            for name, view in views.items():
                said = list(check.look(view))
                faults = [judged(check, name, one) for one in said if isinstance(one, Fault)]
                verdict.take(check.name, name, faults, [one.why for one in said if not isinstance(one, Fault)])
    for comparison in CLUSTER_CHECKS:
        if comparison.name not in verdict.not_here and views:
            told = list(comparison.look(views))
            for name in views:
                about = [one for host, one in told if host == name]
                faults = [judged(comparison, name, one) for one in about if isinstance(one, Fault)]
                verdict.take(comparison.name, name, faults, [one.why for one in about if not isinstance(one, Fault)])
    return verdict


def _silence(host: str, answers: Data) -> list[Judgement]:
    """Why nothing can be said of a host that did not answer all questions."""
    if "unreachable" in answers:
        remedy = "bring the host up or mend its address, then run the same command again; no host was changed"
        if OTHER_KEY in answers["unreachable"]:
            remedy = (
                "if the host was not installed anew, somebody else answers; if it was, take its line out of known_hosts by ssh-keygen -R, and"
                " run enrol.yml; no host was changed"
            )
        finding = Finding(host, REACHABLE, answers["unreachable"], "a login over ssh", remedy)
        return [Judgement(REACHABLE, finding, evidence="ssh")]
    remedy = "install python3, set ansible_python_interpreter for this host, or let ansible_user become root"
    expected = f"Python {OLDEST_PYTHON} or newer that runs as root"
    failures = {module: (answers.get(subject) or {}).get("failed") for subject, module in MODULES.items()}
    return [
        Judgement(FACTS, Finding(host, FACTS, failure, expected, remedy), evidence=f"the module {module}")
        for module, failure in failures.items()
        if failure is not None
    ]
