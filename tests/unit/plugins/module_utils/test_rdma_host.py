"""What a captured host shows of all that the settings depend on."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_host
from pci_space import space

WISH = {"interfaces": ["eth1"], "acs_off": True, "pci_ids": ["1d22:3687"], "ethernet_adapters": ["0000:3e:00.0"]}
SWITCH = "pci0000:3a/0000:3a:01.0/0000:3b:00.0"
NIC = SWITCH + "/0000:3c:04.0/0000:3e:00.0"
XPU = SWITCH + "/0000:3c:08.0/0000:40:00.0"
OTHER = "pci0000:80/0000:80:01.0/0000:81:00.0"


def fill(captured):
    for path, vendor, device in ((NIC, "15b3", "1021"), (XPU, "1d22", "3687"), (OTHER, "8086", "1563")):
        captured.pci(path, vendor, device)
    for name, path in (("eth0", OTHER), ("eth1", NIC)):
        captured.files({f"/sys/class/net/{name}/mtu": "1500\n", f"/sys/class/net/{name}/carrier": "1\n"})
        captured.link(f"/sys/class/net/{name}/device", "../../../devices/" + path)
    captured.files({f"/sys/devices/{NIC}/msi_irqs/41": "msix\n", f"/sys/devices/{NIC}/local_cpulist": "0-31\n"})
    captured.files({"/sys/class/net/eth1/ecn/roce_np/cnp_dscp": "48\n", "/usr/bin/mlnx_qos": "", "/sbin/setpci": ""})
    captured.answer("mlxconfig -d 0000:3e:00.0 query", "Configurations:   Next Boot\n   LINK_TYPE_P1   IB(1)\n")
    for bridge in ("0000:3a:01.0", "0000:3c:04.0", "0000:3c:08.0", "0000:80:01.0"):  # the switch's upstream port has none
        captured.configuration(bridge, space((0x000D, 0x100, 0, b"\x7f\x00\x1d\x00")))


def test_bridges_above_accelerators_and_rdma_interfaces_and_no_others(captured):
    fill(captured)
    found = _rdma_host.look(captured.tree, "node1", 999999, WISH)
    assert found["acs_bridges"] == ["0000:3a:01.0", "0000:3c:04.0", "0000:3c:08.0"]
    assert _rdma_host.look(captured.tree, "node1", 999999, {**WISH, "acs_off": False})["acs_bridges"] == []


def test_what_driver_and_tools_offer(captured):
    fill(captured)
    found = _rdma_host.look(captured.tree, "node1", 999999, WISH)
    assert found["tools"] == {"mlnx_qos", "setpci"}
    assert found["files"] == {
        "eth0": {"cpus": None, "irqs": False, "ecn": False},
        "eth1": {"cpus": "0-31", "irqs": True, "ecn": True},
    }
    assert found["link_types"] == {"0000:3e:00.0": {"P1": "1"}}
    assert found["login"] is None
    assert not found["irqbalance"]


def test_a_running_balancer_of_interrupts_is_seen(captured):
    fill(captured)
    captured.answer("systemctl is-active irqbalance", "active\n")
    assert _rdma_host.look(captured.tree, "node1", 999999, WISH)["irqbalance"]


def test_a_command_is_asked_once_and_files_as_often_as_they_are_read(captured):
    captured.answer("ip -4 rule show", "first")
    captured.files({"/knob": "first"})
    seen = _rdma_host.Remembered(captured.tree)
    assert (seen.command("ip", "-4", "rule", "show"), seen.line("/knob")) == ("first", "first")
    captured.answer("ip -4 rule show", "second")
    captured.files({"/knob": "second"})
    assert (seen.command("ip", "-4", "rule", "show"), seen.line("/knob")) == ("first", "second")
    assert seen.command("ip", "-4", "route") is None
