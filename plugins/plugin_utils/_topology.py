# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The interface of every device and the order of the devices on every host, from where both sit on the PCI bus.

Collectives of Kunlunxin devices need on all hosts the same number of devices and the same order of rails
(Corpama/envinit, docs/xccl-topology-rail-matching.md).

1. On each host the devices are shared out among its rails so that as few as possible are far from theirs, every rail taking an equal
   share. Read by rising device number, that is the host's own order of rails.
2. The order that most hosts have becomes the order of all, where each host can follow it without a device getting farther from its
   interface than in the host's own order. An order of the inventory is taken as it is.
3. Each host lines up its devices to that order, again with as few as possible far from their interface. Where that leaves a choice,
   devices keep their numbers' order, so that a host wired like the others has 0, 1, 2, ...

A list of a host's devices in the inventory is that host's line-up, whatever the order. Where no order of rails leaves its devices and
those of the other hosts as near to their interfaces as they can be, the list contradicts the wiring.

Fewer devices than a host has are the first ones of its order: they are neighbours on the bus and share interfaces as they do in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pci

from . import _assignment
from ._rails import NICS, Rails, Request, rails
from ._values import Gravity, Problems
from ._wiring import DEVICES, Device, HostWiring, Interface

_BETWEEN = {
    _pci.PIX: "at most one bridge or switch between them",
    _pci.PXB: "several switches below one root port between them",
    _pci.PHB: "the host bridge between them",
    _pci.NODE: "two host bridges of one NUMA node between them",
    _pci.SYS: "on different NUMA nodes",
}
_FARTHEST = len(_pci.DISTANCES) - 1


@dataclass(frozen=True, slots=True)
class Attachment:
    """What one local rank is made of.

    :ivar device: number of the device.
    :ivar nic: the interface of its traffic.
    :ivar rail: the rail of that interface, the same for this local rank on every host.
    :ivar distance: one of :data:`_pci.DISTANCES`.
    :ivar reason: why, in one sentence without a full stop.
    """

    device: int
    nic: str
    rail: str
    distance: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostOrder:
    """The devices and interfaces of one host in the order of its local ranks."""

    ranks: tuple[Attachment, ...]

    @property
    def visible_devices(self) -> tuple[int, ...]:
        return tuple(rank.device for rank in self.ranks)

    @property
    def nics(self) -> tuple[str, ...]:
        return tuple(rank.nic for rank in self.ranks)


@dataclass(frozen=True, slots=True)
class Topology:
    """The order of every host.

    :ivar hosts: by name, in the order they were given.
    :ivar rails: the rail of each local rank.
    :ivar notes: what an operator should know and nothing prevents.
    """

    hosts: Mapping[str, HostOrder]
    rails: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that the order of a host depends on; hosts of one shape are planned once.

    :ivar devices: their numbers, rising.
    :ivar rails: by rising PCI address of their interfaces.
    :ivar classes: for each device its distance to each of them, as an index of :data:`_pci.DISTANCES`.
    :ivar given: positions in ``devices`` in the order that the inventory gives; empty where it gives none.
    """

    devices: tuple[int, ...]
    rails: tuple[str, ...]
    classes: tuple[tuple[int, ...], ...]
    given: tuple[int, ...] = ()

    def own_order(self, wanted: int) -> tuple[str, ...]:
        """The rails of the first devices when all devices are shared out among all rails."""
        shares = _assignment.shared(self.classes)
        return tuple(self.rails[shares[position]] for position in self.given or range(wanted))

    def line_up(self, order: Sequence[str]) -> tuple[int, ...]:
        """The position in ``devices`` of the device for each place of an order."""
        return self.given or _assignment.nearest(self._places(order))

    def burden(self, order: Sequence[str]) -> tuple[int, ...]:
        """How far the devices are from their interfaces in an order, the farthest first."""
        return _assignment.burden(self._places(order), self.line_up(order))

    def _places(self, order: Sequence[str]) -> list[tuple[int, ...]]:
        columns = {rail: tuple(row[column] for row in self.classes) for column, rail in enumerate(self.rails)}
        return [columns[rail] for rail in order]


def topology(hosts: Sequence[HostWiring], request: Request, problems: Problems) -> Topology | None:
    """The order of devices and interfaces on every host.

    A pure function: the order in which hosts, devices and interfaces are given changes nothing.

    :param hosts: of one group that serves together; at least one.
    :param request: its ``nics``, where they are given, are as many as its ``devices``.
    :param problems: gets whatever contradicts itself, is missing or does not fit together.
    :returns: ``None`` where there is no order. There may be one beside a problem: that of hosts whose interfaces have different names.
    """
    sound = [_check_devices(host, request, problems) for host in hosts]
    found = rails(hosts, request, problems)
    if found is None or not all(sound):
        return None
    shapes = _shapes(hosts, found)
    order = _common_order(shapes, request.devices, problems) if request.nics is None else _given_order(request.nics, found[hosts[0].name])
    if order is None:
        return None
    lines = {shape: _line(shape, order) for shape in set(shapes.values())}
    placed = {
        name: HostOrder(tuple(_attachment(*place, found[name], request.nics is not None) for place in lines[shape]))
        for name, shape in shapes.items()
    }
    return Topology(placed, order, tuple(_notes(hosts, placed, request)))


def _check_devices(host: HostWiring, request: Request, problems: Problems) -> bool:
    """The host has the devices, and what it says of them does not contradict itself."""
    wrong = []
    addresses = _repeated(device.address for device in host.devices)
    numbers = _repeated(device.index for device in host.devices)
    placeless = sorted(device.address for device in host.devices if len(device.path) == 1)
    if addresses:
        wrong.append(("topology", f"PCI address {addresses[0]} twice", "every device at an address of its own", "read the facts again"))
    elif numbers:
        wrong.append(("topology", f"device number {numbers[0]} twice", "a number for every device", "reload the driver"))
    if 0 < len(placeless) < len(host.devices):
        observed = f"no way through the PCI bus to {', '.join(placeless)}, while the other devices have one"
        wrong.append(("topology", observed, "the way to every device", "read the facts again, and look for PCI errors in the kernel log"))
    if len(host.devices) < request.devices:
        remedy = "find out why devices are missing from the bus, or set cluster_devices_per_host"
        wrong.append(("cluster_devices_per_host", f"{len(host.devices)} devices", f"{request.devices} on every host", remedy))
    for what in wrong:
        problems.add(Gravity.ONE_HOST, host.name, *what)
    return not wrong


def _repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


def _shapes(hosts: Sequence[HostWiring], found: Mapping[str, Rails]) -> dict[str, _Shape]:
    measured: dict[tuple[object, ...], tuple[tuple[int, ...], ...]] = {}
    shapes = {}
    for host in hosts:
        devices = sorted(host.devices, key=lambda device: device.index)
        interfaces = found[host.name].values()
        places = (*((one.path, one.numa_node) for one in devices), None, *((one.path, one.numa_node) for one in interfaces))
        if places not in measured:
            measured[places] = tuple(tuple(_class(device, interface) for interface in interfaces) for device in devices)
        numbers = tuple(device.index for device in devices)
        shapes[host.name] = _Shape(numbers, tuple(found[host.name]), measured[places], tuple(map(numbers.index, host.given)))
    return shapes


def _class(device: Device, interface: Interface) -> int:
    return _pci.DISTANCES.index(_pci.distance(device, interface)) if interface.path else _FARTHEST


def _given_order(nics: Sequence[str], found: Rails) -> tuple[str, ...]:
    by_name = {interface.name: rail for rail, interface in found.items()}
    return tuple(by_name[name] for name in nics)


def _common_order(shapes: Mapping[str, _Shape], wanted: int, problems: Problems) -> tuple[str, ...] | None:
    """The order that most hosts have of their own and every host can follow; of equally many the first in the alphabet."""
    own = {shape: shape.own_order(wanted) for shape in set(shapes.values())}
    least = {shape: shape.burden(order) for shape, order in own.items()}
    counts = Counter(own[shape] for shape in shapes.values())
    orders = sorted(counts, key=lambda order: (-counts[order], order))
    shares: dict[tuple[str, ...], tuple[str, ...]] = {}
    listed = any(shape.given for shape in own)
    for order in orders:
        # How far devices get depends on how often a rail is taken and, unless a list holds them in their places, not on its place.
        shares.setdefault(order if listed else tuple(sorted(order)), order)
    for order in shares.values():
        if all(shape.burden(order) <= least[shape] for shape in own):
            return order
    usual = orders[0]
    example = next(host for host, shape in shapes.items() if own[shape] == usual)
    for host, shape in shapes.items():
        if shape.burden(usual) > least[shape]:
            whose = (
                f"the devices {','.join(str(shape.devices[position]) for position in shape.given)} of {DEVICES}"
                if shape.given
                else "its devices"
            )
            problems.add(
                Gravity.ONE_HOST,
                host,
                "rail order",
                f"{whose} are nearest to the rails {', '.join(own[shape])}, in this order",
                f"{', '.join(usual)} as on {example}: no order of rails suits both",
                f"{f'mend {DEVICES}' if listed else 'wire the hosts alike'}, or give the order by {NICS}",
            )
    return None


_Place = tuple[int, str, int, str | None]  # number of the device, rail, class, and the rail that would be nearest if it is another


def _line(shape: _Shape, order: Sequence[str]) -> tuple[_Place, ...]:
    places = []
    for rail, position in zip(order, shape.line_up(order), strict=True):
        classes = shape.classes[position]
        mine = classes[shape.rails.index(rail)]
        nearest = min(classes)
        places.append((shape.devices[position], rail, mine, shape.rails[classes.index(nearest)] if nearest < mine else None))
    return tuple(places)


def _attachment(device: int, rail: str, level: int, nearer: str | None, found: Rails, given: bool) -> Attachment:
    nic, distance = found[rail], _pci.DISTANCES[level]
    between = _BETWEEN[distance] if nic.path else f"{nic.name} has no place on the PCI bus, so that no less can be said"
    reason = f"device {device} and {nic.name} on rail {rail} are {distance}: {between}"
    if nearer is not None:
        why = f"{NICS} says otherwise" if given else "has its share of devices"
        reason += f"; {found[nearer].name} is nearer but {why}"
    return Attachment(device, nic.name, rail, distance, reason)


def _notes(hosts: Sequence[HostWiring], placed: Mapping[str, HostOrder], request: Request) -> list[str]:
    """One line for each thing, with the hosts it is true of."""
    said: dict[str, list[str]] = {}
    for host in hosts:
        order = placed[host.name]
        for note in _notes_of(host, order, request):
            said.setdefault(note, []).append(host.name)
    return [f"{_together(names)}: {note}" for note, names in said.items()]


def _together(names: Sequence[str]) -> str:
    others = len(names) - 1
    return f"{names[0]} and {others} more host{'s' if others > 1 else ''}" if others else names[0]


def _notes_of(host: HostWiring, order: HostOrder, request: Request) -> Iterable[str]:
    if not host.numbered:
        yield "the devices are counted by PCI address until a driver tells their numbers"
    if not host.given and order.visible_devices != tuple(sorted(device.index for device in host.devices))[: request.devices]:
        listed = ",".join(map(str, order.visible_devices))
        yield f"the devices are taken in the order {listed}, which is the order of the rails on all hosts"
    distances = [rank.distance for rank in order.ranks]
    if set(distances) != {_pci.PIX}:
        yield f"not every device has its interface at the same switch: {','.join(distances)}"
    if request.nics is None and not host.rails and request.control_interface in order.nics:
        yield f"the devices' traffic goes over the control interface {request.control_interface}: there is no other with an address"
