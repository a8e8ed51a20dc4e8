"""Each knob on a captured host: what is read, and by which commands it comes to a value and back."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_knobs as knobs
from hypothesis import given
from hypothesis import strategies as st
from pci_space import space

# att/netarbiter, nvmf/OUTPUTSAMPLE.setup-nic-lossless-layer3.sh.md, shortened
MLNX_QOS = """DCBX mode: OS controlled
Priority trust state: dscp
dscp2prio mapping:
        prio:0 dscp:07,06,05,04,03,02,01,00,
Cable len: 7
PFC configuration:
        priority    0   1   2   3   4   5   6   7
        enabled     0   0   0   1   0   0   0   0   \n\
tc: 0 ratelimit: unlimited, tsa: vendor
         priority:  1
"""
SUBNET = {"destination": "10.1.1.0/24", "gateway": None, "interface": "eth1", "source": "10.1.1.5"}
DEFAULT = {"destination": "default", "gateway": "10.1.1.254", "interface": "eth1", "source": "10.1.1.5"}


def described(knob, now, value):
    return [knobs.described(step) for step in knobs.steps(knob, now, value)]


def test_a_file_of_the_kernel(captured):
    knob = {"kind": "file", "path": "/proc/sys/net/ipv4/tcp_rmem"}
    captured.files({knob["path"]: "4096\t131072\t33554432\n"})
    assert knobs.read(knob, captured.tree) == "4096 131072 33554432"
    assert described(knob, "4096 131072 33554432", "4096  131072 33554432") == []
    assert described(knob, "1 2 3", "4 5 6") == ["write 4 5 6 to /proc/sys/net/ipv4/tcp_rmem"]


def test_what_was_not_there_cannot_be_had_back():
    knob = {"kind": "file", "path": "/sys/class/net/eth1/ecn/roce_np/cnp_dscp"}
    assert knobs.steps(knob, "48", None) == []


def test_mtu(captured):
    knob = {"kind": "mtu", "interface": "eth1"}
    captured.files({"/sys/class/net/eth1/mtu": "1500\n"})
    assert knobs.read(knob, captured.tree) == 1500
    assert described(knob, 1500, 9000) == ["ip link set dev eth1 mtu 9000"]
    assert described(knob, 9000, 9000) == []


def test_rings_change_only_where_they_differ(captured):
    knob = {"kind": "rings", "interface": "eth1"}
    captured.answer(
        "ethtool -g eth1",
        "Ring parameters for eth1:\nPre-set maximums:\nRX:\t8192\nTX:\t8192\nCurrent hardware settings:\nRX:\t1024\nTX:\t8192\n",
    )
    now = knobs.read(knob, captured.tree)
    assert now == {"rx": 1024, "tx": 8192}
    assert described(knob, now, {"rx": 8192, "tx": 8192}) == ["ethtool -G eth1 rx 8192"]


def test_no_rings_without_ethtool(captured):
    assert knobs.read({"kind": "rings", "interface": "eth1"}, captured.tree) is None


def test_a_table_is_filled_subnet_first(captured):
    knob = {"kind": "table", "table": "101"}
    assert knobs.read(knob, captured.tree) == []
    wanted = knobs.table_rows([DEFAULT, SUBNET])
    assert described(knob, [], wanted) == [
        "ip -4 route replace 10.1.1.0/24 dev eth1 src 10.1.1.5 table 101",
        "ip -4 route replace default via 10.1.1.254 dev eth1 src 10.1.1.5 table 101",
    ]
    # As iproute2 6.1 prints what these commands make.
    captured.answer(
        "ip -4 route show table 101", "default via 10.1.1.254 dev eth1 src 10.1.1.5 \n10.1.1.0/24 dev eth1 scope link src 10.1.1.5 \n"
    )
    assert knobs.read(knob, captured.tree) == wanted
    assert described(knob, wanted, [SUBNET]) == ["ip -4 route del default via 10.1.1.254 dev eth1 src 10.1.1.5 table 101"]


@pytest.mark.parametrize(
    ("selector", "line", "words"),
    [
        ({"source": "10.1.1.5"}, "32761:\tfrom 10.1.1.5 lookup 101", "from 10.1.1.5"),
        ({"output": "eth1"}, "32761:\tfrom all oif eth1 lookup 101", "oif eth1"),
        ({"output": "eth1"}, "32761:\tfrom all oif eth1 lookup rail1", "oif eth1"),
    ],
)
def test_a_rule_is_found_and_made(captured, selector, line, words):
    knob = {"kind": "rule", "priority": 32761, "table": "101", **selector}
    captured.files({"/etc/iproute2/rt_tables": "101 rail1\n"})
    captured.answer("ip -4 rule show", "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n")
    assert knobs.read(knob, captured.tree) is False
    assert described(knob, False, True) == [f"ip -4 rule add {words} lookup 101 priority 32761"]
    captured.answer("ip -4 rule show", f"0:\tfrom all lookup local\n{line}\n32766:\tfrom all lookup main\n")
    assert knobs.read(knob, captured.tree) is True
    assert described(knob, True, False) == [f"ip -4 rule del {words} lookup 101 priority 32761"]


@pytest.mark.parametrize(
    "line",
    [
        "32760:\tfrom 10.1.1.5 lookup 101",
        "32761:\tfrom 10.1.1.5 lookup 102",
        "32761:\tfrom 10.1.1.0/24 lookup 101",
        "32761:\tfrom 10.1.1.5 to 10.2.0.0/16 lookup 101",
        "32761:\tfrom 10.1.1.5 fwmark 0x1 lookup 101",
        "32761:\tnot from 10.1.1.5 lookup 101",
        "32761:\tfrom 10.1.1.5 iif eth0 lookup 101",
    ],
)
def test_a_rule_that_says_something_else_is_another(captured, line):
    captured.answer("ip -4 rule show", line + "\n")
    assert knobs.read({"kind": "rule", "priority": 32761, "table": "101", "source": "10.1.1.5"}, captured.tree) is False


def test_trust_and_flow_control_as_the_vendor_s_tool_says_them(captured):
    captured.answer("mlnx_qos -i eth1", MLNX_QOS)
    trust, pfc = ({"kind": kind, "interface": "eth1"} for kind in ("trust", "pfc"))
    assert knobs.read(trust, captured.tree) == "dscp"
    assert knobs.read(pfc, captured.tree) == "0,0,0,1,0,0,0,0"
    assert described(trust, "pcp", "dscp") == ["mlnx_qos -i eth1 --trust dscp"]
    assert described(pfc, "0,0,0,0,0,0,0,0", "0,0,0,1,0,0,0,0") == ["mlnx_qos -i eth1 --pfc 0,0,0,1,0,0,0,0"]


@given(st.text(max_size=200) | st.lists(st.sampled_from(MLNX_QOS.splitlines()), max_size=14).map("\n".join))
def test_strange_output_of_the_vendor_s_tool_is_never_guessed_at(text):
    trust, figures = knobs.parse_trust(text), knobs.parse_pfc(text)
    assert trust is None or f"Priority trust state: {trust}" in text
    assert figures is None or ("PFC configuration:" in text and "enabled     " + "   ".join(figures.split(",")) in text)


def test_traffic_classes(captured):
    tos, tclass = (
        {"kind": "roce_tos", "device": "mlx5_0"},
        {"kind": "traffic_class", "path": "/sys/class/infiniband/mlx5_0/tc/1/traffic_class"},
    )
    captured.answer("cma_roce_tos -d mlx5_0", "0\n")
    captured.files({tclass["path"]: ""})
    assert (knobs.read(tos, captured.tree), knobs.read(tclass, captured.tree)) == (0, None)
    assert described(tos, 0, 106) == ["cma_roce_tos -d mlx5_0 -t 106"]
    assert described(tclass, None, 106) == ["write 106 to /sys/class/infiniband/mlx5_0/tc/1/traffic_class"]
    captured.files({tclass["path"]: "Global tclass=106\n"})
    assert knobs.read(tclass, captured.tree) == 106
    assert described(tclass, 106, None) == ["write -1 to /sys/class/infiniband/mlx5_0/tc/1/traffic_class"]
    for written, value in (("106\n", 106), ("-1\n", None)):
        captured.files({tclass["path"]: written})
        assert knobs.read(tclass, captured.tree) == value
    assert described(tclass, None, None) == []


def test_bits_of_a_pci_register(captured):
    knob = {"kind": "pci", "address": "0000:3b:00.0", "register": "CAP_EXP+8.w", "mask": "7000"}
    captured.configuration("0000:3b:00.0", space((0x10, 0x60, 0, bytes.fromhex("0200 21800000 3629"))))
    assert knobs.read(knob, captured.tree) == "2000"
    assert described(knob, "2000", "5000") == ["setpci -s 0000:3b:00.0 CAP_EXP+8.w=5000:7000"]
    captured.configuration("0000:3b:00.0", b"")
    assert knobs.read(knob, captured.tree) is None


def test_interrupts_go_to_the_near_cpus_and_back_to_where_each_was(captured):
    knob = {"kind": "irqs", "interface": "eth1"}
    captured.files(
        {f"/sys/class/net/eth1/device/msi_irqs/{number}": "msix\n" for number in (41, 142)}
        | {"/proc/irq/41/smp_affinity_list": "0-63\n", "/proc/irq/142/smp_affinity_list": "3\n"}
    )
    now = knobs.read(knob, captured.tree)
    assert now == {"41": "0-63", "142": "3"}
    assert described(knob, now, "0-31") == [
        "write 0-31 to /proc/irq/41/smp_affinity_list",
        "write 0-31 to /proc/irq/142/smp_affinity_list",
    ]
    assert described(knob, {"41": "0-31", "142": "0-31"}, "0-31") == []
    assert described(knob, {"41": "0-31", "142": "3"}, now) == ["write 0-63 to /proc/irq/41/smp_affinity_list"]


def test_interrupts_in_turn():
    knob = {"kind": "irqs", "interface": "eth1"}
    now = {"142": "0-63", "41": "0-63", "43": "9"}
    assert described(knob, now, knobs.in_turn([8, 9])) == [
        "write 8 to /proc/irq/41/smp_affinity_list",
        "write 8 to /proc/irq/142/smp_affinity_list",
    ]
    assert described(knob, {"41": "8", "43": "9", "142": "8"}, "8,9 in turn") == []
    assert described(knob, {"41": "8", "43": "9", "142": "8"}, now) == [
        "write 0-63 to /proc/irq/41/smp_affinity_list",
        "write 0-63 to /proc/irq/142/smp_affinity_list",
    ]


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-2,8,10-11", [0, 1, 2, 8, 10, 11]),
        ("7", [7]),
        ("", None),
        ("0-", None),
        ("3-1", None),
        ("0,3-1", None),
        ("all", None),
        ("0,", None),
    ],
)
def test_lists_of_cpus(text, cpus):
    assert knobs.parse_cpus(text) == cpus


# NVIDIA, MFT, "Using mlxconfig", and a site's output of a dual-port adapter
MLXCONFIG = """
Device #1:
----------

Device type:        ConnectX6
Device:             0000:15:00.0

Configurations:                              Next Boot
        PCI_WR_ORDERING                     per_mkey(0)
        LINK_TYPE_P1                        IB(1)
        LINK_TYPE_P2                        ETH(2)
"""
# NVIDIA, "Adaptive Retransmission: Sample Usage", shortened
MLXREG = """Sending access register...

Field Name                                   | Data
============================================================
adaptive_routing_forced_en_field_select      | 0x00000000
roce_slow_restart_en                         | 0x00000001
adaptive_routing_forced_en                   | 0x00000000
============================================================
"""


def test_link_types_from_the_next_reset(captured):
    captured.answer("mlxconfig -d 0000:15:00.0 query", MLXCONFIG)
    first, second = ({"kind": "link_type", "address": "0000:15:00.0", "port": port} for port in ("P1", "P2"))
    assert [knobs.read(knob, captured.tree) for knob in (first, second)] == ["1", "2"]
    assert described(first, "1", "2") == ["mlxconfig -d 0000:15:00.0 -y set LINK_TYPE_P1=2"]
    assert described(second, "2", "2") == []
    assert described(second, "2", "1") == ["mlxconfig -d 0000:15:00.0 -y set LINK_TYPE_P2=1"]
    assert knobs.link_types("0000:35:00.0", captured.tree) == {}
    assert not knobs.may_cut(first), "nothing changes before the reset"


def test_adaptive_routing(captured):
    knob = {"kind": "adaptive_routing", "address": "0000:15:00.0"}
    captured.answer("mlxreg -d 0000:15:00.0 --reg_name ROCE_ACCL --get --yes", MLXREG)
    assert knobs.read(knob, captured.tree) == "0"
    assert described(knob, "0", "1") == ["mlxreg -d 0000:15:00.0 --reg_name ROCE_ACCL --set adaptive_routing_forced_en=0x1 --yes"]
    captured.answer(
        "mlxreg -d 0000:15:00.0 --reg_name ROCE_ACCL --get --yes",
        MLXREG.replace("forced_en                   | 0x00000000", "forced_en | 0x00000001"),
    )
    assert knobs.read(knob, captured.tree) == "1"


@given(st.text(max_size=200) | st.lists(st.sampled_from((MLXCONFIG + MLXREG).splitlines()), max_size=14).map("\n".join))
def test_strange_output_of_the_adapters_tools_is_never_guessed_at(text):
    for port, value in knobs.parse_link_types(text).items():
        assert f"LINK_TYPE_{port}" in text and {"1": "IB(1)", "2": "ETH(2)"}[value] in text
    assert knobs.parse_adaptive_routing(text) in (None, "0", "1")
    assert knobs.parse_adaptive_routing(text) is None or text.count("adaptive_routing_forced_en  ") == 1


def test_only_limits_of_sockets_and_neighbours_cannot_cut_a_host_off():
    harmless = ["net/core/rmem_max", "net/ipv4/tcp_wmem", "net/ipv4/neigh/default/gc_thresh1"]
    assert not any(knobs.may_cut({"kind": "file", "path": f"/proc/sys/{name}"}) for name in harmless)
    assert knobs.may_cut({"kind": "file", "path": "/proc/sys/net/ipv4/conf/eth1/rp_filter"})
    assert all(knobs.may_cut({"kind": kind}) for kind in ("mtu", "table", "rule", "rings", "trust", "pfc", "pci", "irqs"))


def test_a_knob_s_name_is_its_own():
    rule = {"kind": "rule", "priority": 32761, "table": "101"}
    named = {knobs.name(knob) for knob in ({**rule, "source": "10.1.1.5"}, {**rule, "output": "eth1"}, {"kind": "table", "table": "101"})}
    assert len(named) == 3
