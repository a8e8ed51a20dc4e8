# SPDX-License-Identifier: MIT
"""SIMULATOR: where the XPUs and the interfaces of a machine are on its PCI buses.

The form is that of tests/unit/plugins/plugin_utils/wirings: ``A/12:00.0/13:00.0`` is the way to bus A and from there over these addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Tuple


class WiringError(ValueError):
    """A wiring that makes no machine; the text says what is wrong."""


@dataclass(frozen=True)
class Place:
    """:ivar path: from the host bridge (``pci0000:10``) over the bridges' addresses to the function's own."""

    path: Tuple[str, ...]
    numa: int

    @property
    def address(self) -> str:
        return self.path[-1]


@dataclass(frozen=True)
class Wiring:
    """:ivar devices: the place of each XPU by its number.
    :ivar interfaces: the place of each interface by its name, in the order they were given.
    :ivar plain: names of the interfaces without RDMA, such as the control interface.
    """

    devices: Mapping[int, Place]
    interfaces: Mapping[str, Place]
    plain: Tuple[str, ...]


# One PCI switch for each pair of XPUs with a NIC of its own, each below a root port of its own: the model card's wiring.
_BUSES = {
    "A": {"path": "pci0000:10/0000:10:01.0/0000:11:00.0", "numa": 0},
    "B": {"path": "pci0000:30/0000:30:01.0/0000:31:00.0", "numa": 0},
    "C": {"path": "pci0000:50/0000:50:01.0/0000:51:00.0", "numa": 1},
    "D": {"path": "pci0000:70/0000:70:01.0/0000:71:00.0", "numa": 1},
    "chipset": {"path": "pci0000:00", "numa": 0},
}
_DEVICES = {
    "0": "A/12:00.0/13:00.0",
    "1": "A/12:01.0/14:00.0",
    "2": "B/32:00.0/33:00.0",
    "3": "B/32:01.0/34:00.0",
    "4": "C/52:00.0/53:00.0",
    "5": "C/52:01.0/54:00.0",
    "6": "D/72:00.0/73:00.0",
    "7": "D/72:01.0/74:00.0",
}
_CONTROL = "chipset/00:1c.0/01:00.0"
_NIC_PLACES = ("A/12:02.0/15:00.0", "B/32:02.0/35:00.0", "C/52:02.0/55:00.0", "D/72:02.0/75:00.0")


def _pairs(order: Tuple[int, ...]) -> Dict[str, Any]:
    """``eth1`` to ``eth4`` at the switches with these numbers."""
    interfaces = {"eth0": _CONTROL}
    interfaces.update(("eth%d" % number, _NIC_PLACES[switch]) for number, switch in enumerate(order, 1))
    return {"buses": _BUSES, "devices": _DEVICES, "interfaces": interfaces, "plain": ["eth0"]}


NAMED: Dict[str, Dict[str, Any]] = {
    "pairs": _pairs((0, 1, 2, 3)),
    # The cards of each socket are swapped: the host's devices line up as 2,3,0,1,6,7,4,5, envinit's example.
    "swapped": _pairs((1, 0, 3, 2)),
    # The rails of the two sockets are crossed.
    "crossed": _pairs((2, 3, 0, 1)),
}


def parse(data: Any) -> Wiring:
    """A wiring from data as in :data:`NAMED`. :raises WiringError: it is none."""
    try:
        devices = {int(number): _place(data["buses"], text) for number, text in data["devices"].items()}
        interfaces = {str(name): _place(data["buses"], text) for name, text in data["interfaces"].items()}
        plain = tuple(str(name) for name in data.get("plain", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WiringError("wiring: %s: %s" % (type(error).__name__, error))
    if sorted(devices) != list(range(len(devices))):
        raise WiringError("wiring: devices are numbered %s; expected 0 to %d" % (sorted(devices), len(devices) - 1))
    addresses = [place.address for place in [*devices.values(), *interfaces.values()]]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise WiringError("wiring: two functions are at %s" % ", ".join(twice))
    return Wiring(devices, interfaces, plain)


def _place(buses: Mapping[str, Any], text: str) -> Place:
    bus, *below = text.split("/")
    return Place((*buses[bus]["path"].split("/"), *("0000:" + address for address in below)), int(buses[bus]["numa"]))
