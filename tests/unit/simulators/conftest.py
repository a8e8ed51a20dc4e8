"""A simulated host in a temporary folder, read by the same functions as a real one."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "simulators" / "p800"))

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _accelerator_facts, _network_facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from p800_simulator import programs, render, tree, wiring
from p800_simulator.live import Live
from p800_simulator.state import State
from p800_simulator.tools.base import Session

KERNEL = "6.8.0-87-generic"
TOOL = "/usr/local/bin/xpu-smi"
DETECTION = {
    "pci_ids": ["1d22:3686", "2057:3686"],
    "nodes": [f"/dev/xpu{number}" for number in range(8)],
    "control_nodes": ["/dev/xpuctrl"],
    "driver_module": "kunlun",
    "peer_module": "kunlun_peermem",
    "tool": "xpu-smi",
    "kernel_log_patterns": [{"pattern": text, "meaning": text} for text in ("AM out of lock", "noc_idle", "XDR disabled")],
}


def nodes_can_be_made(folder: Path) -> bool:
    try:
        os.mknod(folder / "node", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError:
        return False
    (folder / "node").unlink()
    return True


@dataclass
class Host:
    """A simulated host, without anything of a machine in it."""

    folder: Path
    state: State
    live: Live
    has_nodes: bool

    @property
    def machine(self) -> Any:
        return render.machine_of(self.state, self.live)

    def ready(self) -> Host:
        """As ``p800-simulator ready`` leaves it, without its files."""
        self.state.ofed, self.state.driver = "24.01-0.3.3.1", "5.0.21.26"
        for name, version in (("kunlun", "5.0.21.26"), ("kunlun_peermem", "5.0.21.26"), ("xdr", "1.1.0.6")):
            file = f"/lib/modules/{KERNEL}/extra/{name}.ko"
            self.state.modules[name] = {"version": version, "kernel": KERNEL, "file": file}
            self.put(file, "")
        self.state.indexed = sorted(self.state.modules)
        for name in ("kunlun", "kunlun_peermem", "xdr"):
            self.state.load(name)
        self.put(TOOL, "")
        return self

    def fault(self, name: str, **parameters: str) -> Host:
        self.state.faults[name] = parameters
        return self

    def put(self, path: str, text: str) -> None:
        place = self.folder / "root" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def says(self, name: str, *argv: str) -> Any:
        """The answer of one of its programs."""
        session = Session(Rooted(str(self.folder / "root")), self.state, self.machine)
        return programs.BY_NAME[name].answer(session, argv)

    def tree(self) -> HostTree:
        """What a reading module sees."""
        overlay = self.folder / "overlay"
        shown = render.overlay(self.state, self.live, str(overlay))
        if not self.has_nodes:
            shown = {path: entry for path, entry in shown.items() if not isinstance(entry, tree.Node)}
        tree.write(str(overlay), shown)
        for name, argv in (
            ("modinfo", ("-F", "vermagic", "kunlun")),
            ("modinfo", ("-F", "version", "kunlun")),
            ("dmesg", ()),
            *(("ethtool", ("-g", f"eth{number}")) for number in range(5)),
        ):
            self._answers(name, *argv)
        for argv in ((), ("-h",), ("-m",), ("-L",), ("-q",), ("topo", "-m")):
            self._answers("xpu-smi", *argv, called=TOOL)
        (self.folder / "root/usr/local/sbin/xpu-smi").unlink(missing_ok=True)
        if self.machine.tool.intel_first:
            self.put("/usr/local/sbin/xpu-smi", "")
            self.put("/.commands/_usr_local_sbin_xpu-smi", "Intel XPU System Management Interface -- v1.2\n")
        return HostTree(str(self.folder / "root"), str(overlay))

    def _answers(self, name: str, *argv: str, called: str = "") -> None:
        answer = self.says(name, *argv)
        path = "/.commands/" + " ".join([called or name, *argv]).replace("/", "_")
        if answer.code == 0:
            self.put(path, answer.out)
        else:
            (self.folder / "root" / path.lstrip("/")).unlink(missing_ok=True)

    def accelerator(self) -> dict[str, Any]:
        return _accelerator_facts.gather(self.tree(), DETECTION, {})

    def network(self) -> dict[str, Any]:
        return _network_facts.network(self.tree())


class Rooted:
    """Places of a host below another root, as far as its programs look for files."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.overlay = root

    def path(self, absolute: str) -> str:
        return os.path.join(self.root, absolute.lstrip("/"))


def make_host(folder: Path, number: int = 1, wired: str = "pairs", **options: Any) -> Host:
    """Host ``number`` of the lab: eth0 to eth4, each with an address."""
    names = [f"eth{rail}" for rail in range(5)]
    live = Live(
        kernel=KERNEL,
        boot_id="one",
        hostname=f"host{number}",
        addresses={name: (f"10.1.{rail}.{number}",) for rail, name in enumerate(names)},
        macs={name: f"0c:42:a1:00:0{number}:0{rail}" for rail, name in enumerate(names)},
        up=tuple(names),
    )
    host = Host(folder, State(wiring.NAMED[wired], 8, boot_id="one", **options), live, nodes_can_be_made(folder))
    host.put("/proc/sys/kernel/osrelease", KERNEL + "\n")
    addresses = "".join(f"{2 + rail}: {name}    inet 10.1.{rail}.{number}/24 scope global {name}\n" for rail, name in enumerate(names))
    host.put("/.commands/ip -o address show", addresses)
    host.put("/.commands/ip -j route show table all", json.dumps([]))
    host.put("/.commands/ip -j rule", json.dumps([]))
    for name in names:
        for file, text in (("mtu", "9000"), ("operstate", "up"), ("carrier", "1"), ("type", "1"), ("address", live.macs[name])):
            host.put(f"/sys/class/net/{name}/{file}", text + "\n")
    return host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path)


@pytest.fixture(scope="session", name="make_host")
def make_host_fixture() -> Any:
    return make_host
