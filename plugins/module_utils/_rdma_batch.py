# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which settings an operator's wish makes on a host: a pure function of the wish and of what the host shows.

The wish has the keys of the options of the module ``rdma_settings``, the host is what :func:`_rdma_host.look` gives. What a host cannot
have, or must not have because it would cut the operator off, is refused with one finding before anything is changed.
"""

from __future__ import annotations

import ipaddress
import itertools

from ._pci import ACS_CONTROL, ADDRESS
from ._rdma_knobs import in_turn, parse_cpus, setting, table_rows
from ._unfit import UnfitError

LEAST_MTU = 1280  # RFC 8200: below it there is no IPv6
MOST_MTU = 65535
DEVICE_CONTROL = "CAP_EXP+8.w"
READ_REQUEST_MASK = "7000"  # PCI Express Base Specification, Device Control: bits 14 to 12
READ_REQUESTS = {128: "0000", 256: "1000", 512: "2000", 1024: "3000", 2048: "4000", 4096: "5000"}
MACHINE_KNOBS = ("acs_off", "max_read_request", "irq_affinity")
PRIORITIES = range(8)
ETHERNET = "2"  # of LINK_TYPE_P1 and LINK_TYPE_P2


def batch(wish, host):
    """The settings in the order in which they are made. A host without RDMA interfaces of its own has what belongs to no interface.

    :raises UnfitError: the host cannot have what was asked, or must not.
    """
    _check_values(wish, host)
    firmware = link_types(wish, host)
    for name in wish["interfaces"]:
        _check_interface(name, wish, host)
    _check_subnets(wish, host)
    rails = [(name, str(wish["first_table"] + index)) for index, name in enumerate(wish["interfaces"])]
    return list(
        itertools.chain(
            _parameters(wish),
            *(_link(name, wish, host) for name, _table in rails),
            *(_interface_parameters(name, wish) for name, _table in rails),
            *(_routing(name, table, wish, host) for name, table in rails if wish["policy_routing"]),
            *(_quality(name, wish, host) for name, _table in rails),
            _traffic_classes(wish, host),
            *(_adaptive_routing(name, wish, host) for name, _table in rails),
            _pci(wish, host),
            _irqs(wish, host),
            firmware,
        )
    )


def ports(name, host):
    """The members of a bond, else the interface itself: what has rings, interrupts and a place on the bus."""
    bond = host["network"]["interfaces"][name]["bond"]
    return bond["members"] if bond else [name]


# refusals --------------------------------------------------------------------------------------------------------


def _check_values(wish, host):
    """Numbers and words that no host can have."""
    for name, least, most in (("mtu", LEAST_MTU, MOST_MTU), ("cnp_dscp", 0, 63), ("traffic_class", 0, 255)):
        if wish[name] is not None and not least <= wish[name] <= most:
            raise UnfitError(host["name"], name, wish[name], "%d to %d" % (least, most), "mend the value")
    for name in ("pfc_priorities", "ecn_priorities"):
        strange = [number for number in wish[name] or [] if number not in PRIORITIES]
        if strange:
            raise UnfitError(host["name"], name, ", ".join(map(str, strange)), "priorities from 0 to 7", "mend the value")
    if wish["max_read_request"] not in READ_REQUESTS and wish["max_read_request"] is not None:
        expected = "one of %s" % ", ".join(map(str, sorted(READ_REQUESTS)))
        raise UnfitError(host["name"], "max_read_request", wish["max_read_request"], expected, "mend the value")
    asked = [name for name in MACHINE_KNOBS if wish[name]]
    if asked and not wish["manage_kernel_globals"]:
        raise UnfitError(
            host["name"],
            ", ".join(asked),
            "asked for, where what is the machine's is not managed",
            "cluster_manage_kernel_globals: true",
            "set it, or leave %s out" % ", ".join(asked),
        )
    for name in wish["gateways"]:
        if name not in wish["interfaces"]:
            there = ", ".join(wish["interfaces"]) or "none"
            raise UnfitError(host["name"], "gateways", "%s is no RDMA interface" % name, "of %s" % there, "mend the name")


def _check_interface(name, wish, host):
    """An interface that is there, up, not the operator's own way in, and has one address."""
    found = host["network"]["interfaces"]
    facts = found.get(name)
    check = "RDMA interface %s" % name

    def refuse(observed, expected, remedy):
        raise UnfitError(host["name"], check, observed, expected, remedy)

    if wish["interfaces"].count(name) > 1:
        refuse("named %d times" % wish["interfaces"].count(name), "once", "take it out of rdma_interfaces")
    if name == wish["control_interface"]:
        refuse("the control interface", "an interface of its own", "correct rdma_interfaces or cluster_control_interface")
    if facts is None:
        refuse("not there; there are %s" % ", ".join(sorted(found)), "an interface of this name", "correct the name, or the host's names")
    if host["login"] and name in host["login"].interfaces:
        refuse(
            "carries the ssh connection to %s" % host["login"].server,
            "an interface that the connection does not need",
            "reach the host by its control interface",
        )
    if facts["master"]:
        refuse("a member of %s" % facts["master"], "an interface with an address", "name %s instead" % facts["master"])
    if facts["carrier"] is None:
        refuse("down by configuration", "up", "configure it to come up at boot")
    if len(_addresses(name, host)) != 1 and wish["policy_routing"]:
        given = ", ".join(str(address) for address in _addresses(name, host)) or "no IPv4 address"
        refuse(given, "one IPv4 address", "give it one, or set rdma_policy_routing to false")
    mac = wish["macs"].get(name)
    if mac is not None and not has_mac(facts, mac):
        refuse("has the address %s" % facts["mac"], mac, "correct rdma_macs, or set rdma_persistent_names and reboot")


def has_mac(facts, mac):
    """Whether an interface was made with this hardware address, or has it now."""
    return mac.lower() in ((facts["permanent_mac"] or "").lower(), (facts["mac"] or "").lower())


def _addresses(name, host):
    """The IPv4 addresses that others can reach, as ``ipaddress.IPv4Interface``."""
    found = host["network"]["interfaces"][name]["addresses"]
    made = (ipaddress.ip_interface("%s/%d" % (entry["address"], entry["prefix_length"])) for entry in found if entry["scope"] == "global")
    return [address for address in made if address.version == 4]


def _check_subnets(wish, host):
    """Without tables of their own, all packets of two interfaces on one subnet leave by the first of them."""
    if wish["policy_routing"]:
        return
    seen = {}
    for name in wish["interfaces"]:
        for address in _addresses(name, host):
            other = seen.setdefault(address.network, name)
            if other != name:
                raise UnfitError(
                    host["name"],
                    "RDMA interfaces %s and %s" % (other, name),
                    "both on %s, and no policy routing" % address.network,
                    "one subnet for each, or policy routing",
                    "set rdma_policy_routing to true, or renumber one",
                )


def _need(host, what, is_there, observed, remedy):
    if not is_there:
        raise UnfitError(host["name"], what, observed, "a host that has it", remedy)


# settings --------------------------------------------------------------------------------------------------------


def _parameter(name, value):
    return setting(str(value), kind="file", path="/proc/sys/" + name.replace(".", "/"))


def _parameters(wish):
    wanted = dict(wish["kernel_parameters"], **(wish["kernel_globals"] if wish["manage_kernel_globals"] else {}))
    return [_parameter(name, wanted[name]) for name in sorted(wanted)]


def _interface_parameters(name, wish):
    """Paths, not dotted names: the name of a VLAN holds a dot."""
    values = wish["interface_parameters"]
    return [setting(str(values[key]), kind="file", path="/proc/sys/net/ipv4/conf/%s/%s" % (name, key)) for key in sorted(values)]


def _link(name, wish, host):
    found = []
    for port in ports(name, host) if wish["rings"] else []:
        _need(host, "rings of %s" % port, "ethtool" in host["tools"], "no ethtool", "install ethtool, or leave rdma_rings out")
        facts = host["network"]["interfaces"].get(port) or {}
        limits = facts.get("rings") or {}
        for key, value in sorted(wish["rings"].items()):
            most = limits.get(key + "_max")
            if most is None or value > most:
                observed = "no such setting" if most is None else "at most %d" % most
                raise UnfitError(host["name"], "ring %s of %s" % (key, port), observed, value, "correct rdma_rings, or leave it out")
        found.append(setting(dict(wish["rings"]), kind="rings", interface=port))
    return found + ([] if wish["mtu"] is None else [setting(wish["mtu"], kind="mtu", interface=name)])


def _routing(name, table, wish, host):
    """A table of the interface's own, and the rules that lead to it what has its address or is bound to it."""
    address = _addresses(name, host)[0]
    gateway = wish["gateways"].get(name)
    routes = [{"destination": str(address.network), "gateway": None, "interface": name, "source": str(address.ip)}]
    if gateway:
        if not _is_inside(gateway, address):
            raise UnfitError(
                host["name"], "gateway of %s" % name, gateway, "another address of %s" % address.network, "correct rdma_gateways"
            )
        routes.append({"destination": "default", "gateway": gateway, "interface": name, "source": str(address.ip)})
    foreign = [route for route in host["network"]["routes"] if route["table"] == table and route["interface"] != name]
    if foreign:
        raise UnfitError(
            host["name"],
            "routing table %s" % table,
            "has a route to %s by %s" % (foreign[0]["destination"], foreign[0]["interface"]),
            "empty, or routes by %s" % name,
            "choose another rdma_first_table",
        )
    rule = {"kind": "rule", "table": table, "priority": wish["rule_priority"]}
    return [
        setting(table_rows(routes), kind="table", table=table),
        setting(True, source=str(address.ip), **rule),
        setting(True, output=name, **rule),
    ]


def _is_inside(text, address):
    try:
        return ipaddress.ip_address(text) in address.network and ipaddress.ip_address(text) != address.ip
    except ValueError:
        return False


def _quality(name, wish, host):
    """Trust and flow control by the vendor's tool, congestion control by the driver's files."""
    found = []
    for port in ports(name, host):
        for kind, wanted, value in (
            ("trust", wish["trust"] is not None, wish["trust"]),
            ("pfc", wish["pfc_priorities"] is not None, _figures(wish["pfc_priorities"] or [])),
        ):
            if wanted:
                _need(
                    host,
                    "%s of %s" % (kind, port),
                    "mlnx_qos" in host["tools"],
                    "no mlnx_qos",
                    "install the OFED that has it, or leave it out",
                )
                found.append(setting(value, kind=kind, interface=port))
        if wish["ecn_priorities"] is not None or wish["cnp_dscp"] is not None:
            folder = "/sys/class/net/%s/ecn" % port
            _need(host, "congestion control of %s" % port, host["files"][port]["ecn"], "no %s" % folder, "load the OFED that has it")
            for side, priority in itertools.product(("roce_np", "roce_rp"), wish["ecn_priorities"] or []):
                found.append(setting("1", kind="file", path="%s/%s/enable/%d" % (folder, side, priority)))
            if wish["cnp_dscp"] is not None:
                found.append(setting(str(wish["cnp_dscp"]), kind="file", path=folder + "/roce_np/cnp_dscp"))
    return found


def in_infiniband_mode(wish, host):
    """Which of the adapters that shall be Ethernet have a port in InfiniBand mode now, and so lack an interface until their next reset."""
    devices = host["network"]["rdma"].values()
    now = {_slot(device["pci"]) for device in devices if any(port["link_layer"] == "InfiniBand" for port in device["ports"].values())}
    return [address for address in wish["ethernet_adapters"] if _slot(address) in now]


def _slot(address):
    """A PCI address without the function's number, for each port of an adapter is a function."""
    return (address or "").rpartition(".")[0]


def _figures(priorities):
    return ",".join("1" if number in priorities else "0" for number in PRIORITIES)


def _traffic_classes(wish, host):
    """Of each RDMA device once, be it the device of several interfaces."""
    if wish["traffic_class"] is None:
        return []
    found = []
    _need(host, "traffic class", "cma_roce_tos" in host["tools"], "no cma_roce_tos", "install the OFED that has it, or leave it out")
    devices = {name: host["network"]["interfaces"][name]["rdma"] for name in wish["interfaces"]}
    for name in wish["interfaces"]:
        _need(host, "traffic class of %s" % name, devices[name] is not None, "no RDMA device", "load its driver, or leave it out")
    for device in sorted(set(devices.values())):
        found.append(setting(wish["traffic_class"], kind="roce_tos", device=device))
        for port in sorted(host["network"]["rdma"][device]["ports"]):
            path = "/sys/class/infiniband/%s/tc/%s/traffic_class" % (device, port)
            found.append(setting(wish["traffic_class"], kind="traffic_class", path=path))
    return found


def _pci(wish, host):
    """Access control off on the bridges above accelerators and interfaces; the size of read requests of the interfaces themselves."""
    if not (wish["acs_off"] or wish["max_read_request"]):
        return []
    _need(host, "PCI settings", "setpci" in host["tools"], "no setpci", "install pciutils")
    found = []
    if wish["acs_off"]:
        found += [setting("0000", kind="pci", address=address, register=ACS_CONTROL, mask="ffff") for address in host["acs_bridges"]]
    if wish["max_read_request"]:
        for name in itertools.chain(*(ports(name, host) for name in wish["interfaces"])):
            address = host["network"]["interfaces"][name]["pci"]
            _need(host, "max_read_request of %s" % name, address is not None, "not on the PCI bus", "leave it out")
            value = READ_REQUESTS[wish["max_read_request"]]
            found.append(setting(value, kind="pci", address=address, register=DEVICE_CONTROL, mask=READ_REQUEST_MASK))
    return found


def _irqs(wish, host):
    """All interrupts of each interface on the CPUs that are near it, or each on one of them, where nothing else moves them."""
    if wish["irq_affinity"] is None:
        return []
    near = {}
    for port in itertools.chain(*(ports(name, host) for name in wish["interfaces"])):
        remedy = "stop and disable irqbalance, which moves interrupts, or leave rdma_irq_affinity out"
        _need(host, "interrupts of %s" % port, not host["irqbalance"], "irqbalance runs", remedy)
        shows = host["files"][port]
        is_known = shows["irqs"] and shows["cpus"] and parse_cpus(shows["cpus"])
        _need(host, "interrupts of %s" % port, is_known, "none in sysfs", "leave rdma_irq_affinity out")
        near[port] = shows["cpus"]
    return [setting(_share(port, near) if wish["irq_affinity"] == "spread" else near[port], kind="irqs", interface=port) for port in near]


def _share(port, near):
    """The CPUs for the interrupts of a port, one for each: interfaces that are near the same CPUs take them in turn, so that none works
    for two of them before all work for one."""
    sharing = [other for other in near if near[other] == near[port]]
    cpus = parse_cpus(near[port])
    return in_turn(cpus[sharing.index(port) :: len(sharing)] or cpus)


def _adaptive_routing(name, wish, host):
    if wish["adaptive_routing"] is None:
        return []
    found = []
    for port in ports(name, host):
        address = host["network"]["interfaces"][port]["pci"]
        _need(host, "adaptive routing of %s" % port, address is not None, "not on the PCI bus", "leave it out")
        _need(
            host, "adaptive routing of %s" % port, "mlxreg" in host["tools"], "no mlxreg", "install the OFED that has it, or leave it out"
        )
        found.append(setting(str(int(wish["adaptive_routing"])), kind="adaptive_routing", address=address))
    return found


def link_types(wish, host):
    """Ethernet from the next reset on for every port of the adapters that shall have it; the reset is the operator's.

    :raises UnfitError: for an address that is no adapter's, and for an adapter that is of one kind for ever.
    """
    found = []
    for address in dict.fromkeys(wish["ethernet_adapters"]):
        check = "link type of %s" % address
        if not ADDRESS.match(address):
            raise UnfitError(host["name"], check, "no PCI address", "one such as 0000:15:00.0", "correct rdma_ethernet_adapters")
        _need(host, check, "mlxconfig" in host["tools"], "no mlxconfig", "install the OFED that has it, or leave it out")
        _need(host, check, host["link_types"][address], "no LINK_TYPE in its firmware", "correct rdma_ethernet_adapters")
        found += [setting(ETHERNET, kind="link_type", address=address, port=port) for port in sorted(host["link_types"][address])]
    return found
