# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The facts of one host's network, read once through a HostTree; nothing is changed and nothing is judged.

Three calls of ``ip`` and, for each physical interface, one of ``ethtool``; everything else is files. ``ethtool`` is a command here,
and not an ioctl, because a captured tree can hold its answers: one way of reading for both. It is asked for all interfaces at once,
and whoever changes the rings needs it anyway.

Sources: the kernel's Documentation/ABI/testing/sysfs-class-net and sysfs-class-net-statistics, ABI/stable/sysfs-class-infiniband,
networking/bonding.rst and networking/ip-sysctl.rst.
"""

from __future__ import annotations

import ipaddress
import posixpath
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _network_parsers as parsers
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pci

NET = "/sys/class/net"
INFINIBAND = "/sys/class/infiniband"
SYSCTL = "/proc/sys/net"
TABLE_NAMES = "/etc/iproute2/rt_tables"

ARPHRD_LOOPBACK = 772  # if_arp.h
NET_ADDR_PERM = 0  # netdevice.h: the hardware address is the one it was made with
SPEED_UNKNOWN = (-1, 0, 0xFFFFFFFF)  # ethtool.h's -1; older kernels print it without its sign
ROUTING_SYSCTLS = ("arp_ignore", "arp_announce", "rp_filter")
STATISTICS = ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped")
# What grows on a port that loses or repeats packets, or is told to slow down. (rx_prio*_buf_discard is ethtool's, not sysfs'.)
PORT_COUNTERS = (
    "port_xmit_discards",
    "port_rcv_errors",
    "packet_seq_err",
    "local_ack_timeout_err",
    "out_of_sequence",
    "np_cnp_sent",
    "rp_cnp_handled",
    "roce_adp_retrans",
)
COUNTERS_WITHOUT_FIGURE = ("N/A (no PMA)",)  # the port cannot count
ASKED_AT_ONCE = 16


def network(tree):
    """All facts of the network, as the module's ``RETURN`` describes them.

    :param tree: a :class:`_host_tree.HostTree`.
    """
    reading = _Reading(tree)
    addresses = reading.answer(parsers.parse_addresses, {}, ("ip", "-o", "address", "show"))
    found = interfaces(reading, addresses)
    devices = rdma(reading, found)
    name_rdma(found, devices)
    tables = table_names(reading)
    routes, rules = (
        [dict(entry, table=tables.get(entry["table"], entry["table"])) for entry in _ip(reading, parse, *arguments)]
        for parse, arguments in ((parsers.parse_routes, ("route", "show", "table", "all")), (parsers.parse_rules, ("rule",)))
    )
    return {
        "interfaces": found,
        "rdma": devices,
        "routes": routes,
        "rules": rules,
        "neighbours_limits": {
            name: reading.number("%s/ipv4/neigh/default/%s" % (SYSCTL, name)) for name in ("gc_thresh1", "gc_thresh2", "gc_thresh3")
        },
        "sockets": {
            "rmem_max": reading.number(SYSCTL + "/core/rmem_max"),
            "wmem_max": reading.number(SYSCTL + "/core/wmem_max"),
            "tcp_rmem": reading.numbers(SYSCTL + "/ipv4/tcp_rmem"),
            "tcp_wmem": reading.numbers(SYSCTL + "/ipv4/tcp_wmem"),
            "tcp_ecn": reading.number(SYSCTL + "/ipv4/tcp_ecn"),
        },
        "default_route": default_route(routes, found),
        "problems": reading.problems,
    }


class _Reading:
    """The tree, and a line in ``problems`` for whatever it holds that cannot be understood. What it does not hold is None."""

    def __init__(self, tree):
        self.tree = tree
        self.problems = []

    def parsed(self, path, parse):
        """What ``parse`` makes of a one-line file; its None for a text is a problem."""
        text = self.tree.line(path)
        found = parse(text) if text else None
        if text and found is None:
            self.problems.append("%s: %r makes no sense" % (path, parsers.shortened(text)))
        return found

    def number(self, path):
        return self.parsed(path, parsers.whole_number)

    def numbers(self, path):
        """The numbers of a file such as tcp_rmem; None where there is none."""
        return self.parsed(path, parsers.parse_numbers)

    def answer(self, parse, nothing, *commands):
        """What ``parse`` makes of the first command that gives an answer it can read; ``nothing`` where none does.

        The next command is asked when one fails, or when nothing of its answer could be read.
        """
        refused = []
        for command in commands:
            answer = self.tree.command(*command)
            said = " ".join(command)
            if answer is None:
                refused.append("%s: no answer" % said)
                continue
            found, unread = parse(answer)
            lines = ["%s: %s" % (said, line) for line in unread]
            if found or not unread:
                self.problems += lines
                return found
            refused += lines
        self.problems += refused
        return nothing


def _ip(reading, parse, *arguments):
    """Asked for JSON first, then for text, which every version can."""
    return reading.answer(parse, [], ("ip", "-j") + arguments, ("ip",) + arguments)


def interfaces(reading, addresses):
    """Every network interface by name.

    A bond has no place on the PCI bus; its ``path`` and ``numa_node`` are those of its first active member, of its first member where
    none is active, so that its distance to an accelerator can be told.
    """
    names = [name for name in reading.tree.names(NET) if reading.tree.exists(_net(name, "mtu"))]  # not a file such as bonding_masters
    found = {name: _interface(reading, name, addresses.get(name, [])) for name in names}
    for name in names:
        member = found.get(_bonds_first_member(reading, found[name]["bond"]))
        if member is not None:
            found[name].update(path=member["path"], numa_node=member["numa_node"])
    physical = [name for name in names if found[name]["kind"] == "physical"]
    for name, rings in _rings(reading, physical).items():
        found[name]["rings"] = rings
    return found


def _net(name, *parts):
    return posixpath.join(NET, name, *parts)


def _interface(reading, name, addresses):
    tree = reading.tree
    kind = _kind(reading, name)
    address = _pci_address(tree, _net(name)) if kind == "physical" else None
    carrier = reading.number(_net(name, "carrier"))
    return {
        "state": tree.line(_net(name, "operstate")) or "unknown",
        "carrier": None if carrier is None else carrier == 1,
        "mtu": reading.number(_net(name, "mtu")),
        "mac": tree.line(_net(name, "address")) or None,
        "permanent_mac": _permanent_mac(reading, name) if kind == "physical" else None,
        "speed_mbps": _speed(reading, name),
        "kind": kind,
        "master": posixpath.basename(tree.link(_net(name, "master")) or "") or None,
        "bond": _bond(reading, name) if kind == "bond" else None,
        "addresses": addresses,
        "pci": address,
        "numa_node": _pci.numa_node(tree.line(posixpath.join(_pci.FOLDER, address, "numa_node"))) if address else None,
        "path": list(_pci.path_of(tree.link(posixpath.join(_pci.FOLDER, address)), address)) if address else [],
        "driver": posixpath.basename(tree.link(_net(name, "device", "driver")) or "") or None,
        "rdma": None,
        "sysctls": {key: reading.number("%s/ipv4/conf/%s/%s" % (SYSCTL, name, key)) for key in ROUTING_SYSCTLS},
        "rings": None,
        "counters": {key: reading.number(_net(name, "statistics", key)) for key in STATISTICS},
    }


def _kind(reading, name):
    tree = reading.tree
    if reading.number(_net(name, "type")) == ARPHRD_LOOPBACK:
        return "loopback"
    for kind, folder in (("bond", "bonding"), ("bridge", "bridge")):
        if tree.exists(_net(name, folder)):
            return kind
    if "DEVTYPE=vlan" in (tree.text(_net(name, "uevent")) or "").splitlines():
        return "vlan"
    return "physical" if tree.exists(_net(name, "device")) else "virtual"


def _permanent_mac(reading, name):
    """What a bond's member had before it joined; else the address itself, where the kernel says that nobody changed it."""
    before = reading.tree.line(_net(name, "bonding_slave", "perm_hwaddr"))
    unchanged = reading.number(_net(name, "addr_assign_type")) == NET_ADDR_PERM
    return before or (reading.tree.line(_net(name, "address")) if unchanged else None) or None


def _bond(reading, name):
    return {
        "mode": reading.parsed(_net(name, "bonding", "mode"), parsers.parse_bonding_mode),
        "members": (reading.tree.line(_net(name, "bonding", "slaves")) or "").split(),
    }


def _bonds_first_member(reading, bond):
    """The first member that is active and has a link, or just the first; None for an empty bond and for what is none."""
    members = bond["members"] if bond else []
    active = [
        name
        for name in members
        if (reading.tree.line(_net(name, "bonding_slave", "state")), reading.tree.line(_net(name, "bonding_slave", "mii_status")))
        == ("active", "up")
    ]
    return next(iter(active + members), None)


def _rings(reading, names):
    """The rings of each interface; None where ethtool is missing or refuses."""

    def ask(name):
        return name, reading.tree.command("ethtool", "-g", name)

    with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:
        answers = dict(pool.map(ask, names))
    return {name: None if answer is None else _ring_sizes(reading, name, answer) for name, answer in answers.items()}


def _ring_sizes(reading, name, answer):
    found, unread = parsers.parse_rings(answer)
    reading.problems += ["ethtool -g %s: %s" % (name, line) for line in unread]
    return found


def _pci_address(tree, base):
    """The PCI function below which a device of sysfs hangs, from the links to it and from it; None where there is none."""
    for target in (tree.link(base), tree.link(base + "/device")):
        addresses = [part for part in (target or "").split("/") if _pci.ADDRESS.match(part)]
        if addresses:
            return addresses[-1]
    return None


def rdma(reading, found):
    """Every RDMA device by name, with its ports by number.

    :param found: the interfaces, as :func:`interfaces` gives them.
    """
    return {name: _rdma_device(reading, posixpath.join(INFINIBAND, name), found) for name in reading.tree.names(INFINIBAND)}


def _rdma_device(reading, base, found):
    tree = reading.tree
    address = _pci_address(tree, base)
    ports = [name for name in tree.names(base + "/ports") if parsers.whole_number(name) is not None]
    return {
        "pci": address,
        "node_guid": tree.line(base + "/node_guid") or None,
        "firmware": tree.line(base + "/fw_ver") or None,
        "ports": {port: _port(reading, base, port, address, found) for port in ports},
    }


def _port(reading, base, port, address, found):
    folder = posixpath.join(base, "ports", port)
    gids = _gids(reading, folder)
    return {
        "state": reading.parsed(folder + "/state", parsers.parse_port_state),
        "physical_state": reading.parsed(folder + "/phys_state", parsers.parse_port_state),
        "link_layer": reading.tree.line(folder + "/link_layer") or None,
        "rate_gbps": reading.parsed(folder + "/rate", parsers.parse_rate),
        "netdev": gids[0]["netdev"] if gids and gids[0]["netdev"] else _netdev_of_function(reading, port, address, found),
        "gids": gids,
        "counters": _port_counters(reading, folder),
        "traffic_class": parsers.parse_traffic_class(reading.tree.text("%s/tc/%s/traffic_class" % (base, port))),
    }


def _gids(reading, folder):
    """The GIDs of a port in the order of their indices. The kernel refuses to give type and interface of an entry that has none."""
    found = []
    for index in sorted(int(name) for name in reading.tree.names(folder + "/gids") if parsers.whole_number(name) is not None):
        path = "%s/gids/%d" % (folder, index)
        text = reading.tree.line(path)
        try:
            address = parsers.parse_gid(text) if text else None
        except ValueError as error:
            reading.problems.append("%s: %s" % (path, parsers.shortened(str(error))))
            continue
        if address is None:
            continue
        kind, netdev = (reading.tree.line("%s/gid_attrs/%s/%d" % (folder, name, index)) or None for name in ("types", "ndevs"))
        ipv4 = str(address.ipv4_mapped) if address.ipv4_mapped else None
        found.append({"index": index, "gid": text, "type": kind, "netdev": netdev, "ipv4": ipv4})
    return found


def _netdev_of_function(reading, port, address, found):
    """The interface of the same PCI function and port, for ports whose GIDs name none: those in InfiniBand mode, and old kernels'."""
    for name in found:
        if address is not None and found[name]["pci"] == address and reading.number(_net(name, "dev_port")) == int(port) - 1:
            return name
    return None


def _port_counters(reading, folder):
    found = {}
    for name in PORT_COUNTERS:
        for place in ("counters", "hw_counters"):
            path = posixpath.join(folder, place, name)
            text = reading.tree.line(path)
            if text and text not in COUNTERS_WITHOUT_FIGURE:
                found[name] = reading.number(path)
    return found


def name_rdma(found, devices):
    """Write at each interface the RDMA device that it belongs to.

    That is the device whose port it is. A bond whose members' ports have GIDs of its addresses belongs to the first such device.
    """
    ports = [(device, port) for device in devices for port in devices[device]["ports"].values()]
    for device, port in ports:
        if port["netdev"] in found and found[port["netdev"]]["rdma"] is None:
            found[port["netdev"]]["rdma"] = device
    for device, port in ports:
        for gid in port["gids"]:
            interface = found.get(gid["netdev"])
            if interface is not None and interface["kind"] == "bond" and interface["rdma"] is None:
                interface["rdma"] = device


def table_names(reading):
    """The operator's names of routing tables, with their numbers. The kernel's own tables keep their names."""
    found = {}
    folder = TABLE_NAMES + ".d"
    more = [posixpath.join(folder, name) for name in reading.tree.names(folder) if name.endswith(".conf")]
    for path in [TABLE_NAMES] + more:
        names, unread = parsers.parse_table_names(reading.tree.text(path))
        reading.problems += ["%s: %s" % (path, line) for line in unread]
        found.update(names)
    return {name: number for name, number in found.items() if name not in ("main", "default", "local")}


def default_route(routes, found):
    """Where packets to anywhere go, and with which address: ``{"interface", "source"}``; None without a default route of IPv4.

    Of the main table's, the kernel takes the one with the lowest metric (none is 0). Where it names no source, the kernel takes the
    interface's first address in the gateway's network, else its first one.
    """
    candidates = [route for route in routes if route["destination"] == "default" and route["table"] == parsers.MAIN]
    if not candidates:
        return None
    route = min(candidates, key=lambda one: one["metric"] or 0)
    source = route["source"] or _source(found.get(route["interface"]), route["gateway"])
    return {"interface": route["interface"], "source": source}


def link_speed(tree, name):
    """The rate of an interface's link in Mbit/s; None where the kernel does not know one."""
    return _speed(_Reading(tree), name)


def _speed(reading, name):
    number = reading.number(_net(name, "speed"))
    return None if number in SPEED_UNKNOWN else number


def first_address(interface):
    """The first address of IPv4 by which other hosts reach an interface; None where it has none, or where there is no interface."""
    return next((one["address"] for one in _global(interface)), None)


def _global(interface):
    return [one for one in (interface["addresses"] if interface else []) if ":" not in one["address"] and one["scope"] == "global"]


def _source(interface, gateway):
    own = _global(interface)
    near = [one for one in own if gateway and ipaddress.ip_address(gateway) in _network_of(one)]
    return next((one["address"] for one in near + own), None)


def _network_of(address):
    return ipaddress.ip_interface("%(address)s/%(prefix_length)d" % address).network
