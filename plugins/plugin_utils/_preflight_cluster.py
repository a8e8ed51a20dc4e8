# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Checks that hold the hosts against each other: where nothing is declared, the odd one out is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_interface
from typing import Any

from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import CONTAINER

from ._judgement import ClusterCheck, Data, Fault, Said, Severity, Unread, View, listed, odd_ones_out
from ._preflight_accelerator import driver_version, installed_besides, old_firmware
from ._preflight_host import clock_is_off
from ._preflight_network import GID_INDEX, gids, rails, rdma_ports, uses_rdma

Views = Mapping[str, View]


def _alike(
    views: Views, value: Callable[[View], Any], show: Callable[[Any], str], remedy: str, stage: str | None, severity: Severity
) -> Iterator[tuple[str, Said]]:
    """A fault on each host whose value is not the usual one; a value of None takes no part."""
    values = {name: value(view) for name, view in views.items()}
    known = {name: one for name, one in values.items() if one is not None}
    if len(known) < 2:
        known = {}
    yield from ((name, Unread("there is nothing to compare")) for name in views if name not in known)
    if not known:
        return
    usual, example, odd = odd_ones_out(known)
    for name in odd:
        yield name, Fault(show(known[name]), f"{show(usual)}, as on {example}", remedy, stage, severity)


def _same(
    name: str,
    source: str,
    value: Callable[[View], Any],
    remedy: str,
    stage: str | None = None,
    severity: Severity = Severity.ERROR,
    show: Callable[[Any], str] = str,
) -> ClusterCheck:
    establishes = (stage,) if stage else ()
    return ClusterCheck(name, source, lambda views: _alike(views, value, show, remedy, stage, severity), establishes, severity)


def _system_names(views: Views) -> Iterator[tuple[str, Said]]:
    """Ray and the engine tell hosts apart by their system names."""
    for name, view in views.items():
        hostname = view.facts["system"]["hostname"]
        others = [other for other, one in views.items() if other != name and one.facts["system"]["hostname"] == hostname]
        if others:
            yield name, Fault(f"{hostname}, as has {listed(others)}", "a name of its own", "run hostnamectl set-hostname on the host")


def _clock_spread(views: Views) -> Iterator[tuple[str, Said]]:
    """Each clock is known to lie between two bounds; only what differs whatever the truth is from the clock in the middle is named.

    A clock that is wrong for the controller already takes no part: `clock` names it.
    """
    bounds = {name: _bounds(view) for name, view in views.items() if not clock_is_off(view)}
    if len(bounds) < 2:
        return
    middle = sorted(bounds, key=lambda name: sum(bounds[name]))[(len(bounds) - 1) // 2]
    for name, (low, high) in bounds.items():
        ahead, behind, tolerance = low - bounds[middle][1], bounds[middle][0] - high, views[name].needs.clock_spread_seconds
        if max(ahead, behind) > tolerance:
            observed = f"at least {max(ahead, behind):.1f} s {'ahead of' if ahead > behind else 'behind'} {middle}"
            yield (
                name,
                Fault(
                    observed,
                    f"within {tolerance:g} s",
                    "run prepare.yml with cluster_manage_kernel_globals, or timedatectl set-ntp true on all hosts",
                ),
            )


def _bounds(view: View) -> tuple[float, float]:
    """How far the host's clock is ahead of the controller's: at least, and at most."""
    clock = view.facts["clock"]
    return clock["time"] - view.asked_until, clock["time"] - clock["asked_at"]


def _interface_names(views: Views) -> Iterator[tuple[str, Said]]:
    """A rail is known by its subnet: where the interface of that name is missing, another one may carry it."""
    subnets: dict[str, dict[str, int]] = {}
    for view in views.values():
        for nic in rails(view):
            for subnet in _subnets(view.facts["interfaces"].get(nic)):
                subnets.setdefault(nic, {}).setdefault(subnet, 0)
                subnets[nic][subnet] += 1
    for name, view in views.items():
        for nic in rails(view):
            usual = max(subnets.get(nic, {}), key=lambda one: subnets[nic][one], default=None)
            carriers = [other for other, each in view.facts["interfaces"].items() if usual and usual in _subnets(each)]
            if carriers and nic not in carriers:
                expected = f"{nic}, as on the other hosts"
                remedy = "name the interfaces by their MAC addresses: run rdma.yml with rdma_macs and rdma_persistent_names, or mend the host's udev rules"
                yield name, Fault(f"{usual} is on {listed(carriers)}", expected, remedy, "rdma")


def _subnets(interface: Data | None) -> list[str]:
    found = [ip_interface(one) for one in (interface or {"addresses": []})["addresses"]]
    return [str(one.network) for one in found if not one.is_link_local]


def _devices(view: View) -> list[Data] | None:
    return None if view.accelerator is None else list(view.accelerator["devices"])


def _count(view: View) -> int | None:
    devices = _devices(view)
    # Fewer than the plan asks for is a fault of the host's own.
    return len(devices) if devices is not None and len(devices) >= len(view.host["devices"]) else None


def _of_devices(name: str) -> Callable[[View], tuple[str, ...] | None]:
    """The different values of a host's devices, sorted; None where no device tells."""

    def value(view: View) -> tuple[str, ...] | None:
        told = {_plain(one[name]) for one in _devices(view) or [] if one[name]}
        return tuple(sorted(told)) or None

    return value


def _plain(value: Any) -> str:
    return " ".join(f"{part} {version}" for part, version in sorted(value.items())) if isinstance(value, Mapping) else str(value)


Told = Callable[[View], tuple[str, ...] | None]


def _uniform(
    views: Views, told: Told, mixed: Callable[[Any], str], expected: str, remedy: str, stage: str | None
) -> Iterator[tuple[str, Said]]:
    """One value on all devices of all hosts: a host whose own devices differ is told so, the others are held against each other."""
    values = {name: told(view) for name, view in views.items()}
    for name, found in values.items():
        if found and len(found) > 1:
            yield name, Fault(mixed(found), expected, remedy, stage)
    alike = {name: view for name, view in views.items() if len(values[name] or ()) <= 1}
    yield from _alike(alike, told, listed, remedy, stage, Severity.ERROR)


def _part_numbers(views: Views) -> Iterator[tuple[str, Said]]:
    remedy = "exchange the cards (xpu-smi -q tells the part number), or plan like hosts together by cluster_group: the driver's options follow from it"
    yield from _uniform(views, _of_devices("part_number"), listed, "one part number", remedy, None)


def _firmware(views: Views) -> Iterator[tuple[str, Said]]:
    """A host with firmware older than it may be takes no part: `firmware` names it."""

    def told(view: View) -> tuple[str, ...] | None:
        is_old = view.accelerator is not None and any(old_firmware(view, part) for part in view.needs.firmware)
        return None if is_old else _of_devices("firmware")(view)

    remedy = "run driver.yml with driver_firmware and driver_firmware_update, and power the host off and on"
    yield from _uniform(views, told, lambda versions: f"cards with {' and with '.join(versions)}", "one firmware", remedy, "driver")


def _links(view: View) -> tuple[tuple[str, str], ...] | None:
    """How the accelerators of a host are joined, as the tool tells it: ``("XPU0-XPU1", "XL")``; None where it does not tell."""
    topology = (view.accelerator or {}).get("topology")
    if not topology:
        return None
    devices = [name for name in topology["names"] if name in topology["distances"] and name in topology["numa_affinity"]]
    pairs = ((one, other) for place, one in enumerate(devices) for other in devices[place + 1 :])
    return tuple((f"{one}-{other}", topology["distances"][one].get(other, "?")) for one, other in pairs) or None


def _different_links(views: Views) -> Iterator[tuple[str, Said]]:
    """Cards of one kind are joined alike on every host: only what differs is told."""
    values = {name: _links(view) for name, view in views.items()}
    known = {name: one for name, one in values.items() if one is not None}
    if len(known) < 2:
        known = {}
    yield from ((name, Unread("there is nothing to compare")) for name in views if name not in known)
    if not known:
        return
    usual, example, odd = odd_ones_out(known)
    for name in odd:
        mine, theirs = dict(known[name]), dict(usual)
        # A card that is missing has no links; that it is missing is told elsewhere.
        pairs = [pair for pair in theirs if pair in mine and mine[pair] != theirs[pair]]
        if not pairs:
            continue
        observed = listed([f"{pair} is {mine[pair]}" for pair in pairs], 3)
        expected = f"{listed([theirs[pair] for pair in pairs], 3)}, as on {example}"
        remedy = "look by dmesg for the links of these accelerators; power the host off and on, and have the cabling looked at"
        yield name, Fault(observed, expected, remedy, severity=Severity.WARNING)


def _ports(view: View) -> dict[str, Data]:
    """The RDMA ports of a host that has one for every rail; none of another host, of which the missing one is told."""
    ports = rdma_ports(view) if uses_rdma(view) else {}
    return ports if len(ports) == len(rails(view)) else {}


def _rates(view: View) -> tuple[tuple[str, float], ...] | None:
    """The rates of the rails' ports; None where one does not tell, or preflight_rdma_rate judges them."""
    rates = tuple((nic, port["rate_gbps"]) for nic, port in _ports(view).items())
    return rates if rates and all(rate for _nic, rate in rates) and not view.needs.rdma_rate_gbps else None


def _gid_indices(view: View) -> tuple[tuple[str, int], ...] | None:
    """The first usable index of each rail; None where an index is set, which is then held against each host."""
    usable = gids(view) if _ports(view) and GID_INDEX not in view.host["environment"] else {}
    return tuple((nic, found[0]["index"]) for nic, found in usable.items()) if usable and all(usable.values()) else None


def _traffic_classes(view: View) -> tuple[tuple[str, int | None], ...] | None:
    return tuple((nic, port["traffic_class"]) for nic, port in _ports(view).items()) or None


def _pairs(value: Any) -> str:
    return listed(f"{nic} {'none' if one is None else format(one, 'g')}" for nic, one in value)


def _image(view: View) -> str | None:
    receipt = view.facts["image_receipt"]
    return receipt.get("image_id") if receipt.get("image_id") in view.facts["engine"]["images"] else None


def _service(views: Views) -> Iterator[tuple[str, Said]]:
    """The service is that of the whole group: where some hosts' containers run and another's does not, what runs cannot answer."""
    serving = [name for name, view in views.items() if view.serves]
    if not serving or not all(view.facts["engine"]["version"] for view in views.values()):
        yield from ((name, Unread("no container of this cluster runs, or an engine does not answer")) for name in views)
        return
    for name, view in views.items():
        if not view.serves:
            there = [one for one in view.facts["engine"]["containers"] if one["name"] == CONTAINER and view.is_ours(one)]
            observed = f"{CONTAINER} {'does not run' if there else 'is not there'}"
            remedy = "run serve.yml, which starts the whole group; journalctl -u flagos-kunlunxin-serve on the host tells why it ended"
            yield name, Fault(observed, f"a container that runs, as on {listed(serving, 3)}", remedy, "serve")


CHECKS = (
    ClusterCheck("system name", "/proc/sys/kernel/hostname", _system_names, ()),
    ClusterCheck("clock spread", "the hosts' clocks between two readings of the controller's", _clock_spread, ()),
    ClusterCheck("interface names", "ip address show", _interface_names, ("rdma",)),
    _same(
        "number of accelerators",
        "/sys/bus/pci/devices",
        _count,
        "count lspci -n -d 1d22: on the hosts, and look for a card that is not seen",
        severity=Severity.WARNING,
    ),
    ClusterCheck("links of accelerators", "xpu-smi topo -m", _different_links, (), Severity.WARNING),
    ClusterCheck("part numbers", "xpu-smi -q", _part_numbers, ()),
    _same(
        "driver versions",
        "/proc/DRIVER/version",
        # Where a version is pinned, each host is held against that; where another one is installed, it is told so.
        lambda view: None if view.needs.driver_version or installed_besides(view) else driver_version(view),
        "install one version on all hosts: run driver.yml",
        "driver",
    ),
    ClusterCheck("firmware versions", "xpu-smi -q", _firmware, ("driver",)),
    _same(
        "RDMA rates",
        "/sys/class/infiniband",
        _rates,
        "look at cable, transceiver and the switch's port of the odd one; ethtool NAME shows what the link agreed on",
        show=_pairs,
    ),
    _same(
        "GID indices",
        "/sys/class/infiniband",
        _gid_indices,
        "take the interfaces' addresses off and put them on again by ip address, so that the indices are the same",
        "rdma",
        Severity.WARNING,
        _pairs,
    ),
    _same(
        "traffic classes",
        "tc/PORT/traffic_class in /sys/class/infiniband",
        _traffic_classes,
        "run rdma.yml",
        "rdma",
        Severity.WARNING,
        _pairs,
    ),
    _same("image identity", "the image stage's receipt", _image, "run distribute.yml", "image"),
    ClusterCheck("service", "the engines' lists of containers", _service, ("serve",)),
)
