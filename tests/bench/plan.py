"""How long it takes to plan a large cluster of P800 hosts, from inventory variables and recorded wiring to the whole plan.

    python3 tests/bench/plan.py

Prints a table and, last, one line of JSON: ``hosts``, ``seconds`` (median for 1,024 hosts with 8 devices) and ``growth`` (the time for 1,024
hosts over the time for 512). Reading the record's file is shown for itself (``read_seconds``): a lookup does it each time, too. What a
user would do instead, the same order of NICs by hand on each host, has no time to compare with.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _wiring_record  # noqa: E402 - found below the clone
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._inventory import read  # noqa: E402
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._lookup import HostVariables  # noqa: E402
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._plan import build_plan  # noqa: E402
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._profile import load  # noqa: E402
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import Problems  # noqa: E402

HOSTS, HALF, ROUNDS = 1024, 512, 9
BUSES = ("10", "30", "50", "70")  # one PCI switch for each pair of XPUs, the first two on the first NUMA node


def host_record(number: int) -> dict[str, Any]:
    """A host wired as the model card's; on every tenth the XPUs are numbered the other way round."""

    def place(bus: str, function: str) -> list[str]:
        return [f"pci0000:{bus}", f"0000:{bus}:01.0", f"0000:{int(bus) + 1}:00.0", f"0000:{int(bus) + 2}:{function}"]

    order = list(range(8)) if number % 10 else [2, 3, 0, 1, 6, 7, 4, 5]
    devices = [
        {"pci": path[-1], "index": order[index], "minor": order[index], "numa_node": index // 4, "path": path}
        for index in range(8)
        for path in [place(BUSES[index // 2], f"0{index % 2}.0")]
    ]
    rails = {
        f"eth{rail + 1}": {
            "mac": f"0c:42:a1:{rail:02x}:{number >> 8:02x}:{number & 255:02x}",
            "subnets": [f"10.{rail + 1}.0.0/16"],
            "numa_node": rail // 2,
            "path": place(BUSES[rail], "08.0"),
        }
        for rail in range(4)
    }
    control = {
        "mac": f"0c:42:a1:ff:{number >> 8:02x}:{number & 255:02x}",
        "subnets": ["10.0.0.0/16"],
        "numa_node": 0,
        "path": ["pci0000:00"],
    }
    return {"devices": devices, "interfaces": {"eth0": control, **rails}}


def cluster(hosts: int) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Variables of the hosts, and their record."""
    names = [f"p800-{number:04}" for number in range(hosts)]
    variables = {
        name: {"cluster_accelerator": "kunlunxin", "ansible_host": f"10.0.{number // 250}.{1 + number % 250}"}
        for number, name in enumerate(names)
    }
    return variables, {name: host_record(number) for number, name in enumerate(names)}


def plan_seconds(hosts: int) -> float:
    """One plan, as plain data, from the variables and the record."""
    variables, record = cluster(hosts)
    began = time.perf_counter()
    spec, problems = read(list(variables), HostVariables(variables), Path())
    made = build_plan(spec, load("kunlunxin"), problems, record).as_dict()
    seconds = time.perf_counter() - began
    assert len(made["ranks"]) == 8 * hosts
    assert made["hosts"][0]["environment"]["XPU_VISIBLE_DEVICES"] == "2,3,0,1,6,7,4,5"
    assert made["hosts"][1]["environment"]["BKCL_RDMA_NICS"] == "eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4"
    return seconds


def read_seconds(hosts: int) -> float:
    """Reading the record's file."""
    _variables, record = cluster(hosts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.topology.json"
        path.write_text(_wiring_record.render(record))
        began = time.perf_counter()
        found = _wiring_record.read(str(path), Problems())
        seconds = time.perf_counter() - began
    assert found == record
    return seconds


def main() -> None:
    load("kunlunxin")
    times: dict[int, list[float]] = {HOSTS: [], HALF: []}
    for _round in range(ROUNDS):  # interleaved, so that both meet the same machine
        for hosts, found in times.items():
            found.append(plan_seconds(hosts))
    medians = {hosts: statistics.median(found) for hosts, found in times.items()}
    reading = statistics.median(read_seconds(HOSTS) for _round in range(3))
    print(f"{'hosts':>6} {'median s':>9} {'best s':>9} {'worst s':>9}")
    for hosts, found in times.items():
        print(f"{hosts:6} {medians[hosts]:9.3f} {min(found):9.3f} {max(found):9.3f}")
    print(f"reading the record of {HOSTS} hosts: {reading:.3f} s")
    figures = {"hosts": HOSTS, "seconds": round(medians[HOSTS], 3), "growth": round(medians[HOSTS] / medians[HALF], 2)}
    print(json.dumps({**figures, "read_seconds": round(reading, 3)}))


if __name__ == "__main__":
    main()
