# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The PCI devices of a host and how far apart two of them are, from sysfs alone: neither a driver nor lspci is needed.

Devices are known by the numbers of vendor and device, never by names: lspci's list of names calls some accelerators by those of
other companies' products.
"""

from __future__ import annotations

import collections
import itertools
import posixpath
import re
import struct

FOLDER = "/sys/bus/pci/devices"
ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")

# The words of `nvidia-smi topo -m`, which the accelerators' own tools use, too. From near to far.
PIX = "PIX"  # at most one bridge or switch
PXB = "PXB"  # several switches below one root port
PHB = "PHB"  # one host bridge
NODE = "NODE"  # one NUMA node
SYS = "SYS"  # anything else: between sockets
DISTANCES = (PIX, PXB, PHB, NODE, SYS)

PciDevice = collections.namedtuple("PciDevice", "address vendor device class_code numa_node path driver link")
PciDevice.__doc__ = """One function of one card.

:ivar address: ``0000:3b:00.0``.
:ivar vendor: four hexadecimal digits, and so is ``device``.
:ivar class_code: six hexadecimal digits.
:ivar numa_node: None where the machine does not say.
:ivar path: from the host bridge (``pci0000:3a``) over the bridges' addresses to the device's own.
:ivar driver: name of the kernel driver that holds it, or None.
:ivar link: ``{"speed_gts", "width", "max_speed_gts", "max_width"}``, each None where sysfs does not say.
"""


def devices(tree):
    """Every PCI device of the host, by address.

    :param tree: a :class:`_host_tree.HostTree`.
    """
    found = (_device(tree, address) for address in tree.names(FOLDER))
    return {device.address: device for device in found if device is not None}


def _device(tree, address):
    base = posixpath.join(FOLDER, address)
    vendor, device = tree.line(base + "/vendor"), tree.line(base + "/device")
    if vendor is None or device is None:  # it went while the folder was read
        return None
    return PciDevice(
        address=address,
        vendor=_digits(vendor),
        device=_digits(device),
        class_code=_digits(tree.line(base + "/class") or ""),
        numa_node=numa_node(tree.line(base + "/numa_node")),
        path=path_of(tree.link(base), address),
        driver=posixpath.basename(tree.link(base + "/driver") or "") or None,
        link={
            "speed_gts": transfer_rate(tree.line(base + "/current_link_speed")),
            "width": _count(tree.line(base + "/current_link_width")),
            "max_speed_gts": transfer_rate(tree.line(base + "/max_link_speed")),
            "max_width": _count(tree.line(base + "/max_link_width")),
        },
    )


def path_of(target, address):
    """The way to a device, from the target of its link in :data:`FOLDER`; only the device where that says nothing."""
    parts = tuple(part for part in (target or "").split("/") if ADDRESS.match(part) or part.startswith("pci"))
    return parts if parts and parts[-1] == address else (address,)


def numa_node(text):
    """The number in ``numa_node``; None where it is the kernel's -1, or no number."""
    number = _count(text)
    return number if number is not None and number >= 0 else None


def transfer_rate(text):
    """``16.0 GT/s PCIe`` (older kernels: ``16 GT/s``) as 16.0; None for ``Unknown``."""
    match = re.match(r"([0-9]+(?:\.[0-9]+)?) GT/s", text or "")
    return float(match.group(1)) if match else None


def _digits(text):
    return text.lower()[2:] if text.lower().startswith("0x") else text.lower()


def _count(text):
    """A whole number; None for anything else."""
    return int(text) if re.match(r"-?[0-9]+$", text or "") else None


def distance(one, other):
    """How far apart two devices are: one of :data:`DISTANCES`.

    :param one: a :class:`PciDevice`, or anything with its ``path`` and ``numa_node``.
    """
    ways = itertools.zip_longest(one.path[:-1], other.path[:-1])
    shared = sum(1 for _bridge in itertools.takewhile(lambda pair: pair[0] == pair[1], ways))
    if shared > 1:  # the host bridge and at least the root port
        below = max(len(one.path), len(other.path)) - shared
        return PIX if below <= 2 else PXB  # the device itself and, in a switch, the port above it
    if shared == 1:
        return PHB
    return NODE if one.numa_node == other.numa_node else SYS


def links_below_their_best(tree):
    """The link of every PCI device that has fewer lanes or a lower rate than it could have: ``{address: link}``, as :class:`PciDevice`'s."""
    return {address: device.link for address, device in devices(tree).items() if _is_low(device.link)}


def _is_low(link):
    return any(
        link[now] and link[best] and link[now] < link[best] for now, best in (("width", "max_width"), ("speed_gts", "max_speed_gts"))
    )


def is_mapped(text):
    """Whether any of a device's memory has an address, from its ``resource`` file; None where that says nothing.

    Firmware that does not decode above 4 GiB leaves large cards without one; their driver then cannot take them.
    """
    ranges = [line.split()[:2] for line in (text or "").splitlines() if len(line.split()) == 3]
    return any(int(end, 16) for _start, end in ranges if re.match(r"0x[0-9a-fA-F]+$", end)) if ranges else None


BRIDGE_CLASS = "0604"  # PCI-to-PCI
ACS_CONTROL = "ECAP_ACS+6.w"
# PCI Express Base Specification: where the two lists of capabilities begin, and the numbers of those that are asked for here.
CAPABILITIES, EXTENDED_CAPABILITIES = 0x34, 0x100
_NUMBERS = {"CAP_EXP": 0x10, "ECAP_ACS": 0x000D}
_REGISTER = re.compile(r"(E?CAP_[A-Z]+)\+([0-9a-f]{1,3})\.([bwl])\Z")
_FORMS = {"b": "<B", "w": "<H", "l": "<I"}


def register(tree, address, name):
    """A register of a device's configuration space, as ``setpci -s ADDRESS NAME`` prints it, without a process for each.

    None where the device has no such capability, or the space is cut short: only root may read all of it.

    :param name: in the form of setpci(8), such as ``CAP_EXP+8.w`` or ``ECAP_ACS+6.w``, of the capabilities that are known here.
    """
    capability, offset, width = _REGISTER.match(name).groups()
    config = tree.content(posixpath.join(FOLDER, address, "config")) or b""
    extended = capability.startswith("ECAP")
    for number, place in _extended_capabilities(config) if extended else _capabilities(config):
        if number == _NUMBERS[capability]:
            return _unpacked(_FORMS[width], config, place + int(offset, 16))
    return None


def _capabilities(config):
    """Number and place of each capability of the list that PCI has had since 2.2."""
    place, seen = _unpacked("<B", config, CAPABILITIES), set()
    while place and place >= 0x40 and place not in seen:
        seen.add(place)
        head = _unpacked("<H", config, place)
        if head is None or head & 0xFF == 0xFF:  # cut short, or a device that is gone
            return
        yield head & 0xFF, place
        place = head >> 8 & ~0x3


def _extended_capabilities(config):
    place, seen = EXTENDED_CAPABILITIES, set()
    while place >= EXTENDED_CAPABILITIES and place not in seen:
        seen.add(place)
        head = _unpacked("<I", config, place)
        if head in (None, 0, 0xFFFFFFFF):
            return
        yield head & 0xFFFF, place
        place = head >> 20 & ~0x3


def _unpacked(form, config, place):
    """A number; None where the space ends before it."""
    return struct.unpack_from(form, config, place)[0] if place + struct.calcsize(form) <= len(config) else None


def access_control(tree):
    """The control register of access control services of every bridge that has one, 0 for all off: ``{address: number}``."""
    bridges = (
        address
        for address in tree.names(FOLDER)
        if _digits(tree.line(posixpath.join(FOLDER, address, "class")) or "").startswith(BRIDGE_CLASS)
    )
    controls = ((address, register(tree, address, ACS_CONTROL)) for address in bridges)
    return {address: control for address, control in controls if control is not None}


def iommu_groups(tree):
    """How the addresses of each PCI device are translated, ``identity`` for not at all: ``{address: type}``, those without a group left out."""
    types = {address: tree.line(posixpath.join(FOLDER, address, "iommu_group", "type")) for address in tree.names(FOLDER)}
    return {address: kind for address, kind in types.items() if kind}
