"""A controller killed with SIGKILL, in whatever stage: the same command again finishes."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from clone import BIN, INVENTORY, ROOT, Service, play

pytestmark = pytest.mark.lab

# How many seconds after its beginning a stage is killed: any time from the first to the second, which is less than it takes.
STAGES = {
    "preflight": (0.3, 2),
    "host": (0.3, 2),
    "container_engine": (0.3, 1.5),
    "distribute": (1, 40),
    "serve": (1, 50),
    "verify": (1, 15),
}
SEED = 20261123
# In the environment of every run that is killed here, and so of what it leaves behind.
MARK = f"FLAGOS_KILLED_BY={os.getpid()}"


@pytest.fixture(scope="module", autouse=True)
def orphans_end():
    """A killed run's workers, in sessions of their own, wait for it for ever: they live on to the end, and no longer."""
    yield
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if MARK.encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def began(output: str) -> list[str]:
    """The stages that a run has begun, in order: the callback writes ``[4/8 container_engine] ...`` at the start of each."""
    return list(dict.fromkeys(re.findall(r"^\[(?:\d+/\d+ )?(\w+)\] ", output, re.MULTILINE)))


def kill_in(stage: str, after_s: float, playbook: str = "site.yml") -> None:
    """Start a playbook and kill its whole process group so long after the stage began.

    :raises AssertionError: the play ended before it came to the stage, or the stage was over before the kill.
    """
    # Into a file, because workers in sessions of their own outlive the kill, and would hold a pipe open.
    with tempfile.NamedTemporaryFile("ab") as output:
        printed = Path(output.name).read_text
        controller = subprocess.Popen(
            [BIN / "ansible-playbook", "--inventory", INVENTORY, playbook],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", **dict([MARK.split("=")])},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while stage not in began(printed()):
            if controller.poll() is not None:
                raise AssertionError(f"{playbook} ended without stage {stage}:\n{printed()}")
            time.sleep(0.05)
        time.sleep(after_s)
        over = controller.poll() is not None
        if not over:
            os.killpg(controller.pid, signal.SIGKILL)
            controller.wait()
        reached = began(printed())[-1]
        if over or reached != stage:
            raise AssertionError(f"stage {stage} was over {after_s:.1f} s after it began; reached {reached}:\n{printed()}")


def finishes() -> None:
    ended = play("site.yml", capture=True)
    assert ended.status == 0, ended.output
    assert Service.of().chat("Hello").strip()


def test_killed_twice_on_the_way_up(lab):
    """From fresh hosts: killed in two stages one after the other, and then let through."""
    lab.reset(*lab.hosts)
    chosen = random.Random(SEED)
    names = list(STAGES)
    for stage in sorted(chosen.sample(names[1:5], 2), key=names.index):
        shortest, longest = STAGES[stage]
        kill_in(stage, chosen.uniform(shortest, min(longest, 6)))
    finishes()


@pytest.mark.full
def test_killed_in_every_stage_one_after_the_other(lab):
    """Each run but the first begins with what a killed one left of the stage before, and has to finish it to come to its own."""
    lab.reset(*lab.hosts)
    chosen = random.Random(SEED + 1)
    for stage, (shortest, longest) in STAGES.items():
        kill_in(stage, chosen.uniform(shortest, longest))
    finishes()
    last = play("site.yml", capture=True)
    assert (last.status, last.changed) == (0, 0), last.output


@pytest.mark.full
def test_killed_while_the_single_process_records_and_run_again_at_once(lab, serving):
    """What the killed run began on the host still goes on then."""
    lab.execute("node1", "rm -rf /var/lib/flagos-kunlunxin/reference")
    kill_in("verify", 8, playbook="playbooks/verify.yml")
    assert "flagos-kunlunxin-reference" in lab.containers("node1"), "killed too early or too late to prove anything"
    ended = play("playbooks/verify.yml", capture=True)
    assert ended.status == 0, ended.output
    assert "flagos-kunlunxin-reference" not in lab.containers("node1")
