"""Kernel parameters of the boot line: added on request, restarted for one host after the other where that is allowed, and taken out again."""

from __future__ import annotations

import datetime
import itertools
import json
import sys

import pytest
from clone import play
from p800 import STATE_OF_A_HOST, preflight, run, settle

CONFIGURATION = "/boot/grub/grub.cfg"
RUNNING = "/var/lib/p800-simulator/overlay/proc/cmdline"


def on_all(lab, shell: str) -> dict[str, str]:
    return {host: lab.execute(host, shell) for host in lab.hosts}


def last_absence(lab, host: str) -> tuple[float, float]:
    """When the host went down last, and when its sshd was there again."""
    down = datetime.datetime.fromisoformat(lab.docker("inspect", "--format", "{{.State.FinishedAt}}", host).strip())
    up = lab.execute(host, 'date --date "$(systemctl show --property=ActiveEnterTimestamp --value ssh)" +%s')
    return down.timestamp(), float(up)


def about_iommu() -> list[str]:
    """The hosts on which preflight finds something wrong with the IOMMU."""
    report, _seconds, _ended = preflight("host")
    return sorted(check["host"] for check in report["checks"] if check["check"] == "IOMMU")


@pytest.mark.lab
@pytest.mark.full
def test_the_boot_line_on_request_and_a_restart_where_it_is_allowed(bare, lab):
    """The hosts' owner has the IOMMU translate; iommu=pt is asked for, and taken back."""
    settle("tests/simulators/install.yml", "--extra-vars", json.dumps({"p800_simulator_options": ["--boot-parameters", "intel_iommu=on"]}))
    names = [f"p800-{number}" for number in range(1, 5)]
    state = f"{STATE_OF_A_HOST}cat {CONFIGURATION}"
    before, boots = on_all(lab, state), on_all(lab, "cat /proc/sys/kernel/random/boot_id")
    assert about_iommu() == names
    asked = {"host_boot_parameters": ["iommu=pt"]}
    allowed = {**asked, "host_reboot_allowed": True}

    ended = settle("playbooks/host.yml", "--extra-vars", json.dumps(asked))
    assert f"host: {', '.join(names)}: the running kernel is without what was added to the boot line" in ended.output
    for host in lab.hosts:
        assert lab.execute(host, f"grep --count 'intel_iommu=on iommu=pt' {CONFIGURATION}").strip() == "2", "recovery has it, too"
        assert "iommu=pt" not in lab.execute(host, f"cat {RUNNING}")
    again = settle("playbooks/host.yml", "--extra-vars", json.dumps(asked))
    assert again.changed == 0 and "the running kernel is without" in again.output, again.output

    lab.execute("node4", "p800-simulator ready; p800-simulator fault set node-held")
    refused = run("playbooks/host.yml", "--extra-vars", json.dumps(allowed))
    assert refused.status != 0 and any("p800-4: restart: python3 (pid 4000000) holds /dev/xpu0" in line for line in refused.fatal)
    assert on_all(lab, "cat /proc/sys/kernel/random/boot_id") == boots, "none was restarted"
    lab.execute("node4", "p800-simulator reset; grep -q iommu=pt /etc/default/grub.d/*.cfg && update-grub")

    ended = settle("playbooks/host.yml", "--extra-vars", json.dumps(allowed))
    after = on_all(lab, "cat /proc/sys/kernel/random/boot_id")
    assert all(after[host] != boots[host] for host in lab.hosts), ended.output
    absences = sorted(last_absence(lab, host) for host in lab.hosts)
    assert all(up <= down for (_down, up), (down, _up) in itertools.pairwise(absences)), absences
    assert all("intel_iommu=on iommu=pt" in line for line in on_all(lab, f"cat {RUNNING}").values())
    assert about_iommu() == []
    again = settle("playbooks/host.yml", "--extra-vars", json.dumps(allowed))
    assert again.changed == 0, again.output

    ended = settle("playbooks/reset.yml", "--extra-vars", json.dumps({"cluster_reset": True, "cluster_reset_stages": ["host"]}))
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
