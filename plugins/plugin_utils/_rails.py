# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which interfaces of a host are rails, and which rail each one is: the same one on every host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ._values import Gravity, Problems
from ._wiring import RAILS, HostWiring, Interface, Network

NICS, CONTROL, ROUTING = "cluster_rdma_nics", "cluster_control_interface", "cluster_policy_routing"

Rails = Mapping[str, Interface]  # a host's interfaces by their rails, by rising PCI address of the interfaces
_Common = TypeVar("_Common", tuple[str, ...], str)


@dataclass(frozen=True, slots=True)
class Request:
    """What the inventory asks for.

    :ivar devices: how many devices of each host are used.
    :ivar control_interface: a rail only where a host has nothing else.
    :ivar nics: the interface of each local rank, one for each device that is used; ``None`` where the topology decides.
    :ivar policy_routing: whether routing by source address is set up, without which two interfaces cannot share a subnet.
    """

    devices: int
    control_interface: str
    nics: tuple[str, ...] | None = None
    policy_routing: bool = False


def rails(hosts: Sequence[HostWiring], request: Request, problems: Problems) -> dict[str, Rails] | None:
    """The rails of each host, by the hosts' names.

    A rail is known by the inventory's id, else by its subnet: an address says which hosts it reaches. It is known by the interface's
    name where neither tells, and where two of a host's interfaces are on one subnet and policy routing makes that possible.

    :param problems: gets what is wrong. The result is ``None`` where it keeps the hosts from having the same rails; different names of
        a rail's interface do not.
    """
    found = {host.name: _of_host(host, request, problems) for host in hosts}
    known = {host: one for host, one in found.items() if one is not None}
    if len(known) < len(found) or not _same_rails(known, problems):
        return None
    _same_names(known, problems)
    return known


def _of_host(host: HostWiring, request: Request, problems: Problems) -> Rails | None:
    by_name = {interface.name: interface for interface in host.interfaces}
    control = by_name.get(request.control_interface)
    if control is None:
        observed = f"no interface {request.control_interface}; there are {_listed(sorted(by_name))}"
        expected = "an interface of the same name on every host"
        problems.add(Gravity.ONE_HOST, host.name, CONTROL, observed, expected, f"mend {CONTROL}, or name the interface by its MAC address")
    chosen = _chosen(host, request, by_name, problems)
    if chosen is None or control is None:
        return None
    interfaces = [by_name[name] for name in chosen]
    crowded = _crowded({one.name: one for one in (*interfaces, control)})
    if crowded and not request.policy_routing:
        for network, names in crowded.items():
            observed, expected = f"{' and '.join(names)} are on one subnet, {network}", "a subnet for each interface, or policy routing"
            remedy = f"give each interface a subnet of its own, or set {ROUTING}"
            problems.add(Gravity.ONE_HOST, host.name, "subnets", observed, expected, remedy)
        return None
    found: dict[str, Interface] = {}
    for interface in sorted(interfaces, key=lambda one: (one.path[-1:], one.name)):
        rail = _rail(interface, crowded)
        if rail in found:
            observed = f"rail {rail} is {found[rail].name} and {interface.name}"
            problems.add(Gravity.ONE_HOST, host.name, RAILS, observed, "one interface of a host on each rail", f"mend {RAILS}")
            return None
        found[rail] = interface
    return found


def _chosen(host: HostWiring, request: Request, by_name: Mapping[str, Interface], problems: Problems) -> Iterable[str] | None:
    """The names of the host's rails; the inventory's word before the facts'."""
    for variable, names in ((NICS, request.nics), (RAILS, host.rails)):
        if names:
            missing = [name for name in dict.fromkeys(names) if name not in by_name]
            if missing:
                observed = f"no interface {_listed(missing)}; there are {_listed(sorted(by_name))}"
                expected = "interfaces that every host has, of a bond the bond itself"
                problems.add(Gravity.ONE_HOST, host.name, variable, observed, expected, f"mend {variable}, or name the interfaces alike")
            return None if missing else dict.fromkeys(names)
    addressed = [one.name for one in host.interfaces if one.path and one.subnets and one.name != request.control_interface]
    return addressed or [request.control_interface]


def _crowded(interfaces: Mapping[str, Interface]) -> dict[Network, list[str]]:
    """The subnets that several interfaces are on, with their names."""
    on: dict[Network, list[str]] = {}
    for name, interface in sorted(interfaces.items()):
        for network in interface.subnets:
            on.setdefault(network, []).append(name)
    return {network: names for network, names in on.items() if len(names) > 1}


def _rail(interface: Interface, crowded: Mapping[Network, object]) -> str:
    if interface.rail is not None:
        return interface.rail
    if not interface.subnets:
        return interface.name
    first = interface.subnets[0]
    return f"{first} ({interface.name})" if first in crowded else str(first)


def _same_rails(hosts: Mapping[str, Rails], problems: Problems) -> bool:
    """Every host has the rails that most of them have."""
    common, example = _usual({host: tuple(sorted(found)) for host, found in hosts.items()})
    for host, found in hosts.items():
        lacking = sorted(set(common) - set(found))
        further = [f"{found[rail].name} on {rail}" for rail in sorted(set(found) - set(common))]
        if lacking or further:
            observed = f"no interface on {_listed(lacking)}" if lacking else ""
            observed += f"{', but ' if lacking else ''}{_listed(further)}" if further else ""
            remedy = f"mend the host's addresses, or name its rails in {RAILS}"
            problems.add(Gravity.ONE_HOST, host, "rails", observed, f"the rails of {example}: {_listed(common)}", remedy)
    return all(found.keys() == set(common) for found in hosts.values())


def _same_names(hosts: Mapping[str, Rails], problems: Problems) -> None:
    """BKCL takes one list of names: the interface of a rail has the same name on every host."""
    names = {rail: _usual({host: found[rail].name for host, found in hosts.items()}) for rail in next(iter(hosts.values()))}
    for host, found in hosts.items():
        different = [rail for rail in sorted(found) if found[rail].name != names[rail][0]]
        if different:
            problems.add(
                Gravity.ONE_HOST,
                host,
                "interface names",
                _listed(f"{found[rail].name} on {rail}" for rail in different),
                _listed(f"{names[rail][0]} as on {names[rail][1]}" for rail in different),
                "name the interfaces by MAC address, so that a rail has one name on all hosts: BKCL wants them equal",
            )


def _usual(values: Mapping[str, _Common]) -> tuple[_Common, str]:
    """What most hosts have, and the first host that has it; of equally many the one that comes first in the alphabet."""
    counts = Counter(values.values())
    best = min(counts, key=lambda value: (-counts[value], value))
    return best, next(host for host, value in values.items() if value == best)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
