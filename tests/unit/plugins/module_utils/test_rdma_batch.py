"""Which settings a wish makes on a host, and what is refused before anything is changed."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_batch, _rdma_names
from ansible_collections.flagos.kunlunxin.plugins.module_utils._login import Login
from ansible_collections.flagos.kunlunxin.plugins.module_utils._rdma_knobs import name, shown
from hypothesis import given
from hypothesis import strategies as st

NOTHING = {
    "interfaces": ["eth1", "eth2"],
    "control_interface": "eth0",
    "macs": {},
    "persistent_names": False,
    "kernel_parameters": {},
    "kernel_globals": {},
    "manage_kernel_globals": False,
    "interface_parameters": {},
    "mtu": None,
    "rings": {},
    "policy_routing": False,
    "first_table": 101,
    "rule_priority": 32761,
    "gateways": {},
    "trust": None,
    "pfc_priorities": None,
    "ecn_priorities": None,
    "cnp_dscp": None,
    "traffic_class": None,
    "adaptive_routing": None,
    "ethernet_adapters": [],
    "acs_off": False,
    "pci_ids": [],
    "max_read_request": None,
    "irq_affinity": None,
}


def interface(number, **differs):
    return {
        "carrier": True,
        "mac": f"02:00:00:00:00:0{number}",
        "permanent_mac": f"02:00:00:00:00:0{number}",
        "kind": "physical",
        "master": None,
        "bond": None,
        "addresses": [{"address": f"10.1.{number}.5", "prefix_length": 24, "scope": "global"}],
        "pci": f"0000:3{number}:00.0",
        "rdma": f"mlx5_{number}",
        "rings": {"rx": 1024, "tx": 1024, "rx_max": 8192, "tx_max": 8192},
        **differs,
    }


def device(number, link_layer="Ethernet"):
    return {"pci": f"0000:3{number}:00.0", "ports": {"1": {"link_layer": link_layer}}}


def make_host(**differs):
    interfaces = {f"eth{number}": interface(number) for number in range(3)}
    return {
        "name": "node1",
        "network": {"interfaces": interfaces, "routes": [], "rdma": {f"mlx5_{number}": device(number) for number in range(3)}},
        "login": None,
        "tools": {"ip", "ethtool", "mlnx_qos", "cma_roce_tos", "setpci", "mlxconfig", "mlxreg"},
        "link_types": {"0000:31:00.0": {"P1": "2", "P2": "1"}, "0000:32:00.0": {}},
        "acs_bridges": ["0000:30:01.0"],
        "files": {key: {"cpus": "0-31", "irqs": True, "ecn": True} for key in interfaces},
        "irqbalance": False,
        **differs,
    }


def made(host=None, **wish):
    """The batch as ``{knob: value}``, in order."""
    return {name(entry["knob"]): shown(entry["value"]) for entry in _rdma_batch.batch({**NOTHING, **wish}, host or make_host())}


def refused(host=None, **wish):
    with pytest.raises(_rdma_batch.UnfitError) as caught:
        made(host, **wish)
    return str(caught.value)


def test_without_an_interface_there_is_what_belongs_to_none():
    of_interfaces = {"mtu": 9000, "policy_routing": True, "trust": "dscp", "traffic_class": 106, "irq_affinity": "spread"}
    wish = {"kernel_parameters": {"net.ipv4.tcp_rmem": "1 2 3"}, "manage_kernel_globals": True, "acs_off": True}
    assert made(interfaces=[], **wish, **of_interfaces) == {
        "file /proc/sys/net/ipv4/tcp_rmem": "1 2 3",
        "pci 0000:30:01.0 ECAP_ACS+6.w": "0000",
    }


def test_what_is_not_asked_for_is_not_touched():
    assert made() == {}


def test_an_interface_has_a_table_of_its_own_and_two_rules_to_it():
    assert made(policy_routing=True, gateways={"eth2": "10.1.2.254"}) == {
        "table 101": "10.1.1.0/24 dev eth1 src 10.1.1.5",
        "rule 32761 10.1.1.5 101": "present",
        "rule eth1 32761 101": "present",
        "table 102": "10.1.2.0/24 dev eth2 src 10.1.2.5\ndefault via 10.1.2.254 dev eth2 src 10.1.2.5",
        "rule 32761 10.1.2.5 102": "present",
        "rule eth2 32761 102": "present",
    }


def test_what_is_the_machine_s_is_set_only_where_it_is_managed():
    wish = {"kernel_parameters": {"net.ipv4.tcp_ecn": 1}, "kernel_globals": {"net.core.rmem_max": 212992000}}
    assert made(**wish) == {"file /proc/sys/net/ipv4/tcp_ecn": "1"}
    assert made(manage_kernel_globals=True, **wish) == {
        "file /proc/sys/net/core/rmem_max": "212992000",
        "file /proc/sys/net/ipv4/tcp_ecn": "1",
    }


def test_links_and_the_parameters_of_interfaces_whose_names_hold_dots():
    host = make_host()
    host["network"]["interfaces"]["eth1.7"] = interface(7, kind="vlan")
    host["files"]["eth1.7"] = {}
    assert made(host, interfaces=["eth1.7"], mtu=9000, interface_parameters={"rp_filter": 2}) == {
        "mtu eth1.7": "9000",
        "file /proc/sys/net/ipv4/conf/eth1.7/rp_filter": "2",
    }


def test_quality_of_service():
    assert made(interfaces=["eth1"], trust="dscp", pfc_priorities=[3], ecn_priorities=[3], cnp_dscp=48, traffic_class=106) == {
        "trust eth1": "dscp",
        "pfc eth1": "0,0,0,1,0,0,0,0",
        "file /sys/class/net/eth1/ecn/roce_np/enable/3": "1",
        "file /sys/class/net/eth1/ecn/roce_rp/enable/3": "1",
        "file /sys/class/net/eth1/ecn/roce_np/cnp_dscp": "48",
        "roce_tos mlx5_1": "106",
        "traffic_class /sys/class/infiniband/mlx5_1/tc/1/traffic_class": "106",
    }


def test_no_priority_is_a_wish_too():
    assert made(interfaces=["eth1"], pfc_priorities=[]) == {"pfc eth1": "0,0,0,0,0,0,0,0"}


def test_pci_registers_and_interrupts():
    wish = {"acs_off": True, "max_read_request": 4096, "irq_affinity": "local"}
    assert made(interfaces=["eth1"], manage_kernel_globals=True, **wish) == {
        "pci 0000:30:01.0 ECAP_ACS+6.w": "0000",
        "pci 0000:31:00.0 CAP_EXP+8.w": "5000",
        "irqs eth1": "0-31",
    }
    assert refused(**wish) == (
        "node1: acs_off, max_read_request, irq_affinity: asked for, where what is the machine's is not managed; expected"
        " cluster_manage_kernel_globals: true; set it, or leave acs_off, max_read_request, irq_affinity out"
    )


def test_interrupts_each_on_a_cpu_of_its_own():
    host = make_host()
    host["files"]["eth1"]["cpus"] = host["files"]["eth2"]["cpus"] = "0-2,8-9"
    wish = {"irq_affinity": "spread", "manage_kernel_globals": True}
    assert made(host, **wish) == {"irqs eth1": "0,2,9 in turn", "irqs eth2": "1,8 in turn"}
    host["files"]["eth2"]["cpus"] = "16"
    assert made(host, **wish) == {"irqs eth1": "0,1,2,8,9 in turn", "irqs eth2": "16 in turn"}
    host["files"]["eth1"]["cpus"] = "16"
    assert made(host, **wish) == {"irqs eth1": "16 in turn", "irqs eth2": "16 in turn"}, "more interfaces than CPUs"


def test_adapters_registers_and_firmware():
    assert made(interfaces=["eth1"], adaptive_routing=True, ethernet_adapters=["0000:31:00.0"] * 2) == {
        "adaptive_routing 0000:31:00.0": "1",
        "link_type 0000:31:00.0 P1": "2",
        "link_type 0000:31:00.0 P2": "2",
    }
    assert made(interfaces=["eth2"], adaptive_routing=False) == {"adaptive_routing 0000:32:00.0": "0"}
    assert refused(ethernet_adapters=["0000:32:00.0"]) == (
        "node1: link type of 0000:32:00.0: no LINK_TYPE in its firmware; expected a host that has it; correct rdma_ethernet_adapters"
    )


def test_an_adapter_in_infiniband_mode_is_told_by_any_of_its_ports():
    host = make_host()
    wish = {**NOTHING, "ethernet_adapters": ["0000:31:00.0"]}
    assert _rdma_batch.in_infiniband_mode(wish, host) == []
    host["network"]["rdma"]["mlx5_3"] = {**device(1, "InfiniBand"), "pci": "0000:31:00.1"}
    assert _rdma_batch.in_infiniband_mode(wish, host) == ["0000:31:00.0"]
    assert _rdma_batch.in_infiniband_mode(NOTHING, host) == [], "adapters of a storage network stay what they are"


def test_a_bond_s_hardware_is_that_of_its_members():
    host = make_host()
    interfaces = host["network"]["interfaces"]
    interfaces["bond0"] = interface(8, kind="bond", bond={"mode": "802.3ad", "members": ["eth1", "eth2"]}, pci=None, rings=None)
    host["files"]["bond0"] = {"cpus": None, "irqs": False, "ecn": False}
    wish = {"mtu": 9000, "rings": {"rx": 8192}, "trust": "dscp", "cnp_dscp": 48, "max_read_request": 4096, "irq_affinity": "local"}
    assert list(made(host, interfaces=["bond0"], manage_kernel_globals=True, **wish)) == [
        "rings eth1",
        "rings eth2",
        "mtu bond0",
        "trust eth1",
        "file /sys/class/net/eth1/ecn/roce_np/cnp_dscp",
        "trust eth2",
        "file /sys/class/net/eth2/ecn/roce_np/cnp_dscp",
        "pci 0000:31:00.0 CAP_EXP+8.w",
        "pci 0000:32:00.0 CAP_EXP+8.w",
        "irqs eth1",
        "irqs eth2",
    ]


def test_two_interfaces_of_one_rdma_device_set_its_traffic_class_once():
    host = make_host()
    host["network"]["interfaces"]["eth2"]["rdma"] = "mlx5_1"
    assert len(made(host, traffic_class=106)) == 2


@pytest.mark.parametrize(
    ("differs", "line"),
    [
        ({"interfaces": ["eth0"]}, "RDMA interface eth0: the control interface"),
        ({"interfaces": ["eth1", "eth1"]}, "RDMA interface eth1: named 2 times; expected once"),
        ({"interfaces": ["eth9"]}, "RDMA interface eth9: not there; there are eth0, eth1, eth2"),
        ({"mtu": 576}, "mtu: 576; expected 1280 to 65535"),
        ({"cnp_dscp": 64}, "cnp_dscp: 64; expected 0 to 63"),
        ({"traffic_class": 256}, "traffic_class: 256; expected 0 to 255"),
        ({"pfc_priorities": [3, 8]}, "pfc_priorities: 8; expected priorities from 0 to 7"),
        ({"ecn_priorities": [-1]}, "ecn_priorities: -1; expected priorities from 0 to 7"),
        ({"max_read_request": 4000}, "max_read_request: 4000; expected one of 128, 256, 512, 1024, 2048, 4096"),
        ({"ethernet_adapters": ["15:00.0"]}, "link type of 15:00.0: no PCI address; expected one such as 0000:15:00.0"),
        ({"rings": {"rx": 16384}}, "ring rx of eth1: at most 8192; expected 16384"),
        ({"macs": {"eth1": "02:00:00:00:00:02"}}, "RDMA interface eth1: has the address 02:00:00:00:00:01"),
        ({"gateways": {"eth3": "10.1.3.254"}}, "gateways: eth3 is no RDMA interface"),
        (
            {"gateways": {"eth1": "10.1.2.254"}, "policy_routing": True},
            "gateway of eth1: 10.1.2.254; expected another address of 10.1.1.0/24",
        ),
        ({"gateways": {"eth1": "10.1.1.5"}, "policy_routing": True}, "gateway of eth1: 10.1.1.5"),
        ({"gateways": {"eth1": "router"}, "policy_routing": True}, "gateway of eth1: router"),
    ],
)
def test_a_wish_that_no_host_can_have(differs, line):
    assert line in refused(**differs)


@pytest.mark.parametrize(
    ("differs", "wish", "line"),
    [
        ({"master": "bond0"}, {}, "a member of bond0; expected an interface with an address; name bond0 instead"),
        ({"carrier": None}, {}, "down by configuration; expected up"),
        ({"addresses": []}, {"policy_routing": True}, "no IPv4 address; expected one IPv4 address"),
        (
            {"addresses": interface(1)["addresses"] + interface(2)["addresses"]},
            {"policy_routing": True},
            "10.1.1.5/24, 10.1.2.5/24; expected one",
        ),
        ({"addresses": [dict(interface(2)["addresses"][0], address="10.1.2.6")]}, {}, "RDMA interfaces eth1 and eth2: both on 10.1.2.0/24"),
        ({"rings": None}, {"rings": {"rx": 1024}}, "ring rx of eth1: no such setting"),
        ({"rdma": None}, {"traffic_class": 106}, "traffic class of eth1: no RDMA device"),
        ({"pci": None}, {"adaptive_routing": True}, "adaptive routing of eth1: not on the PCI bus"),
        ({"pci": None}, {"max_read_request": 128, "manage_kernel_globals": True}, "max_read_request of eth1: not on the PCI bus"),
    ],
)
def test_an_interface_that_cannot_have_it(differs, wish, line):
    host = make_host()
    host["network"]["interfaces"]["eth1"].update(differs)
    assert line in refused(host, **wish)


@pytest.mark.parametrize(
    ("tool", "wish"),
    [
        ("mlnx_qos", {"trust": "dscp"}),
        ("mlnx_qos", {"pfc_priorities": [3]}),
        ("cma_roce_tos", {"traffic_class": 106}),
        ("ethtool", {"rings": {"rx": 1024}}),
        ("mlxreg", {"adaptive_routing": False}),
        ("mlxconfig", {"ethernet_adapters": ["0000:31:00.0"]}),
        ("setpci", {"acs_off": True, "manage_kernel_globals": True}),
    ],
)
def test_a_tool_that_is_missing_is_named(tool, wish):
    host = make_host()
    host["tools"].remove(tool)
    assert f"no {tool}; expected a host that has it; install" in refused(host, **wish)


def test_a_driver_without_congestion_control_and_an_interrupt_balancer():
    host = make_host(irqbalance=True)
    host["files"]["eth1"]["ecn"] = False
    assert "no /sys/class/net/eth1/ecn" in refused(host, cnp_dscp=48)
    assert "none in sysfs" in refused(
        make_host(files={"eth1": {"cpus": "all", "irqs": True, "ecn": True}}),
        interfaces=["eth1"],
        irq_affinity="spread",
        manage_kernel_globals=True,
    )
    assert "irqbalance runs" in refused(host, irq_affinity="local", manage_kernel_globals=True)


def test_two_interfaces_on_one_subnet_are_well_with_policy_routing():
    host = make_host()
    host["network"]["interfaces"]["eth1"]["addresses"][0]["address"] = "10.1.2.6"
    assert made(host, policy_routing=True)["table 101"] == "10.1.2.0/24 dev eth1 src 10.1.2.6"


def test_a_table_that_others_use_is_refused():
    host = make_host()
    host["network"]["routes"] = [{"destination": "default", "gateway": "10.9.0.1", "interface": "eth0", "table": "102", "source": None}]
    assert "routing table 102: has a route to default by eth0" in refused(host, policy_routing=True)


def test_the_interface_of_the_ssh_connection_is_refused():
    host = make_host(login=Login("10.9.0.1 50000", "10.1.1.5", frozenset(["eth1"])))
    assert refused(host) == (
        "node1: RDMA interface eth1: carries the ssh connection to 10.1.1.5; expected an interface that the connection does not need;"
        " reach the host by its control interface"
    )
    assert made(host, interfaces=["eth2"], mtu=9000)


@given(
    st.fixed_dictionaries(
        {
            "interfaces": st.lists(st.sampled_from(["eth0", "eth1", "eth2", "eth3"]), max_size=4),
            "mtu": st.none() | st.integers(0, 70000),
            "pfc_priorities": st.none() | st.lists(st.integers(-1, 8), max_size=3),
            "gateways": st.dictionaries(st.sampled_from(["eth1", "eth2"]), st.text(max_size=12) | st.ip_addresses().map(str), max_size=2),
            "policy_routing": st.booleans(),
        }
    )
)
def test_a_wish_gives_settings_of_its_own_interfaces_or_one_finding(wish):
    try:
        batch = _rdma_batch.batch({**NOTHING, **wish}, make_host())
    except _rdma_batch.UnfitError as error:
        assert "\n" not in str(error)
        assert error.finding.host == "node1"
        return
    knobs = [entry["knob"] for entry in batch]
    assert len({name(knob) for knob in knobs}) == len(knobs)
    assert {knob["interface"] for knob in knobs if "interface" in knob} <= set(wish["interfaces"]) - {"eth0"}
    for entry in batch:
        for route in entry["value"] if entry["knob"]["kind"] == "table" else []:
            assert route["interface"] in wish["interfaces"]
            assert route["gateway"] is None or ipaddress.ip_address(route["gateway"]) in ipaddress.ip_network(
                entry["value"][0]["destination"]
            )


# names -----------------------------------------------------------------------------------------------------------


def test_names_are_kept_by_hardware_address():
    wish = {**NOTHING, "persistent_names": True, "macs": {"eth1": "02:00:00:00:00:01"}}
    files = _rdma_names.link_files(wish, make_host())
    assert sorted(files) == [f"/etc/systemd/network/10-flagos-kunlunxin-{key}.link" for key in ("eth1", "eth2")]
    assert "MACAddress=02:00:00:00:00:02\nType=ether\n\n[Link]\nName=eth2\n" in files["/etc/systemd/network/10-flagos-kunlunxin-eth2.link"]
    assert _rdma_names.link_files(NOTHING, make_host()) == {}
    assert _rdma_names.misnamed(wish, make_host()) == []


def test_crossed_names_are_found():
    macs = {"eth1": "02:00:00:00:00:02", "eth2": "02:00:00:00:00:01"}
    assert _rdma_names.misnamed({**NOTHING, "macs": macs}, make_host()) == ["eth1", "eth2"]


@pytest.mark.parametrize(
    ("mac", "line"),
    [
        ("02:00:00:00:00:99", "no interface has 02:00:00:00:00:99; there are eth0 02:00:00:00:00:00, eth1 02"),
        ("02:00:00:00:00:00", "02:00:00:00:00:00 is the control interface's"),
    ],
)
def test_an_address_that_cannot_be_meant(mac, line):
    with pytest.raises(_rdma_batch.UnfitError) as caught:
        _rdma_names.misnamed({**NOTHING, "macs": {"eth1": mac}}, make_host())
    assert line in str(caught.value)
