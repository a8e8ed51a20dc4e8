# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Checks of how a host is wired: whether it still is as the plan takes it, and whether the vendor's tool sees it so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pci

from . import _wiring_record
from ._judgement import Check, Data, Fault, Said, Severity, Unread, View, listed


class _Place(NamedTuple):
    """Where a device or an interface is, as :func:`_pci.distance` wants it."""

    path: tuple[str, ...]
    numa_node: int | None


def _wiring(view: View) -> Iterator[Said]:
    """The plan is made from the record: a host that is wired otherwise would get the wrong interface for a device without a word."""
    if not view.plan["topology"]["applies"] or view.accelerator is None or view.network is None:
        yield Unread("the profile names no accelerator on the PCI bus")
        return
    name = view.host["name"]
    recorded = view.needs.wiring.get(name)
    if recorded is None:
        yield Fault("not recorded", "where devices and interfaces are", "run topology.yml", "host")
        return
    now = _wiring_record.record_of(view.accelerator, view.network, view.plan["topology"]["named"])
    _merged, differences = _wiring_record.merged({name: recorded}, {name: now})
    for one in differences:
        yield Fault(one.now, f"{one.before}, as recorded", _wiring_record.ACCEPT, about=one.what)


def _tools_topology(view: View) -> Iterator[Said]:
    """What a tool tells of the distance of devices and adapters is compared with the PCI bus; which is right, only people can say."""
    told = (view.accelerator or {}).get("topology")
    if not told or view.network is None:
        yield Unread("the vendor's tool told nothing of distances")
        return
    devices = {f"XPU{one['index']}": _place(one) for one in (view.accelerator or {})["devices"] if one["index"] is not None}
    adapters = {name: place for name in told["names"] if (place := _adapter(name, told, view.network))}
    compared = [
        (device, adapter, word, _pci.distance(place, adapters[adapter]))
        for device, place in devices.items()
        for adapter, word in told["distances"].get(device, {}).items()
        if adapter in adapters and word in _pci.DISTANCES
    ]
    if not compared:
        yield Unread("no device and adapter of the tool's topology is known on the PCI bus")
        return
    apart = [f"{device} and {adapter} {word} instead of {seen}" for device, adapter, word, seen in compared if word != seen]
    if apart:
        remedy = "update the driver and its tool, or look for a virtual PCI bus; the plan follows sysfs, and cluster_rdma_nics overrules it"
        yield Fault(listed(apart, 3), "the distances that sysfs shows", remedy, severity=Severity.WARNING)


def _adapter(name: str, told: Data, network: Data) -> _Place | None:
    """The place of what the tool calls an adapter: by its RDMA device, which one of the interfaces belongs to."""
    device = told["legend"].get(name, name)
    found = (one for one in network["interfaces"].values() if one["rdma"] == device and one["path"])
    return next(map(_place, found), None)


def _place(fact: Any) -> _Place:
    return _Place(tuple(fact["path"]), fact["numa_node"])


CHECKS = (
    Check("wiring", "/sys/bus/pci/devices and /sys/class/net, and the recorded wiring", _wiring, ("host",)),
    Check("tool's topology", "xpu-smi topo -m, and /sys/bus/pci/devices", _tools_topology, (), Severity.WARNING),
)
