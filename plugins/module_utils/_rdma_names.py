# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Names of interfaces by hardware address: whether they are as the operator says, and the files that keep them."""

from __future__ import annotations

import os

from . import _rdma_state as state
from ._rdma_batch import UnfitError, has_mac


def misnamed(wish, host):
    """The interfaces that another than the one with their address is called by, in order.

    :raises UnfitError: for an address that no interface has, and for that of the control interface.
    """
    found = host["network"]["interfaces"]
    wrong = []
    for name in wish["interfaces"]:
        mac = wish["macs"].get(name)
        if mac is None or (name in found and has_mac(found[name], mac)):
            continue
        holders = [other for other in sorted(found) if found[other]["kind"] == "physical" and has_mac(found[other], mac)]
        if not holders:
            there = ", ".join("%s %s" % (other, found[other]["mac"]) for other in sorted(found) if found[other]["kind"] == "physical")
            raise UnfitError(
                host["name"], "RDMA interface %s" % name, "no interface has %s; there are %s" % (mac, there), mac, "correct rdma_macs"
            )
        if wish["control_interface"] in holders:
            raise UnfitError(
                host["name"],
                "RDMA interface %s" % name,
                "%s is the control interface's" % mac,
                "the address of another",
                "correct rdma_macs",
            )
        wrong.append(name)
    return wrong


def link_files(wish, host):
    """The files that name the interfaces at boot: text by path. What has no address given keeps its present one."""
    if not wish["persistent_names"]:
        return {}
    found = host["network"]["interfaces"]
    macs = {name: wish["macs"].get(name) or (found.get(name) or {}).get("permanent_mac") for name in wish["interfaces"]}
    return {link_file(name): state.link_text(name, macs[name].lower()) for name in macs if macs[name]}


def link_file(name):
    """The file that names an interface."""
    return os.path.join(state.LINK_FILES, "%s%s.link" % (state.LINK_PREFIX, name))
