"""A healthy simulated host: the collection's readers see a P800 host, and the plan gets the model card's order out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._rails import Request
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._topology import topology
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import Problems
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring import host_wiring


def placed(make_host, folder: Path, *wirings: str):
    """The topology of hosts with these wirings."""
    problems = Problems()
    hosts = []
    for number, wired in enumerate(wirings, 1):
        (folder / str(number)).mkdir()
        host = make_host(folder / str(number), number, wired).ready()
        hosts.append(host_wiring(f"host{number}", host.accelerator(), host.network(), [], problems))
    result = topology(hosts, Request(8, "eth0", None, False), problems)
    assert not [str(finding) for finding in problems.findings()]
    return result


def test_nothing_is_unreadable(host):
    host.ready()
    accelerator = host.accelerator()
    assert accelerator["problems"] == [] and accelerator["kernel_log"] == []
    assert host.network()["problems"] == []


def test_eight_xpus_with_driver(host):
    accelerator = host.ready().accelerator()
    assert [(device["index"], device["minor"]) for device in accelerator["devices"]] == [(number, number) for number in range(8)]
    assert {device["driver"] for device in accelerator["devices"]} == {"kunlun"}
    assert {device["memory_total_bytes"] for device in accelerator["devices"]} == {98304 * 1024**2}
    assert {device["part_number"] for device in accelerator["devices"]} == {"B00100300110112"}
    assert accelerator["driver"]["version"] == accelerator["tool"]["version"] == "5.0.21.26"
    assert accelerator["driver"]["module"]["built_for"] == accelerator["driver"]["kernel"]
    assert accelerator["driver"]["peer_module"]["loaded"] and accelerator["driver"]["module"]["loaded"]
    assert accelerator["driver"]["xdr"] == {"version": "XDR version: 1.1.0.6 (simulated)", "mapped": True, "node": True}


def test_nodes(host):
    if not host.has_nodes:
        pytest.skip("device nodes cannot be made here")
    nodes = host.ready().accelerator()["nodes"]
    assert nodes["/dev/xpu3"] == {"kind": "char", "major": 195, "minor": 3, "mode": "0666", "owners": []}
    assert nodes["/dev/xpuctrl"]["minor"] == 255


def test_without_driver_only_the_bus_shows_them(host):
    accelerator = host.accelerator()
    assert len(accelerator["devices"]) == 8
    assert {device["index"] for device in accelerator["devices"]} == {None}
    assert {device["driver"] for device in accelerator["devices"]} == {None}
    assert set(accelerator["nodes"].values()) == {None}
    assert accelerator["driver"]["version"] is None and accelerator["driver"]["module"]["loaded"] is False


def test_adapters(host):
    network = host.ready().network()
    eth1, port = network["interfaces"]["eth1"], network["rdma"]["mlx5_0"]["ports"]["1"]
    assert (eth1["rdma"], eth1["pci"], eth1["driver"], eth1["kind"]) == ("mlx5_0", "0000:15:00.0", "mlx5_core", "physical")
    assert (eth1["mtu"], eth1["speed_mbps"]) == (9000, 400000)
    assert eth1["rings"] == {"rx": 1024, "tx": 1024, "rx_max": 8192, "tx_max": 8192}
    assert network["interfaces"]["eth0"]["rdma"] is None and network["interfaces"]["eth0"]["kind"] == "physical"
    assert (port["state"], port["link_layer"], port["rate_gbps"], port["netdev"]) == ("ACTIVE", "Ethernet", 400.0, "eth1")
    assert [(gid["index"], gid["type"], gid["ipv4"]) for gid in port["gids"]][2:] == [
        (2, "IB/RoCE v1", "10.1.1.1"),
        (3, "RoCE v2", "10.1.1.1"),
    ]


def test_the_tool_agrees_with_sysfs(host):
    topology_ = host.ready().accelerator()["topology"]
    assert topology_["legend"] == {f"NIC{number}": f"mlx5_{number}" for number in range(4)}
    assert [topology_["distances"][f"XPU{number}"][f"NIC{number // 2}"] for number in range(8)] == ["PIX"] * 8
    assert topology_["distances"]["XPU0"]["NIC1"] == "NODE" and topology_["distances"]["XPU0"]["NIC2"] == "SYS"


def test_the_other_layout_of_the_tool_says_the_same(host):
    legend = host.ready().accelerator()["topology"]
    host.state.layout = "devices"
    devices = host.accelerator()["topology"]
    assert (legend["layout"], devices["layout"]) == ("legend", "devices")
    for name in ("XPU0", "XPU7"):
        assert [devices["distances"][name][f"mlx5_{number}"] for number in range(4)] == [
            legend["distances"][name][f"NIC{number}"] for number in range(4)
        ]


def test_the_plan_is_the_model_cards(tmp_path, make_host):
    order = placed(make_host, tmp_path, "pairs", "pairs", "pairs", "pairs")
    for host in order.hosts.values():
        assert host.nics == ("eth1", "eth1", "eth2", "eth2", "eth3", "eth3", "eth4", "eth4")
        assert host.visible_devices == (0, 1, 2, 3, 4, 5, 6, 7)
        assert {rank.distance for rank in host.ranks} == {"PIX"}


def test_a_host_wired_otherwise_lines_up(tmp_path, make_host):
    order = placed(make_host, tmp_path, "pairs", "pairs", "swapped")
    assert order.hosts["host3"].visible_devices == (2, 3, 0, 1, 6, 7, 4, 5)
    assert order.hosts["host3"].nics == order.hosts["host1"].nics


def test_same_state_same_bytes(host):
    from p800_simulator import render

    host.ready()
    assert render.overlay(host.state, host.live, "/overlay") == render.overlay(host.state, host.live, "/overlay")
