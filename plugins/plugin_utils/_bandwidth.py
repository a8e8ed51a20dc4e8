# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Bandwidth between all hosts on every rail: who tests with what, which pairs are outliers, and what the ports' counters say of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ansible_collections.flagos.kunlunxin.plugins.module_utils._network_facts import PORT_COUNTERS
from ansible_collections.flagos.kunlunxin.plugins.module_utils._pair_bandwidth import IB_WRITE_BW, IPERF3, MORE_SECONDS, verbs_of

from ._blame import Blame, Pair, Role, blame
from ._judgement import Judgement
from ._pairs import BANDWIDTH, COUNTERS, judged, network_facts, rails_of, rounds

Data = Mapping[str, Any]
SHOWN = 6  # pairs in one line; the table has them all
# Of an interface, those that a sound network leaves as they are: what is dropped may be others' multicast.
INTERFACE_COUNTERS = ("rx_errors", "tx_errors")


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted.

    :ivar seconds: how long each test sends.
    :ivar ratio: an outlier has less than this part of what is expected.
    :ivar gbps: what is expected, in gigabits per second. With 0 it is the rate of the ports for RDMA, which reaches it, and the median
        of the rail for TCP, which depends on the hosts' processors.
    """

    seconds: int = 3
    ratio: float = 0.7
    gbps: float = 0.0


def measured_rails(plan: Data, host: Data, chosen: Sequence[str] = ()) -> list[str]:
    """The rails of a host; the control interface where it has no other."""
    return rails_of(plan, host, chosen)[1:] or [plan["control_interface"]]


def longest_seconds(hosts: int, rails: int, seconds: int) -> int:
    """How long all tests take at most: in a round every host is in one test."""
    return 2 * (hosts + 1) * rails * (seconds + MORE_SECONDS)


def tests(
    plan: Data, told: Mapping[str, Data], answers: Mapping[str, Sequence[Data]], request: Request, chosen: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The tests of each host, in the order of the rounds, rail by rail. What did not answer is not tested: it is a finding already."""
    facts = network_facts(plan, told, chosen)
    hosts = {host["name"]: host for host in plan["hosts"] if host["name"] in told}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in told}
    reached = {(name, one["peer"], one["rail"]) for name, all_of in answers.items() for one in all_of if "ok" in one["ports"].values()}
    for rail in dict.fromkeys(rail for host in hosts.values() for rail in measured_rails(plan, host, chosen)):
        for asker, peer in (pair for one in rounds(list(hosts)) for pair in one):
            own, other = (told[name]["listening"].get(rail, {}).get("any") for name in (asker, peer))
            tool = _tool(told, rail, asker, peer)
            if (asker, peer, rail) not in reached or tool is None or not own or not other:
                continue
            verbs = _verbs(told[asker], rail) if tool == IB_WRITE_BW else None
            found[asker].append(
                {
                    "peer": peer,
                    "rail": rail,
                    "tool": tool,
                    "source": str(facts.ways[asker][rail].address.ip),
                    "destination": str(facts.ways[peer][rail].address.ip),
                    "port": other,
                    "own_port": own,
                    "seconds": request.seconds,
                    **({key: verbs[key] for key in ("device", "device_port", "gid")} if verbs else {}),
                }
            )
    return found


def _verbs(told: Data, rail: str) -> Data | None:
    interface = told["network"]["interfaces"].get(rail)
    return verbs_of(interface, told["network"]["rdma"]) if interface else None


def _tool(told: Mapping[str, Data], rail: str, *pair: str) -> str | None:
    """RDMA's where both hosts can; else TCP's, if both have it."""
    if all(_verbs(told[name], rail) and IB_WRITE_BW in told[name]["tools"] for name in pair):
        return IB_WRITE_BW
    return IPERF3 if all(IPERF3 in told[name]["tools"] for name in pair) else None


Matrix = dict[str, dict[Pair, float | None]]  # by rail and pair, gigabits per second; None where it could not be measured


def matrix(measured: Mapping[str, Sequence[Data]]) -> Matrix:
    found: Matrix = {}
    for name, all_of in measured.items():
        for one in all_of:
            value = one["gbps"]
            found.setdefault(one["rail"], {})[name, one["peer"]] = value if value is not None and math.isfinite(value) else None
    return found


def table(figures: Matrix, hosts: Sequence[str]) -> list[str]:
    """Lines for people: for each rail, who sends in rows, who receives in columns, in gigabits per second.

    :param hosts: in the order of the rows.
    """
    lines = []
    for rail, values in figures.items():
        names = [name for name in hosts if any(name in pair for pair in values)]
        width = max(7, *map(len, names))
        lines.append(f"{rail}: Gbit/s from row to column")
        lines.append(" ".join([" " * width, *(name.rjust(width) for name in names)]))
        for one in names:
            cells = (_cell(values.get((one, other), None), one == other, (one, other) in values) for other in names)
            lines.append(" ".join([one.ljust(width), *(cell.rjust(width) for cell in cells)]))
    return lines


def _cell(value: float | None, is_itself: bool, is_measured: bool) -> str:
    if value is not None:
        return f"{value:.1f}"
    return "-" if is_itself else "failed" if is_measured else "none"


def judge(
    told: Mapping[str, Data], measured: Mapping[str, Sequence[Data]], after: Mapping[str, Data], request: Request, rails: Sequence[str]
) -> list[Judgement]:
    """Outliers, tests that gave no figure, hosts that cannot test, and counters that grew meanwhile.

    :param after: the network of each host after all tests.
    :param rails: those that were to be measured.
    """
    found = list(_without_tool(told, rails))
    for rail, values in matrix(measured).items():
        found += _failed(rail, values, measured)
        found += _outliers(rail, values, _expected(told, rail, values, measured, request), request)
    for name in told:
        if name in after:
            found += _counters(name, told[name]["network"], after[name], rails)
    return found


def _without_tool(told: Mapping[str, Data], rails: Sequence[str]) -> Iterator[Judgement]:
    for name, one in told.items():
        verbs = all(_verbs(one, rail) for rail in rails) and IB_WRITE_BW in one["tools"]
        if IPERF3 not in one["tools"] and not verbs:
            remedy = "install iperf3 on the host, or perftest where it has RDMA"
            yield judged(BANDWIDTH, name, "", "no iperf3", "iperf3, or ib_write_bw for RDMA", remedy)


def _expected(
    told: Mapping[str, Data], rail: str, values: Mapping[Pair, float | None], measured: Data, request: Request
) -> dict[Pair, float | None]:
    tools = {(name, one["peer"]): one["tool"] for name, all_of in measured.items() for one in all_of if one["rail"] == rail}
    figures = [value for value in values.values() if value is not None]
    middle = median(figures) if figures else None
    found: dict[Pair, float | None] = {}
    for pair in values:
        rates = [verbs["rate_gbps"] for name in pair if (verbs := _verbs(told[name], rail)) and verbs["rate_gbps"]]
        found[pair] = request.gbps or (min(rates) if tools[pair] == IB_WRITE_BW and len(rates) == 2 else middle)
    return found


def _failed(rail: str, values: Mapping[Pair, float | None], measured: Mapping[str, Sequence[Data]]) -> Iterator[Judgement]:
    errors = {(name, one["peer"]): one["error"] for name, all_of in measured.items() for one in all_of if one["rail"] == rail}
    failing = {pair for pair, value in values.items() if value is None}
    for one in blame(failing, set(values)):
        words = ", ".join(sorted({errors[pair] for pair in one.pairs(failing)} - {""})) or "no figure"
        observed = f"no test {_with(one)} gives a figure ({words})"
        yield judged(
            BANDWIDTH,
            ", ".join(one.hosts),
            rail,
            observed,
            "a figure for each",
            "run iperf3 or ib_write_bw between the two by hand, and mend what it says",
        )


def _outliers(
    rail: str, values: Mapping[Pair, float | None], expected: Mapping[Pair, float | None], request: Request
) -> Iterator[Judgement]:
    least = {pair: request.ratio * wanted for pair, wanted in expected.items() if wanted is not None}
    failing = {pair for pair, value in values.items() if value is not None and pair in least and not value >= least[pair]}
    causes = blame(failing, {pair for pair, value in values.items() if value is not None})
    single = [pair for one in causes if one.role is Role.PAIR for pair in one.pairs(failing)]
    grouped = [(one.hosts, one.pairs(failing), _with(one)) for one in causes if one.role is not Role.PAIR]
    if single:
        slowest = sorted(dict.fromkeys(single), key=lambda pair: (values[pair] or 0.0, pair))
        named = [f"{sender} to {receiver}" for sender, receiver in slowest[:SHOWN]]
        more = f" and {len(slowest) - SHOWN} more" if len(slowest) > SHOWN else ""
        grouped.append((tuple(sorted({name for pair in slowest for name in pair})), set(slowest), f"from {', '.join(named)}{more}"))
    for hosts, pairs, between in grouped:
        figures = [value for pair in pairs if (value := values[pair]) is not None]
        span = f"{min(figures):.1f}" if min(figures) == max(figures) else f"{min(figures):.1f} to {max(figures):.1f}"
        wanted = f"{max(least[pair] for pair in pairs):.1f} Gbit/s or more"
        remedy = "look at the link's speed and errors (ethtool -S), the PCIe link of the card (lspci -vv), and PFC and ECN of the switch"
        yield judged(BANDWIDTH, ", ".join(hosts), rail, f"{span} Gbit/s {between}", wanted, remedy)


def _with(one: Blame) -> str:
    peers = ", ".join(one.peers)
    if one.role is Role.ALL:
        return "between any two hosts"
    if one.role is Role.PAIR:
        return f"between {', '.join(one.hosts[: one.first])} and {', '.join(one.hosts[one.first :])}"
    return {Role.BOTH: f"from and to {peers}", Role.TARGET: f"from {peers}", Role.ASKER: f"to {peers}"}[one.role]


def _counters(name: str, before: Data, after: Data, rails: Sequence[str]) -> Iterator[Judgement]:
    """What counts loss and errors must not have grown; what a host did not say before or after is not judged."""
    grown = []
    for rail in rails:
        was, now = _counted(before, rail), _counted(after, rail)
        grown += [f"{counter} of {rail} by {now[counter] - was[counter]}" for counter in was if now.get(counter, 0) > was[counter]]
    if grown:
        remedy = "look for PFC and ECN that do not fit the switch's (mlnx_qos -i NAME), and for a bad cable (ethtool -S NAME)"
        observed, expected = f"grew under load: {', '.join(grown)}", "no loss, no error and no congestion"
        yield judged(COUNTERS, name, "", observed, expected, remedy)


def _counted(network: Data, rail: str) -> dict[str, int]:
    """The counters of an interface and of its RDMA ports that the host told, by name."""
    interface = network["interfaces"].get(rail)
    if interface is None:
        return {}
    found = {name: interface["counters"].get(name) for name in INTERFACE_COUNTERS}
    device = network["rdma"].get(interface["rdma"] or "", {"ports": {}})
    for number, port in device["ports"].items():
        found.update({f"{name} (port {number})": port["counters"].get(name) for name in PORT_COUNTERS})
    return {name: value for name, value in found.items() if value is not None}
