# SPDX-License-Identifier: MIT
"""SIMULATOR: the machine as it is now: what the state says, with the faults in it. Everything that is shown is made from this.

Figures of a P800 are those of zstack's sample of ``xpu-smi -q`` and of a public host survey; see tests/simulators/README.md.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

from . import grub
from .live import Live
from .state import State
from .wiring import Place

DRIVER, PEER, XDR = "kunlun", "kunlun_peermem", "xdr"
NEEDS: Dict[str, Tuple[str, ...]] = {DRIVER: (), PEER: (DRIVER,), XDR: (DRIVER,)}
XPU_MAJOR, CONTROL_MINOR, XDR_MAJOR = 195, 255, 236  # 195 and 255: the host survey; a number for xdrdrv is nowhere told
MEMORY_MIB, L3_MIB = 98304, 96
CPUS = {0: "0-51,104-155", 1: "52-103,156-207"}  # envinit's example of topo -m
ALL_CPUS = "0-207"
ACS_ON = 0x001D  # what Linux sets: source validation, request and completion redirect, upstream forwarding

XPU_SPEED, XPU_GENERATION = "16.0 GT/s PCIe", 4  # zstack's sample: Max 4
NIC_SPEED = "32.0 GT/s PCIe"
WIDTH = 16
SLOWER = {"16.0 GT/s PCIe": "8.0 GT/s PCIe", "32.0 GT/s PCIe": "16.0 GT/s PCIe"}
RATES = {400: "400 Gb/sec (4X NDR)", 200: "200 Gb/sec (4X HDR)", 100: "100 Gb/sec (4X EDR)", 25: "25 Gb/sec (1X EDR)"}

ROCE_1, ROCE_2 = "IB/RoCE v1", "RoCE v2"
KERNEL_MODULES = ("mlx5_core", "ib_core", "ib_uverbs", "mlx5_ib", "rdma_cm", "rdma_ucm")
COUNTERS = ("port_xmit_discards", "port_rcv_errors", "port_xmit_data", "port_rcv_data")
HW_COUNTERS = (
    "packet_seq_err", "local_ack_timeout_err", "out_of_sequence", "np_cnp_sent", "rp_cnp_handled", "roce_adp_retrans",
    "np_ecn_marked_roce_packets", "rnr_nak_retry_err",
)  # fmt: skip


@dataclass
class Link:
    speed: str
    max_speed: str
    width: int = WIDTH
    max_width: int = WIDTH


@dataclass
class Function:
    """One PCI function.

    :ivar is_mapped: whether its memory is mapped; a BIOS without above-4G decoding leaves it out.
    """

    place: Place
    vendor: str
    device: str
    class_code: str
    link: Link
    driver: Optional[str] = None
    is_mapped: bool = True

    @property
    def address(self) -> str:
        return self.place.address


@dataclass
class Bridge(Function):
    """:ivar acs: the ACS control register as the kernel left it at boot.
    :ivar keeps_acs: whether it stays so, whatever is written to it.
    """

    acs: int = 0
    keeps_acs: bool = False


@dataclass
class DeviceNode:
    """:ivar kind: ``char``, ``file`` or ``missing``."""

    minor: int
    mode: int = 0o666
    kind: str = "char"


@dataclass
class Xpu:
    """:ivar probed: whether the driver found it; without, it is on the bus and nowhere else."""

    index: int
    function: Function
    serial: str
    uuid: str
    part_number: str
    firmware: Dict[str, str]
    node: DeviceNode
    product: str = "P800 OAM"
    probed: bool = True
    used_mib: int = 0
    temperature: int = 40
    power: int = 85
    utilisation: int = 0


@dataclass
class Gid:
    index: int
    gid: str
    kind: str


@dataclass
class Nic:
    """An interface of the live host with a place on the simulated bus.

    :ivar rdma: name of its RDMA device; None for one without RDMA.
    :ivar state: of its port: ``ACTIVE`` or ``DOWN``.
    """

    name: str
    function: Function
    rdma: Optional[str]
    mac: str
    addresses: Tuple[str, ...]
    gbps: int
    state: str = "ACTIVE"
    link_layer: str = "Ethernet"
    firmware: str = "28.39.1002"
    gids: List[Gid] = field(default_factory=list)
    counters: Dict[str, int] = field(default_factory=dict)
    trust: str = "pcp"
    pfc: List[int] = field(default_factory=lambda: [0] * 8)
    dscp2prio: Dict[int, int] = field(default_factory=dict)
    cable_length: int = 7
    rings: Dict[str, int] = field(default_factory=lambda: {"rx": 1024, "tx": 1024})
    tos: Optional[int] = None
    refuses_qos: bool = False
    bandwidth: float = 0.0


@dataclass
class Holder:
    """A process that has a device node open."""

    pid: int
    name: str
    path: str


@dataclass
class Module:
    """A module's file: the version it has, and the kernel it was built for."""

    name: str
    version: str
    kernel: str
    file: str


@dataclass
class Tool:
    """The vendor's xpu-smi.

    :ivar version: that it tells; the driver's, None where it cannot ask a driver.
    :ivar intel_first: whether Intel's program of this name comes first in the folders of programs.
    :ivar words: what ``topo -m`` tells of two things instead of the truth.
    :ivar strange: whether it prints lines that no version is known to print.
    :ivar fails: whether it ends with an error.
    """

    version: Optional[str]
    layout: str
    intel_first: bool = False
    words: Dict[Tuple[str, str], str] = field(default_factory=dict)
    strange: bool = False
    fails: bool = False


@dataclass
class Machine:
    live: Live
    ofed: Optional[str]
    xpus: List[Xpu]
    nics: List[Nic]
    bridges: List[Bridge]
    modules: Dict[str, Module]
    indexed: List[str]
    loaded: List[str]
    driver: Optional[str]
    xdr: Optional[str]
    xdr_mapped: bool
    xdr_node: bool
    control_node: DeviceNode
    tool: Tool
    log: List[str]
    cmdline: str
    iommu: str
    boot_parameters: str
    grub: str
    installed_kernels: List[str]
    headers: bool = True
    options: Dict[str, str] = field(default_factory=dict)
    holders: List[Holder] = field(default_factory=list)
    xpu_links: Dict[Tuple[int, int], str] = field(default_factory=dict)

    @property
    def driver_runs(self) -> bool:
        return DRIVER in self.loaded

    @property
    def known_xpus(self) -> List[Xpu]:
        """Those that the driver found."""
        return [xpu for xpu in self.xpus if xpu.probed]

    @property
    def functions(self) -> List[Function]:
        return [*self.bridges, *(xpu.function for xpu in self.xpus), *(nic.function for nic in self.nics)]

    @property
    def rails(self) -> List[Nic]:
        return [nic for nic in self.nics if nic.rdma]


def healthy(state: State, live: Live) -> Machine:
    """The machine without its faults."""
    wiring = state.parsed_wiring
    runtime = state.runtime
    firmware = dict(state.firmware)
    firmware["ALL"] = "1.0.%s.%s" % (firmware["PCIE"], firmware["SBL"])  # as the sample joins them
    loaded = list(runtime.loaded)
    xpus = [_xpu(state, live, firmware, index, place) for index, place in sorted(wiring.devices.items())[: state.devices]]
    return Machine(
        live=live,
        ofed=state.ofed,
        xpus=xpus,
        nics=_nics(state, live),
        bridges=_bridges(state),
        modules={name: Module(name, **fields) for name, fields in state.modules.items()},
        indexed=list(state.indexed),
        loaded=loaded,
        driver=runtime.versions.get(DRIVER),
        xdr=runtime.versions.get(XDR),
        xdr_mapped=True,
        xdr_node=XDR in loaded,
        control_node=DeviceNode(CONTROL_MINOR),
        tool=Tool(runtime.versions.get(DRIVER), state.layout),
        log=list(runtime.log),
        cmdline="BOOT_IMAGE=/boot/vmlinuz-%s %s" % (live.kernel, state.booted),
        iommu="identity" if "iommu=pt" in state.booted.split() else "DMA",
        boot_parameters=state.boot_parameters,
        grub=state.grub or grub.configuration(live.kernel, state.boot_parameters, "quiet"),
        installed_kernels=[live.kernel],
        options=dict(runtime.options),
        xpu_links=_full_mesh_in_fours(len(xpus)),
    )


def _xpu(state: State, live: Live, firmware: Dict[str, str], index: int, place: Place) -> Xpu:
    name = "%s/xpu%d" % (live.hostname, index)
    serial = "02K0MA%s" % hashlib.sha256(name.encode()).hexdigest()[:10].upper()
    function = Function(place, state.vendor, "3686", "120000", Link(XPU_SPEED, XPU_SPEED))
    function.driver = DRIVER if DRIVER in state.runtime.loaded else None
    identity = "GPU-%s" % uuid.uuid5(uuid.NAMESPACE_DNS, name)
    warm = (38, 40, 45, 44, 49, 41, 43, 42)[index % 8]  # the survey's temperatures
    return Xpu(index, function, serial, identity, state.part_number, dict(firmware), DeviceNode(index), temperature=warm)


def _full_mesh_in_fours(count: int) -> Dict[Tuple[int, int], str]:
    """XL between the XPUs of each four, and between those at the same place of two fours (HAMi, pkg/device/kunlun/topo.go)."""
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
    return {(one, other): "XL" for one, other in pairs if one // 4 == other // 4 or one % 4 == other % 4}


def _nics(state: State, live: Live) -> List[Nic]:
    wiring = state.parsed_wiring
    there = {name: place for name, place in wiring.interfaces.items() if name in live.macs}
    with_rdma = sorted((place.address, name) for name, place in there.items() if name not in wiring.plain)
    numbers = {name: number for number, (_address, name) in enumerate(with_rdma)}
    return [_nic(state, live, name, place, numbers.get(name)) for name, place in there.items()]


def _nic(state: State, live: Live, name: str, place: Place, number: Optional[int]) -> Nic:
    runtime = state.runtime
    has_rdma = number is not None
    function = Function(
        place, "15b3" if has_rdma else "8086", "1021" if has_rdma else "1563", "020000", Link(NIC_SPEED, NIC_SPEED),
        "mlx5_core" if has_rdma else "ixgbe",
    )  # fmt: skip
    if not has_rdma:
        function.link = Link("8.0 GT/s PCIe", "8.0 GT/s PCIe", 8, 8)
    rdma = None if number is None else "mlx5_%d" % number
    gbps = state.nic_gbps if has_rdma else 10
    nic = Nic(name, function, rdma, live.macs[name], live.addresses.get(name, ()), gbps)
    nic.state = "ACTIVE" if name in live.up else "DOWN"
    nic.gids = gids(nic.mac, nic.addresses)
    nic.counters = dict.fromkeys(COUNTERS + HW_COUNTERS, 0)
    nic.rings.update(runtime.rings.get(name, {}))
    qos = runtime.qos.get(name, {})
    nic.trust, nic.pfc = qos.get("trust", nic.trust), list(qos.get("pfc", nic.pfc))
    nic.dscp2prio = {int(dscp): priority for dscp, priority in qos.get("dscp2prio", {}).items()}
    nic.cable_length = qos.get("cable_length", nic.cable_length)
    nic.tos = runtime.tos.get(rdma or "")
    nic.bandwidth = state.bandwidth if state.bandwidth is not None else round(gbps * 0.97, 2)
    return nic


def gids(mac: str, addresses: Tuple[str, ...]) -> List[Gid]:
    """A RoCE port's table: for the link-local address and each IPv4 one an entry of version 1 and one of version 2."""
    found: List[Gid] = []
    for text in [link_local(mac), *(mapped(address) for address in addresses)]:
        for kind in (ROCE_1, ROCE_2):
            found.append(Gid(len(found), text, kind))
    return found


def link_local(mac: str) -> str:
    """``fe80:0000:0000:0000:0e42:a1ff:fe00:0101`` of 0c:42:a1:00:01:01, as sysfs writes it."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    full = octets[:3] + [0xFF, 0xFE] + octets[3:]
    groups = ["%02x%02x" % (full[position], full[position + 1]) for position in range(0, 8, 2)]
    return "fe80:0000:0000:0000:" + ":".join(groups)


def mapped(address: str) -> str:
    octets = [int(part) for part in address.split(".")]
    return "0000:0000:0000:0000:0000:ffff:%02x%02x:%02x%02x" % tuple(octets)


def _bridges(state: State) -> List[Bridge]:
    wiring = state.parsed_wiring
    found: Dict[str, Bridge] = {}
    for place in [*wiring.devices.values(), *wiring.interfaces.values()]:
        for depth in range(2, len(place.path)):
            path = place.path[:depth]
            root_port = depth == 2
            vendor, device = ("8086", "352a") if root_port else ("1000", "c030")
            bridge = Bridge(Place(path, place.numa), vendor, device, "060400", Link(NIC_SPEED, NIC_SPEED), "pcieport")
            bridge.acs = ACS_ON if state.access_control else 0
            found[path[-1]] = bridge
    return [found[address] for address in sorted(found)]
