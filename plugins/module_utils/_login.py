# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""By which login a module runs: the addresses of its ssh connection, and the interfaces that this connection needs."""

from __future__ import annotations

import collections
import re

Login = collections.namedtuple("Login", "client server interfaces")
Login.__doc__ = """An ssh connection.

:ivar client: address and port of the other end, which tell one connection from another.
:ivar server: the address of this host that it came to.
:ivar interfaces: names of the interface that has this address, and of the one by which answers leave.
"""


def login(tree, pid, addresses):
    """The login that the process ``pid`` belongs to; None where it came by no ssh, as on the controller itself.

    :param tree: a :class:`_host_tree.HostTree`.
    :param addresses: the addresses of each interface, as :func:`_network_facts.interfaces` gives them.
    """
    connection = _connection(tree, pid)
    if connection is None:
        return None
    client, port, server = connection
    found = {name for name in addresses if any(entry["address"] == server for entry in addresses[name])}
    way = re.search(r"\bdev (\S+)", tree.command("ip", "route", "get", client, "from", server) or "")
    return Login("%s %s" % (client, port), server, frozenset(found | ({way.group(1)} if way else set())))


def _connection(tree, pid):
    """Client, its port and server of SSH_CONNECTION, which sudo does not hand on: looked for in the ancestors, too."""
    while pid > 1:
        for variable in (tree.text("/proc/%d/environ" % pid) or "").split("\0"):
            words = variable.partition("=")[2].split()
            if variable.startswith("SSH_CONNECTION=") and len(words) == 4:
                return words[:3]
        parent = re.search(r"^PPid:\s*([0-9]+)$", tree.text("/proc/%d/status" % pid) or "", re.MULTILINE)
        pid = int(parent.group(1)) if parent else 0
    return None
