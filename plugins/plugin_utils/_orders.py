# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The devices and interfaces of every host in the order of its local ranks: recorded wiring, inventory and profile brought together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._profile import Profile
from ._rails import Request
from ._resolve import Resolved
from ._spec import ClusterSpec
from ._topology import HostOrder, topology
from ._values import Gravity, Problems
from ._wiring_record import Record, wiring_of


@dataclass(frozen=True, slots=True)
class Order:
    """One host.

    :ivar devices: numbers of the devices.
    :ivar nics: the interface of each.
    :ivar distances: how far apart both are on the PCI bus; empty where the wiring is not recorded, as ``reasons`` is.
    :ivar reasons: why each local rank has its device and interface.
    """

    devices: tuple[int, ...]
    nics: tuple[str, ...]
    distances: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def is_natural(self) -> bool:
        """Whether the devices are simply counted."""
        return self.devices == tuple(range(len(self.devices)))


@dataclass(frozen=True, slots=True)
class Orders:
    """All hosts.

    :ivar rails: the rail of each local rank; empty where the wiring is not recorded.
    """

    hosts: Mapping[str, Order]
    rails: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def orders(spec: ClusterSpec, profile: Profile, resolved: Resolved, record: Record | None, problems: Problems) -> Orders | None:
    """The order of every host; ``None`` where there is none, which ``problems`` gets.

    :param record: how the hosts are wired; ``None`` where nobody has recorded it. Then the inventory's or the profile's list is all
        that is known, and the devices are counted where the inventory lists none.
    """
    if not profile.has_topology:
        return _counted(spec, resolved, ())
    if record is None:
        note = f"the hosts' wiring is not recorded: {_list_of(spec)} counts, unchecked; run topology.yml"
        return _counted(spec, resolved, (note,))
    missing = [host.name for host in spec.hosts if host.name not in record]
    for name in missing:
        problems.add(Gravity.ONE_HOST, name, "topology", f"not in {spec.topology_file}", "the wiring of every host", "run topology.yml")
    wirings = [
        wiring_of(host.name, record[host.name], host.rails, problems, host.visible_devices) for host in spec.hosts if host.name in record
    ]
    if missing or None in wirings:
        return None
    request = Request(resolved.devices, resolved.control_interface, spec.rdma_nics, spec.policy_routing)
    found = topology([wiring for wiring in wirings if wiring], request, problems)
    if found is None:
        return None
    return Orders({name: _order(order) for name, order in found.hosts.items()}, found.rails, found.notes)


def _counted(spec: ClusterSpec, resolved: Resolved, notes: tuple[str, ...]) -> Orders:
    counted = tuple(range(resolved.devices))
    return Orders({host.name: Order(host.visible_devices or counted, resolved.nics) for host in spec.hosts}, notes=notes)


def _list_of(spec: ClusterSpec) -> str:
    return "the profile's list of interfaces" if spec.rdma_nics is None else "cluster_rdma_nics"


def _order(found: HostOrder) -> Order:
    return Order(
        found.visible_devices, found.nics, tuple(rank.distance for rank in found.ranks), tuple(rank.reason for rank in found.ranks)
    )
