"""The example of four P800 machines, pointed at the simulated lab: from bare hosts to rendered documents, and all the way back.

What only the silicon has is simulated (tests/simulators/README.md); hosts, network, engine, registry and weights are the lab's real ones.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from p800 import RENDERED, STATE_OF_A_HOST, settle

pytestmark = pytest.mark.lab

SERVE = "/var/lib/flagos-kunlunxin/serve"
# What each simulator is told, by knob of the role rdma. Firmware and packages keep theirs over a boot.
RDMA_COMMANDS = yaml.safe_load((Path(__file__).parent / "rdma_commands.yml").read_text())
KEPT_OVER_A_BOOT = ("rdma_ethernet_adapters", "rdma_ofed_version")
QUESTION = re.compile(r"(mlnx_qos -i|cma_roce_tos -d|setpci -s \S+) [^ =]+|ethtool -[giPS] \S+|mlxconfig .* query|mlxreg .* --get --yes")


def commands_of_rdma(lab, host: str, after: int = 0) -> list[str]:
    """What the simulator of a host was told to change of its adapters, buses and kernel, questions left out.

    :param after: lines of its log that are not looked at.
    """
    programs = {line.split(maxsplit=1)[0] for lines in RDMA_COMMANDS.values() for line in lines}
    entries = map(json.loads, lab.execute(host, "cat /var/lib/p800-simulator/commands.log").splitlines()[after:])
    said = [in_words(entry["program"], entry["argv"]) for entry in entries if entry["program"] in programs]
    return [line for line in said if not QUESTION.fullmatch(line)]


def in_words(program: str, argv: list[str]) -> str:
    if program != "write":
        return " ".join([program, *argv])
    path, text = argv
    return f"write {text} to " + re.sub("^/sys/devices/.*/(net|infiniband)/", r"/sys/class/\1/", path)  # where the kernel links to


def test_from_bare_hosts_to_rendered_documents(rendered, lab):
    stages = {role for role, _task, _hosts in rendered.changes}
    assert {"host", "rdma", "driver", "container_engine", "image", "weights", "serve"} <= stages, rendered.output
    assert "serve_state is rendered and no service was started" in rendered.output
    for number, host in enumerate(lab.hosts):
        environment = dict(line.split("=", 1) for line in lab.execute(host, f"cat {SERVE}/environment").splitlines())
        assert environment["BKCL_RDMA_NICS"] == "eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4"
        assert environment["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
        assert environment["VLLM_HOST_IP"] == lab.hosts[host]
        assert (environment["USE_FLAGGEMS"], environment["GEMS_VENDOR"]) == ("1", "kunlunxin")
        launcher = lab.execute(host, f"cat {SERVE}/run")
        assert all(f"--device=/dev/xpu{device}" in launcher for device in (*range(8), "ctrl"))
        assert lab.execute(host, "xpu-smi -q | grep -c 'Product Name'").strip() == "8"
        assert "flagos-kunlunxin-serve" not in lab.containers(host)
        assert "mtu 1400" in lab.execute(host, "ip link show eth4"), number
    hostfile = lab.execute("node1", f"cat {SERVE}/documents/hostfile.txt")
    assert [line.split()[0] for line in hostfile.splitlines() if line[:1].isdigit()] == list(lab.hosts.values())
    record = json.loads(Path(lab.root / "simulated" / "cluster.topology.json").read_text())["hosts"]
    assert [device["index"] for device in record["p800-1"]["devices"]] == list(range(8)), "the driver's numbers are recorded"


def test_every_knob_of_rdma_that_the_lab_lacks_reaches_the_simulator(rendered, lab):
    for host in lab.hosts:
        received, kernel = commands_of_rdma(lab, host), lab.execute(host, "uname -r").strip()
        wanted = {knob: [line.format(kernel=kernel) for line in lines] for knob, lines in RDMA_COMMANDS.items()}
        assert {knob: [line for line in lines if line in received] for knob, lines in wanted.items()} == wanted, host
        # Other cases may have had the unit replay some; nothing else was said.
        assert set(received) == {line for lines in wanted.values() for line in lines}, host


@pytest.mark.full
def test_a_second_run_changes_nothing(rendered):
    ended = settle("site.yml", *RENDERED)
    assert ended.changed == 0, ended.output


@pytest.mark.full
def test_check_mode_finds_nothing_to_change(rendered):
    ended = settle("site.yml", *RENDERED, "--check", "--diff")
    assert ended.changed == 0, ended.output


@pytest.mark.full
def test_a_restarted_host_is_as_it_was(rendered, lab):
    settings = (
        "ip -4 rule; ip route show table 101; cat /sys/class/net/eth1/mtu; cut -d' ' -f1 /proc/modules | head -3; df --output=size /dev/shm"
    )
    before = lab.execute("node2", settings)
    told = int(lab.execute("node2", "wc -l < /var/lib/p800-simulator/commands.log"))
    lab.stop("node2")
    lab.start("node2")
    lab.execute("node2", "systemctl is-system-running --wait || true")
    ended = settle("site.yml", *RENDERED)
    assert ended.changed == 0, ended.output
    assert lab.execute("node2", settings) == before
    again = [line for knob, lines in RDMA_COMMANDS.items() if knob not in KEPT_OVER_A_BOOT for line in lines]
    assert sorted(commands_of_rdma(lab, "node2", after=told)) == sorted(again), "the unit replays every knob that a boot forgets"


@pytest.mark.full
def test_on_bare_hosts_check_mode_ends_well_and_touches_nothing(bare, lab):
    before = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    ended = settle("site.yml", *RENDERED, "--check", "--diff")
    assert ended.changes, "on bare hosts there is something to do"
    assert {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts} == before


@pytest.mark.full
def test_reset_brings_the_hosts_back(bare, lab):
    """OFED stays, as packages do, so it is there before."""
    for host in lab.hosts:
        lab.execute(host, "p800-simulator ofed install")
    before = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    for stage in ("topology", "host", "rdma", "driver"):
        settle(f"playbooks/{stage}.yml")
    prepared = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    assert all(prepared[host] != before[host] for host in lab.hosts)
    settle("playbooks/reset.yml", "--extra-vars", json.dumps({"cluster_reset": True}))
    after = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    for host in lab.hosts:
        assert after[host].splitlines() == before[host].splitlines(), host
    again = settle("playbooks/reset.yml", "--extra-vars", json.dumps({"cluster_reset": True}))
    assert again.changed == 0, again.output
