# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the swarm has to know of a host: its addresses, how fast they are, how many cores it has, and what could run libtorrent there."""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _login, _network_facts, _network_parsers, _swarm_wheels
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree


def read(interfaces, tree=None):
    """The facts.

    :param interfaces: names of the interfaces that the swarm may use.
    :returns: dict of ``addresses`` (the first of IPv4, by interface; an interface without one is missing), ``megabits`` (link rate by
        interface, where the kernel knows it), ``login`` (``client`` and ``server`` address of the ssh connection, or None), ``cores``
        and ``kind`` (what wheels are made for, ``cp311-x86_64``).
    """
    tree = tree or HostTree()
    found, _unread = _network_parsers.parse_addresses(tree.command("ip", "-o", "address", "show") or "")
    addresses = {name: _network_facts.first_address({"addresses": found.get(name, [])}) for name in interfaces}
    rates = {name: _network_facts.link_speed(tree, name) for name in interfaces}
    login = _login.login(tree, os.getpid(), found)
    return {
        "addresses": {name: address for name, address in addresses.items() if address},
        "megabits": {name: rate for name, rate in rates.items() if rate},
        "login": {"client": login.client.split()[0], "server": login.server} if login else None,
        "cores": os.cpu_count() or 1,
        "kind": _swarm_wheels.kind_of_this(),
    }
