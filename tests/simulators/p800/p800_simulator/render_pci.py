# SPDX-License-Identifier: MIT
"""SIMULATOR: the PCI devices in sysfs (kernel, Documentation/ABI/testing/sysfs-bus-pci)."""

from __future__ import annotations

from typing import Mapping

from . import config_space
from .machine import ALL_CPUS, CPUS, Bridge, Function, Machine
from .tree import File, Folder, Tree, line, relative

FOLDER = "/sys/bus/pci/devices"
VECTORS = 8  # of each RDMA adapter; a real one has one for each CPU
_FIRST_IRQ = 1000  # above those of any host the simulator runs on


def folder(function: Function) -> str:
    return "/sys/devices/" + "/".join(function.place.path)


def config_path(function: Function) -> str:
    return folder(function) + "/config"


def render(machine: Machine, written: Mapping[str, Mapping[str, int]]) -> Tree:
    found: Tree = {}
    for number, function in enumerate(machine.functions):
        found.update(_function(machine, function, number, written.get(function.address, {})))
    for number, nic in enumerate(machine.rails):
        for vector in range(VECTORS):
            irq = _FIRST_IRQ + number * 100 + vector
            found["%s/msi_irqs/%d" % (folder(nic.function), irq)] = line("msix")
            found["/proc/irq/%d/smp_affinity_list" % irq] = line(ALL_CPUS, 0o644)
            found["/proc/irq/%d/mlx5_comp%d@pci:%s" % (irq, vector, nic.function.address)] = Folder()
    found["/sys/class/iommu/dmar0"] = Folder()
    for numa, cpus in CPUS.items():
        found["/sys/devices/system/node/node%d/cpulist" % numa] = line(cpus)
    return found


def _function(machine: Machine, function: Function, number: int, written: Mapping[str, int]) -> Tree:
    base = folder(function)
    numa = function.place.numa
    files = {
        "vendor": "0x" + function.vendor,
        "device": "0x" + function.device,
        "subsystem_vendor": "0x" + function.vendor,
        "subsystem_device": "0x0001",
        "class": "0x" + function.class_code,
        "revision": "0x00",
        "irq": "0",
        "enable": "1",
        "numa_node": numa,
        "local_cpulist": CPUS[numa],
        "current_link_speed": function.link.speed,
        "current_link_width": function.link.width,
        "max_link_speed": function.link.max_speed,
        "max_link_width": function.link.max_width,
        "resource": _resources(function, number),
        "uevent": "PCI_CLASS=%X\nPCI_ID=%s:%s\nPCI_SLOT_NAME=%s"
        % (int(function.class_code, 16), function.vendor.upper(), function.device.upper(), function.address),
    }
    found: Tree = {"%s/%s" % (base, name): line(value) for name, value in files.items()}
    found[config_path(function)] = File(config_space.content(function, written), 0o644)
    link = "%s/%s" % (FOLDER, function.address)
    found[link] = relative(link, base)
    group = "/sys/kernel/iommu_groups/%d" % number
    found["%s/iommu_group" % base] = relative("%s/iommu_group" % base, group)
    found["%s/type" % group] = line(machine.iommu)
    member = "%s/devices/%s" % (group, function.address)
    found[member] = relative(member, base)
    if function.driver:
        driver = "/sys/bus/pci/drivers/%s" % function.driver
        found["%s/driver" % base] = relative("%s/driver" % base, driver)
        bound = "%s/%s" % (driver, function.address)
        found[bound] = relative(bound, base)
    return found


def _resources(function: Function, number: int) -> str:
    """Six BARs and the ROM; the first two are mapped."""
    empty = "0x%016x 0x%016x 0x%016x" % (0, 0, 0)
    if isinstance(function, Bridge) or not function.is_mapped:
        return "\n".join([empty] * 7)
    start = 0x380000000000 + number * 0x4000000000
    bars = [(start, start + 0x1FFFFFFFFF, 0x14220C), (start + 0x2000000000, start + 0x2003FFFFFF, 0x140204)]
    return "\n".join(["0x%016x 0x%016x 0x%016x" % one for one in bars] + [empty] * 5)
