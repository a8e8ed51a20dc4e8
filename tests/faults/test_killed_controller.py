"""A controller killed with SIGKILL, in whatever stage: the same command again finishes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from clone import BIN, INVENTORY, ROOT, Service, play

pytestmark = pytest.mark.lab

STAGES = ("preflight", "host", "container_engine", "distribute", "serve", "verify")
SEED = 20261123


def kill_in(stage: str, after_s: float, playbook: str = "site.yml") -> None:
    """Start a playbook and kill its whole process group so long after the stage began.

    :raises AssertionError: the play ended before it came to the stage.
    """
    controller = subprocess.Popen(
        [BIN / "ansible-playbook", "--inventory", INVENTORY, playbook],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    seen = []
    for line in controller.stdout:
        seen.append(line)
        if line.startswith("[") and line.partition("]")[0].endswith(f" {stage}"):
            time.sleep(after_s)
            os.killpg(controller.pid, signal.SIGKILL)
            controller.wait()
            return
    raise AssertionError(f"{playbook} ended without stage {stage}:\n{''.join(seen)}")


def finishes() -> None:
    ended = play("site.yml", capture=True)
    assert ended.status == 0, ended.output
    assert Service.of().chat("Hello").strip()


def test_killed_three_times_on_the_way_up(lab):
    """From fresh hosts: killed in three stages one after the other, and then let through."""
    lab.reset(*lab.hosts)
    chosen = random.Random(SEED)
    for stage in sorted(chosen.sample(STAGES[1:5], 3), key=STAGES.index):
        kill_in(stage, chosen.uniform(0.5, 6))
    finishes()


@pytest.mark.full
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in(stage, lab):
    lab.reset(*lab.hosts)
    kill_in(stage, random.Random(f"{SEED} {stage}").uniform(0.5, 10))
    finishes()
    assert play("site.yml", capture=True).changed == 0


@pytest.mark.full
def test_killed_while_the_single_process_records_and_run_again_at_once(lab, serving):
    """What the killed run began on the host still goes on then."""
    lab.execute("node1", "rm -rf /var/lib/flagos-kunlunxin/reference")
    kill_in("verify", 8, playbook="playbooks/verify.yml")
    assert "flagos-kunlunxin-reference" in lab.containers("node1"), "killed too early or too late to prove anything"
    ended = play("playbooks/verify.yml", capture=True)
    assert ended.status == 0, ended.output
    assert "flagos-kunlunxin-reference" not in lab.containers("node1")
