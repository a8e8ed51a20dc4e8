# SPDX-License-Identifier: MIT
"""SIMULATOR: what can be wrong with a host: one table of all faults, each a change of the machine.

The failure modes are those of the project's table of what keeps four P800 hosts from serving; tests/simulators/README.md repeats their titles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, List, Mapping, Tuple

from . import machine as model
from .machine import ACS_ON, DRIVER, PEER, ROCE_1, SLOWER, XDR, DeviceNode, Gid, Holder, Machine, Nic, Xpu

Parameters = Mapping[str, str]
ALL = "all"


class FaultError(ValueError):
    """No such fault, or a parameter it does not take; the text says which."""


@dataclass(frozen=True)
class Fault:
    """
    :ivar modes: numbers of the failure modes that it is an example of.
    :ivar parameters: with their defaults; ``xpu`` and ``nic`` take a number or name, or ``all``.
    """

    name: str
    does: str
    modes: Tuple[int, ...]
    change: Callable[[Machine, Parameters], None]
    parameters: Mapping[str, str] = field(default_factory=dict)


def apply(machine: Machine, name: str, given: Parameters) -> None:
    """:raises FaultError: as :func:`checked`."""
    fault = BY_NAME.get(name)
    if fault is None:
        raise FaultError("%s is no fault; p800-simulator fault list shows them" % name)
    try:
        fault.change(machine, {**fault.parameters, **given})
    except (ValueError, KeyError) as error:
        raise FaultError("%s: %s: %s" % (name, type(error).__name__, error))


def checked(name: str, given: Parameters) -> Dict[str, str]:
    """The parameters as they are to be kept. :raises FaultError: there is no such fault or parameter."""
    fault = BY_NAME.get(name)
    if fault is None:
        raise FaultError("%s is no fault; p800-simulator fault list shows them" % name)
    unknown = sorted(set(given) - set(fault.parameters))
    if unknown:
        known = ", ".join("%s=%s" % item for item in fault.parameters.items()) or "none"
        raise FaultError("%s takes no %s; its parameters: %s" % (name, ", ".join(unknown), known))
    for key in ("xpu", "other"):
        value = given.get(key, "0")
        if not value.isdigit() and value != ALL:
            raise FaultError("%s=%s is no number of an XPU" % (key, value))
    return dict(given)


def _xpus(machine: Machine, parameters: Parameters) -> List[Xpu]:
    wanted = parameters["xpu"]
    return [xpu for xpu in machine.xpus if wanted == ALL or xpu.index == int(wanted)]


def _nics(machine: Machine, parameters: Parameters) -> List[Nic]:
    wanted = parameters["nic"]
    return [nic for nic in machine.rails if wanted in (ALL, nic.name)]


# ---- XPUs on the bus


def _xpu_missing(machine: Machine, parameters: Parameters) -> None:
    """The driver counts those that are left."""
    gone = _xpus(machine, parameters)
    machine.xpus = [xpu for xpu in machine.xpus if xpu not in gone]
    for index, xpu in enumerate(machine.xpus):
        xpu.index = xpu.node.minor = index


def _xpu_not_probed(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.probed = False
        xpu.function.driver = None


def _bar_unmapped(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.function.is_mapped = False


def _pcie_slow(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.function.link.speed = SLOWER[xpu.function.link.max_speed]


def _pcie_narrow(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.function.link.width = int(parameters["width"])


def _nic_pcie_narrow(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.function.link.width = int(parameters["width"])


def _part_number(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.part_number = parameters["part_number"]


def _firmware(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.firmware["SBL"] = parameters["sbl"]
        xpu.firmware["ALL"] = "1.0.%s.%s" % (xpu.firmware["PCIE"], parameters["sbl"])


# ---- driver


def _unload(machine: Machine, *names: str) -> None:
    machine.loaded = [name for name in machine.loaded if name not in names]
    if DRIVER in names:
        machine.driver = machine.tool.version = None
        for xpu in machine.xpus:
            xpu.function.driver = None
    if XDR in names:
        machine.xdr, machine.xdr_node = None, False


def _driver_not_loaded(machine: Machine, _parameters: Parameters) -> None:
    _unload(machine, DRIVER, PEER, XDR)


def _driver_other_kernel(machine: Machine, parameters: Parameters) -> None:
    _unload(machine, DRIVER, PEER, XDR)
    for module in machine.modules.values():
        module.kernel = parameters["kernel"]


def _driver_version(machine: Machine, parameters: Parameters) -> None:
    version = parameters["version"]
    for name in (DRIVER, PEER):
        if name in machine.modules:
            machine.modules[name].version = version
    if machine.driver_runs:
        machine.driver = machine.tool.version = version


def _driver_not_reloaded(machine: Machine, parameters: Parameters) -> None:
    if machine.driver_runs:
        machine.driver = machine.tool.version = parameters["version"]


def _kernel_newer(machine: Machine, parameters: Parameters) -> None:
    machine.installed_kernels.append(parameters["kernel"])


def _headers_missing(machine: Machine, _parameters: Parameters) -> None:
    machine.headers = False


def _node_missing(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.node.kind = "missing"


def _node_root_only(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.node.mode = 0o600
    if parameters["xpu"] == ALL:
        machine.control_node.mode = 0o600


def _node_not_char(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.node.kind = "file"


def _node_wrong_number(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.node = DeviceNode(int(parameters["minor"]))


def _control_node_missing(machine: Machine, _parameters: Parameters) -> None:
    machine.control_node.kind = "missing"


def _peermem_not_loaded(machine: Machine, _parameters: Parameters) -> None:
    _unload(machine, PEER)


def _peermem_not_built(machine: Machine, _parameters: Parameters) -> None:
    _unload(machine, PEER)
    machine.modules.pop(PEER, None)


def _xdr_disabled(machine: Machine, _parameters: Parameters) -> None:
    machine.xdr_mapped = False
    machine.log.append("xdr: XDR disabled")


def _xdr_not_loaded(machine: Machine, _parameters: Parameters) -> None:
    _unload(machine, XDR)


def _xdr_node_missing(machine: Machine, _parameters: Parameters) -> None:
    machine.xdr_node = False


# ---- in use, and errors while it runs


def _memory_used(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        xpu.used_mib, xpu.utilisation = int(parameters["mib"]), 35


def _node_held(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        machine.holders.append(Holder(int(parameters["pid"]) + xpu.index, parameters["process"], "/dev/xpu%d" % xpu.index))


def _link_unlocked(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        machine.log.append("kunlun %s: c2c port%s AM out of lock" % (xpu.function.address, parameters["port"]))


def _noc_idle(machine: Machine, parameters: Parameters) -> None:
    for xpu in _xpus(machine, parameters):
        machine.log.append("kunlun %s: wait noc_idle timeout" % xpu.function.address)


def _xl_missing(machine: Machine, parameters: Parameters) -> None:
    one, other = int(parameters["xpu"]), int(parameters["other"])
    machine.xpu_links.pop((one, other), None)
    machine.xpu_links.pop((other, one), None)


# ---- adapters


def _rdma_device_missing(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.rdma = None


def _nic_elsewhere(machine: Machine, parameters: Parameters) -> None:
    by_name = {nic.name: nic for nic in machine.rails}
    one, other = by_name.get(parameters["nic"]), by_name.get(parameters["with"])
    if one and other:
        one.function.place, other.function.place = other.function.place, one.function.place
        for number, nic in enumerate(sorted(machine.rails, key=lambda rail: rail.function.address)):
            nic.rdma = "mlx5_%d" % number  # numbered as they are found on the bus; the interfaces keep their names


def _topology_contradicts(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        for xpu in _xpus(machine, parameters):
            names = "XPU%d" % xpu.index, nic.rdma or ""
            machine.tool.words[names] = machine.tool.words[names[::-1]] = parameters["word"]


def _topology_one_sided(machine: Machine, parameters: Parameters) -> None:
    machine.tool.words["XPU%s" % parameters["xpu"], "XPU%s" % parameters["other"]] = "SYS"


def _rdma_renumbered(machine: Machine, _parameters: Parameters) -> None:
    names = [nic.rdma for nic in machine.rails]
    for nic, name in zip(machine.rails, reversed(names)):
        nic.rdma = name


def _gid_only_v1(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        for gid in nic.gids:
            gid.kind = ROCE_1


def _gid_moved(machine: Machine, parameters: Parameters) -> None:
    """What had an address that was taken away and given again: its entries come after a gap."""
    for nic in _nics(machine, parameters):
        for gid in nic.gids[2:]:
            gid.index += int(parameters["by"])


def _gid_without_address(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.gids = nic.gids[:2]


def _gid_of_another_address(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        stale = model.mapped(parameters["address"])
        nic.gids = [Gid(gid.index, stale if gid.index >= 2 else gid.gid, gid.kind) for gid in nic.gids]


def _port_down(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.state = "DOWN"


def _port_infiniband(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.link_layer = "InfiniBand"
        nic.gids = [Gid(0, model.link_local(nic.mac), "IB/RoCE v1")]


def _port_slow(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.gbps = int(parameters["gbps"])


def _counters_rising(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.counters[parameters["counter"]] = (
            nic.counters.get(parameters["counter"], 0) + int(parameters["per_second"]) * machine.live.clock
        )


def _bandwidth_low(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.bandwidth = float(parameters["gbps"])


def _trust_pcp(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.trust = "pcp"


def _pfc_other(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.pfc = [int(word) for word in parameters["pfc"].split(",")]


def _qos_refused(machine: Machine, parameters: Parameters) -> None:
    for nic in _nics(machine, parameters):
        nic.refuses_qos = True


def _acs_on(machine: Machine, _parameters: Parameters) -> None:
    for bridge in machine.bridges:
        bridge.acs, bridge.keeps_acs = ACS_ON, True


def _iommu_translating(machine: Machine, _parameters: Parameters) -> None:
    machine.iommu = "DMA"
    machine.cmdline = machine.cmdline.replace("iommu=pt", "intel_iommu=on")


# ---- tool


def _intel_tool_first(machine: Machine, _parameters: Parameters) -> None:
    machine.tool.intel_first = True


def _tool_version_unknown(machine: Machine, parameters: Parameters) -> None:
    machine.tool.version = parameters["version"]


def _tool_strange(machine: Machine, _parameters: Parameters) -> None:
    machine.tool.strange = True


def _tool_fails(machine: Machine, _parameters: Parameters) -> None:
    machine.tool.fails = True


_NIC, _ANY_NIC = {"nic": "eth1"}, {"nic": ALL}

FAULTS = (
    Fault("xpu-missing", "an XPU is not on the bus; the driver counts the others", (1,), _xpu_missing, {"xpu": "7"}),
    Fault("xpu-not-probed", "an XPU is on the bus, but the driver and the tool do not have it", (1, 5), _xpu_not_probed, {"xpu": "7"}),
    Fault("bar-unmapped", "an XPU's memory is not mapped, as without above-4G decoding", (1,), _bar_unmapped, {"xpu": "0"}),
    Fault("driver-not-loaded", "no module of the driver is in the kernel", (2,), _driver_not_loaded),
    Fault(
        "driver-other-kernel",
        "the modules were built for another kernel and do not load",
        (2, 48),
        _driver_other_kernel,
        {"kernel": "5.15.0-88-generic"},
    ),
    Fault("driver-version", "the driver has another version", (3,), _driver_version, {"version": "5.0.21.8"}),
    Fault(
        "driver-not-reloaded",
        "the kernel still has a driver older than the installed module",
        (3,),
        _driver_not_reloaded,
        {"version": "5.0.21.8"},
    ),
    Fault("firmware-old", "the firmware of all XPUs is old", (4,), _firmware, {"xpu": ALL, "sbl": "1.40"}),
    Fault("firmware-mixed", "one XPU has another firmware", (4,), _firmware, {"xpu": "3", "sbl": "1.48"}),
    Fault("node-missing", "a device node is missing", (5,), _node_missing, {"xpu": "5"}),
    Fault("node-root-only", "device nodes are root's alone, as without the udev rule", (5,), _node_root_only, {"xpu": ALL}),
    Fault("node-not-char", "an ordinary file is where a device node should be", (5,), _node_not_char, {"xpu": "2"}),
    Fault("node-wrong-number", "a device node has another's number", (5,), _node_wrong_number, {"xpu": "2", "minor": "3"}),
    Fault("control-node-missing", "/dev/xpuctrl is missing", (5,), _control_node_missing),
    Fault("peermem-not-loaded", "kunlun_peermem is not in the kernel", (6,), _peermem_not_loaded),
    Fault("peermem-not-built", "there is no module kunlun_peermem, as when OFED came after the driver", (6,), _peermem_not_built),
    Fault("xdr-disabled", "the kernel's log says 'XDR disabled', and no XPU is mapped", (7,), _xdr_disabled),
    Fault("xdr-not-loaded", "the module xdr is not in the kernel", (7,), _xdr_not_loaded),
    Fault("xdr-node-missing", "/dev/xdrdrv is missing", (7,), _xdr_node_missing),
    Fault("memory-used", "somebody uses an XPU's memory", (8,), _memory_used, {"xpu": "0", "mib": "20480"}),
    Fault("node-held", "a process has a device node open", (8,), _node_held, {"xpu": "0", "process": "python3", "pid": "4000000"}),
    Fault("link-unlocked", "the kernel's log says 'AM out of lock' of an XPU's link", (9,), _link_unlocked, {"xpu": "4", "port": "2"}),
    Fault("noc-idle", "the kernel's log has a timeout of noc_idle", (9,), _noc_idle, {"xpu": "1"}),
    Fault("xl-missing", "the tool shows no link between two XPUs", (9,), _xl_missing, {"xpu": "0", "other": "1"}),
    Fault("pcie-slow", "an XPU's PCIe link was trained at half its speed", (10,), _pcie_slow, {"xpu": "2"}),
    Fault("pcie-narrow", "an XPU's PCIe link was trained narrow", (10,), _pcie_narrow, {"xpu": "2", "width": "8"}),
    Fault("nic-pcie-narrow", "an adapter's PCIe link was trained narrow", (10,), _nic_pcie_narrow, {"nic": "eth2", "width": "8"}),
    Fault(
        "part-number-mixed",
        "one XPU is of another part number",
        (11,),
        _part_number,
        {"xpu": "6", "part_number": "B00100300110312"},
    ),
    Fault(
        "part-number-other",
        "all XPUs of the host are of another part number",
        (11,),
        _part_number,
        {"xpu": ALL, "part_number": "B00100300110312"},
    ),
    Fault("rdma-device-missing", "an adapter has no RDMA device", (12, 14), _rdma_device_missing, {"nic": "eth4"}),
    Fault("nic-elsewhere", "two adapters are in each other's slots", (13,), _nic_elsewhere, {"nic": "eth1", "with": "eth3"}),
    Fault(
        "topology-contradicts",
        "the tool tells another distance than sysfs",
        (13,),
        _topology_contradicts,
        {"nic": "eth1", "xpu": "0", "word": "SYS"},
    ),
    Fault(
        "topology-one-sided",
        "the tool tells another distance from one XPU to another than back",
        (13,),
        _topology_one_sided,
        {"xpu": "0", "other": "4"},
    ),
    Fault("rdma-renumbered", "the RDMA devices are numbered the other way round", (14,), _rdma_renumbered),
    Fault("gid-only-v1", "no GID of a port is of RoCE v2", (18,), _gid_only_v1, _NIC),
    Fault("gid-moved", "the GIDs of a port's address have other indices", (18,), _gid_moved, {"nic": "eth1", "by": "2"}),
    Fault("gid-without-address", "a port has no GID of an IPv4 address", (18,), _gid_without_address, _NIC),
    Fault(
        "gid-of-another-address",
        "a port's GIDs are of an address that its interface does not have",
        (18,),
        _gid_of_another_address,
        {"nic": "eth1", "address": "192.0.2.7"},
    ),
    Fault("port-down", "an RDMA port is DOWN", (19,), _port_down, {"nic": "eth2"}),
    Fault("port-infiniband", "an RDMA port is in InfiniBand mode", (19,), _port_infiniband, {"nic": "eth3"}),
    Fault("port-slow", "an RDMA port has a low rate", (19,), _port_slow, {"nic": "eth3", "gbps": "100"}),
    Fault("bandwidth-low", "ib_write_bw tells a low bandwidth", (22,), _bandwidth_low, {"nic": "eth2", "gbps": "120"}),
    Fault(
        "counters-rising",
        "a counter of losses rises every second",
        (23,),
        _counters_rising,
        {"nic": "eth1", "counter": "out_of_sequence", "per_second": "7"},
    ),
    Fault("trust-pcp", "an adapter trusts PCP whatever was set", (23,), _trust_pcp, _ANY_NIC),
    Fault("pfc-other", "an adapter has PFC for other priorities than were set", (23,), _pfc_other, {"nic": ALL, "pfc": "0,0,0,0,0,1,0,0"}),
    Fault("qos-refused", "mlnx_qos refuses to change an adapter", (23,), _qos_refused, _ANY_NIC),
    Fault("kernel-newer", "a newer kernel is installed than the one that runs", (48,), _kernel_newer, {"kernel": "99.0.0-1-generic"}),
    Fault("headers-missing", "there are no headers of the running kernel", (2, 48), _headers_missing),
    Fault("acs-on", "bridges redirect peer traffic (ACS)", (49,), _acs_on),
    Fault("iommu-translating", "the IOMMU translates", (49,), _iommu_translating),
    Fault("intel-tool-first", "Intel's xpu-smi comes before Kunlunxin's", (), _intel_tool_first),
    Fault("tool-version-unknown", "xpu-smi is of a version that nobody knows", (), _tool_version_unknown, {"version": "7.1.0"}),
    Fault("tool-strange", "xpu-smi prints lines that no known version prints", (), _tool_strange),
    Fault("tool-fails", "xpu-smi ends with an error", (), _tool_fails),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
