# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Checks of one host's network: interfaces, addresses, routes and RDMA ports. What two hosts say to each other is for probes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from ._judgement import Check, Data, Fault, Said, Severity, Unread, View, listed

# BKCL's and gloo's variables both end so; each names the interface that its connections are made on.
SOCKET_INTERFACE = re.compile(r"\b([A-Z0-9]+_SOCKET_IFNAME)=(\S+)")
USE_RDMA, GID_INDEX = "BKCL_USE_RDMA", "BKCL_GID_INDEX"
ROCE_V2 = "RoCE v2"
NOT_ASKED = "the network was not read"
NO_RAILS = "the devices' traffic goes over the control interface"


def rails(view: View) -> list[str]:
    """The interfaces of the devices' traffic, each once; none where that is the control interface's."""
    return [nic for nic in dict.fromkeys(view.host["nics"]) if nic != view.plan["control_interface"]]


def rdma_ports(view: View) -> dict[str, Data]:
    """The RDMA port of each rail that has one, of a host whose network was read: ``{interface: port}``."""
    network: Data = view.network or {"interfaces": {}, "rdma": {}}
    found = {}
    for nic in rails(view):
        name = (network["interfaces"].get(nic) or {}).get("rdma")
        ports = list(network["rdma"][name]["ports"].values()) if name in network["rdma"] else []
        # A bond's device is that of its first member, whose port has the member's name.
        own = [port for port in ports if port["netdev"] == nic] or ports
        if own:
            found[nic] = own[0]
    return found


def uses_rdma(view: View) -> bool:
    """Whether the devices' traffic goes by RDMA: there are rails, and the environment does not say otherwise."""
    return bool(rails(view)) and view.host["environment"].get(USE_RDMA) == "1"


def no_rdma(view: View) -> str:
    """Why no RDMA port is looked at; empty where they are."""
    if not uses_rdma(view):
        return "no traffic of this cluster goes by RDMA"
    return NOT_ASKED if view.network is None else ""


def _carried(view: View) -> dict[str, list[str]]:
    return {name: [str(ip_interface(one).ip) for one in each["addresses"]] for name, each in view.facts["interfaces"].items()}


def _control_interface(view: View) -> Iterator[Said]:
    wanted, carried = view.plan["control_interface"], _carried(view)
    if wanted not in carried:
        yield Fault(f"no {wanted}; there are {', '.join(sorted(carried))}", wanted, _control_remedy(view, carried))


def _control_address(view: View) -> Iterator[Said]:
    wanted, address, carried = view.plan["control_interface"], view.host["address"], _carried(view)
    if wanted in carried and address not in carried[wanted]:
        observed = f"{wanted} has {', '.join(carried[wanted]) or 'no address'}"
        yield Fault(observed, f"{wanted} with {address}", _control_remedy(view, carried))


def _control_remedy(view: View, carried: dict[str, list[str]]) -> str:
    carrier = next((name for name, addresses in carried.items() if view.host["address"] in addresses), None)
    if carrier:
        return f"set cluster_control_interface to {carrier}, which has {view.host['address']}"
    return "set cluster_control_interface and cluster_address to what the host has"


def _rails(view: View) -> Iterator[Said]:
    if not rails(view):
        yield Unread(NO_RAILS)
        return
    missing = [nic for nic in rails(view) if nic not in view.facts["interfaces"]]
    if missing:
        wanted = listed(dict.fromkeys(view.host["nics"]))
        yield Fault(f"no {listed(missing)}", wanted, "mend the interfaces' names or cluster_rdma_nics")


def _rail_link(view: View) -> Iterator[Said]:
    if not rails(view):
        yield Unread(NO_RAILS)
        return
    present = [nic for nic in rails(view) if nic in view.facts["interfaces"]]
    dark = [f"{nic} ({view.facts['interfaces'][nic]['state']})" for nic in present if view.facts["interfaces"][nic]["state"] != "up"]
    if dark:
        yield Fault(
            f"no link on {listed(dark)}",
            "every rail up",
            "run ip link set NAME up; if it stays down, plug the cable in, or switch on the port of the switch",
        )


def _rail_card(view: View) -> Iterator[Said]:
    """The card of a rail on its slot, of a bond that of the member that speaks for it."""
    if not rails(view):
        yield Unread(NO_RAILS)
        return
    if view.network is None:
        yield Unread(NOT_ASKED)
        return
    found = {nic: view.network["interfaces"][nic]["path"][-1:] for nic in rails(view) if nic in view.network["interfaces"]}
    low = view.facts["low_links"]
    links = {f"{nic} ({path[0]})": low[path[0]] for nic, path in found.items() if path and path[0] in low}
    yield from link_faults(
        links, "reseat the network card and look at the slot's settings in the firmware; lspci -vv shows LnkSta beside LnkCap"
    )


def link_faults(links: Mapping[str, Data], remedy: str) -> Iterator[Fault]:
    """What is wrong with links to the bus, by what they belong to.

    Lanes are lost by a bad contact. A low rate may be a card's saving of power while idle, so it is only told.
    """
    for value, most, unit, severity in (
        ("width", "max_width", "lanes", Severity.ERROR),
        ("speed_gts", "max_speed_gts", "GT/s", Severity.WARNING),
    ):
        low = {name: link for name, link in links.items() if link[value] and link[most] and link[value] < link[most]}
        if low:
            observed = listed([f"{name} at {link[value]:g} {unit}" for name, link in low.items()], 4)
            expected = f"{listed(sorted({format(link[most], 'g') for link in low.values()}))} {unit}"
            yield Fault(observed, expected, remedy, severity=severity)


def _rail_address(view: View) -> Iterator[Said]:
    if not rails(view):
        yield Unread(NO_RAILS)
        return
    present = [nic for nic in rails(view) if nic in view.facts["interfaces"]]
    bare = [nic for nic in present if not any(ip_interface(one).version == 4 for one in view.facts["interfaces"][nic]["addresses"])]
    if bare:
        yield Fault(
            f"no IPv4 address on {listed(bare)}",
            "an address on every rail",
            "give the interface its address on the rail's subnet: ip address add ADDRESS/LENGTH dev NAME, and in the host's network configuration",
        )


def _socket_interface(view: View) -> Iterator[Said]:
    """Every library must take the interface that carries the hosts' addresses, or two of them wait for each other on different ones."""
    wanted = view.plan["control_interface"]
    stated = {name: value for name, value in view.host["environment"].items() if name.endswith("_SOCKET_IFNAME")}
    before_start = dict(SOCKET_INTERFACE.findall(view.plan["before_start"]))
    for where, variables in (("cluster_environment", stated), ("serve_before_start", before_start)):
        wrong = [f"{name}={value}" for name, value in sorted(variables.items()) if value != wanted]
        if wrong:
            yield Fault(listed(wrong), f"{wanted}, the cluster's control interface", f"mend {where}", evidence=where)


def _route_to_hosts(view: View) -> Iterator[Said]:
    if view.network is None:
        yield Unread(NOT_ASKED)
        return
    wanted = view.plan["control_interface"]
    astray: dict[str | None, list[str]] = {}
    for peer in view.plan["hosts"]:
        if peer["name"] != view.host["name"]:
            route = route_to(view.network["routes"], peer["address"])
            interface = route["interface"] if route else None
            if interface != wanted:
                astray.setdefault(interface, []).append(peer["name"])
    for interface, peers in astray.items():
        observed = f"{listed(peers)} over {interface}" if interface else f"no route to {listed(peers)}"
        yield Fault(observed, f"over {wanted}, whose addresses the hosts know each other by", "mend the host's routes, or cluster_address")


def route_to(routes: list[Data], address: str) -> Data | None:
    """The main table's route to an address: the longest prefix, and of equal ones the lowest metric."""
    target = ip_address(address)
    fitting: list[tuple[int, int, int, Data]] = []
    for route in routes:
        if route["table"] != "main":
            continue
        network = ip_network("0.0.0.0/0" if route["destination"] == "default" else route["destination"], strict=False)
        if network.version == target.version and target in network:
            fitting.append((-network.prefixlen, route["metric"] or 0, len(fitting), route))
    return min(fitting)[-1] if fitting else None


def _default_route(view: View) -> Iterator[Said]:
    """Ray takes the address on the route to the internet, and without one whatever the host's name resolves to."""
    if view.network is None:
        yield Unread(NOT_ASKED)
        return
    if view.host["environment"].get("VLLM_HOST_IP"):
        return
    route = view.network["default_route"]
    if route is None:
        observed = "no default route, and no VLLM_HOST_IP"
    elif route["source"] != view.host["address"]:
        observed = f"the default route has {route['source']} on {route['interface']}, and there is no VLLM_HOST_IP"
    else:
        return
    yield Fault(observed, f"the engine to take {view.host['address']}", "have VLLM_HOST_IP in cluster_environment_additions")


def _rdma_device(view: View) -> Iterator[Said]:
    if why := no_rdma(view):
        yield Unread(why)
        return
    bare = [nic for nic in rails(view) if nic in (view.network or {})["interfaces"] and nic not in rdma_ports(view)]
    if bare:
        yield Fault(f"none for {listed(bare)}", "an RDMA device for every rail", "install OFED or rdma-core: run rdma.yml", "rdma")


def _rdma_port(view: View) -> Iterator[Said]:
    if why := no_rdma(view):
        yield Unread(why)
        return
    for nic, port in rdma_ports(view).items():
        if port["link_layer"] not in (None, "Ethernet"):
            remedy = "name its adapter in rdma_ethernet_adapters (LINK_TYPE_P1=2), run rdma.yml, and power the host off and on"
            yield Fault(f"{nic} is in {port['link_layer']} mode", "Ethernet", remedy)
        elif port["state"] not in (None, "ACTIVE"):
            observed = f"{nic} is {port['state']}" + (f" ({port['physical_state']})" if port["physical_state"] else "")
            yield Fault(
                observed, "ACTIVE", "run ip link set NAME up; if it stays down, plug the cable in, or switch on the port of the switch"
            )


def _rdma_rate(view: View) -> Iterator[Said]:
    if why := no_rdma(view):
        yield Unread(why)
        return
    wanted = view.needs.rdma_rate_gbps
    if not wanted:
        yield Unread("preflight_rdma_rate is not set; the hosts are compared with each other")
        return
    slow = [f"{nic} at {port['rate_gbps']:g}" for nic, port in rdma_ports(view).items() if (port["rate_gbps"] or wanted) < wanted]
    if slow:
        yield Fault(
            f"{listed(slow)} Gb/s",
            f"{wanted:g} Gb/s or more",
            "look at cable, transceiver and the switch's port; ethtool NAME shows what the link agreed on",
        )


def gids(view: View) -> dict[str, list[Data]]:
    """For each rail the entries of its RDMA port that RoCE v2 can use with one of the interface's own IPv4 addresses."""
    found = {}
    for nic, port in rdma_ports(view).items():
        own = {str(ip_interface(one).ip) for one in view.facts["interfaces"].get(nic, {"addresses": []})["addresses"]}
        found[nic] = [gid for gid in port["gids"] if gid["type"] == ROCE_V2 and gid["ipv4"] in own]
    return found


def _gid(view: View) -> Iterator[Said]:
    """A wrong index ends in timeouts of ibv_modify_qp; indices move when addresses are taken off and put on again."""
    if why := no_rdma(view):
        yield Unread(why)
        return
    index = view.host["environment"].get(GID_INDEX)
    usable = gids(view)
    for nic, port in rdma_ports(view).items():
        if nic not in view.facts["interfaces"] or port["link_layer"] == "InfiniBand":
            continue
        indices = [gid["index"] for gid in usable[nic]]
        if not indices:
            remedy = "give the interface its IPv4 address and switch RoCE v2 on: run rdma.yml"
            yield Fault(f"no RoCE v2 entry with an IPv4 address of {nic}", "at least one", remedy, "rdma")
        elif index is not None and int(index) not in indices:
            there = next((gid for gid in port["gids"] if gid["index"] == int(index)), None)
            what = f"{there['type']} {there['ipv4'] or there['gid']}" if there else "empty"
            remedy = f"set {GID_INDEX} to {indices[0]} in cluster_environment, or take the interface's addresses off and put them on again by ip address"
            yield Fault(f"index {index} of {nic} is {what}", f"RoCE v2 with the interface's address, as index {listed(indices)}", remedy)


def _settings(view: View) -> Iterator[Said]:
    """What the stage rdma set, read back: trust and flow control come back to the driver's own at a reset of the adapter, without a word."""
    if not rails(view):
        yield Unread(NO_RAILS)
        return
    if view.network is None:
        yield Unread(NOT_ASKED)
        return
    kept = view.network["rdma_settings"]
    if kept is None:
        yield Unread("the stage rdma has set nothing on this host")
        return
    remedy = "run rdma.yml, which sets what differs; journalctl -u flagos-kunlunxin-rdma tells what the last boot could not set"
    if kept["problem"]:
        yield Fault(
            kept["problem"], "the batch of the stage rdma", "restore the file, or remove it and run rdma.yml", "rdma", Severity.WARNING
        )
        return
    if kept["different"]:
        observed = listed([f"{one['what']} is {_line(one['now'])}" for one in kept["different"]], 4)
        expected = listed([_line(one["wanted"]) for one in kept["different"]], 4)
        yield Fault(observed, f"{expected}, as the stage rdma set it", remedy, "rdma", Severity.WARNING)
    if not kept["starts_at_boot"]:
        observed, expected = "flagos-kunlunxin-rdma.service does not start at boot", "the settings to be made at every boot"
        yield Fault(observed, expected, "run rdma.yml, or systemctl enable flagos-kunlunxin-rdma", "rdma", Severity.WARNING)


def _line(text: str) -> str:
    """A table of routes in one line."""
    return "; ".join(text.splitlines())


def _as_read(view: View) -> Iterator[Said]:
    if view.network is None:
        yield Unread(NOT_ASKED)
    elif view.network["problems"]:
        remedy = "look at the file, or run the tool on the host as the line names it; what depends on it was not judged"
        yield Fault(listed(view.network["problems"], 3), "facts that make sense", remedy, severity=Severity.WARNING)


CHECKS = (
    Check("control interface", "/sys/class/net", _control_interface, ()),
    Check("control address", "ip address show", _control_address, ()),
    Check("rail interfaces", "/sys/class/net", _rails, ()),
    Check("rail link", "operstate in /sys/class/net", _rail_link, ()),
    Check("rail card", "current_link and max_link in /sys/bus/pci/devices", _rail_card, ()),
    Check("rail address", "ip address show", _rail_address, ()),
    Check("socket interface", "the environment of the containers, and serve_before_start", _socket_interface, ()),
    Check("route to the hosts", "ip route show table all", _route_to_hosts, ()),
    Check("default route", "ip route show table all", _default_route, ()),
    Check("RDMA device", "/sys/class/infiniband", _rdma_device, ("rdma",)),
    Check("RDMA port", "state and link_layer in /sys/class/infiniband", _rdma_port, ()),
    Check("RDMA rate", "rate in /sys/class/infiniband", _rdma_rate, ()),
    Check("GID", "gids and gid_attrs in /sys/class/infiniband", _gid, ("rdma",)),
    Check(
        "RDMA settings",
        "the batch of the stage rdma, and what sysfs, ip, ethtool, mlnx_qos, cma_roce_tos and mlxreg read",
        _settings,
        ("rdma",),
        Severity.WARNING,
    ),
    Check("network as read", "the module network_info", _as_read, (), Severity.WARNING),
)
