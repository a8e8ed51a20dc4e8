# SPDX-License-Identifier: MIT
"""SIMULATOR: the adapters' side of sysfs: the interfaces' place on the bus, and the RDMA devices.

Kernel parameters are here, too, as far as RDMA needs them.

Kernel, Documentation/ABI/stable/sysfs-class-infiniband and testing/sysfs-class-net; ``tc`` and ``ecn`` are MLNX_OFED's (mlx5_ib).
Addresses, MTU, state and counters of an interface stay those of the live host's interface.
"""

from __future__ import annotations

from .machine import HW_COUNTERS, RATES, Machine, Nic
from .render_pci import folder
from .tree import File, Tree, line, relative

GIDS = 16  # entries that are shown; an adapter has 256
_NO_GID = "0000:0000:0000:0000:0000:0000:0000:0000"
CNP_DSCP = 48
# Kernel parameters of the machine as a whole, which no host in a lab has for itself: ip-sysctl.rst, sysctl/net.rst, the kernel's defaults.
KERNEL_GLOBALS = {
    "/proc/sys/net/core/rmem_max": 212992,
    "/proc/sys/net/core/wmem_max": 212992,
    "/proc/sys/net/ipv4/neigh/default/gc_thresh1": 128,
    "/proc/sys/net/ipv4/neigh/default/gc_thresh2": 512,
    "/proc/sys/net/ipv4/neigh/default/gc_thresh3": 1024,
}


def traffic_class_path(nic: Nic) -> str:
    return "%s/infiniband/%s/tc/1/traffic_class" % (folder(nic.function), nic.rdma)


def render(machine: Machine) -> Tree:
    found: Tree = {path: line(value, 0o644) for path, value in KERNEL_GLOBALS.items()}
    for nic in machine.nics:
        found.update(_interface(machine, nic))
        if nic.rdma:
            found.update(_device(machine, nic))
    return found


def _interface(machine: Machine, nic: Nic) -> Tree:
    base = "%s/net/%s" % (folder(nic.function), nic.name)
    link = "/sys/class/net/" + nic.name
    found: Tree = {
        link: relative(link, base),
        base + "/device": relative(base + "/device", folder(nic.function)),
        base + "/addr_assign_type": line(0),
        base + "/dev_port": line(0),
        base + "/speed": line(nic.gbps * 1000 if nic.state == "ACTIVE" else -1),
    }
    if nic.rdma and machine.ofed:
        found[base + "/ecn/roce_np/cnp_dscp"] = line(CNP_DSCP, 0o644)
        found[base + "/ecn/roce_np/cnp_802p_prio"] = line(6, 0o644)
        for side in ("roce_np", "roce_rp"):
            for priority in range(8):
                found["%s/ecn/%s/enable/%d" % (base, side, priority)] = line(0, 0o644)  # firmware with it switched off
    return found


def _device(machine: Machine, nic: Nic) -> Tree:
    base = "%s/infiniband/%s" % (folder(nic.function), nic.rdma)
    port = base + "/ports/1"
    link = "/sys/class/infiniband/%s" % nic.rdma
    octets = nic.mac.replace(":", "")
    guid = octets[:6] + "0300" + octets[6:]
    found: Tree = {
        link: relative(link, base),
        base + "/device": relative(base + "/device", folder(nic.function)),
        base + "/node_guid": line(":".join(guid[position : position + 4] for position in range(0, 16, 4))),
        base + "/node_type": line("1: CA"),
        base + "/fw_ver": line(nic.firmware),
        base + "/hca_type": line("MT4129"),
        base + "/board_id": line("MT_0000000838"),
        port + "/state": line("4: ACTIVE" if nic.state == "ACTIVE" else "1: DOWN"),
        port + "/phys_state": line("5: LinkUp" if nic.state == "ACTIVE" else "3: Disabled"),
        port + "/link_layer": line(nic.link_layer),
        port + "/rate": line(RATES[nic.gbps]),
    }
    for index in range(GIDS):
        found["%s/gids/%d" % (port, index)] = line(_NO_GID)
    for gid in nic.gids:
        found["%s/gids/%d" % (port, gid.index)] = line(gid.gid)
        found["%s/gid_attrs/types/%d" % (port, gid.index)] = line(gid.kind)
        found["%s/gid_attrs/ndevs/%d" % (port, gid.index)] = line(nic.name)
    for name, value in nic.counters.items():
        found["%s/%s/%s" % (port, "hw_counters" if name in HW_COUNTERS else "counters", name)] = line(value)
    if machine.ofed:
        found[traffic_class_path(nic)] = File("", 0o644)  # empty until somebody sets one for all
    return found
