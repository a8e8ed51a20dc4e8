"""The facts of a host's network, from a captured tree."""

from __future__ import annotations

import json
import posixpath

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _network_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SWITCH = "pci0000:3a/0000:3a:01.0/0000:3b:00.0"
LINK_LOCAL = "fe80:0000:0000:0000:0e42:a1ff:fe01:0001"
OF_IPV4 = "0000:0000:0000:0000:0000:ffff:0a01:0105"  # 10.1.1.5
NONE = "0000:0000:0000:0000:0000:0000:0000:0000"
NOT_THERE = None  # a file that the kernel refuses to read has no place in a captured tree

ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
2: eth0    inet 10.0.0.5/24 brd 10.0.0.255 scope global eth0\       valid_lft forever preferred_lft forever
2: eth0    inet6 fe80::1/64 scope link \       valid_lft forever preferred_lft forever
3: eth1    inet 10.1.1.5/24 brd 10.1.1.255 scope global eth1\       valid_lft forever preferred_lft forever
8: bond0    inet 10.2.0.5/16 scope global bond0\       valid_lft forever preferred_lft forever
"""
ROUTES = """\
default via 10.0.0.254 dev eth0 proto dhcp metric 100
10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5 metric 100
default via 10.1.1.254 dev eth1 table rail0
local 10.0.0.5 dev eth0 table local proto kernel scope host src 10.0.0.5
"""
ROUTES_JSON = json.dumps(
    [
        {"dst": "default", "gateway": "10.0.0.254", "dev": "eth0", "protocol": "dhcp", "metric": 100, "flags": []},
        {"dst": "10.0.0.0/24", "dev": "eth0", "protocol": "kernel", "scope": "link", "prefsrc": "10.0.0.5", "metric": 100, "flags": []},
        {"dst": "default", "gateway": "10.1.1.254", "dev": "eth1", "table": "rail0", "flags": []},
        {"type": "local", "dst": "10.0.0.5", "dev": "eth0", "table": "local", "prefsrc": "10.0.0.5", "flags": []},
    ]
)
RULES = "0:\tfrom all lookup local\n32761:\tfrom 10.1.1.5 lookup rail0\n32766:\tfrom all lookup main\n"
RULES_JSON = json.dumps(
    [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 32761, "src": "10.1.1.5", "table": "rail0"},
        {"priority": 32766, "src": "all", "table": "main"},
    ]
)
RINGS = """\
Ring parameters for eth1:
Pre-set maximums:
RX:		8192
RX Mini:	0
TX:		8192
Current hardware settings:
RX:		1024
RX Mini:	0
TX:		512
"""
ROUTING = {"arp_ignore": 2, "arp_announce": 1, "rp_filter": 2}
TEXT_ANSWERS = {"ip route show table all": ROUTES, "ip rule": RULES}
JSON_ANSWERS = {"ip -j route show table all": ROUTES_JSON, "ip -j rule": RULES_JSON}


def interface(captured, name, place="/sys/devices/virtual/net", **changes):
    """An interface of sysfs with its files; one that is None is not there."""
    folder = posixpath.join(place, name)
    files = {
        "operstate": "up",
        "carrier": "1",
        "mtu": "9000",
        "address": "0c:42:a1:01:00:01",
        "addr_assign_type": "0",
        "speed": "200000",
        "type": "1",
        "dev_port": "0",
        "uevent": "INTERFACE=" + name,
        **{"statistics/" + key: "0" for key in facts.STATISTICS},
        **changes,
    }
    captured.files({posixpath.join(folder, key): text + "\n" for key, text in files.items() if text is not None})
    captured.files({f"/proc/sys/net/ipv4/conf/{name}/{key}": f"{value}\n" for key, value in ROUTING.items()})
    captured.link("/sys/class/net/" + name, "../.." + folder[len("/sys") :])
    return folder


def nic(captured, name, path, numa_node=0, driver="mlx5_core", **changes):
    """A NIC at its place on the PCI bus, with its one interface."""
    device = captured.pci(path, "15b3", "101d", numa_node=numa_node)
    folder = interface(captured, name, device + "/net", **changes)
    captured.link(folder + "/device", "../../../" + posixpath.basename(path))
    captured.link(device + "/driver", "../../../bus/pci/drivers/" + driver)
    return device


def rdma_device(captured, name, pci_folder, gids=(), **changes):
    """An RDMA device of a NIC with its one port; ``gids`` are ``(gid, type, netdev)``."""
    folder = f"{pci_folder}/infiniband/{name}"
    port = {
        "state": "4: ACTIVE",
        "phys_state": "5: LinkUp",
        "link_layer": "Ethernet",
        "rate": "200 Gb/sec (4X HDR)",
        "counters/port_xmit_discards": "3",
        "counters/port_rcv_data": "12345",
        "hw_counters/packet_seq_err": "1",
        "hw_counters/lifespan": "10",
        **changes,
    }
    for index, (gid, kind, netdev) in enumerate(gids):
        port.update({f"gids/{index}": gid, f"gid_attrs/types/{index}": kind, f"gid_attrs/ndevs/{index}": netdev})
    captured.files({f"{folder}/ports/1/{key}": text + "\n" for key, text in port.items() if text is not None})
    captured.files({folder + "/node_guid": "0c42:a103:0001:0001\n", folder + "/fw_ver": "20.39.1002\n"})
    captured.link(folder + "/device", "../../../" + posixpath.basename(pci_folder))
    captured.link("/sys/class/infiniband/" + name, "../.." + folder[len("/sys") :])
    return folder


FOUR_GIDS = [
    (LINK_LOCAL, "IB/RoCE v1", "eth1"),
    (LINK_LOCAL, "RoCE v2", "eth1"),
    (OF_IPV4, "IB/RoCE v1", "eth1"),
    (OF_IPV4, "RoCE v2", "eth1"),
    (NONE, NOT_THERE, NOT_THERE),
]


def fill(captured, answers):
    """A host with a control NIC, two RoCE NICs of which one is down, one in InfiniBand mode, a bond of two, a VLAN and a bridge."""
    captured.answer("ip -o address show", ADDRESSES)
    for command, answer in answers.items():
        captured.answer(command, answer)
    captured.answer("ethtool -g eth1", RINGS)
    captured.files(
        {
            "/etc/iproute2/rt_tables": "255\tlocal\n254\tmain\n253\tdefault\n",
            "/etc/iproute2/rt_tables.d/rails.conf": "101 rail0\n",
            "/etc/iproute2/rt_tables.d/README": "Each file here that ends in .conf is read.\n",
            "/proc/sys/net/ipv4/neigh/default/gc_thresh1": "4096\n",
            "/proc/sys/net/ipv4/neigh/default/gc_thresh2": "8192\n",
            "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "16384\n",
            "/proc/sys/net/core/rmem_max": "212992000\n",
            "/proc/sys/net/core/wmem_max": "212992000\n",
            "/proc/sys/net/ipv4/tcp_rmem": "4096000\t131072000\t629145600\n",
            "/proc/sys/net/ipv4/tcp_wmem": "4096000\t16384000\t419430400\n",
            "/proc/sys/net/ipv4/tcp_ecn": "1\n",
            "/sys/class/net/bonding_masters": "bond0\n",
        }
    )
    interface(captured, "lo", type="772", mtu="65536", operstate="unknown", address="00:00:00:00:00:00", speed=NOT_THERE)
    nic(captured, "eth0", "pci0000:00/0000:00:02.0/0000:01:00.0", driver="igb", mtu="1500", speed="1000", addr_assign_type="3")
    first = nic(captured, "eth1", f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", **{"statistics/rx_dropped": "7"})
    second = nic(captured, "eth2", f"{SWITCH}/0000:3c:01.0/0000:3e:00.0", operstate="down", carrier=NOT_THERE, speed="-1")
    third = nic(captured, "ib0", "pci0000:80/0000:80:01.0/0000:81:00.0", numa_node=1, type="32", address="00:00:10:29:fe:80" + ":00" * 14)
    rdma_device(captured, "mlx5_0", first, FOUR_GIDS)
    captured.files({"/sys/class/infiniband/mlx5_0/tc/1/traffic_class": "Global tclass=106\n"})
    rdma_device(captured, "mlx5_1", second, state="1: DOWN", phys_state="2: Polling", rate="2.5 Gb/sec (1X SDR)")
    gid = ("fe80:0000:0000:0000:0c42:a103:0001:0003", "IB/RoCE v1", NOT_THERE)
    rdma_device(captured, "mlx5_2", third, [gid], link_layer="InfiniBand")
    for name, path, state in (("eth4", "0000:90:01.0/0000:91:00.0", "backup"), ("eth5", "0000:90:02.0/0000:92:00.0", "active")):
        nic(
            captured,
            name,
            f"pci0000:90/{path}",
            numa_node=1,
            address="0c:42:a1:01:00:04",
            addr_assign_type="3",
            **{"bonding_slave/perm_hwaddr": f"0c:42:a1:01:00:0{name[-1]}", "bonding_slave/state": state, "bonding_slave/mii_status": "up"},
        )
        captured.link(f"/sys/class/net/{name}/master", "../../../../../virtual/net/bond0")
    interface(captured, "bond0", **{"bonding/mode": "active-backup 1", "bonding/slaves": "eth4 eth5", "address": "0c:42:a1:01:00:04"})
    interface(captured, "bond0.100", uevent="DEVTYPE=vlan\nINTERFACE=bond0.100", mtu="1500")
    interface(captured, "docker0", **{"bridge/stp_state": "0", "carrier": "0"})
    interface(captured, "veth1", speed="10000")
    captured.link("/sys/class/net/veth1/master", "../docker0")


@pytest.fixture
def host(captured):
    fill(captured, JSON_ANSWERS)
    return captured


def network(host):
    return facts.network(host.tree)


def test_a_nic_with_everything_about_it(host):
    assert network(host)["interfaces"]["eth1"] == {
        "state": "up",
        "carrier": True,
        "mtu": 9000,
        "mac": "0c:42:a1:01:00:01",
        "permanent_mac": "0c:42:a1:01:00:01",
        "speed_mbps": 200000,
        "kind": "physical",
        "master": None,
        "bond": None,
        "addresses": [{"address": "10.1.1.5", "prefix_length": 24, "scope": "global"}],
        "pci": "0000:3d:00.0",
        "numa_node": 0,
        "path": ["pci0000:3a", "0000:3a:01.0", "0000:3b:00.0", "0000:3c:00.0", "0000:3d:00.0"],
        "driver": "mlx5_core",
        "rdma": "mlx5_0",
        "sysctls": ROUTING,
        "rings": {"rx": 1024, "tx": 512, "rx_max": 8192, "tx_max": 8192},
        "counters": {"rx_errors": 0, "tx_errors": 0, "rx_dropped": 7, "tx_dropped": 0},
    }


def test_nothing_of_a_whole_host_is_a_problem(host):
    assert network(host)["problems"] == []


def test_kinds(host):
    kinds = {name: one["kind"] for name, one in network(host)["interfaces"].items()}
    assert kinds == {
        **dict.fromkeys(["eth0", "eth1", "eth2", "eth4", "eth5", "ib0"], "physical"),
        "bond0": "bond",
        "bond0.100": "vlan",
        "docker0": "bridge",
        "veth1": "virtual",
        "lo": "loopback",
    }


def test_a_port_that_is_down(host):
    facts_of_host = network(host)
    down = facts_of_host["interfaces"]["eth2"]
    assert (down["state"], down["carrier"], down["speed_mbps"], down["rings"], down["rdma"]) == ("down", None, None, None, "mlx5_1")
    port = facts_of_host["rdma"]["mlx5_1"]["ports"]["1"]
    assert (port["state"], port["physical_state"], port["rate_gbps"], port["netdev"]) == ("DOWN", "Polling", 2.5, "eth2")
    assert (port["gids"], port["traffic_class"]) == ([], None)


@pytest.mark.parametrize("speed", ["-1", "4294967295", "0"])
def test_a_speed_that_is_unknown(host, speed):
    host.files({"/sys/class/net/eth1/speed": speed + "\n"})
    assert network(host)["interfaces"]["eth1"]["speed_mbps"] is None


def test_a_bond_and_its_members(host):
    found = network(host)["interfaces"]
    assert found["bond0"]["bond"] == {"mode": "active-backup", "members": ["eth4", "eth5"]}
    assert (found["bond0"]["pci"], found["bond0"]["permanent_mac"], found["bond0"]["driver"]) == (None, None, None)
    assert (found["eth4"]["master"], found["eth4"]["bond"]) == ("bond0", None)
    assert (found["eth4"]["mac"], found["eth5"]["mac"]) == ("0c:42:a1:01:00:04", "0c:42:a1:01:00:04")
    assert (found["eth4"]["permanent_mac"], found["eth5"]["permanent_mac"]) == ("0c:42:a1:01:00:04", "0c:42:a1:01:00:05")


@pytest.mark.parametrize(
    ("state", "mii_status", "member"),
    [("active", "up", "0000:92:00.0"), ("active", "down", "0000:91:00.0"), ("backup", "up", "0000:91:00.0")],
)
def test_a_bond_lies_where_its_first_active_member_lies(host, state, mii_status, member):
    host.files({"/sys/class/net/eth5/bonding_slave/state": state, "/sys/class/net/eth5/bonding_slave/mii_status": mii_status})
    bond = network(host)["interfaces"]["bond0"]
    assert (bond["path"][-1], bond["numa_node"]) == (member, 1)


def test_a_bond_without_members_lies_nowhere(host):
    host.files({"/sys/class/net/bond0/bonding/slaves": "\n"})
    bond = network(host)["interfaces"]["bond0"]
    assert (bond["bond"]["members"], bond["path"], bond["numa_node"]) == ([], [], None)


def test_a_link_that_is_not_there(host):
    host.files({"/sys/class/net/docker0/operstate": "down\n"})
    bridge = network(host)["interfaces"]["docker0"]
    assert (bridge["state"], bridge["carrier"]) == ("down", False)


def test_a_changed_address_is_not_taken_for_the_permanent_one(host):
    assert network(host)["interfaces"]["eth0"]["permanent_mac"] is None


def test_a_virtio_nic_hangs_below_its_pci_function(captured):
    device = captured.pci("pci0000:00/0000:00:03.0", "1af4", "1041", numa_node=-1)
    folder = interface(captured, "eth0", device + "/virtio2/net")
    captured.link(folder + "/device", "../../../virtio2")
    found = network(captured)["interfaces"]["eth0"]
    assert (found["kind"], found["pci"], found["path"], found["numa_node"]) == (
        "physical",
        "0000:00:03.0",
        ["pci0000:00", "0000:00:03.0"],
        None,
    )


def test_the_gids_of_a_roce_port(host):
    port = network(host)["rdma"]["mlx5_0"]["ports"]["1"]
    assert [(one["index"], one["gid"], one["type"], one["ipv4"]) for one in port["gids"]] == [
        (0, LINK_LOCAL, "IB/RoCE v1", None),
        (1, LINK_LOCAL, "RoCE v2", None),
        (2, OF_IPV4, "IB/RoCE v1", "10.1.1.5"),
        (3, OF_IPV4, "RoCE v2", "10.1.1.5"),
    ]
    assert {one["netdev"] for one in port["gids"]} == {"eth1"}


def test_a_roce_device_and_its_port(host):
    device = network(host)["rdma"]["mlx5_0"]
    port = dict(device["ports"].pop("1"), gids=[])
    assert device == {"pci": "0000:3d:00.0", "node_guid": "0c42:a103:0001:0001", "firmware": "20.39.1002", "ports": {}}
    assert port == {
        "state": "ACTIVE",
        "physical_state": "LinkUp",
        "link_layer": "Ethernet",
        "rate_gbps": 200.0,
        "netdev": "eth1",
        "gids": [],
        "counters": {"port_xmit_discards": 3, "packet_seq_err": 1},
        "traffic_class": 106,
    }


def test_gids_come_in_the_order_of_their_indices(captured):
    device = nic(captured, "eth1", "pci0000:3a/0000:3a:01.0")
    rdma_device(captured, "mlx5_0", device, [(LINK_LOCAL, "RoCE v2", "eth1")] * 12)
    assert [one["index"] for one in network(captured)["rdma"]["mlx5_0"]["ports"]["1"]["gids"]] == list(range(12))


def test_a_port_in_infiniband_mode(host):
    found = network(host)
    port = found["rdma"]["mlx5_2"]["ports"]["1"]
    assert (port["link_layer"], port["netdev"], port["gids"][0]["netdev"]) == ("InfiniBand", "ib0", None)
    assert found["interfaces"]["ib0"]["rdma"] == "mlx5_2"


def test_two_ports_of_one_function_are_told_apart(captured):
    device = nic(captured, "ib0", "pci0000:3a/0000:3a:01.0")
    folder = interface(captured, "ib1", device + "/net", dev_port="1")
    captured.link(folder + "/device", "../../../0000:3a:01.0")
    rdma_device(captured, "mlx4_0", device)
    captured.files({"/sys/class/infiniband/mlx4_0/ports/2/link_layer": "InfiniBand\n"})
    ports = network(captured)["rdma"]["mlx4_0"]["ports"]
    assert (ports["1"]["netdev"], ports["2"]["netdev"]) == ("ib0", "ib1")


def test_a_bond_that_is_one_rdma_device(host):
    """The port is the active member's; the GIDs of the bond's addresses name the bond. A VLAN is no port, though it has GIDs."""
    gids = [(LINK_LOCAL, "RoCE v2", "eth5"), ("0000:0000:0000:0000:0000:ffff:0a02:0005", "RoCE v2", "bond0")]
    gids.append(("0000:0000:0000:0000:0000:ffff:0a03:0005", "RoCE v2", "bond0.100"))
    rdma_device(host, "mlx5_bond_0", "/sys/devices/pci0000:90/0000:90:01.0/0000:91:00.0", gids)
    found = network(host)
    assert found["rdma"]["mlx5_bond_0"]["ports"]["1"]["netdev"] == "eth5"
    assert {name: found["interfaces"][name]["rdma"] for name in ("eth4", "eth5", "bond0", "bond0.100")} == {
        "eth4": None,
        "eth5": "mlx5_bond_0",
        "bond0": "mlx5_bond_0",
        "bond0.100": None,
    }


def test_a_counter_that_the_port_has_not_is_left_out(host):
    host.files({"/sys/class/infiniband/mlx5_0/ports/1/counters/port_xmit_discards": "N/A (no PMA)\n"})
    found = network(host)
    assert found["rdma"]["mlx5_0"]["ports"]["1"]["counters"] == {"packet_seq_err": 1}
    assert found["problems"] == []


@pytest.mark.parametrize(
    "answers",
    [
        JSON_ANSWERS,
        TEXT_ANSWERS,  # CentOS 7: -j is refused
        {"ip -j route show table all": ROUTES, "ip -j rule": RULES},  # Ubuntu 18: -j is taken and text printed
        {**TEXT_ANSWERS, "ip -j route show table all": "[,{", "ip -j rule": "[,{"},
    ],
    ids=["json", "text", "text for json", "broken json"],
)
def test_routes_and_rules_of_every_iproute2(captured, answers):
    fill(captured, answers)
    found = network(captured)
    assert found["routes"] == [
        {"destination": "default", "gateway": "10.0.0.254", "interface": "eth0", "table": "main", "source": None, "metric": 100},
        {"destination": "10.0.0.0/24", "gateway": None, "interface": "eth0", "table": "main", "source": "10.0.0.5", "metric": 100},
        {"destination": "default", "gateway": "10.1.1.254", "interface": "eth1", "table": "101", "source": None, "metric": None},
    ]
    assert [(one["priority"], one["source"], one["table"]) for one in found["rules"]] == [
        (0, None, "local"),
        (32761, "10.1.1.5", "101"),
        (32766, None, "main"),
    ]
    assert found["problems"] == []


def test_the_kernels_limits(host):
    found = network(host)
    assert found["neighbours_limits"] == {"gc_thresh1": 4096, "gc_thresh2": 8192, "gc_thresh3": 16384}
    assert found["sockets"] == {
        "rmem_max": 212992000,
        "wmem_max": 212992000,
        "tcp_rmem": [4096000, 131072000, 629145600],
        "tcp_wmem": [4096000, 16384000, 419430400],
        "tcp_ecn": 1,
    }


ADDRESSES_OF_ETH0 = [
    {"address": "2001:db8::5", "prefix_length": 64, "scope": "global"},
    {"address": "169.254.7.5", "prefix_length": 16, "scope": "link"},
    {"address": "10.9.0.5", "prefix_length": 24, "scope": "global"},
    {"address": "10.0.0.5", "prefix_length": 24, "scope": "global"},
]


def default(interface="eth0", metric=None, source=None, gateway="10.0.0.254", destination="default", table="main"):
    return {"destination": destination, "gateway": gateway, "interface": interface, "table": table, "source": source, "metric": metric}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([], None),
        ([default(table="101"), default(destination="::/0"), default(destination="10.0.0.0/24")], None),
        ([default("eth1", metric=200), default(metric=100)], ("eth0", "10.0.0.5")),
        ([default("eth1", metric=100), default()], ("eth0", "10.0.0.5")),  # no metric is the lowest
        ([default(source="10.0.0.7")], ("eth0", "10.0.0.7")),
        ([default(gateway=None)], ("eth0", "10.9.0.5")),
        ([default(gateway="192.0.2.1")], ("eth0", "10.9.0.5")),
        ([default("tun7")], ("tun7", None)),
    ],
)
def test_the_default_route_and_the_address_it_gives(routes, expected):
    found = facts.default_route(routes, {"eth0": {"addresses": ADDRESSES_OF_ETH0}})
    assert found == (expected and {"interface": expected[0], "source": expected[1]})


def test_an_empty_tree_has_no_network_and_says_what_did_not_answer(captured):
    found = network(captured)
    assert (found["interfaces"], found["rdma"], found["routes"], found["default_route"]) == ({}, {}, [], None)
    assert found["problems"] == [
        "ip -o address show: no answer",
        "ip -j route show table all: no answer",
        "ip route show table all: no answer",
        "ip -j rule: no answer",
        "ip rule: no answer",
    ]


def test_what_makes_no_sense_is_named_with_its_place(host):
    host.answer("ip -o address show", "garbage\n")
    host.answer("ip -j route show table all", ROUTES + "default viaa 10.0.0.1 dev eth0\n")
    host.answer("ethtool -g eth1", "Pre-set maximums:\nRX:\tmany\n")
    host.files(
        {
            "/sys/class/net/eth1/mtu": "huge\n",
            "/sys/class/infiniband/mlx5_0/ports/1/state": "ACTIVE\n",
            "/sys/class/infiniband/mlx5_0/ports/1/gids/0": "fe80\n",
            "/etc/iproute2/rt_tables.d/rails.conf": "rail0\n",
        }
    )
    found = network(host)
    assert found["interfaces"]["eth1"]["mtu"] is None
    assert len(found["routes"]) == 3
    assert sorted(found["problems"]) == [
        "/etc/iproute2/rt_tables.d/rails.conf: line 1: no number and name of a table in 'rail0'",
        "/sys/class/infiniband/mlx5_0/ports/1/gids/0: At least 3 parts expected in 'fe80'",
        "/sys/class/infiniband/mlx5_0/ports/1/state: 'ACTIVE' makes no sense",
        "/sys/class/net/eth1/mtu: 'huge' makes no sense",
        "ethtool -g eth1: line 2: no ring size in 'RX: many'",
        "ip -j route show table all: line 5: unknown word 'viaa' in 'default viaa 10.0.0.1 dev eth0'",
        "ip -o address show: line 1: no address in 'garbage'",
    ]


READ_THROUGH_LINKS = [
    *(f"/sys/class/net/eth1/{name}" for name in ("mtu", "speed", "carrier", "type", "uevent", "addr_assign_type", "statistics/rx_errors")),
    *(f"/sys/class/net/bond0/bonding/{name}" for name in ("mode", "slaves")),
    *(
        f"/sys/class/infiniband/mlx5_0/ports/1/{name}"
        for name in ("state", "rate", "gids/2", "gid_attrs/ndevs/0", "hw_counters/packet_seq_err")
    ),
    "/sys/class/infiniband/mlx5_0/tc/1/traffic_class",
]


class Changed(HostTree):
    """The captured tree with other texts in some places."""

    def __init__(self, root, texts):
        super().__init__(root)
        self.texts = texts

    def text(self, path):
        return self.texts[path] if path in self.texts else super().text(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # no example changes the tree
@given(st.data())
def test_whatever_the_files_hold_nothing_raises_and_no_key_is_lost(host, data):
    paths = sorted("/" + str(path.relative_to(host.root)) for path in host.root.rglob("*") if path.is_file() and not path.is_symlink())
    # Files are opened through the links of /sys/class, so that the texts are changed under these names.
    seen = [path for path in paths if not path.startswith("/sys/devices")] + READ_THROUGH_LINKS
    changed = data.draw(st.lists(st.sampled_from(seen), min_size=1, max_size=4, unique=True))
    texts = {}
    for path in changed:
        words = (host.tree.text(path) or "").replace("\n", " \n ").split(" ")
        texts[path] = data.draw(
            st.none() | st.text(max_size=20) | st.lists(st.sampled_from(words) | st.just("\n"), max_size=40).map(" ".join)
        )
    found = facts.network(Changed(str(host.root), texts))
    assert json.loads(json.dumps(found)) == found
    usual = network(host)
    assert set(found) == set(usual)
    assert found["interfaces"].keys() == usual["interfaces"].keys()
    for name, interface_found in found["interfaces"].items():
        assert interface_found.keys() == usual["interfaces"][name].keys()
    assert all("\n" not in line for line in found["problems"])
