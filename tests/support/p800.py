"""The example of four P800 machines on the lab's hosts: what only the silicon has is simulated (tests/simulators/README.md)."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clone import ROOT, Play, play

if TYPE_CHECKING:
    from lab import Lab

SIMULATORS = ROOT / "tests" / "simulators"
EXAMPLE = ROOT / "examples" / "p800"
RENDERED = ("--extra-vars", json.dumps({"serve_state": "rendered"}))
# What is the driver's, the RDMA stage's and the host stage's to change. The stages' own state stays, as a record without effect.
STATE_OF_A_HOST = """
find /etc /usr/local /usr/src /usr/lib/modules /root -xdev -type f -print0 | grep -zv 'ld.so.cache\\|.pyc$' | sort -z | xargs -0 sha256sum
find /etc /usr/local /usr/src /usr/lib/modules -xdev -type l -printf '%p %l\\n' | sort
ip -4 route show table all | grep -v 'table local' | sort; ip -4 rule; head /sys/class/net/eth*/mtu
df --output=size /dev/shm
sysctl -a 2>/dev/null | grep -E '^net[.](core[.]somaxconn|ipv4[.](tcp_[rw]mem|conf[.].*[.](arp_ignore|arp_announce|rp_filter)))' | sort
systemctl list-unit-files --no-legend 'flagos-*' || true  # none is no failure
"""
HOSTS = {f"p800-{number}": f"node{number}" for number in range(1, 5)}  # the example's names, and the lab's


def run(playbook: str, *options: str) -> Play:
    """Run a playbook on the simulated hosts, however it ends."""
    return play(playbook, "--inventory", str(SIMULATORS / "inventory"), *options, inventory=EXAMPLE, capture=True)


def settle(playbook: str, *options: str) -> Play:
    """Run a playbook that has to end well."""
    ended = run(playbook, *options)
    assert ended.status == 0, ended.output
    return ended


def materials(lab: Lab) -> None:
    """What the operator got from the vendor, in the lab's folder."""
    spec = importlib.util.spec_from_file_location("simulated_materials", SIMULATORS / "materials.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.make(lab.root / "simulated", program.build.VERSIONS)


def make_bare(lab: Lab) -> None:
    """Hosts as if just installed, with XPUs in them and no driver."""
    lab.reset(*lab.hosts)
    for name in ("cluster.lock.yml", "cluster.topology.json"):
        (lab.root / "simulated" / name).unlink(missing_ok=True)
    materials(lab)
    settle("tests/simulators/install.yml", "--extra-vars", json.dumps({"p800_simulator_options": ["--access-control"]}))


def preflight(before: str, **variables: Any) -> tuple[dict[str, Any], float, Play]:
    """Run preflight: its report, empty where it judged no host; how many seconds it took; and the run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        variables = {**variables, "preflight_before": before, "preflight_report_file": str(file)}
        began = time.monotonic()
        ended = run("playbooks/preflight.yml", "--extra-vars", json.dumps(variables))
        seconds = time.monotonic() - began
        return json.loads(file.read_text()) if file.exists() else {}, seconds, ended
