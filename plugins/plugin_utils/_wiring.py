# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How one host is wired: its devices and interfaces and their places on the PCI bus, as the facts of the host tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Any

from ._spec import RailChoice
from ._values import Gravity, Problems

RAILS, DEVICES = "cluster_rails", "cluster_visible_devices"

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    :ivar index: N of /dev/xpuN, and what the list of visible devices calls it.
    :ivar path: from the host bridge over the bridges' addresses to the device's own, which alone is there where sysfs says no more.
    :ivar numa_node: ``None`` where the machine does not say.
    """

    index: int
    path: tuple[str, ...]
    numa_node: int | None

    @property
    def address(self) -> str:
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface. A bond is one; it stands where its first member does.

    :ivar path: as a device's; empty for an interface that has no place on the bus.
    :ivar mac: the hardware address in small letters, empty where there is none.
    :ivar subnets: of its addresses, IPv4 first, link-local ones left out.
    :ivar rail: the rail that the inventory says it is on; ``None`` where its subnet tells.
    """

    name: str
    path: tuple[str, ...]
    numa_node: int | None
    mac: str
    subnets: tuple[Network, ...]
    rail: str | None = None


@dataclass(frozen=True, slots=True)
class HostWiring:
    """What there is on one host, in any order.

    :ivar interfaces: all that carry traffic of their own: no loopback, no member of a bond or bridge.
    :ivar rails: names of the interfaces that the inventory says are rails; empty where the facts decide.
    :ivar given: numbers of the devices in the order that the inventory gives; empty where the topology decides.
    :ivar numbered: whether the devices' numbers are known. Without a driver they are not; the devices are then counted by rising PCI
        address, which need not be how the driver will count.
    """

    name: str
    devices: tuple[Device, ...]
    interfaces: tuple[Interface, ...]
    rails: tuple[str, ...] = ()
    numbered: bool = True
    given: tuple[int, ...] = ()


def host_wiring(
    name: str,
    accelerator: Mapping[str, Any],
    network: Mapping[str, Any],
    choices: Sequence[RailChoice],
    problems: Problems,
    given: Sequence[int] = (),
) -> HostWiring | None:
    """The wiring of a host, from facts as the modules accelerator_info and network_info return them.

    :param accelerator: its ``devices``, each with ``index``, ``minor``, ``pci``, ``path`` and ``numa_node``.
    :param network: its ``interfaces`` by name, each with ``kind``, ``master``, ``mac``, ``addresses``, ``path`` and ``numa_node``.
    :param choices: the interfaces that the inventory names as rails of this host; where it names none, the facts decide.
    :param problems: gets what contradicts itself or is not there; the result is then ``None``.
    :param given: the numbers of the devices that the inventory lists, in its order.
    """
    devices = _devices(name, accelerator["devices"], problems)
    interfaces = _interfaces(network["interfaces"])
    named = _named(name, choices, interfaces, problems)
    if devices is None or named is None or not _has_devices(name, given, devices, problems):
        return None
    interfaces.update((choice, replace(interfaces[choice], rail=rail)) for choice, rail in named.items())
    numbered = all(_number(fact) is not None for fact in accelerator["devices"])
    return HostWiring(name, devices, tuple(interfaces.values()), tuple(named), numbered, tuple(given))


def _devices(host: str, facts: Sequence[Mapping[str, Any]], problems: Problems) -> tuple[Device, ...] | None:
    """The devices by rising PCI address; ``None`` where their numbers contradict each other."""
    unknown = [fact["pci"] for fact in facts if _number(fact) is None]
    torn = [fact for fact in facts if None not in (fact["index"], fact["minor"]) and fact["index"] != fact["minor"]]
    for fact in torn:
        observed = f"device {fact['pci']} is number {fact['index']} to the tool and {fact['minor']} among the device nodes"
        _contradiction(host, observed, "one number for it", "bring back the devices that are missing, or reload the driver", problems)
    if unknown and len(unknown) < len(facts):
        observed = f"no number for {', '.join(unknown)}, while the other devices have one"
        _contradiction(host, observed, "a number for every device", "reload the driver, and look for errors in the kernel log", problems)
    elif not torn:
        counted = enumerate(sorted(facts, key=lambda fact: fact["pci"]))
        return tuple(_device(number if unknown else _number(fact), fact) for number, fact in counted)
    return None


def _device(number: Any, fact: Mapping[str, Any]) -> Device:
    return Device(number, tuple(fact["path"]) or (fact["pci"],), fact["numa_node"])


def _number(fact: Mapping[str, Any]) -> Any:
    """What the vendor's tool calls a device, or the minor number of its node: /dev/xpuN has N (a survey of a P800 host)."""
    return fact["minor"] if fact["index"] is None else fact["index"]


def _has_devices(host: str, given: Sequence[int], devices: Sequence[Device], problems: Problems) -> bool:
    """Whether the host has every device that the inventory lists."""
    there = sorted(device.index for device in devices)
    missing = [number for number in given if number not in there]
    if missing:
        observed = f"{', '.join(map(str, missing))} of the list {','.join(map(str, given))} is no device of the host"
        expected = f"some of {', '.join(map(str, there)) or 'no devices'}"
        problems.add(Gravity.ONE_HOST, host, DEVICES, observed, expected, f"mend {DEVICES}, or run topology.yml if the host has them now")
    return not missing


def _contradiction(host: str, observed: str, expected: str, remedy: str, problems: Problems) -> None:
    problems.add(Gravity.ONE_HOST, host, "topology", observed, expected, remedy)


def _interfaces(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Interface]:
    """Those that carry traffic of their own, by name."""
    return {
        name: Interface(name, tuple(fact["path"]), fact["numa_node"], (fact["mac"] or "").lower(), subnets(fact["addresses"]))
        for name, fact in sorted(facts.items())
        if fact["kind"] != "loopback" and fact["master"] is None
    }


def subnets(addresses: Sequence[Mapping[str, Any]]) -> tuple[Network, ...]:
    """The subnets of an interface's addresses, each with ``address`` and ``prefix_length``: IPv4 first, link-local ones left out."""
    found = {ip_interface(f"{entry['address']}/{entry['prefix_length']}").network for entry in addresses}
    return tuple(sorted((network for network in found if not network.is_link_local), key=_rising))


def _rising(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _named(
    host: str, choices: Sequence[RailChoice], interfaces: Mapping[str, Interface], problems: Problems
) -> dict[str, str | None] | None:
    """The rail that the inventory gives to each interface it names; ``None`` where it names one that the host does not have."""
    found: dict[str, str | None] = {}
    wrong = False
    for choice in choices:
        names = _meant(choice.interface, interfaces)
        if len(names) == 1 and names[0] not in found:
            found[names[0]] = choice.rail
            continue
        wrong = True
        if not names:
            known = ", ".join(f"{one.name} ({one.mac})" if one.mac else one.name for one in interfaces.values())
            observed, expected = f"{choice.interface} is no interface of the host", f"one of {known or 'its interfaces'}"
        elif len(names) > 1:
            observed, expected = f"{choice.interface} is the address of {', '.join(names)}", "the name of one of them"
        else:
            observed, expected = f"{choice.interface} is {names[0]}, which is named already", "every interface once"
        problems.add(Gravity.ONE_HOST, host, RAILS, observed, expected, f"mend {RAILS}")
    return None if wrong else found


def _meant(text: str, interfaces: Mapping[str, Interface]) -> list[str]:
    """The interfaces of that name or hardware address. A VLAN has the address of its card: then the card is meant."""
    if ":" not in text:
        return [text] if text in interfaces else []
    same = [one for one in interfaces.values() if one.mac == text.lower()]
    return [one.name for one in [one for one in same if one.path] or same]
