"""The machine under the lab stops and starts: hosts and service come back by themselves, as four machines do after a power cut."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from clone import evaluate, play
from lab import command

pytestmark = [pytest.mark.lab, pytest.mark.full]


def restart(lab) -> None:
    """Stop and start the lab by whoever supervises it."""
    config = lab.root / "etc" / "labd.json"
    if Path("/run/systemd/system").is_dir():
        # Its own stop would end the unit's process behind systemd's back, and its start would be nobody's unit.
        supervisor = ("systemctl", "restart", f"{json.loads(config.read_text())['cgroup']}.service")
    else:
        supervisor = (str(lab.root / "bin" / "labd"), "restart", str(config))
    command(*supervisor, timeout=300)


def started(lab) -> dict[str, str]:
    """When each host was last powered on."""
    return {host: lab.docker("inspect", "--format", "{{.State.StartedAt}}", host).strip() for host in lab.hosts}


def answer_within(service, seconds: float) -> str:
    """The first answer of a service that comes up; empty when there is none in so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):  # no connection yet, or an answer of half a service
            return service.chat("Hello").strip()
        time.sleep(2)
    return ""


def test_a_service_comes_back_with_the_lab_and_nothing_of_the_lab_has_to_be_mended(serving, lab):
    limit = float(evaluate("lookup('flagos.kunlunxin.plan').limits.ready_seconds"))
    before = started(lab)
    restart(lab)
    for host in lab.hosts:
        lab.wait_for_ssh(host)
    after = started(lab)
    assert not [host for host in lab.hosts if after[host] == before[host]], "a host that was not off proves nothing"
    assert answer_within(serving, limit), f"no answer within the {limit:.0f} s that a start may take"
    ended = play("playbooks/lab.yml", capture=True)
    assert (ended.status, ended.changed) == (0, 0), ended.output
