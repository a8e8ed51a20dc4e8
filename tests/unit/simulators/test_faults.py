"""Every fault of the simulator shows in what the collection reads of the host, and nothing but the fault changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p800_simulator import faults, render, wiring

Reader = Callable[[Any], Any]  # of a host, what the fault is seen by
SPEED = "current_link_speed"


def accelerator(path: str) -> Reader:
    """What the facts have at ``driver/xdr/node``; a number is the place in a list."""

    def read(host: Any) -> Any:
        found: Any = host.accelerator()
        for key in path.split("/"):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    return read


def all_devices(key: str) -> Reader:
    return lambda host: [device[key] for device in host.accelerator()["devices"]]


def node(path: str) -> Reader:
    def read(host: Any) -> Any:
        if not host.has_nodes:
            pytest.skip("device nodes cannot be made here")
        return host.accelerator()["nodes"][path]

    return read


def port(key: str, device: str = "mlx5_0") -> Reader:
    return lambda host: host.network()["rdma"][device]["ports"]["1"][key]


def gids(host: Any) -> Any:
    return [(gid["index"], gid["type"], gid["ipv4"]) for gid in port("gids")(host) if gid["ipv4"] or gid["index"] > 1]


def shown(path: str) -> Reader:
    """A file of sysfs or /proc."""
    return lambda host: host.tree().line(path)


def words(host: Any) -> Any:
    distances = host.accelerator()["topology"]["distances"]
    return distances["XPU0"]["NIC0"], distances["XPU0"]["XPU1"], distances["XPU0"]["XPU4"], distances["XPU4"]["XPU0"]


def log(host: Any) -> Any:
    return [found["pattern"] for found in host.accelerator()["kernel_log"]]


def acs(host: Any) -> Any:
    config = host.tree().path("/sys/bus/pci/devices/0000:12:00.0/config")
    with open(config, "rb") as stream:
        return stream.read()[0x106]


def unmapped(host: Any) -> Any:
    return host.tree().text("/sys/bus/pci/devices/0000:13:00.0/resource").split()[0]


def said(name: str, *argv: str) -> Reader:
    return lambda host: host.says(name, *argv)


def line_of(start: str, name: str, *argv: str) -> Reader:
    def read(host: Any) -> Any:
        return next(line.strip() for line in host.says(name, *argv).out.splitlines() if line.strip().startswith(start))

    return read


def headers(host: Any) -> Any:
    from p800_simulator import host_files
    from p800_simulator.places import Places

    wanted = host_files.wanted(Places(str(host.folder)), host.machine)
    return [path for path in wanted if path.startswith("/usr/src") and path.endswith("utsrelease.h")]


def kernels(host: Any) -> Any:
    return sorted(host.machine.installed_kernels)


def loaded(host: Any) -> Any:
    driver = host.accelerator()["driver"]
    return driver["module"]["loaded"], driver["peer_module"]["loaded"], driver["version"]


def versions(host: Any) -> Any:
    driver = host.accelerator()["driver"]
    return driver["version"], driver["module"]["version"]


def problems(text: str) -> Reader:
    return lambda host: any(text in line for line in host.accelerator()["problems"])


def counter(host: Any) -> Any:
    """At two moments."""
    import dataclasses

    later = dataclasses.replace(host, live=dataclasses.replace(host.live, clock=host.live.clock + 10))
    return port("counters")(later)["out_of_sequence"] - port("counters")(host)["out_of_sequence"]


def bandwidth(host: Any) -> Any:
    return next(nic.bandwidth for nic in host.machine.rails if nic.name == "eth2")


def missing_devices(host: Any) -> Any:
    return sorted({"mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"} - set(host.network()["rdma"]))


def code(reader: Reader) -> Reader:
    return lambda host: reader(host).code


def module_kernel(host: Any) -> Any:
    driver = host.accelerator()["driver"]
    return driver["module"]["built_for"], driver["module"]["loaded"]


CHAR = {"kind": "char", "major": 195, "minor": 2, "mode": "0666", "owners": []}
HELD = [{"pid": 4000000, "process": "python3", "unit": None, "container": None}]
MIB = 1024**2
IPV4 = "10.1.1.1"

# For each fault: by what it is seen, what a healthy host shows there, and what this one does.
SEEN: dict[str, tuple[Reader, Any, Any]] = {
    "xpu-missing": (all_devices("index"), [*range(8)], [*range(7)]),
    "xpu-not-probed": (all_devices("index"), [*range(8)], [*range(7), None]),
    "bar-unmapped": (unmapped, "0x00003800" + "{}", "0x0000000000000000"),
    "driver-not-loaded": (loaded, (True, True, "5.0.21.26"), (False, False, None)),
    "driver-other-kernel": (module_kernel, ("6.8.0-87-generic", True), ("5.15.0-88-generic", False)),
    "driver-version": (versions, ("5.0.21.26", "5.0.21.26"), ("5.0.21.8", "5.0.21.8")),
    "driver-not-reloaded": (versions, ("5.0.21.26", "5.0.21.26"), ("5.0.21.8", "5.0.21.26")),
    "firmware-old": (
        lambda host: {firmware["SBL"] for firmware in all_devices("firmware")(host)},
        {"1.54"},
        {"1.40"},
    ),
    "firmware-mixed": (lambda host: [one["SBL"] for one in all_devices("firmware")(host)][2:5], ["1.54"] * 3, ["1.54", "1.48", "1.54"]),
    "node-missing": (node("/dev/xpu5"), dict(CHAR, minor=5), None),
    "node-root-only": (node("/dev/xpu2"), CHAR, dict(CHAR, mode="0600")),
    "node-not-char": (lambda host: node("/dev/xpu2")(host)["kind"], "char", "other"),
    "node-wrong-number": (node("/dev/xpu2"), CHAR, dict(CHAR, minor=3)),
    "control-node-missing": (node("/dev/xpuctrl"), dict(CHAR, minor=255), None),
    "peermem-not-loaded": (loaded, (True, True, "5.0.21.26"), (True, False, "5.0.21.26")),
    "peermem-not-built": (code(said("modinfo", "kunlun_peermem")), 0, 1),
    "xdr-disabled": (log, [], ["XDR disabled"]),
    "xdr-not-loaded": (accelerator("driver/xdr/version"), "XDR version: 1.1.0.6 (simulated)", None),
    "xdr-node-missing": (accelerator("driver/xdr/node"), True, False),
    "memory-used": (accelerator("devices/0/memory_used_bytes"), 0, 20480 * MIB),
    "node-held": (lambda host: node("/dev/xpu0")(host)["owners"], [], HELD),
    "link-unlocked": (log, [], ["AM out of lock"]),
    "noc-idle": (log, [], ["noc_idle"]),
    "xl-missing": (words, ("PIX", "XL", "XL", "XL"), ("PIX", "PIX", "XL", "XL")),
    "pcie-slow": (lambda host: accelerator("devices/2/link")(host)["speed_gts"], 16.0, 8.0),
    "pcie-narrow": (lambda host: accelerator("devices/2/link")(host)["width"], 16, 8),
    "nic-pcie-narrow": (shown("/sys/bus/pci/devices/0000:35:00.0/current_link_width"), "16", "8"),
    "part-number-mixed": (accelerator("devices/6/part_number"), "B00100300110112", "B00100300110312"),
    "part-number-other": (lambda host: set(all_devices("part_number")(host)), {"B00100300110112"}, {"B00100300110312"}),
    "rdma-device-missing": (missing_devices, [], ["mlx5_3"]),
    "nic-elsewhere": (
        lambda host: [host.network()["interfaces"][name]["pci"] for name in ("eth1", "eth3")],
        ["0000:15:00.0", "0000:55:00.0"],
        ["0000:55:00.0", "0000:15:00.0"],
    ),
    "topology-contradicts": (words, ("PIX", "XL", "XL", "XL"), ("SYS", "XL", "XL", "XL")),
    "topology-one-sided": (words, ("PIX", "XL", "XL", "XL"), ("PIX", "XL", "SYS", "XL")),
    "rdma-renumbered": (lambda host: host.network()["interfaces"]["eth1"]["rdma"], "mlx5_0", "mlx5_3"),
    "gid-only-v1": (gids, [(2, "IB/RoCE v1", IPV4), (3, "RoCE v2", IPV4)], [(2, "IB/RoCE v1", IPV4), (3, "IB/RoCE v1", IPV4)]),
    "gid-moved": (gids, [(2, "IB/RoCE v1", IPV4), (3, "RoCE v2", IPV4)], [(4, "IB/RoCE v1", IPV4), (5, "RoCE v2", IPV4)]),
    "gid-without-address": (gids, [(2, "IB/RoCE v1", IPV4), (3, "RoCE v2", IPV4)], []),
    "gid-of-another-address": (
        gids,
        [(2, "IB/RoCE v1", IPV4), (3, "RoCE v2", IPV4)],
        [(2, "IB/RoCE v1", "192.0.2.7"), (3, "RoCE v2", "192.0.2.7")],
    ),
    "port-down": (port("state", "mlx5_1"), "ACTIVE", "DOWN"),
    "port-infiniband": (port("link_layer", "mlx5_2"), "Ethernet", "InfiniBand"),
    "port-slow": (port("rate_gbps", "mlx5_2"), 400.0, 100.0),
    "bandwidth-low": (bandwidth, 388.0, 120.0),
    "counters-rising": (counter, 0, 70),
    "trust-pcp": (
        line_of("Priority trust", "mlnx_qos", "-i", "eth1", "--trust", "dscp"),
        "Priority trust state: dscp",
        "Priority trust state: pcp",
    ),
    "pfc-other": (
        line_of("enabled", "mlnx_qos", "-i", "eth1"),
        "enabled     0   0   0   0   0   0   0   0",
        "enabled     0   0   0   0   0   1   0   0",
    ),
    "qos-refused": (code(said("mlnx_qos", "-i", "eth1", "--trust", "dscp")), 0, 1),
    "kernel-newer": (kernels, ["6.8.0-87-generic"], ["6.8.0-87-generic", "99.0.0-1-generic"]),
    "headers-missing": (headers, ["/usr/src/linux-headers-6.8.0-87-generic/include/generated/utsrelease.h"], []),
    "acs-on": (acs, 0, 0x1D),
    "iommu-translating": (shown("/sys/kernel/iommu_groups/0/type"), "identity", "DMA"),
    "intel-tool-first": (problems("is another program of this name, Intel's"), False, True),
    "tool-version-unknown": (problems("version 7.1.0 is unknown"), False, True),
    "tool-strange": (problems("a line that no version prints"), False, True),
    "tool-fails": (accelerator("tool/version"), "5.0.21.26", None),
}


@pytest.mark.parametrize("name", sorted(faults.BY_NAME))
def test_a_fault_shows(host, name):
    read, healthy, faulty = SEEN[name]
    host.ready()
    before = read(host)
    if name == "bar-unmapped":
        assert before != faulty
    else:
        assert before == healthy
    assert read(host.fault(name)) == faulty
    del host.state.faults[name]
    host.state.runtime.qos.clear()
    assert read(host) == before


def test_every_number_is_a_failure_mode_of_a_host():
    """1 to 23 and 48 to 49 are those that a host alone can show; pairs of hosts, containers and the master have the rest."""
    shown_by_pairs = {15, 16, 17, 20, 21}
    told = {mode for fault in faults.FAULTS for mode in fault.modes}
    assert told == ({*range(1, 24)} - shown_by_pairs) | {48, 49}


def test_a_parameter_chooses_which(host):
    host.ready().fault("pcie-slow", xpu="5")
    speeds = [device["link"]["speed_gts"] for device in host.accelerator()["devices"]]
    assert speeds == [16.0] * 5 + [8.0] + [16.0] * 2


def test_faults_add_up(host):
    host.ready().fault("xpu-missing").fault("port-down").fault("noc-idle")
    assert len(host.accelerator()["devices"]) == 7 and log(host) == ["noc_idle"] and port("state", "mlx5_1")(host) == "DOWN"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("no-such", {}, "no-such is no fault"),
        ("port-down", {"xpu": "1"}, "port-down takes no xpu; its parameters: nic=eth2"),
        ("pcie-slow", {"xpu": "seven"}, "xpu=seven is no number of an XPU"),
    ],
)
def test_what_is_no_fault_is_refused(name, given, message):
    with pytest.raises(faults.FaultError, match=message):
        faults.checked(name, given)


NAMES = sorted(faults.BY_NAME)


@settings(max_examples=30, deadline=None)
@given(chosen=st.lists(st.sampled_from(NAMES), unique=True), wired=st.sampled_from(sorted(wiring.NAMED)), count=st.integers(0, 8))
def test_any_faults_together_make_a_host_that_can_be_shown(tmp_path_factory, make_host, chosen, wired, count):
    host = make_host(tmp_path_factory.mktemp("host"), wired=wired).ready()
    host.state.devices = count
    healthy = render.overlay(host.state, host.live, "/overlay")
    for name in chosen:
        host.fault(name)
    shown = render.overlay(host.state, host.live, "/overlay")
    assert shown == render.overlay(host.state, host.live, "/overlay")
    for argv in ((), ("-m",), ("-q",), ("topo", "-m")):
        answer = host.says("xpu-smi", *argv)
        assert bool(answer.out) == (answer.code == 0) or not count
    for name in chosen:
        del host.state.faults[name]
    assert render.overlay(host.state, host.live, "/overlay") == healthy
