"""Two runs on one cluster: the second is told who holds the lease, and one that died hinders nobody it need not."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from clone import BIN, INVENTORY, ROOT, evaluate, play

pytestmark = pytest.mark.lab

LEASE = "/run/flagos-kunlunxin/lease.json"
HOLD = """
- name: Hold
  hosts: cluster
  gather_facts: false
  tasks:
    - name: Hold the cluster's lease
      flagos.kunlunxin.cluster_lease:
        insist: "{{ insist | default(false) }}"
      delegate_to: "{{ groups['cluster'] | first }}"
      run_once: true
    - name: Work
      ansible.builtin.wait_for:
        timeout: "{{ seconds | default(0) | int }}"
      delegate_to: localhost
      run_once: true
    - name: Give the cluster's lease back
      flagos.kunlunxin.cluster_lease:
        state: released
      delegate_to: "{{ groups['cluster'] | first }}"
      run_once: true
"""


@pytest.fixture
def hold(tmp_path):
    path = tmp_path / "hold.yml"
    path.write_text(HOLD)
    return path


@pytest.fixture
def head(lab):
    """The host that keeps the lease; afterwards nobody holds it."""
    name = evaluate("groups['cluster'] | first")
    lab.execute(name, f"rm -f {LEASE}")
    yield name
    lab.execute(name, f"rm -f {LEASE}")


@pytest.fixture
def working(hold, head, lab):
    """Starts a run that holds the lease and works for a while; all of them have ended afterwards."""
    runs = []

    def start(*before):
        command = [*before, BIN / "ansible-playbook", "--inventory", INVENTORY, hold, "--extra-vars", "seconds=60"]
        run = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        runs.append(run)
        until = time.monotonic() + 120
        while not lab.execute(head, f"cat {LEASE} 2>/dev/null || true").strip():
            assert run.poll() is None, "the run ended before it held the lease"
            assert time.monotonic() < until
            time.sleep(0.5)
        return run

    yield start
    for run in runs:
        kill(run)


def kill(run):
    """End a run as a crash does; what its workers, in sessions of their own, are waiting for ends by itself within a minute."""
    if run.poll() is None:
        os.killpg(run.pid, 9)
        run.wait()


def test_a_second_run_is_told_who_holds_the_lease(working, head, lab):
    working()
    record = json.loads(lab.execute(head, f"cat {LEASE}"))
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["since"]))
    refused = play("playbooks/weights.yml", capture=True)
    assert refused.status != 0
    assert refused.changed == 0
    assert f"{head}: cluster lease: held by {record['who']} since {since}, running hold.yml" in refused.output
    assert "expected no other run; wait for it" in refused.output


def test_check_mode_disturbs_nobody_and_says_so(working, hold, head, lab):
    working()
    before = lab.execute(head, f"cat {LEASE}")
    checked = play(hold, "--check", capture=True)
    assert checked.status == 0, checked.output
    assert "cluster lease: held by" in checked.output
    assert lab.execute(head, f"cat {LEASE}") == before


def test_a_run_of_this_controller_that_was_killed_is_no_hindrance(working, hold, head, lab):
    kill(working())
    ended = play(hold, capture=True)
    assert ended.status == 0, ended.output
    assert "whose process has ended" in ended.output
    assert not lab.execute(head, f"cat {LEASE} 2>/dev/null || true").strip()


def test_another_controllers_lease_holds_until_it_is_broken(working, hold):
    """A process namespace of its own is another controller: this one cannot see whether its processes live."""
    kill(working("unshare", "--pid", "--fork", "--mount-proc"))
    refused = play(hold, capture=True)
    assert refused.status != 0
    assert "cluster_lease_break=true" in refused.output
    broken = play(hold, "--extra-vars", "insist=true", capture=True)
    assert broken.status == 0, broken.output
    assert "because this run insists" in broken.output
