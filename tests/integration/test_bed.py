"""The bed that transfers are measured in: links as they were asked for, and nothing that stays."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import bed
import machine
import pytest

MAKER = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it, and so do its children
sys.path.insert(0, {str(Path(bed.__file__).parent)!r})
from bed import Bed
with Bed(hosts=2, rate_mbit=50) as made:
    held = made.start("h1", "sleep", "1000")
    print(held.inner(), made.name, flush=True)
    time.sleep(1000)
"""


def left(name: str) -> list[Path]:
    """What a bed's name is on."""
    groups = [Path(folder) for folder in machine.cgroups() if folder.endswith(name)]
    return [path for path in [Path(tempfile.gettempdir(), name), *groups] if path.exists()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_bed_ends_with_its_maker_however_that_ends(number: signal.Signals) -> None:
    maker = subprocess.Popen([sys.executable, "-c", MAKER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert maker.stdout
    pid, name = maker.stdout.readline().split()
    descriptor = os.pidfd_open(int(pid))
    maker.send_signal(number)
    maker.communicate()
    ended, _writable, _odd = select.select([descriptor], [], [], 5)
    os.close(descriptor)
    assert ended
    with bed.Bed(hosts=1):  # takes away what a maker that was killed could not
        assert left(name) == []


def test_members_reach_each_other_unless_a_cable_is_out() -> None:
    reach = ["bash", "-c", "exec 3<>/dev/tcp/$0/22"]
    with bed.Bed(hosts=2) as made:
        listener = made.start("h1", sys.executable, "-m", "http.server", "22", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listener.listens(22)
        made.run("h2", *reach, made.address["h1"])
        with made.cut("h1"), pytest.raises(bed.BedError):
            made.run("h2", "timeout", "1", *reach, made.address["h1"])
        made.run("h2", *reach, made.address["h1"])
