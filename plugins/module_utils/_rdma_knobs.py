# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The knobs that RDMA needs on a host: how each is read, and by which steps it is brought to a value. Nothing is changed here.

A *knob* is plain data: its ``kind`` and what it belongs to, such as ``{"kind": "mtu", "interface": "eth1"}``. A *setting* is
``{"knob": ..., "value": ...}``. Lists of settings are the batch that a boot replays, the values from before the first change, and what
the dead-man timer brings back, so that one library serves all three.

A *step* is a command (a list of words) or a :class:`Write`. Values by kind:

========================  ==================================================================================================
``file``                  its text, white space folded; None where there is no such file
``mtu``                   bytes
``rings``                 ``{"rx": 8192, "tx": 8192}``, in descriptors
``table``                 the routes of a routing table, each with destination, gateway, interface and source
``rule``                  whether the rule is there
``trust``, ``pfc``        ``dscp`` or ``pcp``; eight figures such as ``0,0,0,1,0,0,0,0``, one for each priority
``roce_tos``              the traffic class of connections that librdmacm makes
``traffic_class``         that of all other connections; None while none was set
``pci``                   bits of a register in hexadecimal, as far as the knob's ``mask`` goes
``irqs``                  the CPUs of every interrupt of an interface, such as ``0-31``; ``0,2,4 in turn`` for one of them to each
                          interrupt after the other; or by interrupt, as they were before
``adaptive_routing``      ``1`` where the adapter lets switches choose a packet's way, else ``0``
``link_type``             what a port of an adapter is from its next reset: ``1`` InfiniBand, ``2`` Ethernet
========================  ==================================================================================================

Sources: ip-route(8), ip-rule(8), ethtool(8), setpci(8), Documentation/networking/ip-sysctl.rst and core-api/irq/irq-affinity.rst of the
kernel; the output of mlnx_qos and cma_roce_tos in att/netarbiter, nvmf/OUTPUTSAMPLE.setup-nic-lossless-layer3.sh.md; NVIDIA's pages "Using
mlxconfig" of MFT (LINK_TYPE_P1, LINK_TYPE_P2) and "Adaptive Retransmission: Sample Usage" (mlxreg, ROCE_ACCL).
"""

from __future__ import annotations

import collections
import re

from . import _network_parsers as parsers
from ._pci import register

TABLE_NAMES = "/etc/iproute2/rt_tables"
IN_TURN = " in turn"
ROUTE_COLUMNS = ("destination", "gateway", "interface", "source")

Write = collections.namedtuple("Write", "path value")
Write.__doc__ = """A step that writes a text into a file of the kernel or of its driver."""


def setting(value, **knob):
    """A setting as plain data."""
    return {"knob": knob, "value": value}


def name(knob):
    """The knob in a few words, for the diff and for messages; unique among the knobs of a host."""
    return " ".join([knob["kind"]] + [str(knob[key]) for key in sorted(knob) if key not in ("kind", "mask") and knob[key] is not None])


def shown(value):
    """A value as text for the diff."""
    if isinstance(value, bool):
        return "present" if value else "absent"
    if isinstance(value, list):
        return "\n".join(" ".join(_route_words(route)) for route in value) or "empty"
    if isinstance(value, dict):
        return " ".join("%s %s" % (key, value[key]) for key in sorted(value))
    return "unset" if value is None else str(value)


def described(step):
    """A step as an operator would write it."""
    return "write %s to %s" % (step.value, step.path) if isinstance(step, Write) else " ".join(step)


def read(knob, tree):
    """The value of a knob now.

    :param tree: a :class:`_host_tree.HostTree`.
    """
    return _KINDS[knob["kind"]][0](knob, tree)


def is_settled(knob, now, value):
    """Whether a knob that has the value ``now`` needs no step to have ``value``."""
    if knob["kind"] == "irqs" and isinstance(value, str):
        return bool(now) and now == _cpus_of_interrupts(now, value)
    if knob["kind"] == "file" and value is None:  # what was not there cannot be had back by a step
        return True
    if knob["kind"] == "file":
        return now == folded(value)
    return now == value


def steps(knob, now, value):
    """The steps that bring a knob from the value ``now`` to ``value``; none when it is there."""
    return [] if is_settled(knob, now, value) else _KINDS[knob["kind"]][1](knob, now, value)


def may_cut(knob):
    """Whether a wrong value of this knob can cut a host off: all can but the kernel's limits of sockets and neighbours, and what counts
    from the next reset of an adapter only."""
    return knob["kind"] != "link_type" and not (
        knob["kind"] == "file" and re.match(r"/proc/sys/net/(core/|ipv4/tcp_|ipv4/neigh/)", knob["path"])
    )


def folded(text):
    """A text with its white space folded, so that ``4096<tab>131072`` and ``4096 131072`` are equal."""
    return " ".join(str(text).split())


# files -----------------------------------------------------------------------------------------------------------


def _read_file(knob, tree):
    text = tree.line(knob["path"])
    return None if text is None else folded(text)


def _write_file(knob, _now, value):
    return [Write(knob["path"], folded(value))]


def _read_traffic_class(knob, tree):
    """Before it is set the file has no line of it."""
    text = tree.line(knob["path"])
    number = parsers.whole_number(text)  # as it was written, where the file is no driver's
    if number is None:
        return parsers.parse_traffic_class(text)
    return None if number < 0 else number


def _write_traffic_class(knob, _now, value):
    """mlx5_ib of MLNX_OFED (traffic_class_store, traffic_class_show) takes any number up to 255, and a negative one as none."""
    return [Write(knob["path"], "-1" if value is None else str(value))]


def _read_irqs(knob, tree):
    """``{"41": "0-31"}``: an interface has as many interrupts as queues, and their numbers change from boot to boot."""
    numbers = tree.names("/sys/class/net/%s/device/msi_irqs" % knob["interface"])
    found = {number: tree.line(_affinity(number)) for number in numbers}
    return {number: cpus for number, cpus in found.items() if cpus}


def _write_irqs(_knob, now, value):
    wanted = _cpus_of_interrupts(now, value) if isinstance(value, str) else value
    return [Write(_affinity(number), wanted[number]) for number in sorted(now, key=int) if wanted.get(number, now[number]) != now[number]]


def parse_cpus(text):
    """The numbers of a list of CPUs such as ``0-31,64-95``, in its order; None for what is no such list."""
    if not re.match(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*\Z", text):
        return None
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    if any(part[0] > part[-1] for part in ends):
        return None
    return [cpu for part in ends for cpu in range(part[0], part[-1] + 1)]


def in_turn(cpus):
    """The value that gives each interrupt one of these CPUs (numbers), the first one to the first interrupt."""
    return ",".join(map(str, cpus)) + IN_TURN


def _cpus_of_interrupts(numbers, value):
    """The CPUs that each interrupt shall have, by its number."""
    cpus = value[: -len(IN_TURN)].split(",") if value.endswith(IN_TURN) else [value]
    return {number: cpus[position % len(cpus)] for position, number in enumerate(sorted(numbers, key=int))}


def _affinity(number):
    return "/proc/irq/%s/smp_affinity_list" % number


# links -----------------------------------------------------------------------------------------------------------


def _read_mtu(knob, tree):
    return parsers.whole_number(tree.line("/sys/class/net/%s/mtu" % knob["interface"]))


def _set_mtu(knob, _now, value):
    return [["ip", "link", "set", "dev", knob["interface"], "mtu", str(value)]]


def _read_rings(knob, tree):
    found = parsers.parse_rings(tree.command("ethtool", "-g", knob["interface"]) or "")[0]
    return {key: found[key] for key in ("rx", "tx") if found[key] is not None} or None


def _set_rings(knob, now, value):
    words = [word for key in sorted(value) if value[key] != (now or {}).get(key) for word in (key, str(value[key]))]
    return [["ethtool", "-G", knob["interface"]] + words]


# routing ---------------------------------------------------------------------------------------------------------


def table_rows(routes):
    """Routes in the columns and the order of a table's value: the subnet first, because a gateway must be reachable when it is named."""
    rows = [{key: route[key] for key in ROUTE_COLUMNS} for route in routes]
    return sorted(rows, key=lambda row: (row["destination"] == "default", row["destination"]))


def _read_table(knob, tree):
    """A table without a route does not exist, and ``ip`` fails."""
    answer = tree.command("ip", "-4", "route", "show", "table", knob["table"])
    return table_rows(parsers.parse_routes(answer or "")[0])


def _set_table(knob, now, value):
    gone = [["ip", "-4", "route", "del"] + _route_words(route) + ["table", knob["table"]] for route in now if route not in value]
    new = [["ip", "-4", "route", "replace"] + _route_words(route) + ["table", knob["table"]] for route in value if route not in now]
    return gone + new


def _route_words(route):
    words = [route["destination"]]
    for word, key in (("via", "gateway"), ("dev", "interface"), ("src", "source")):
        words += [word, route[key]] if route[key] else []
    return words


def table_numbers(tree):
    """The numbers of the tables that the host has names for, by name: ``ip rule`` prints the names."""
    more = ["%s.d/%s" % (TABLE_NAMES, entry) for entry in tree.names(TABLE_NAMES + ".d") if entry.endswith(".conf")]
    found = {}
    for path in [TABLE_NAMES] + more:
        found.update(parsers.parse_table_names(tree.text(path))[0])
    return found


def _read_rule(knob, tree):
    numbers = table_numbers(tree)
    rules = parsers.parse_rules(tree.command("ip", "-4", "rule", "show") or "")[0]
    return any(_is_rule(knob, rule, numbers.get(rule["table"], rule["table"])) for rule in rules)


def _is_rule(knob, rule, table):
    same = (rule["priority"], table, rule["output"]) == (knob["priority"], knob["table"], knob.get("output"))
    source = None if rule["source"] is None else re.sub(r"/32\Z", "", rule["source"])
    return same and source == knob.get("source") and rule["complete"] and not (rule["destination"] or rule["input"] or rule["mark"])


def _set_rule(knob, _now, value):
    selector = ["from", knob["source"]] if knob.get("source") else ["oif", knob["output"]]
    return [
        ["ip", "-4", "rule", "add" if value else "del"] + selector + ["lookup", knob["table"], "priority", str(knob["priority"])],
    ]


# quality of service ----------------------------------------------------------------------------------------------


def parse_trust(text):
    """``dscp`` of mlnx_qos' ``Priority trust state: dscp``; None where there is no such line."""
    match = re.search(r"^\s*Priority trust state: *(\w+)\s*$", text or "", re.MULTILINE)
    return match.group(1) if match else None


def parse_pfc(text):
    """``0,0,0,1,0,0,0,0`` of the line ``enabled`` below mlnx_qos' ``PFC configuration:``; None where there is none of eight figures."""
    match = re.search(r"^\s*PFC configuration:\s*\n\s*priority[ \t0-7]*\n\s*enabled((?:[ \t]+[01]){8})[ \t]*$", text or "", re.MULTILINE)
    return ",".join(match.group(1).split()) if match else None


def _read_trust(knob, tree):
    return parse_trust(tree.command("mlnx_qos", "-i", knob["interface"]))


def _read_pfc(knob, tree):
    return parse_pfc(tree.command("mlnx_qos", "-i", knob["interface"]))


def _set_qos(knob, _now, value):
    return [["mlnx_qos", "-i", knob["interface"], "--" + knob["kind"], value]]


def _read_roce_tos(knob, tree):
    return parsers.whole_number((tree.command("cma_roce_tos", "-d", knob["device"]) or "").strip())


def _set_roce_tos(knob, _now, value):
    return [["cma_roce_tos", "-d", knob["device"], "-t", str(value)]]


# adapters --------------------------------------------------------------------------------------------------------


def parse_link_types(text):
    """``{"P1": "2"}`` of mlxconfig's ``LINK_TYPE_P1    ETH(2)``, by port; a port that is said twice or in another form is left out."""
    lines = re.findall(r"^[ \t*]*LINK_TYPE_(P[0-9])[ \t]+(.*)$", text or "", re.MULTILINE)
    ports = [port for port, _rest in lines]
    found = {port: re.match(r"(?:IB\((1)\)|ETH\((2)\))[ \t]*\Z", rest) for port, rest in lines if ports.count(port) == 1}
    return {port: match.group(1) or match.group(2) for port, match in found.items() if match}


def parse_adaptive_routing(text):
    """``1`` of mlxreg's ``adaptive_routing_forced_en | 0x00000001``; None where there is no one such line, or another figure in it."""
    figures = re.findall(r"^[ \t]*adaptive_routing_forced_en[ \t]*\|[ \t]*0x0*([0-9a-f]+)[ \t]*$", text or "", re.MULTILINE)
    return figures[0] if figures in (["0"], ["1"]) else None


def link_types(address, tree):
    """The link types of an adapter's ports from its next reset, by port; none where its firmware has no such setting."""
    return parse_link_types(tree.command("mlxconfig", "-d", address, "query"))


def _read_link_type(knob, tree):
    return link_types(knob["address"], tree).get(knob["port"])


def _set_link_type(knob, _now, value):
    return [["mlxconfig", "-d", knob["address"], "-y", "set", "LINK_TYPE_%s=%s" % (knob["port"], value)]]


def _read_adaptive_routing(knob, tree):
    return parse_adaptive_routing(tree.command("mlxreg", "-d", knob["address"], "--reg_name", "ROCE_ACCL", "--get", "--yes"))


def _set_adaptive_routing(knob, _now, value):
    return [["mlxreg", "-d", knob["address"], "--reg_name", "ROCE_ACCL", "--set", "adaptive_routing_forced_en=0x%s" % value, "--yes"]]


# PCI -------------------------------------------------------------------------------------------------------------


def _read_pci(knob, tree):
    """The masked bits with as many digits as the mask has; None where the function lacks the register."""
    number = register(tree, knob["address"], knob["register"])
    return None if number is None else "%0*x" % (len(knob["mask"]), number & int(knob["mask"], 16))


def _set_pci(knob, _now, value):
    return [["setpci", "-s", knob["address"], "%s=%s:%s" % (knob["register"], value, knob["mask"])]]


_KINDS = {
    "file": (_read_file, _write_file),
    "traffic_class": (_read_traffic_class, _write_traffic_class),
    "irqs": (_read_irqs, _write_irqs),
    "mtu": (_read_mtu, _set_mtu),
    "rings": (_read_rings, _set_rings),
    "table": (_read_table, _set_table),
    "rule": (_read_rule, _set_rule),
    "trust": (_read_trust, _set_qos),
    "pfc": (_read_pfc, _set_qos),
    "roce_tos": (_read_roce_tos, _set_roce_tos),
    "pci": (_read_pci, _set_pci),
    "link_type": (_read_link_type, _set_link_type),
    "adaptive_routing": (_read_adaptive_routing, _set_adaptive_routing),
}
