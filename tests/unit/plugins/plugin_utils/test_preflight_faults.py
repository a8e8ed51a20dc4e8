"""Every fault that preflight knows, put into one host of a sound P800 cluster: it is found there, by its check, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import CONTAINER, LABEL_CLUSTER
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _preflight as preflight
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _profile
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import STAGES, Check, Fault, Needs, Severity, judged
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring_record import record_of
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024**3
SOUND = Path(__file__).with_name("sound_host.yml")
HOSTS = ("node1", "node2", "node3", "node4")
DETECTION = _profile.load("kunlunxin").detection
PROFILE_CHECKS = [
    {"name": "marker file", "file": "/etc/marker", "severity": "error", "remedy": "touch it"},
    {"name": "helper module", "module": "helper", "severity": "warning", "remedy": "load it", "stage": "driver"},
    {"name": "link flaps", "kernel_log": {"pattern": "flap", "meaning": "it flaps"}, "severity": "error", "remedy": "replug"},
    {
        "name": "quantization",
        "json": "/models/m/config.json",
        "key": "quantization_config",
        "severity": "error",
        "remedy": "use others",
        "stage": "weights",
    },
    {"name": "step timeout", "environment": "RAY_CGRAPH_get_timeout", "least": 60, "severity": "warning", "remedy": "raise it"},
]
ENVIRONMENT = {
    "BKCL_USE_RDMA": "1",
    "BKCL_ENABLE_XDR": "1",
    "BKCL_SOCKET_IFNAME": "eth0",
    "GLOO_SOCKET_IFNAME": "eth0",
    "RAY_CGRAPH_get_timeout": "300",
}
NEEDS = Needs(
    limits={"memlock": "infinity", "nofile": 1024},
    shm_bytes=GIB,
    weights_bytes=20 * GIB,
    weights_root="sha256:" + "a" * 64,
    image_source="lab/serve:1",
    image_bytes=10 * GIB,
    disk_margin_bytes=GIB,
)
OURS = {"name": CONTAINER, "labels": {LABEL_CLUSTER: "lab"}, "running": True, "image": "sha256:a", "environment": ENVIRONMENT}
SERVED = {"others>host>engine>containers": [OURS]}
OTHERS = {"name": "shop", "labels": {}, "running": True, "image": None, "environment": None}


def plan():
    """The plan of four hosts with two devices and two rails each."""
    hosts = [
        {
            "name": name,
            "address": f"10.0.0.{number}",
            "nics": ["eth1", "eth2"],
            "devices": ["/dev/xpu0", "/dev/xpu1"],
            "environment": dict(ENVIRONMENT),
        }
        for number, name in enumerate(HOSTS, 1)
    ]
    return {
        "name": "lab",
        "control_interface": "eth0",
        "manage_kernel_globals": True,
        "head": {"name": "node1"},
        "topology": {"applies": True, "named": ["eth0"]},
        "model": {"path": "/models/m"},
        "ports": {"api": 8000, "container_ssh": 2222},
        "profile": {"detection": DETECTION, "checks": PROFILE_CHECKS},
        "container": {"ulimits": {"memlock": -1}},
        "before_start": "",
        "hosts": hosts,
    }


@cache
def _sound(number):
    return json.dumps(yaml.safe_load(SOUND.read_text().replace("{n}", str(number))))


def sound(number):
    """The answers of host number ``number``."""
    facts = json.loads(_sound(number))
    nodes = {
        path: {name: value for name, value in node.items() if name != "owners"} for path, node in facts["accelerator"]["nodes"].items()
    }
    facts["host"].update(
        devices=nodes,
        files={"/etc/marker": True},
        modules={"helper": True},
        json_keys={"/models/m/config.json": ["quantization_config"]},
        kernel_log=[],
        resolved={name: f"10.0.0.{k}" for k, name in enumerate(HOSTS, 1)},
    )
    facts["host"]["kernel"]["bridges_read"] = 2
    return facts


def put(place, path, value):
    """Set what the path (keys with > between them) names, or call the value with what is there."""
    *parents, last = path.split(">")
    for parent in parents:
        place = place[int(parent) if isinstance(place, list) else parent]
    place[last] = value(place[last]) if callable(value) else value


def recorded():
    """How the sound hosts are wired."""
    facts = {name: sound(number) for number, name in enumerate(HOSTS, 1)}
    return {name: record_of(one["accelerator"], one["network"], ["eth0"]) for name, one in facts.items()}


def judge(changes=None, needs=NEEDS, before="host", not_here=(), host="node3"):
    """The verdict on the cluster with these changes; a path begins with plan, host, network or accelerator and changes ``host``.

    What begins with ``others`` changes all hosts but that one.
    """
    made, answers = plan(), {name: sound(number) for number, name in enumerate(HOSTS, 1)}
    for path, value in (changes or {}).items():
        subject, _separator, rest = path.partition(">")
        if subject == "plan":
            put(made, rest, value)
        elif subject == "environment":
            put(made["hosts"][HOSTS.index(host)]["environment"], rest, value)
        elif subject == "others":
            for other in HOSTS:
                put(answers[other], rest, value if other != host else lambda there: there)
        else:
            put(answers[host], path, value)
    return preflight.judge(made, answers, dataclasses.replace(needs, before=before, wiring=recorded()), 105.0, not_here)


def process(**more):
    return {"pid": 77, "process": "python3", "unit": "old.service", "container": None, **more}


def of_rail(name, value):
    return {f"network>rdma>mlx5_0>ports>1>{name}": value}


OLD_DRIVER = {"accelerator>driver>version": "5.0.21.26", "accelerator>driver>module>version": "5.0.21.26"}

LOW = {"width": 8, "max_width": 16, "speed_gts": 8.0, "max_speed_gts": 16.0}

# check: [(what is changed, words of the line, stage that mends it or None, severity)]; ``needs`` among the changes changes what is declared
FAULTS = {
    "account": [({"host>system>user_id": 1000}, "user id 1000; expected root", None, "error")],
    "python": [({"host>system>python": {"version": "3.6.9"}}, "3.6.9; expected 3.8 or newer", None, "error")],
    "init": [({"host>system>init": "tini"}, "process 1 is tini", None, "error")],
    "kernel": [
        (
            {"host>kernel>installed": ["6.8.0-87-generic", "6.8.0-101-generic"]},
            "6.8.0-87-generic runs, 6.8.0-101-generic is installed",
            None,
            "warning",
        )
    ],
    "main memory": [({"host>memory>total_bytes": GIB // 2}, "512 MiB in all; expected more than the 1 GiB", None, "error")],
    "swap": [
        (
            {"host>swaps": [{"path": "/swap.img", "bytes": 8 * GIB, "used_bytes": GIB}]},
            "/swap.img (8 GiB, 1 GiB in use); expected no swap; run swapoff -a",
            None,
            "warning",
        )
    ],
    "/dev/shm": [({"host>shm>size_bytes": GIB // 16}, "64 MiB; expected 1 GiB", "host", "error")],
    "shared memory in use": [
        (
            {"host>shm>available_bytes": GIB // 4, "host>shm_files": [{"name": "ray_x", "bytes": GIB // 2, "owner": 1001}]},
            "256 MiB of 1 GiB free: ray_x (512 MiB, user 1001)",
            None,
            "error",
        )
    ],
    "locked memory": [
        ({"host>limits>login>memlock": 8 << 20}, "a login may have 8 MiB; expected no limit", "host", "error"),
        (
            {"host>limits>engine>memlock": 8 << 20, "host>limits>engine_may_raise": False},
            "containers may have 8 MiB; expected no limit; raise the limit outside",
            "container_engine",
            "error",
        ),
    ],
    "open files": [
        ({"host>limits>login>nofile": 1000}, "a login may have 1000; expected 1024", "host", "error"),
        (
            {"host>limits>engine>nofile": 1000},
            "containers may have 1000; expected 1024; run systemctl restart docker",
            "container_engine",
            "error",
        ),
    ],
    "process limit": [({"host>limits>tasks": {"/sys/fs/cgroup/x/pids.max": 512}}, "512 processes; expected max", None, "warning")],
    "clock": [({"host>clock>time": 50.0}, "at least 50 s behind the controller", None, "error")],
    "time service": [({"host>clock>synchronised": False}, "not synchronised", "host", "error")],
    "disk": [({"host>filesystems>/models/m>available_bytes": 5}, "5 bytes free on /models; expected 1 GiB for weights", None, "error")],
    "port in use": [
        (
            {"host>listeners": [{"port": 2222, "address": "::", **process()}]},
            "2222 (container_ssh) by python3 (pid 77, old.service)",
            None,
            "error",
        )
    ],
    "left-over processes": [
        ({"host>processes": [process(part="raylet")]}, "raylet: python3 (pid 77, old.service)", None, "error"),
        (
            {"host>processes": [process(part="vllm serve", container=OTHERS)]},
            "vllm serve: python3 (pid 77, container shop)",
            None,
            "warning",
        ),
    ],
    "shared memory segments": [
        (
            {"host>segments": [{"id": 5, "bytes": 4096, "attached": 0, "owner": 1001, "creator_alive": False}]},
            "1 of 4 KiB that nobody is attached to: 5 (user 1001)",
            None,
            "warning",
        )
    ],
    "host names": [({"host>resolved>node1": "127.0.1.1"}, "node1 not at their address", "host", "error")],
    "own name": [
        ({"host>system>hostname_address": "127.0.1.1"}, "metal3 is 127.0.1.1; expected 10.0.0.3", "host", "error"),
        ({"host>system>hostname_address": None}, "metal3 is unknown; expected 10.0.0.3", "host", "error"),
    ],
    "proxy": [
        (
            {"host>proxies": {"image": {"http_proxy": "http://p:3128"}}},
            "in the containers, http_proxy=http://p:3128 without",
            None,
            "error",
        ),
        ({"environment>https_proxy": "http://p:3128"}, "in the containers, https_proxy=http://p:3128", None, "error"),
        (
            {"host>proxies": {"login": {"http_proxy": "http://p:3128", "no_proxy": "localhost,127.0.0.1,10.0.0.1,10.0.0.2,10.0.0.3"}}},
            "in login, http_proxy=http://p:3128 without 10.0.0.4 in no_proxy",
            None,
            "warning",
        ),
    ],
    "firewall": [
        (
            {"host>firewall": {"source": "iptables -S", "policy": "DROP", "drops": ["-A INPUT -j DROP"]}},
            "policy DROP, 1 rules that drop: -A INPUT -j DROP",
            None,
            "warning",
        )
    ],
    "control interface": [
        (
            {"host>interfaces": lambda there: {("bond0" if name == "eth0" else name): one for name, one in there.items()}},
            "no eth0",
            None,
            "error",
        )
    ],
    "control address": [({"host>interfaces>eth0": {"addresses": ["10.0.0.9/24"]}}, "eth0 has 10.0.0.9; expected eth0 with", None, "error")],
    "rail interfaces": [({"host>interfaces": lambda there: {k: v for k, v in there.items() if k != "eth2"}}, "no eth2", None, "error")],
    "rail link": [({"host>interfaces>eth1>state": "down"}, "no link on eth1 (down)", None, "error")],
    "rail card": [
        (
            {"host>low_links": {"0000:14:00.0": LOW, "0000:99:00.0": LOW}},
            "eth2 (0000:14:00.0) at 8 lanes; expected 16 lanes",
            None,
            "error",
        ),
        (
            {"host>low_links": {"0000:14:00.0": {**LOW, "width": 16}}},
            "eth2 (0000:14:00.0) at 8 GT/s; expected 16 GT/s",
            None,
            "warning",
        ),
    ],
    "rail address": [
        (
            {"host>interfaces>eth1>addresses": ["fe80::1/64"], **of_rail("gids", [])},
            "no IPv4 address on eth1",
            None,
            "error",
        )
    ],
    "socket interface": [
        ({"environment>GLOO_SOCKET_IFNAME": "bond0"}, "GLOO_SOCKET_IFNAME=bond0; expected eth0", None, "error"),
        (
            {"plan>before_start": "export GLOO_SOCKET_IFNAME=bond0"},
            "GLOO_SOCKET_IFNAME=bond0; expected eth0, the cluster's control",
            None,
            "error",
        ),
    ],
    "route to the hosts": [
        (
            {"network>routes": lambda there: [{**there[1], "destination": "10.0.0.4/32", "interface": "eth1"}, *there]},
            "node4 over eth1; expected over eth0",
            None,
            "error",
        ),
        ({"network>routes": []}, "no route to node1, node2, node4", None, "error"),
    ],
    "default route": [
        ({"network>default_route": None}, "no default route, and no VLLM_HOST_IP", None, "error"),
        ({"network>default_route": {"interface": "eth1", "source": "10.0.1.3"}}, "has 10.0.1.3 on eth1", None, "error"),
    ],
    "RDMA device": [({"network>interfaces>eth1>rdma": None}, "none for eth1", "rdma", "error")],
    "RDMA port": [
        (of_rail("state", "DOWN"), "eth1 is DOWN (LinkUp); expected ACTIVE", None, "error"),
        (of_rail("link_layer", "InfiniBand"), "eth1 is in InfiniBand mode; expected Ethernet", None, "error"),
    ],
    "RDMA rate": [({"needs": {"rdma_rate_gbps": 200}, **of_rail("rate_gbps", 100.0)}, "eth1 at 100 Gb/s; expected 200", None, "error")],
    "GID": [
        ({"environment>BKCL_GID_INDEX": "2"}, "index 2 of eth1 is IB/RoCE v1 10.0.1.3", None, "error"),
        ({"environment>BKCL_GID_INDEX": "7"}, "index 7 of eth1 is empty", None, "error"),
        (of_rail("gids", []), "no RoCE v2 entry with an IPv4 address of eth1", "rdma", "error"),
    ],
    "RDMA settings": [
        (
            {"network>rdma_settings>different": [{"what": "pfc eth1", "now": "0,0,0,0,0,0,0,0", "wanted": "0,0,0,1,0,0,0,0"}]},
            "pfc eth1 is 0,0,0,0,0,0,0,0; expected 0,0,0,1,0,0,0,0, as the stage rdma set it; run rdma.yml",
            "rdma",
            "warning",
        ),
        (
            {
                "network>rdma_settings>different": [
                    {"what": "table 101", "now": "empty", "wanted": "10.0.1.0/24 dev eth1\ndefault via 10.0.1.9"}
                ]
            },
            "table 101 is empty; expected 10.0.1.0/24 dev eth1; default via 10.0.1.9, as the stage",
            "rdma",
            "warning",
        ),
        ({"network>rdma_settings>starts_at_boot": False}, "flagos-kunlunxin-rdma.service does not start at boot", "rdma", "warning"),
        (
            {"network>rdma_settings>problem": "/x/batch.json is not what the stage rdma writes"},
            "/x/batch.json is not what the stage rdma writes; expected the batch",
            "rdma",
            "warning",
        ),
    ],
    "network as read": [({"network>problems": ["ip route: line 3: x"]}, "ip route: line 3: x", None, "warning")],
    "accelerators": [
        ({"accelerator>devices": lambda there: there[:1]}, "1 on the PCI bus (0000:11:00.0); expected 2", None, "error"),
        ({"accelerator>devices>0>mapped": False, "accelerator>devices>0>driver": None}, "no memory of 0000:11:00.0 has", None, "error"),
    ],
    "kernel log": [
        (
            {"accelerator>kernel_log": [{"pattern": "noc_idle", "meaning": "busy", "line": "xpu noc_idle timeout", "count": 3}]},
            "busy (3 lines, the last: xpu noc_idle timeout)",
            None,
            "error",
        )
    ],
    "driver": [
        ({"accelerator>driver>version": None, "accelerator>driver>module>loaded": False}, "not loaded", "driver", "error"),
        ({"accelerator>devices>1>driver": None}, "does not hold 0000:12:00.0", None, "error"),
    ],
    "driver's kernel": [
        (
            {"accelerator>driver>version": None, "accelerator>driver>module>built_for": "6.8.0-40-generic"},
            "built for 6.8.0-40-generic",
            "driver",
            "error",
        )
    ],
    "driver version": [
        (
            {"needs": {"driver_version": "5.0.21.38"}, **OLD_DRIVER},
            "5.0.21.26; expected 5.0.21.38, which goes",
            "driver",
            "error",
        ),
        ({"accelerator>driver>version": "5.0.21.26"}, "5.0.21.26 runs, 5.0.21.38 is installed", "driver", "error"),
    ],
    "firmware": [
        (
            {
                "needs": {"firmware": {"SBL": "1.48"}},
                "accelerator>devices>0>firmware": {"PCIE": "2.15", "SBL": "1.9"},
                "accelerator>devices>1>firmware": None,
            },
            "SBL 1.9 on 0000:11:00.0; expected 1.48 or newer",
            "driver",
            "error",
        )
    ],
    "device nodes": [
        ({"host>devices>/dev/xpu1": None}, "no /dev/xpu1; expected 3 device nodes", "driver", "error"),
        ({"host>devices>/dev/xpu1>minor": 0}, "/dev/xpu0, /dev/xpu1 are one device (195:0)", None, "error"),
        ({"host>devices>/dev/xpu1>kind": "other"}, "/dev/xpu1 is no device", None, "error"),
    ],
    "device access": [({"host>devices>/dev/xpu1>mode": "0600"}, "/dev/xpu1 (0600) not open to all", "driver", "warning")],
    "peer memory": [({"accelerator>driver>peer_module>loaded": False}, "kunlun_peermem is not loaded", "driver", "error")],
    "direct RDMA": [
        (
            {"accelerator>driver>xdr": {"version": None, "mapped": None, "node": False}},
            "no /proc/xdr/version, /dev/xdrdrv",
            "driver",
            "error",
        )
    ],
    "container toolkit": [
        (
            {"host>packages>xpu-container-toolkit": None},
            "xpu-container-toolkit is not installed; expected xpu-container-toolkit 1.0.13-1, which the stage driver brought",
            "driver",
            "warning",
        ),
        (
            {"host>packages>libxpu-container1": "1.0.2-1"},
            "libxpu-container1 is 1.0.2-1; expected libxpu-container1 1.0.5-1",
            "driver",
            "warning",
        ),
    ],
    "devices in use": [
        (
            {"accelerator>nodes>/dev/xpu0>owners": [process(container=OTHERS)]},
            "python3 (pid 77, container shop) holds /dev/xpu0",
            None,
            "error",
        ),
        ({"accelerator>devices>1>memory_used_bytes": 20 * GIB}, "0000:12:00.0 has 20 GiB in use, and nobody is seen", None, "error"),
    ],
    "device link": [
        ({"accelerator>devices>0>link>width": 8}, "0000:11:00.0 at 8 lanes; expected 16 lanes", None, "error"),
        ({"accelerator>devices>0>link>speed_gts": 8.0}, "0000:11:00.0 at 8 GT/s; expected 32 GT/s", None, "warning"),
    ],
    "vendor's tool": [
        ({"accelerator>tool": {"path": None, "kind": None}}, "no xpu-smi; expected the driver's xpu-smi", "driver", "warning"),
        ({"accelerator>tool": {"path": "/usr/bin/xpu-smi", "kind": "other"}}, "/usr/bin/xpu-smi is another program", "driver", "warning"),
    ],
    "accelerators as read": [({"accelerator>problems": ["xpu-smi -m: line 3"]}, "xpu-smi -m: line 3", None, "warning")],
    "IOMMU": [
        ({"host>kernel>groups": {"0000:11:00.0": "DMA-FQ", "0000:12:00.0": "identity"}}, "translates for 0000:11:00.0", None, "warning"),
        ({"host>kernel>iommus": ["dmar0"]}, "translates for dmar0; expected iommu=pt", None, "warning"),
    ],
    "access control": [({"host>kernel>acs": ["0000:10:02.0", "0000:80:01.0"]}, "on at 0000:10:02.0; expected off", "rdma", "warning")],
    "container engine": [({"host>engine>version": None}, "installed, does not answer", "container_engine", "error")],
    "container engine version": [({"host>engine>version": "19.03.5"}, "19.03.5; expected 20.10", None, "error")],
    "container runtime": [
        (
            {"host>engine>runtimes>xpu>there": False},
            "the runtime xpu is /usr/bin/xpu-container-runtime, which is not there",
            None,
            "warning",
        ),
        (
            {"host>engine>runtimes>xpu": {"path": "/usr/bin/xpu-container-runtime", "there": False, "default": True}},
            "the default runtime xpu is /usr/bin/xpu-container-runtime, which is not there",
            None,
            "error",
        ),
    ],
    "registry": [({"host>registry>state": "unknown_ca"}, "registry lab:5443: unknown ca:", None, "error")],
    "image": [
        ({"host>image_receipt": {}, "host>filesystems>/var/lib/docker>available_bytes": 99 * GIB}, "not in the engine", "image", "error")
    ],
    "weights": [
        (
            {"host>filesystems>/models/m>holds_bytes": 5, "host>filesystems>/models/m>available_bytes": 99 * GIB},
            "5 bytes in /models/m; expected 20 GiB",
            "weights",
            "error",
        )
    ],
    "container name": [({"host>engine>containers": [{**OTHERS, "name": CONTAINER}]}, "is a container of someone else", None, "error")],
    "container environment": [
        (
            {**SERVED, "host>engine>containers": [{**OURS, "environment": {**ENVIRONMENT, "BKCL_USE_RDMA": "0"}}]},
            "has BKCL_USE_RDMA=0; expected BKCL_USE_RDMA=1; run serve.yml",
            "serve",
            "error",
        )
    ],
    "system name": [({"host>system>hostname": "metal1"}, "metal1, as has node", None, "error")],
    "clock spread": [
        ({"host>clock": {"asked_at": 100.0, "time": 90.0, "synchronised": True}}, "at least 6.0 s behind node1", None, "error")
    ],
    "interface names": [
        (
            {"host>interfaces": lambda there: {("ens9" if name == "eth2" else name): one for name, one in there.items()}},
            "10.0.2.0/24 is on ens9; expected eth2, as on the other hosts",
            "rdma",
            "error",
        )
    ],
    "number of accelerators": [
        (
            {"accelerator>devices": lambda there: [*there, {**there[0], "pci": "0000:15:00.0"}]},
            "3; expected 2, as on node1",
            None,
            "warning",
        )
    ],
    "links of accelerators": [
        ({"accelerator>topology>distances>XPU0>XPU1": "SYS"}, "XPU0-XPU1 is SYS; expected XL, as on node1", None, "warning"),
    ],
    "part numbers": [
        (
            {"accelerator>devices": lambda there: [dict(one, part_number="B2") for one in there]},
            "B2; expected B00100300110112, as on",
            None,
            "error",
        ),
        ({"accelerator>devices>1>part_number": "B2"}, "B00100300110112, B2; expected one part number", None, "error"),
    ],
    "driver versions": [(OLD_DRIVER, "5.0.21.26; expected 5.0.21.38, as on node1", "driver", "error")],
    "firmware versions": [
        (
            {"accelerator>devices": lambda there: [dict(one, firmware={"SBL": "1.40"}) for one in there]},
            "SBL 1.40; expected PCIE 2.15 SBL 1.48, as on node1",
            "driver",
            "error",
        ),
        ({"accelerator>devices>1>firmware": {"SBL": "1.40"}}, "cards with PCIE 2.15 SBL 1.48 and with SBL 1.40", "driver", "error"),
    ],
    "RDMA rates": [(of_rail("rate_gbps", 100.0), "eth1 100, eth2 200; expected eth1 200, eth2 200, as on node1", None, "error")],
    "GID indices": [
        (of_rail("gids", lambda there: [{**there[2], "index": 5}]), "eth1 5, eth2 3; expected eth1 3, eth2 3", "rdma", "warning")
    ],
    "traffic classes": [(of_rail("traffic_class", None), "eth1 none, eth2 106; expected eth1 106", "rdma", "warning")],
    "image identity": [
        (
            {"host>image_receipt>image_id": "sha256:b", "host>engine>images": ["sha256:b"]},
            "sha256:b; expected sha256:a, as on node1",
            "image",
            "error",
        )
    ],
    "service": [
        (
            SERVED,
            "flagos-kunlunxin-serve is not there; expected a container that runs, as on node1, node2, node4; run serve.yml",
            "serve",
            "error",
        ),
        (
            {**SERVED, "host>engine>containers": [{**OURS, "running": False}]},
            "flagos-kunlunxin-serve does not run; expected a container that runs",
            "serve",
            "error",
        ),
    ],
    "wiring": [
        (
            {"network>interfaces>eth1>mac": "0c:42:a1:00:00:99"},
            "interface eth1: mac: 0c:42:a1:00:00:99; expected 0c:42:a1:00:03:01, as recorded",
            None,
            "error",
        )
    ],
    "tool's topology": [
        ({"accelerator>topology>distances>XPU0>NIC1": "PIX"}, "XPU0 and NIC1 PIX instead of PHB; expected the distances", None, "warning")
    ],
    "marker file": [({"host>files": {"/etc/marker": False}}, "no /etc/marker; expected the file; touch it", None, "error")],
    "helper module": [({"host>modules": {"helper": False}}, "helper is not loaded", "driver", "warning")],
    "link flaps": [
        (
            {"host>kernel_log": [{"pattern": "flap", "meaning": "it flaps", "line": "eth1 flap", "count": 2}]},
            "it flaps (eth1 flap)",
            None,
            "error",
        )
    ],
    "quantization": [({"host>json_keys": {"/models/m/config.json": ["x"]}}, "no quantization_config in /models/m", "weights", "error")],
    "step timeout": [({"environment>RAY_CGRAPH_get_timeout": "10"}, "RAY_CGRAPH_get_timeout is 10; expected 60 or more", None, "warning")],
}
# What a fault brings with it, on the same host, because it is a fault of its own as well.
COMPANIONS = {
    "accelerators": {"wiring"},
    "number of accelerators": {"wiring"},
    "control interface": {"route to the hosts"},
    "interface names": {"rail interfaces"},
    "rail interfaces": set(),
    "rail address": {"GID"},
    "clock spread": set(),
}
# The hosts of a line where it is not the changed one alone.
HOSTS_OF = {
    "GLOO_SOCKET_IFNAME=bond0; expected eth0, the cluster's control": list(HOSTS),  # the plan's, for all
    "metal1, as has node": ["node1", "node3"],  # which of the two is wrong nobody can know
}
# What a remedy names: a playbook, a command, a file to edit, a variable or another option.
CONCRETE = re.compile(
    r"\b[a-z]+\.yml\b|/etc/\w+|\biommu=pt\b|\bno_proxy\b|\b(?:cluster|serve|preflight|host|driver|rdma|image|weights|ansible)_[a-z_]+"
    r"|\b(?:systemctl|journalctl|hostnamectl|timedatectl|apt-mark|apt-get|docker|kill|ps|rm|fuser|swapoff|ipcrm|mlxconfig|ethtool|lspci|dmesg|chmod"
    r"|iptables|xpu-smi|ip (?:link|address|route|rule))\b|\b(?:file|tool) on the host as the line names it\b"
)
OF_THIS_TEST = {one["name"] for one in PROFILE_CHECKS}
CASES = [(check, *case) for check, cases in FAULTS.items() for case in cases]


def test_every_check_has_its_fault():
    apart = {*preflight.SOURCES, preflight.REACHABLE, preflight.FACTS}  # on the controller, or no facts at all
    assert set(preflight.names(plan())) - apart == set(FAULTS)


def test_a_sound_cluster_has_no_fault_and_every_check_that_can_look_passes():
    verdict = judge(before="verify")
    assert verdict.judgements == []
    everywhere = {check for check, hosts in verdict.passed.items() if hosts == list(HOSTS)}
    # Pins that are not given, and versions that are compared instead; a service that nobody has started.
    nothing_to_say = {"driver version", "firmware", "RDMA rate", "service"}
    assert {check for check, _why in verdict.unread} == nothing_to_say
    assert everywhere == set(preflight.names(plan())) - set(preflight.SOURCES) - nothing_to_say


@pytest.mark.parametrize(("check", "changes", "words", "stage", "severity"), CASES, ids=[f"{case[0]}: {case[2][:40]}" for case in CASES])
def test_a_fault_is_found_on_its_host_with_its_cause(check, changes, words, stage, severity):
    changes = dict(changes)
    needs = dataclasses.replace(NEEDS, **changes.pop("needs", {}))
    found = judge(changes, needs).judgements
    mine = [one for one in found if one.check == check]
    assert list(dict.fromkeys(one.finding.host for one in mine)) == HOSTS_OF.get(words, ["node3"])
    assert words in str(mine[0].finding)
    assert (mine[0].stage, str(mine[0].severity)) == (stage, severity)
    assert mine[0].evidence
    assert check in OF_THIS_TEST or CONCRETE.search(mine[0].finding.remedy)
    assert {(one.check, one.finding.host) for one in found if one.check != check} <= {
        (other, "node3") for other in COMPANIONS.get(check, ())
    }


def test_every_check_states_what_establishes_it_and_its_faults_say_so():
    """A stage that no fault names would be a promise that nothing keeps."""
    for name, check in preflight.stated(plan()).items():
        said = {stage for _changes, _words, stage, _severity in FAULTS[name]} - {None}
        unsaid = {"wiring": {"host"}}.get(name, set())  # said only where nothing is recorded
        assert (name, said | unsaid) == (name, set(check.establishes))
        assert set(check.establishes) <= set(STAGES)
        worst = "error" if "error" in {severity for *_rest, severity in FAULTS[name]} else "warning"
        assert (name, check.severity) == (name, worst)


@pytest.mark.parametrize("fault", [Fault("x", "y", "z", "rdma"), Fault("x", "y", "z", "host")])
def test_a_fault_may_not_say_what_its_check_does_not_state(fault):
    with pytest.raises(ValueError, match=r"states \('host',\), warning and says"):
        judged(Check("c", "s", lambda view: iter(()), ("host",), Severity.WARNING), "node1", fault)


@pytest.mark.parametrize(
    "entry", [entry for name in _profile.names() for entry in _profile.load(name).checks], ids=lambda entry: entry["name"]
)
def test_the_remedies_of_profiles_name_an_option(entry):
    assert CONCRETE.search(entry["remedy"])


@pytest.mark.parametrize("check", FAULTS)
def test_a_check_that_is_not_here_neither_passes_nor_fails(check):
    changes = dict(FAULTS[check][0][0])
    needs = dataclasses.replace(NEEDS, **changes.pop("needs", {}))
    verdict = judge(changes, needs, not_here=[check])
    assert verdict.not_here == (check,)
    assert check not in verdict.passed
    assert check not in {one.check for one in verdict.judgements}
    assert check not in {name for name, _why in verdict.unread}


def test_what_runs_is_no_finding():
    """A second run of the site finds the service up: its ports, devices, processes, memory and files are its own."""
    ours = process(unit="flagos-kunlunxin-serve.service", container=OURS)
    verdict = judge(
        {
            **SERVED,
            "host>engine>containers": [OURS],
            "host>listeners": [{"port": 2222, "address": "::", **ours}],
            "host>processes": [dict(ours, part="raylet"), dict(ours, part="EngineCore")],
            "host>shm>available_bytes": 0,
            "host>segments": [{"id": 1, "bytes": 9, "attached": 0, "owner": 0, "creator_alive": True}],
            "accelerator>nodes>/dev/xpu0>owners": [ours],
            "accelerator>devices>0>memory_used_bytes": 90 * GIB,
        },
        before="serve",
    )
    assert verdict.judgements == []


def test_without_a_driver_only_the_driver_is_blamed():
    """Nodes, firmware and part numbers come with it; saying that they are missing too would hide the cause."""
    changes = {
        "accelerator>driver": {
            "version": None,
            "kernel": "6.8.0-87-generic",
            "module": {"loaded": False, "built_for": None, "version": None},
            "peer_module": {"loaded": False},
            "xdr": {"version": None, "mapped": None, "node": False},
        },
        "accelerator>devices": lambda there: [
            dict(one, part_number=None, firmware=None, memory_used_bytes=None, driver=None) for one in there
        ],
        "accelerator>nodes": dict.fromkeys(["/dev/xpu0", "/dev/xpu1", "/dev/xpuctrl"]),
        "accelerator>tool": {"path": None, "kind": None},
        "accelerator>topology": None,
        "accelerator>problems": ["xpu-smi: gave no answer"],
        "host>devices": dict.fromkeys(["/dev/xpu0", "/dev/xpu1", "/dev/xpuctrl"]),
    }
    assert [(one.check, one.finding.host, one.stage) for one in judge(changes).judgements] == [("driver", "node3", "driver")]


def test_hosts_without_accelerators_are_judged_by_the_rest():
    made = plan()
    made["profile"] = {"detection": {"pci_ids": []}, "checks": []}
    for host in made["hosts"]:
        host.update(nics=["eth0"], environment={})
    answers = {name: {**sound(number), "accelerator": None} for number, name in enumerate(HOSTS, 1)}
    verdict = preflight.judge(made, answers, NEEDS, 105.0)
    assert verdict.judgements == []
    assert {"RDMA port", "accelerators", "part numbers"} <= {check for check, _why in verdict.unread} - verdict.passed.keys()


@pytest.mark.parametrize(
    ("not_here", "words"),
    [
        (["no such check"], "no such check; expected names of checks"),
        (["reachable"], "reachable;"),
        (["clock"] * 6, "6 names; expected at most 5"),
    ],
)
def test_a_list_of_exceptions_that_cannot_be_is_refused(not_here, words):
    (found,) = preflight.unfit_exceptions(plan(), not_here)
    assert words in str(found.finding)


def test_five_known_exceptions_are_taken():
    assert preflight.unfit_exceptions(plan(), ["clock", "disk", "marker file", "part numbers", "weights_source"]) == []


@pytest.mark.parametrize("before", STAGES)
def test_a_fault_is_to_do_until_its_stage_has_run(before):
    for _check, changes, _words, stage, _severity in CASES:
        for one in judge({name: value for name, value in changes.items() if name != "needs"}).judgements:
            if one.stage == stage and stage is not None:
                assert one.is_to_do(before) == (STAGES.index(before) <= STAGES.index(stage))


@pytest.mark.parametrize("host", HOSTS)
def test_of_different_hosts_the_odd_one_out_is_named(host):
    (found,) = judge(OLD_DRIVER, host=host).judgements
    assert (found.check, found.finding.host) == ("driver versions", host)


@given(versions=st.lists(st.sampled_from(["1", "2", None]), min_size=4, max_size=4))
def test_equal_hosts_are_never_blamed_and_never_all(versions):
    made, answers = plan(), {name: sound(number) for number, name in enumerate(HOSTS, 1)}
    for name, version in zip(HOSTS, versions, strict=True):
        for device in answers[name]["accelerator"]["devices"]:
            device["part_number"] = version
    found = [one.finding.host for one in preflight.judge(made, answers, NEEDS, 105.0).judgements if one.check == "part numbers"]
    told = {name: version for name, version in zip(HOSTS, versions, strict=True) if version}
    if len(set(told.values())) == 2:
        assert len(found) == min(list(told.values()).count(version) for version in "12")
        assert len({told[name] for name in found}) == 1
    else:
        assert found == []
