# SPDX-License-Identifier: MIT
"""SIMULATOR: what the driver shows once it is loaded: /proc/kunlun, /proc/xdr, the device nodes; and the kernel's own files.

Names and values are those of PaddlePaddle/Paddle#75925, of a host survey and of Corpama/envinit. The text of /proc/xdr is nowhere
described, and this one is invented.
"""

from __future__ import annotations

from .machine import DRIVER, KERNEL_MODULES, PEER, XDR, XDR_MAJOR, XPU_MAJOR, DeviceNode, Machine
from .tree import HIDDEN, Entry, File, Link, Node, Tree, line

TIMEOUT_MS = 20 * 60 * 1000  # a site's xpu_env.sh: the default is 20 minutes
REGISTRY = "KLreg_RegistryDwords"  # envinit, xre stage
SIZES = {DRIVER: 4521984, PEER: 16384, XDR: 28672}


def render(machine: Machine, overlay: str) -> Tree:
    """:param overlay: absolute path of the overlay's folder: a process that holds a node open is shown with the node there."""
    found: Tree = {
        "/proc/modules": File(modules(machine)),
        "/proc/cmdline": line(machine.cmdline),
        "/dev/xdrdrv": Node(XDR_MAJOR, 0, 0o666) if machine.xdr_node else HIDDEN,
    }
    nodes = {"/dev/xpuctrl": machine.control_node}
    nodes.update(("/dev/xpu%d" % index, DeviceNode(index, kind="missing")) for index in range(16))
    nodes.update(("/dev/xpu%d" % xpu.index, xpu.node) for xpu in machine.known_xpus)
    found.update((path, _node(node) if machine.driver_runs else HIDDEN) for path, node in nodes.items())
    if machine.driver_runs:
        found.update(_procfs(machine))
    if machine.xdr:
        found["/proc/xdr/version"] = line("XDR version: %s (simulated)" % machine.xdr)
        addresses = [xpu.function.address for xpu in machine.known_xpus] if machine.xdr_mapped else []
        found["/proc/xdr/map_xpus"] = File("".join("%s\n" % address for address in addresses))
    for holder in machine.holders:
        base = "/proc/%d" % holder.pid
        found[base + "/comm"] = line(holder.name)
        found[base + "/cgroup"] = line("0::/user.slice/session-1.scope")
        found[base + "/fd/7"] = Link("/dev/..%s%s" % (overlay, holder.path))
    return found


def _node(node: DeviceNode) -> Entry:
    if node.kind == "missing":
        return HIDDEN
    return Node(XPU_MAJOR, node.minor, node.mode) if node.kind == "char" else File("", node.mode)


def _procfs(machine: Machine) -> Tree:
    # Field 10 is the version: so envinit reads it.
    version = "KLRM version: KUNLUN UNIX Open Kernel Module for x86_64 %s  (p800-simulator)\n" % machine.driver
    options = dict(word.partition("=")[::2] for word in machine.options.get(DRIVER, "").split())
    dwords = options.get(REGISTRY, "").strip('"')
    found: Tree = {
        "/sys/module/kunlun/version": line(machine.driver),
        "/sys/module/kunlun/initstate": line("live"),
        "/sys/module/kunlun/parameters/" + REGISTRY: line(dwords),
        "/proc/kunlun/version": File(version),
        "/proc/kunlun/params": line('RegistryDwords: "%s"' % dwords),
        "/proc/kunlun/registry": File(""),
        "/proc/kunlun/capabilities": File(""),
        "/proc/kunlun/gpus": File("".join("%s\n" % xpu.function.address for xpu in machine.known_xpus)),
    }
    for xpu in machine.known_xpus:
        base = "/proc/kunlun/dev%d" % xpu.index
        found[base + "/info"] = File(
            "DeviceName: Kunlun3\nDeviceAddr: %s\nDeviceSN: %s\nDriverVersion: %s\n" % (xpu.function.address, xpu.serial, machine.driver)
        )
        found[base + "/task_timeout_detect_threshold_in_ms"] = line(TIMEOUT_MS, 0o644)
    return found


def modules(machine: Machine) -> str:
    """/proc/modules: the live kernel's, the adapters', and those that were loaded here."""
    users = {DRIVER: [name for name in (PEER, XDR) if name in machine.loaded]}
    lines = machine.live.modules.splitlines()
    known = {entry.split()[0] for entry in lines if entry.split()}
    for name in [*reversed(machine.loaded), *KERNEL_MODULES]:
        if name not in known:
            names = users.get(name, [])
            lines.append("%s %d %d %s Live 0x0000000000000000" % (name, SIZES.get(name, 65536), len(names), ",".join([*names, ""]) or "-"))
    return "".join("%s\n" % entry for entry in lines)
