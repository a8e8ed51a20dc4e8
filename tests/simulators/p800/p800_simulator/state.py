# SPDX-License-Identifier: MIT
"""SIMULATOR: everything that it remembers of a host, kept as JSON."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import grub
from .places import Places
from .tree import File, put
from .wiring import Wiring, parse

VENDORS = ("1d22", "2057")
PART_NUMBER = "B00100300110112"


class StateError(RuntimeError):
    """There is no simulated host here, or its state is of another version."""


@dataclass
class Runtime:
    """What programs wrote since the host was booted; a reboot forgets it.

    :ivar loaded: modules in the kernel, in the order they were loaded.
    :ivar versions: of the loaded modules, as they were when they were loaded.
    :ivar options: that modules were loaded with, by module.
    :ivar pci: bytes written to configuration spaces, by address of the function and offset.
    :ivar qos: ``{"trust", "pfc", ...}`` by interface.
    :ivar rings: ``{"rx", "tx"}`` by interface.
    :ivar written: content of writable files of sysfs, by path.
    :ivar tos: what cma_roce_tos set, by RDMA device.
    :ivar registers: fields that mlxreg set, by the function's address and the register.
    :ivar log: lines that were added to the kernel's log.
    """

    loaded: List[str] = field(default_factory=list)
    versions: Dict[str, str] = field(default_factory=dict)
    options: Dict[str, str] = field(default_factory=dict)
    pci: Dict[str, Dict[str, int]] = field(default_factory=dict)
    qos: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    rings: Dict[str, Dict[str, int]] = field(default_factory=dict)
    written: Dict[str, str] = field(default_factory=dict)
    tos: Dict[str, int] = field(default_factory=dict)
    registers: Dict[str, Dict[str, int]] = field(default_factory=dict)
    log: List[str] = field(default_factory=list)


@dataclass
class State:
    """
    :ivar wiring: data that :func:`wiring.parse` takes.
    :ivar devices: how many of its XPUs there are.
    :ivar modules: what lies below /lib/modules/KERNEL/extra, by name: ``{"version", "kernel", "file"}``.
    :ivar indexed: names of the modules that the last depmod found.
    :ivar driver: version of the driver that the installer put there; None before.
    :ivar ofed: version of MLNX_OFED; None for the kernel's own modules.
    :ivar firmware: of all XPUs.
    :ivar pending_firmware: becomes the firmware at the next power cycle.
    :ivar bandwidth: Gb/s that ib_write_bw tells; None for 97 % of the rate.
    :ivar faults: parameters by the fault's name.
    :ivar access_control: whether the kernel switches access control services on at boot.
    :ivar boot_parameters: that the host's owner has in GRUB's settings.
    :ivar grub: content of grub.cfg, as update-grub wrote it last; "" before it ever did.
    :ivar booted: parameters of the running kernel.
    :ivar boot_id: of the boot that ``runtime`` belongs to.
    :ivar seen: what was read in the overlay's writable files, by path; it is not kept.
    :ivar received: what programs wrote to them and is new, as paths and texts; it is not kept.
    """

    wiring: Dict[str, Any]
    devices: int
    vendor: str = VENDORS[0]
    part_number: str = PART_NUMBER
    firmware: Dict[str, str] = field(default_factory=lambda: {"PBL": "1.0", "PCIE": "2.15", "SBL": "1.54", "CPLD": "2.0"})
    pending_firmware: Dict[str, str] = field(default_factory=dict)
    driver: Optional[str] = None
    ofed: Optional[str] = None
    modules: Dict[str, Dict[str, str]] = field(default_factory=dict)
    indexed: List[str] = field(default_factory=list)
    nic_gbps: int = 400
    bandwidth: Optional[float] = None
    layout: str = "legend"
    mlxconfig: Dict[str, Dict[str, str]] = field(default_factory=dict)
    faults: Dict[str, Dict[str, str]] = field(default_factory=dict)
    access_control: bool = False
    boot_parameters: str = "iommu=pt"
    grub: str = ""
    booted: str = ""
    boot_id: str = ""
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        self.seen: Dict[str, bytes] = {}
        self.received: List[Tuple[str, str]] = []
        self.booted = self.booted or "%s %s quiet" % (grub.ROOT, self.boot_parameters)

    def load(self, name: str) -> None:
        """A module whose file is there gets into the kernel."""
        self.runtime.loaded.append(name)
        self.runtime.versions[name] = self.modules[name]["version"]

    def unload(self, name: str) -> None:
        self.runtime.loaded = [other for other in self.runtime.loaded if other != name]
        self.runtime.versions.pop(name, None)
        self.runtime.options.pop(name, None)

    @property
    def parsed_wiring(self) -> Wiring:
        return parse(self.wiring)


def load(places: Places) -> State:
    """:raises StateError: there is none."""
    try:
        with open(places.state, encoding="utf-8") as stream:
            data = json.load(stream)
        return State(**dict(data, runtime=Runtime(**data["runtime"])))
    except FileNotFoundError:
        raise StateError("no simulated P800 host here: p800-simulator init makes one")
    except (ValueError, TypeError, KeyError) as error:
        raise StateError("%s: %s; p800-simulator reset begins anew" % (places.state, error))


def save(places: Places, state: State) -> None:
    put(places.state, File(json.dumps(asdict(state), indent=1, sort_keys=True) + "\n", 0o644))


@contextlib.contextmanager
def locked(places: Places) -> Iterator[None]:
    """One program changes the state at a time."""
    os.makedirs(places.folder, exist_ok=True)
    with open(places.lock, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
