"""The weights' swarm on real hosts: what a run leaves that is killed, what a second one is told, and a host that cannot go on."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clone import BIN, INVENTORY, ROOT, play

pytestmark = pytest.mark.lab

PATH = "/models/swarm-test"
STATE = "/var/lib/flagos-kunlunxin-swarm-test"
FILES = {"config.json": 2, "one.bin": 12_000_000, "two.bin": 12_000_000, "folder/three.bin": 6_000_000}
RATE = "40mbit"  # of every host: the 30 MB take about 7 s
UNITS = "flagos-kunlunxin-weights-member-*"


@pytest.fixture
def weights(lab, tmp_path) -> Iterator[list[str]]:
    """The options of a run with weights and a state of their own; afterwards the hosts are as before."""
    source = tmp_path / "weights"
    for path, size in FILES.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(b"{}" if path.endswith(".json") else os.urandom(size))
    variables = tmp_path / "variables.yml"
    variables.write_text(yaml.safe_dump({"weights_source": str(source), "weights_path": PATH, "cluster_state_dir": STATE}))
    yield ["--extra-vars", f"@{variables}"]
    for host in lab.hosts:
        lab.limit(host, None)
        lab.execute(host, f"systemctl stop '{UNITS}'; rm -rf {PATH} {PATH}.revisions {STATE}")


def begin(options: list[str], task: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the playbook, and return when a task has begun."""
    with tempfile.NamedTemporaryFile("wb", delete=False) as output:
        run = subprocess.Popen(
            [BIN / "ansible-playbook", "--inventory", INVENTORY, "playbooks/weights.yml", *options],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    printed = Path(output.name)
    while task not in printed.read_text():
        assert run.poll() is None, printed.read_text()
        time.sleep(0.05)
    return run, printed


def phases(lab, host: str) -> str:
    return lab.execute(host, f"cat {STATE}/weights/*/member-*.status.json 2>/dev/null || true")


def served(lab, host: str) -> str:
    return lab.execute(host, f"cd {PATH}/ && find . -type f | sort | xargs sha256sum")


def test_a_run_that_is_killed_interrupts_no_transfer(lab, weights):
    """Lanes go on without the controller, and the next run takes over what they brought."""
    for host in lab.hosts:
        lab.limit(host, RATE)
    run, printed = begin(weights, "Take part on every host ..")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert "Receive the files" not in printed.read_text(), "killed too late to prove anything"
    before = {host: phases(lab, host) for host in lab.hosts}
    assert not any('"phase": "complete"' in status for status in before.values()), before
    deadline = time.monotonic() + 120
    while not all('"phase": "complete"' in phases(lab, host) for host in lab.hosts):
        assert time.monotonic() < deadline, {host: phases(lab, host) for host in lab.hosts}
        time.sleep(0.5)
    again = play("playbooks/weights.yml", *weights, capture=True)
    assert again.status == 0, again.output
    assert len({served(lab, host) for host in lab.hosts}) == 1
    assert not any(lab.execute(host, f"systemctl list-units --no-legend --all '{UNITS}'").strip() for host in lab.hosts)
    last = play("playbooks/weights.yml", *weights, capture=True)
    assert (last.status, last.changed) == (0, 0), last.output


@pytest.mark.full
def test_a_second_run_is_told_who_is_at_work(lab, weights):
    for host in lab.hosts:
        lab.limit(host, RATE)
    run, printed = begin(weights, "Take part on every host ..")
    second = play("playbooks/weights.yml", *weights, capture=True)
    assert second.status != 0
    assert f"process {run.pid}" in second.output, second.output
    assert run.wait(120) == 0, printed.read_text()


@pytest.mark.full
def test_a_full_disk_is_named_and_the_others_finish(lab, weights):
    """Room that another program takes after it was planned with."""
    lab.execute("node2", f"mkdir -p {PATH}.revisions && mount -t tmpfs -o size=45m none {PATH}.revisions")
    try:
        for host in lab.hosts:
            lab.limit(host, RATE)
        run, printed = begin(weights, "Settle who takes part ..")
        lab.execute("node2", f"head -c 25000000 /dev/zero > {PATH}.revisions/foreign")
        assert run.wait(180) != 0
        failed = [line for line in printed.read_text().splitlines() if line.startswith("fatal:")]
        assert [("node2" in line, "No space left on device" in line) for line in failed] == [(True, True)], printed.read_text()
        assert len({served(lab, host) for host in lab.hosts if host != "node2"}) == 1
        lab.execute("node2", f"rm {PATH}.revisions/foreign")
        again = play("playbooks/weights.yml", *weights, capture=True)
        assert again.status == 0, again.output
        assert len({served(lab, host) for host in lab.hosts}) == 1
    finally:
        lab.execute("node2", f"rm -f {PATH}; umount {PATH}.revisions || umount -l {PATH}.revisions")
