"""The example of four P800 machines, pointed at the simulated lab: from bare hosts to rendered documents, and all the way back.

What only the silicon has is simulated (tests/simulators/README.md); hosts, network, engine, registry and weights are the lab's real ones.
"""

from __future__ import annotations

import datetime
import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest
from clone import ROOT, Play, play

pytestmark = pytest.mark.lab

SIMULATORS = ROOT / "tests" / "simulators"
EXAMPLE = ROOT / "examples" / "p800"
RENDERED = ("--extra-vars", json.dumps({"serve_state": "rendered"}))
SERVE = "/var/lib/flagos-kunlunxin/serve"
# What is the driver's, the RDMA stage's and the host stage's to change. The stages' own state stays, as a record without effect.
STATE_OF_A_HOST = """
find /etc /usr/local /usr/src /usr/lib/modules /root -xdev -type f -print0 | grep -zv 'ld.so.cache\\|.pyc$' | sort -z | xargs -0 sha256sum
find /etc /usr/local /usr/src /usr/lib/modules -xdev -type l -printf '%p %l\\n' | sort
ip -4 route show table all | grep -v 'table local' | sort; ip -4 rule; head /sys/class/net/eth*/mtu
df --output=size /dev/shm
sysctl -a 2>/dev/null | grep -E '^net[.](core[.]somaxconn|ipv4[.](tcp_[rw]mem|conf[.].*[.](arp_ignore|arp_announce|rp_filter)))' | sort
systemctl list-unit-files --no-legend 'flagos-*' || true  # none is no failure
"""


def run(playbook: str, *options: str) -> Play:
    ended = play(playbook, "--inventory", str(SIMULATORS / "inventory"), *options, inventory=EXAMPLE, capture=True)
    assert ended.status == 0, ended.output
    return ended


def materials(lab) -> None:
    """What the operator got from the vendor, in the lab's folder."""
    spec = importlib.util.spec_from_file_location("simulated_materials", SIMULATORS / "materials.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.make(lab.root / "simulated", program.build.VERSIONS)


@pytest.fixture
def bare(lab):
    """Hosts as if just installed, with XPUs in them and no driver."""
    lab.reset(*lab.hosts)
    for name in ("cluster.lock.yml", "cluster.topology.json"):
        (lab.root / "simulated" / name).unlink(missing_ok=True)
    materials(lab)
    run("tests/simulators/install.yml")


@pytest.fixture(scope="module")
def rendered(lab):
    """From bare hosts to rendered documents; gives the first run."""
    bare.__wrapped__(lab)
    return run("site.yml", *RENDERED)


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


def test_a_second_run_changes_nothing(rendered):
    ended = run("site.yml", *RENDERED)
    assert ended.changed == 0, ended.output


@pytest.mark.full
def test_check_mode_finds_nothing_to_change(rendered):
    ended = run("site.yml", *RENDERED, "--check", "--diff")
    assert ended.changed == 0, ended.output


@pytest.mark.full
def test_a_restarted_host_is_as_it_was(rendered, lab):
    settings = (
        "ip -4 rule; ip route show table 101; cat /sys/class/net/eth1/mtu; cut -d' ' -f1 /proc/modules | head -3; df --output=size /dev/shm"
    )
    before = lab.execute("node2", settings)
    lab.stop("node2")
    lab.start("node2")
    lab.execute("node2", "systemctl is-system-running --wait || true")
    ended = run("site.yml", *RENDERED)
    assert ended.changed == 0, ended.output
    assert lab.execute("node2", settings) == before


@pytest.mark.full
def test_on_bare_hosts_check_mode_ends_well_and_touches_nothing(bare, lab):
    before = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    ended = run("site.yml", *RENDERED, "--check", "--diff")
    assert ended.changes, "on bare hosts there is something to do"
    assert {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts} == before


@pytest.mark.full
def test_reset_brings_the_hosts_back(bare, lab):
    """OFED stays, as packages do, so it is there before."""
    for host in lab.hosts:
        lab.execute(host, "p800-simulator ofed install")
    before = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    for stage in ("topology", "host", "rdma", "driver"):
        run(f"playbooks/{stage}.yml")
    prepared = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    assert all(prepared[host] != before[host] for host in lab.hosts)
    run("playbooks/reset.yml", "--extra-vars", json.dumps({"cluster_reset": True}))
    after = {host: lab.execute(host, STATE_OF_A_HOST) for host in lab.hosts}
    for host in lab.hosts:
        assert after[host].splitlines() == before[host].splitlines(), host
    again = run("playbooks/reset.yml", "--extra-vars", json.dumps({"cluster_reset": True}))
    assert again.changed == 0, again.output


CONFIGURATION = "/boot/grub/grub.cfg"
RUNNING = "/var/lib/p800-simulator/overlay/proc/cmdline"


def on_all(lab, shell: str) -> dict[str, str]:
    return {host: lab.execute(host, shell) for host in lab.hosts}


def last_absence(lab, host: str) -> tuple[float, float]:
    """When the host went down last, and when its sshd was there again."""
    down = datetime.datetime.fromisoformat(lab.docker("inspect", "--format", "{{.State.FinishedAt}}", host).strip())
    up = lab.execute(host, 'date --date "$(systemctl show --property=ActiveEnterTimestamp --value ssh)" +%s')
    return down.timestamp(), float(up)


def about_iommu(folder: Path) -> list[str]:
    """What preflight finds wrong with the IOMMU, and on which hosts."""
    report = folder / "preflight.json"
    run("playbooks/preflight.yml", "--extra-vars", json.dumps({"preflight_report_file": str(report)}))
    return sorted(check["host"] for check in json.loads(report.read_text())["checks"] if check["check"] == "IOMMU")


@pytest.mark.full
def test_the_boot_line_on_request_and_a_restart_where_it_is_allowed(bare, lab, tmp_path):
    """The hosts' owner has the IOMMU translate; iommu=pt is asked for, and taken back."""
    run("tests/simulators/install.yml", "--extra-vars", json.dumps({"p800_simulator_options": ["--boot-parameters", "intel_iommu=on"]}))
    names = [f"p800-{number}" for number in range(1, 5)]
    state = f"{STATE_OF_A_HOST}; cat {CONFIGURATION}"
    before, boots = on_all(lab, state), on_all(lab, "cat /proc/sys/kernel/random/boot_id")
    assert about_iommu(tmp_path) == names
    asked = {"host_boot_parameters": ["iommu=pt"]}
    allowed = {**asked, "host_reboot_allowed": True}

    ended = run("playbooks/host.yml", "--extra-vars", json.dumps(asked))
    assert f"host: {', '.join(names)}: the running kernel is without what was added to the boot line" in ended.output
    for host in lab.hosts:
        assert lab.execute(host, f"grep --count 'intel_iommu=on iommu=pt' {CONFIGURATION}").strip() == "2", "recovery has it, too"
        assert "iommu=pt" not in lab.execute(host, f"cat {RUNNING}")
    again = run("playbooks/host.yml", "--extra-vars", json.dumps(asked))
    assert again.changed == 0 and "the running kernel is without" in again.output, again.output

    lab.execute("node4", "p800-simulator ready; p800-simulator fault set node-held")
    refused = play("playbooks/host.yml", "-i", str(SIMULATORS / "inventory"), "-e", json.dumps(allowed), inventory=EXAMPLE, capture=True)
    assert refused.status != 0 and any("p800-4: restart: python3 (pid 4000000) holds /dev/xpu0" in line for line in refused.fatal)
    assert on_all(lab, "cat /proc/sys/kernel/random/boot_id") == boots, "none was restarted"
    lab.execute("node4", "p800-simulator reset; grep -q iommu=pt /etc/default/grub.d/*.cfg && update-grub")

    ended = run("playbooks/host.yml", "--extra-vars", json.dumps(allowed))
    after = on_all(lab, "cat /proc/sys/kernel/random/boot_id")
    assert all(after[host] != boots[host] for host in lab.hosts), ended.output
    absences = sorted(last_absence(lab, host) for host in lab.hosts)
    assert all(up <= down for (_down, up), (down, _up) in itertools.pairwise(absences)), absences
    assert all("intel_iommu=on iommu=pt" in line for line in on_all(lab, f"cat {RUNNING}").values())
    assert about_iommu(tmp_path) == []
    again = run("playbooks/host.yml", "--extra-vars", json.dumps(allowed))
    assert again.changed == 0, again.output

    ended = run("playbooks/reset.yml", "--extra-vars", json.dumps({"cluster_reset": True, "cluster_reset_stages": ["host"]}))
    assert f"host: {', '.join(names)}: the running kernel has what was taken out of the boot line" in ended.output
    assert on_all(lab, state) == before
    assert on_all(lab, "cat /proc/sys/kernel/random/boot_id") == after, "the restart is the operator's"


def test_no_host_is_restarted_after_one_that_did_not_come_back(tmp_path):
    """Ansible refuses to restart the controller's own machine, which is here what all hosts are: the first one fails, the others must not be tried."""
    inventory, playbook = tmp_path / "hosts.yml", tmp_path / "restart.yml"
    inventory.write_text(json.dumps({"all": {"hosts": dict.fromkeys(("one", "two", "three")), "vars": {"ansible_connection": "local"}}}))
    role = {"name": "flagos.kunlunxin.host", "tasks_from": "restart"}
    variables = {"_host_plan": {"facts_overlay": ""}, "_host_nodes": [], "ansible_become": False}
    variables["ansible_python_interpreter"] = sys.executable
    tasks = [{"name": "Restart", "ansible.builtin.include_role": role}]
    playbook.write_text(json.dumps([{"name": "Restart", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    ended = play(playbook, "--extra-vars", json.dumps(variables), inventory=inventory, capture=True)
    assert ended.status != 0 and [line.partition("]")[0] for line in ended.fatal] == ["fatal: [one"], ended.output
    assert "would reboot the control node" in ended.output
