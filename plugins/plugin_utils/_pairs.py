# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Pairs of hosts: who asks whom on which rail, and what the answers say. Pure functions of the plan and of what the hosts told.

A rail is an interface of the same name on every host; the control interface is asked like one, and there every port of the job, too.
What the facts of the network explain is not asked: an interface that is down is one line about its host, not a line of each peer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, NamedTuple

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._network_facts import first_address

from ._blame import Blame, Pair, Role, blame
from ._judgement import Judgement
from ._ports import RAY

Data = Mapping[str, Any]

# The checks of pairs of hosts, by the names that their lines begin with.
RAIL, ADDRESSES, POLICY, BANDWIDTH, COUNTERS, PAIRS = "rail", "addresses", "policy routing", "bandwidth", "bandwidth counters", "pairs"
CHECKS = (RAIL, ADDRESSES, POLICY, BANDWIDTH, COUNTERS, PAIRS)

FILTERS = "iptables -S, nft list ruleset"  # what shows a host's filters
RDMA = "rdma"  # the stage that settles MTU and policy routing of the rails; it never touches the control interface
# Only the first host's: its dashboard and client server. The range is the workers', on every host.
RAY_HEAD_PORTS = (8265, 10001)
SAMPLE_ROOM = 64  # ports from a sample on, one of which is taken where the sample is held
ANY_PORT = ("any", "of the system's choice")
ASK_SECONDS = 22  # of one host, at worst
SPREAD = 20  # seconds between the start of the first and the last host of one batch of forks
STRICT = 1  # rp_filter: drops what came in by another interface than the answer would leave by
ANSWERS_FOR_ALL = 0  # arp_ignore: any interface answers for any of the host's addresses


def judged(check: str, host: str, about: str, observed: str, expected: str, remedy: str, stage: str | None = None) -> Judgement:
    """A judgement of one of the checks; ``about`` says of which rails."""
    return Judgement(check, Finding(host, f"{check} {about}", observed, expected, remedy), stage)


@dataclass(frozen=True, slots=True)
class Way:
    """One host's end of a rail: its address there, and the largest packet of the rail as most hosts have it."""

    rail: str
    address: IPv4Interface | IPv6Interface
    mtu: int


class Asked(NamedTuple):
    """One answer: who asked whom, and what came back."""

    asker: str
    peer: str
    answer: Data


@dataclass(slots=True)
class Facts:
    """What is known before anyone asks.

    :ivar ways: by host and rail, those that can be asked.
    :ivar small: hosts and rails whose MTU is less than what most hosts have: no large packet will arrive there.
    """

    ways: dict[str, dict[str, Way]] = field(default_factory=dict)
    small: set[tuple[str, str]] = field(default_factory=set)

    said: dict[tuple[str, str, str, str, str, str | None], list[str]] = field(default_factory=dict)

    def say(self, check: str, host: str, about: str, observed: str, expected: str, remedy: str, stage: str | None = None) -> None:
        """What is said alike of several rails of a host is one judgement."""
        self.said.setdefault((check, host, observed, expected, remedy, stage), []).append(about)

    def judgements(self) -> Iterator[Judgement]:
        for (check, host, observed, expected, remedy, stage), about in self.said.items():
            yield judged(check, host, _listed(about), observed, expected, remedy, stage)


def rails_of(plan: Data, host: Data, chosen: Sequence[str] = ()) -> list[str]:
    """The interfaces of a host over which the others are asked, the control interface first.

    :param chosen: rails instead of the plan's.
    """
    return list(dict.fromkeys([plan["control_interface"], *(chosen or host["nics"])]))


def ports_of(plan: Data, host: Data) -> dict[int, str]:
    """The ports of fixed numbers on which this host's part of the job listens, and what for."""
    on_head = host["name"] == plan["head"]["name"]
    found = {port: purpose for purpose, port in plan["ports"].items() if purpose == "container_ssh" or on_head}
    found.update({low: purpose for low, high, purpose in RAY if low == high and (on_head or low not in RAY_HEAD_PORTS)})
    return found


def sampled_ports() -> dict[int, str]:
    """Samples of the ranges of ports: a firewall opens a range as a whole, or only its first ports."""
    ranges = [(low, high, purpose) for low, high, purpose in RAY if low < high]
    return {port: f"{purpose}, {low} to {high}" for low, high, purpose in ranges for port in (low, (low + high) // 2, high - SAMPLE_ROOM)}


def listen_options(
    plan: Data, name: str, among: Sequence[str], chosen: Sequence[str] = (), forks: int = 1, more_seconds: float = 0
) -> dict[str, Any]:
    """The options with which a host listens, for the module pair_probe_info.

    :param among: the hosts that take part.
    :param more_seconds: how long tests of bandwidth take.
    :param forks: how many hosts take their turn at once; what is left waits, and listeners wait for the last one.
    """
    host = next(one for one in plan["hosts"] if one["name"] == name)
    return {
        "interfaces": rails_of(plan, host, chosen),
        "address": host["address"],
        "ports": sorted(ports_of(plan, host)),
        "nearby_ports": sorted(sampled_ports()),
        "awaited": [one for one in among if one != name],
        "seconds": more_seconds + SPREAD + math.ceil(len(among) / max(1, forks)) * ASK_SECONDS,
    }


def rounds(names: Sequence[str]) -> list[list[tuple[str, str]]]:
    """All ordered pairs, each once, in rounds in which no host appears twice.

    The circle method: one host stands still, the others go round it. Each match is played both ways, in two rounds.
    """
    circle: list[str | None] = [*names, *([None] if len(names) % 2 else [])]
    found = []
    for _turn in range(len(circle) - 1):
        pairs = zip(circle[: len(circle) // 2], reversed(circle[len(circle) // 2 :]), strict=True)
        matches = [(one, other) for one, other in pairs if one is not None and other is not None]
        found += [matches, [(other, one) for one, other in matches]]
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return [one for one in found if one]


def schedule(plan: Data, told: Mapping[str, Data], chosen: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """The questions of each host, in an order in which no host is asked by all the others at once.

    :param told: by host, what the module returned as ``network``, ``run`` and ``listening``; hosts that did not answer are left out.
    """
    ways = network_facts(plan, told, chosen).ways
    questions: dict[str, list[dict[str, Any]]] = {name: [] for name in told}
    for pairs in rounds([host["name"] for host in plan["hosts"] if host["name"] in told]):
        for asker, peer in pairs:
            shared = [rail for rail in ways[asker] if rail in ways[peer]]
            listening = told[peer]["listening"]
            questions[asker].append(
                {
                    "peer": peer,
                    "run": told[peer]["run"],
                    "done": [[str(ways[peer][rail].address.ip), listening[rail]["any"]] for rail in shared if listening[rail]["any"]],
                    "ways": [_question(ways[asker][rail], ways[peer][rail], listening[rail]) for rail in shared],
                }
            )
    return questions


def farewells(questions: Mapping[str, Sequence[Data]], answers: Mapping[str, Sequence[Data]]) -> dict[str, list[dict[str, Any]]]:
    """The questions without their ports and without the ways on which nobody answered: only to say that nothing follows."""
    found = {}
    for name, asked in questions.items():
        reached = {(one["peer"], one["rail"]) for one in answers.get(name, ()) if "ok" in one["ports"].values()}
        found[name] = [
            {**one, "ways": [{**way, "ports": []} for way in one["ways"] if (one["peer"], way["rail"]) in reached]} for one in asked
        ]
    return found


def _question(own: Way, other: Way, listening: Data) -> dict[str, Any]:
    """A port on which nothing can answer is not asked; what keeps the host from listening is a finding of its own."""
    ports = sorted((int(port), state) for port, state in listening["ports"].items() if state in ("listening", "held"))
    return {
        "rail": own.rail,
        "source": str(own.address.ip),
        "destination": str(other.address.ip),
        "mtu": min(own.mtu, other.mtu),
        "ports": [{"port": port, "held": state == "held"} for port, state in ports],
    }


def judge(plan: Data, told: Mapping[str, Data], answers: Mapping[str, Sequence[Data]], chosen: Sequence[str] = ()) -> list[Judgement]:
    """All that is wrong between the hosts, each cause once, named at the host that all its signs have in common.

    :param told: as for :func:`schedule`.
    :param answers: by host, what the module returned as ``answers``.
    """
    facts = network_facts(plan, told, chosen)
    # A host that could not ask is a finding of its own, and why nobody reaches it any more.
    asked = [Asked(name, one["peer"], one) for name, found in answers.items() for one in found if one["peer"] in answers]
    purposes = {name: _purposes(plan, name, told[name]) for name in told}
    return [*facts.judgements(), *_merged(_judge_answers(plan["control_interface"], asked, facts, purposes))]


# ---- what the facts say


def network_facts(plan: Data, told: Mapping[str, Data], chosen: Sequence[str] = ()) -> Facts:
    """What the hosts' own facts say of their rails, and between whom there is something to ask."""
    facts = Facts()
    hosts = [host for host in plan["hosts"] if host["name"] in told]
    ends = {host["name"]: _ends(plan, host, told[host["name"]], chosen, facts) for host in hosts}
    _same_addresses(ends, facts)
    _same_subnets(ends, facts)
    for rail in dict.fromkeys(rail for one in ends.values() for rail in one):
        _same_mtu(plan, rail, {name: one[rail] for name, one in ends.items() if rail in one}, facts)
    for host in hosts:
        _policy_routing(host["name"], ends[host["name"]], told[host["name"]]["network"], facts)
    return facts


def _ends(plan: Data, host: Data, told: Data, chosen: Sequence[str], facts: Facts) -> dict[str, Way]:
    """The host's ends of its rails; what is down or has no address is said and left out."""
    interfaces, found = told["network"]["interfaces"], {}
    for rail in rails_of(plan, host, chosen):
        interface = interfaces.get(rail)
        is_control = rail == plan["control_interface"]
        if interface is None:
            facts.say(
                RAIL,
                host["name"],
                rail,
                "no such interface",
                "an interface of this name",
                "mend the interfaces' names (rdma_macs), or the list of rails (cluster_rails)",
            )
            continue
        if interface["state"] in ("down", "lowerlayerdown") or interface["carrier"] is False:
            if interface["carrier"] is None:
                observed, remedy = "down by configuration", "set it up (ip link set NAME up), and mend what took it down"
            else:
                observed, remedy = "no link", "look at the cable, the transceiver and the switch's port (ethtool NAME)"
            facts.say(RAIL, host["name"], rail, observed, "up, with a link", remedy)
            continue
        wanted = host["address"] if is_control else first_address(interface)
        carried = next((one for one in interface["addresses"] if one["address"] == wanted), None)
        if carried is None:
            expected = host["address"] if is_control else "an address of IPv4"
            facts.say(
                RAIL,
                host["name"],
                rail,
                "no address" if not is_control else f"no {wanted}",
                expected,
                "give the interface its address (ip address add)",
            )
        elif interface["mtu"] is not None:
            found[rail] = Way(rail, ip_interface(f"{carried['address']}/{carried['prefix_length']}"), interface["mtu"])
    facts.ways[host["name"]] = dict(found)
    return found


def _same_addresses(ends: Mapping[str, Mapping[str, Way]], facts: Facts) -> None:
    holders: dict[str, list[tuple[str, str]]] = {}
    for name, one in ends.items():
        for rail, way in one.items():
            holders.setdefault(str(way.address.ip), []).append((name, rail))
    for address, places in holders.items():
        if len(places) > 1:
            observed = f"{address} is on {_listed(f'{rail} of {name}' for name, rail in places)}"
            names = _listed(dict.fromkeys(name for name, _rail in places))
            facts.say(
                ADDRESSES,
                names,
                "",
                observed,
                "an address of its own for each interface",
                "give all but one another address (ip address show)",
            )
            for name, rail in places:
                facts.ways[name].pop(rail, None)


def _same_subnets(ends: Mapping[str, Mapping[str, Way]], facts: Facts) -> None:
    """On each rail the subnet that most hosts have; where no two have one in common, the rail is routed and nothing can be said."""
    wrong: dict[str, list[tuple[Way, str]]] = {}
    for rail in dict.fromkeys(rail for one in ends.values() for rail in one):
        networks = {name: str(one[rail].address.network) for name, one in ends.items() if rail in one}
        counts = Counter(networks.values())
        usual, number = min(counts.items(), key=lambda item: (-item[1], item[0]))
        if number == len(networks) or (number == 1 and len(networks) > 2):
            continue
        if list(counts.values()).count(number) > 1:
            observed = _listed(f"{ends[name][rail].address} on {name}" for name in networks)
            facts.say(
                RAIL,
                _listed(networks),
                rail,
                observed,
                "one subnet",
                "give the hosts addresses in one subnet on each rail (ip address show)",
            )
            for name in networks:
                facts.ways[name].pop(rail, None)
            continue
        for name, network in networks.items():
            if network != usual:
                wrong.setdefault(name, []).append((ends[name][rail], usual))
                facts.ways[name].pop(rail, None)
    for name, ways in wrong.items():
        observed = _listed(f"{way.rail} has {way.address}" for way, _usual in ways)
        expected = _listed(f"{way.rail} in {usual}" for way, usual in ways) + " as on the other hosts"
        crossed = len(ways) > 1 and {str(way.address.network) for way, _usual in ways} == {usual for _way, usual in ways}
        remedy = (
            "exchange their addresses, or their cables and names (rdma_macs)"
            if crossed
            else "give the interface an address of its rail (ip address)"
        )
        facts.say(RAIL, name, _listed(way.rail for way, _usual in ways), observed, expected, remedy)


def _same_mtu(plan: Data, rail: str, ways: Mapping[str, Way], facts: Facts) -> None:
    counts = Counter(way.mtu for way in ways.values())
    usual = min(counts, key=lambda mtu: (-counts[mtu], -mtu))
    stage, way_to = (None, "ip link set NAME mtu") if rail == plan["control_interface"] else (RDMA, "rdma_mtu")
    tied = [mtu for mtu in counts if counts[mtu] == counts[usual]]
    if len(tied) > 1:
        observed = _listed(f"{way.mtu} on {name}" for name, way in ways.items())
        facts.say(RAIL, _listed(ways), rail, f"MTU {observed}", "the same on all hosts", f"give the rail one MTU by {way_to}", stage)
    for name, way in ways.items():
        if way.mtu != usual and len(tied) == 1:
            remedy = f"set its MTU to {usual} by {way_to}, and that of its switch's port"
            facts.say(RAIL, name, rail, f"MTU {way.mtu}", f"{usual} as on the other hosts", remedy, stage)
        if way.mtu < max(counts):
            facts.small.add((name, rail))


def _policy_routing(name: str, ends: Mapping[str, Way], network: Data, facts: Facts) -> None:
    """Where a host has several interfaces in one subnet, the kernel would send all by the first one unless rules say otherwise."""
    shared = [way for way in ends.values() if sum(way.address.ip in other.address.network for other in ends.values()) > 1]
    lacking, wrong = [], []
    for way in shared:
        tables = {
            rule["table"]
            for rule in network["rules"]
            if rule["source"] in (str(way.address.ip), f"{way.address.ip}/{way.address.max_prefixlen}")
        }
        leads = {route["interface"] for route in network["routes"] if route["table"] in tables - {"main", "default", "local"}}
        if way.rail not in leads:
            lacking.append(way)
        sysctls = network["interfaces"][way.rail]["sysctls"]
        wrong += [
            f"{way.rail} {key}={sysctls[key]}"
            for key, value in (("arp_ignore", ANSWERS_FOR_ALL), ("rp_filter", STRICT))
            if sysctls[key] == value
        ]
    both = _listed(way.rail for way in shared)
    if lacking:
        observed = f"{both} are in one subnet, no rule for the packets from {_listed(str(way.address.ip) for way in lacking)}"
        remedy = "set rdma_policy_routing and run rdma.yml, or give each interface a subnet of its own"
        facts.say(POLICY, name, "", observed, "a rule from each address to a table that leads out by its interface", remedy, RDMA)
    if wrong:
        observed = f"{both} are in one subnet with {_listed(wrong)}"
        facts.say(POLICY, name, "", observed, "arp_ignore 1 or 2, rp_filter 0 or 2", "set rdma_policy_routing and run rdma.yml", RDMA)


# ---- what the answers say


class _Sign(NamedTuple):
    """One cause on one rail, and its line."""

    blame: Blame
    rail: str
    observed: str
    expected: str
    remedy: str
    stage: str | None = None


Purposes = Mapping[str, Mapping[int, tuple[str, str]]]  # by host and port: its number as it is told, and what it is for
Pairs = Collection[Pair]


def _judge_answers(control: str, asked: Sequence[Asked], facts: Facts, purposes: Purposes) -> Iterator[_Sign]:
    for rail in dict.fromkeys(one.answer["rail"] for one in asked):
        here = [one for one in asked if one.answer["rail"] == rail]
        everyone = {(one.asker, one.peer) for one in here}
        astray = {(one.asker, one.peer) for one in here if not _leaves_by(one.answer, rail)}
        yield from _routes(here, rail, astray, facts, None if rail == control else RDMA)
        explained = astray | {(peer, asker) for asker, peer in astray}
        rest = [one for one in here if (one.asker, one.peer) not in explained]
        pairs = everyone - explained
        dead = {(one.asker, one.peer) for one in rest if _is_dead(one.answer)}
        yield from _dead(rest, rail, dead, pairs)
        alive = [one for one in rest if (one.asker, one.peer) not in dead]
        yield from _pings(alive, rail, pairs, facts)
        yield from _ports(alive, rail, pairs - dead, purposes)


def _leaves_by(answer: Data, rail: str) -> bool:
    return answer["route"] is not None and answer["route"]["interface"] == rail


def _is_dead(answer: Data) -> bool:
    return not answer["ping"]["small"] and "ok" not in answer["ports"].values()


def _routes(here: Sequence[Asked], rail: str, astray: Pairs, facts: Facts, stage: str | None) -> Iterator[_Sign]:
    """A route is the asker's own affair."""
    for name in sorted({asker for asker, _peer in astray}):
        routes = {one.peer: one.answer["route"] for one in here if (one.asker, one.peer) in astray and one.asker == name}
        ways = _listed(sorted({f"by {route['interface']}" if route else "nowhere" for route in routes.values()}))
        observed = f"packets from {facts.ways[name][rail].address.ip} to {_listed(sorted(routes))} leave {ways}"
        remedy = "mend the routes, or the rules by source address (ip rule, ip route get PEER from SOURCE)"
        yield _Sign(Blame((name,), Role.ASKER, tuple(sorted(routes))), rail, observed, f"by {rail}", remedy, stage)


def _dead(here: Sequence[Asked], rail: str, dead: Pairs, pairs: Pairs) -> Iterator[_Sign]:
    said = {(one.asker, one.peer): one.answer["ping"]["error"] for one in here}
    for one in blame(dead, pairs):
        words = _listed(sorted({said[pair] for pair in one.pairs(dead) if said[pair]}))
        observed = f"no answer {_between(one)}" + (f" ({words})" if words else "")
        yield _Sign(one, rail, observed, "answers to ping and TCP", _path_remedy(one))


def _path_remedy(one: Blame) -> str:
    if one.role is Role.ALL:
        return f"look at the switch and VLAN of the rail, and at the hosts' firewalls ({FILTERS})"
    if one.role is Role.PAIR:
        return f"look at what lies between the two: switches, VLANs, firewalls for single addresses ({FILTERS})"
    return f"look at the firewall of {one.hosts[0]} ({FILTERS}), its cable, and its switch's port and VLAN"


def _between(one: Blame) -> str:
    """Between whom, in words for the line of ``one.hosts``."""
    peers = _listed(one.peers)
    if one.role is Role.ALL:
        return "between any two hosts"
    if one.role is Role.PAIR:
        return f"between {_listed(one.hosts[: one.first])} and {_listed(one.hosts[one.first :])}"
    return {Role.BOTH: f"from and to {peers}", Role.TARGET: f"to {peers}", Role.ASKER: f"from {peers}"}[one.role]


def _pings(here: Sequence[Asked], rail: str, pairs: Pairs, facts: Facts) -> Iterator[_Sign]:
    without = {one.asker: one.answer["ping"]["error"] for one in reversed(here) if one.answer["ping"]["error"].startswith("ping: ")}
    for name, error in sorted(without.items()):
        yield _Sign(Blame((name,), Role.ASKER, ()), rail, f"cannot ping: {error}", "ping of iputils", "install iputils-ping on the host")
    able = [one for one in here if one.asker not in without]
    hidden = {(one.asker, one.peer) for one in able if not one.answer["ping"]["small"]}
    for one in blame(hidden, {pair for pair in pairs if pair[0] not in without}):
        remedy = f"let ICMP pass ({FILTERS}): without it no path finds its MTU, and none can be checked"
        yield _Sign(one, rail, f"no answer to ping {_between(one)}, though TCP answers", "answers to ping", remedy)
    large = {
        (one.asker, one.peer)
        for one in able
        if one.answer["ping"]["small"] and not one.answer["ping"]["large"] and not {(one.asker, rail), (one.peer, rail)} & facts.small
    }
    for one in blame(large, pairs):
        sizes = sorted({min(facts.ways[name][rail].mtu for name in pair) for pair in one.pairs(large)})
        words = _listed(
            sorted({a.answer["ping"]["error"] for a in able if (a.asker, a.peer) in one.pairs(large) and a.answer["ping"]["error"]})
        )
        observed = f"packets of {_listed(map(str, sizes))} bytes do not arrive {_between(one)}, small ones do" + (
            f" ({words})" if words else ""
        )
        remedy = "raise the MTU of the switch's ports and VLAN, or lower that of the interfaces on all hosts (rdma_mtu)"
        yield _Sign(one, rail, observed, "packets of the interfaces' MTU, unfragmented", remedy)


def _ports(here: Sequence[Asked], rail: str, pairs: Pairs, purposes: Purposes) -> Iterator[_Sign]:
    """Ports are known by what they are for, because one that the system chose has another number on each host."""
    states: dict[tuple[str, str], dict[Pair, str]] = {}  # port: pair: state
    for one in here:
        for port, state in one.answer["ports"].items():
            if state != "not asked":
                states.setdefault(purposes[one.peer].get(int(port), ANY_PORT), {})[one.asker, one.peer] = state
    found: dict[tuple[Blame, str], list[tuple[str, str]]] = {}
    for named, answers in states.items():
        for state in sorted(set(answers.values()) - {"ok"}):
            failing = {pair for pair, answer in answers.items() if answer == state}
            for cause in blame(failing, set(answers) & set(pairs)):
                found.setdefault((cause, state), []).append(named)
    for (cause, state), ports in found.items():
        yield _port_sign(cause, rail, state, ports)


def _named(ports: Sequence[tuple[str, str]]) -> str:
    """Ports in words, those for one purpose together."""
    numbers: dict[str, list[str]] = {}
    for number, purpose in ports:
        numbers.setdefault(purpose, []).append(number)
    return _listed(f"{', '.join(one)} ({purpose})" for purpose, one in numbers.items())


def _port_sign(one: Blame, rail: str, state: str, ports: Sequence[tuple[str, str]]) -> _Sign:
    at = f"at port {_named(ports)}"
    who = _between(one)
    firewall = f"open it to the cluster's hosts ({FILTERS}) in the firewall" + (
        "" if one.role in (Role.ALL, Role.PAIR) else f" of {one.hosts[0]}"
    )
    if state == "timeout":
        return _Sign(one, rail, f"no answer {who} {at}", "an answer", firewall)
    if state == "refused":
        return _Sign(one, rail, f"refused {who} {at}, though something listens there", "an answer", firewall)
    if state.startswith("answered by "):
        remedy = "give the hosts addresses of their own, and clear the neighbours (ip neigh flush all)"
        return _Sign(one, rail, f"{state} {who} {at}", f"an answer by {_listed(one.hosts)}", remedy)
    if state == "silent":
        return _Sign(
            one,
            rail,
            f"a connection {who} {at}, but no word over it",
            "an answer",
            f"look for a proxy or filter between the hosts ({FILTERS})",
        )
    return _Sign(one, rail, f"{state} {who} {at}", "an answer", firewall)


def _purposes(plan: Data, name: str, told: Data) -> dict[int, tuple[str, str]]:
    """What the ports of a host are called that the others ask; those of the system's choice are not in it."""
    host = next(one for one in plan["hosts"] if one["name"] == name)
    listening = told["listening"].get(plan["control_interface"], {"nearby": {}})
    sampled = sampled_ports()
    found = {port: (str(port), purpose) for port, purpose in ports_of(plan, host).items()}
    found.update({port: (first, sampled[int(first)]) for first, port in listening["nearby"].items()})
    return found


def _merged(signs: Iterable[_Sign]) -> Iterator[Judgement]:
    """The same sign on several rails of the same hosts is one line."""
    rails: dict[tuple[Any, ...], list[str]] = {}
    for sign in signs:
        rails.setdefault((sign.blame.hosts, sign.observed, sign.expected, sign.remedy, sign.stage), []).append(sign.rail)
    for (hosts, observed, expected, remedy, stage), names in rails.items():
        yield judged(RAIL, _listed(hosts), _listed(names), observed, expected, remedy, stage)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
