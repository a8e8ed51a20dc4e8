"""What preflight costs on the lab, beside one ``ansible.builtin.setup`` of the same hosts.

    python3 tests/bench/preflight.py                on a lab that is up; reads its hosts and changes none
    python3 tests/bench/preflight.py --rounds 5     more rounds, for a machine that does other things too

Prints a table and, last, one line of JSON:

* ``ratio_to_setup``: seconds of playbooks/preflight.yml over those of a play with one ``setup``, medians of rounds that take turns;
* ``cpu_per_host_16_to_4``: the controller's CPU seconds for each host at 16 hosts over those at 4. The sixteen are the lab's four hosts
  under four names each, so that some of what is found there is about that; what is measured is the controller;
* ``modules_per_host``: how many modules read a host that has accelerators.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from clone import INVENTORY, Play, evaluate, play  # noqa: E402 - the clone's tools are no package

PREFLIGHT = "playbooks/preflight.yml"
NAMES = 4  # of each host, to make sixteen of four
SETUP = "- {hosts: cluster, gather_facts: false, tasks: [{name: Set up, ansible.builtin.setup: {}}]}\n"
READERS = ("host_info", "network_info", "accelerator_info")
# Hosts as the profile of P800 has them: whatever is found there, three modules have to be asked.
WITH_ACCELERATORS = {"cluster_accelerator": "kunlunxin", "cluster_devices_per_host": 1, "cluster_rdma_nics": ["eth1"]}
CONFIG_OF_ITS_WEIGHTS = {"quantization_config": {"quant_method": "w8a8_int8"}}


def timed(playbook: str | Path, *options: str, inventory: Path = INVENTORY) -> tuple[float, float, Play]:
    """Run a playbook: wall seconds, CPU seconds of the controller's processes, and the run."""
    cpu, began = children(), time.monotonic()
    ended = play(playbook, *options, inventory=inventory, capture=True)
    return time.monotonic() - began, children() - cpu, ended


def preflight(inventory: Path = INVENTORY, **variables: Any) -> tuple[float, float, Play, int]:
    """Run preflight: as :func:`timed`, and how many hosts were judged. That something is found costs nothing, and is no failure here.

    :raises SystemExit: no host was judged.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        variables["preflight_report_file"] = str(report)
        seconds, cpu, ended = timed(PREFLIGHT, "--extra-vars", json.dumps(variables), inventory=inventory)
        if not report.exists():
            sys.exit(f"preflight judged no host:\n{ended.output}")
        passed = {entry["check"]: entry["count"] for entry in json.loads(report.read_text())["passed"]}
    return seconds, cpu, ended, passed.get("facts", 0)


def children() -> float:
    """The CPU seconds of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def against_setup(rounds: int) -> dict[str, Any]:
    """The two plays by turns, after one round that opens the connections and is not counted."""
    taken: dict[str, list[float]] = {"preflight": [], "setup": []}
    with tempfile.TemporaryDirectory() as folder:
        setup = Path(folder) / "setup.yml"
        setup.write_text(SETUP)
        for number in range(rounds + 1):
            seconds, _cpu, _ended, hosts = preflight()
            setup_seconds, _cpu, ended = timed(setup)
            if ended.status or hosts != len(ended.hosts):
                sys.exit(f"preflight judged {hosts} hosts; setup ended with {ended.status}:\n{ended.output}")
            if number:
                taken["preflight"].append(seconds)
                taken["setup"].append(setup_seconds)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "preflight_s": round(medians["preflight"], 2),
        "setup_s": round(medians["setup"], 2),
        "ratio_to_setup": round(medians["preflight"] / medians["setup"], 2),
    }


@contextmanager
def many_names(names: int) -> Iterator[Path]:
    """An inventory of the lab's hosts under so many names each, every one with an address of its own, that of another rail."""
    hosts = json.loads(evaluate("groups['cluster'] | map('extract', hostvars, 'ansible_host') | to_json", host="localhost"))
    prefix = evaluate("lab_prefix", host="localhost")
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder)
        for name in ("group_vars", "host_vars"):
            if (INVENTORY / name).exists():
                (inventory / name).symlink_to(INVENTORY / name)
        entries = {
            f"host{rail}-{number}": {"ansible_host": address, "cluster_address": f"{prefix}.{rail}.{address.rpartition('.')[2]}"}
            for rail in range(names)
            for number, address in enumerate(hosts)
        }
        layout = {"serve_tensor_parallel_size": 1, "serve_pipeline_parallel_size": len(entries)}
        localhost = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        groups = {
            "all": {"hosts": {"localhost": localhost}, "children": {"cluster": {"hosts": {n: {**e, **layout} for n, e in entries.items()}}}}
        }
        (inventory / "hosts.json").write_text(json.dumps(groups))
        yield inventory


def cpu_per_host(rounds: int) -> dict[str, Any]:
    """The controller's CPU seconds for each host, at four hosts and at sixteen by turns."""
    spent: dict[int, list[float]] = {}
    for number in range(rounds + 1):
        for names in (1, NAMES):
            with many_names(names) as inventory:
                _seconds, cpu, _ended, hosts = preflight(inventory)
            if number:
                spent.setdefault(hosts, []).append(cpu / hosts)
    if sorted(spent) != [4, 16]:
        sys.exit(f"{sorted(spent)} hosts answered; expected 4 and 16")
    medians = {hosts: statistics.median(values) for hosts, values in spent.items()}
    return {
        "cpu_s_per_host_at_4": round(medians[4], 3),
        "cpu_s_per_host_at_16": round(medians[16], 3),
        "cpu_per_host_16_to_4": round(medians[16] / medians[4], 2),
    }


def modules_per_host() -> int:
    """How many modules read a host with accelerators, as the run's own records count them."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(CONFIG_OF_ITS_WEIGHTS))
        _seconds, _cpu, ended, _hosts = preflight(**WITH_ACCELERATORS, weights_source=folder)
    calls = [task for task in ended.tasks if task["action"].rpartition(".")[2] in READERS]
    return len(calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures = {**against_setup(options.rounds), **cpu_per_host(options.rounds), "modules_per_host": modules_per_host()}
    print(f"{'rounds':24} {options.rounds}")
    for name, figure in figures.items():
        print(f"{name:24} {figure}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
