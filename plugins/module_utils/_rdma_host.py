# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a host shows of all that the settings of RDMA depend on, read once through a HostTree. Nothing is judged here."""

from __future__ import annotations

import posixpath

from . import _rdma_knobs as knobs
from ._login import login
from ._network_facts import network
from ._pci import ACS_CONTROL, devices, register

TOOLS = ("ip", "ethtool", "mlnx_qos", "cma_roce_tos", "setpci", "mlxconfig", "mlxreg")
TOOL_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Remembered:
    """A HostTree that asks each command once, because one answer tells several knobs. Of use only as long as nothing is changed."""

    def __init__(self, tree):
        self._tree = tree
        self._answers = {}

    def __getattr__(self, name):
        return getattr(self._tree, name)

    def command(self, *argv):
        """As the tree's."""
        if argv not in self._answers:
            self._answers[argv] = self._tree.command(*argv)
        return self._answers[argv]


def look(tree, name, pid, wish):
    """The facts, as plain data.

    :param tree: a :class:`_host_tree.HostTree`.
    :param name: the host's name, for findings.
    :param pid: the process whose login is to be kept.
    :param wish: the options of the module ``rdma_settings``. Which bridges have access control services is looked up only where it is
        asked.
    """
    facts = network(tree)
    return {
        "name": name,
        "network": facts,
        "login": login(tree, pid, {key: entry["addresses"] for key, entry in facts["interfaces"].items()}),
        "tools": {tool for tool in TOOLS if any(tree.exists(posixpath.join(folder, tool)) for folder in TOOL_FOLDERS)},
        "acs_bridges": acs_bridges(tree, wish, facts["interfaces"]) if wish["acs_off"] else [],
        "link_types": {address: knobs.link_types(address, tree) for address in wish["ethernet_adapters"]},
        "files": {key: _files(tree, key) for key in facts["interfaces"]},
        "irqbalance": (tree.command("systemctl", "is-active", "irqbalance") or "").strip() == "active",
    }


def acs_bridges(tree, wish, interfaces):
    """Addresses of the bridges above accelerators and RDMA interfaces that have access control services."""
    paths = [card.path for card in devices(tree).values() if "%s:%s" % (card.vendor, card.device) in wish["pci_ids"]]
    paths += [interfaces[name]["path"] for name in wish["interfaces"] if name in interfaces]
    above = {address for path in paths for address in path[1:-1]}
    return [address for address in sorted(above) if register(tree, address, ACS_CONTROL) is not None]


def _files(tree, name):
    """What the driver of an interface offers: the CPUs near it, its interrupts and the files of its congestion control."""
    base = "/sys/class/net/" + name
    return {
        "cpus": tree.line(base + "/device/local_cpulist") or None,
        "irqs": bool(tree.names(base + "/device/msi_irqs")),
        "ecn": tree.exists(base + "/ecn/roce_np"),
    }
