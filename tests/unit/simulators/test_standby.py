"""The simulator's service answers for the simulated programs as they would by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from p800_simulator import programs
from p800_simulator.places import ROOT_VARIABLE

LIBRARY = Path(programs.__file__).parents[1]
SERVICE = """
import sys
from p800_simulator import call
call.ADDRESS = sys.argv[1]
from p800_simulator.standby import Standby
standby = Standby()
print("ready", flush=True)
while True:
    standby.take()
"""
CALLER = """
import os, sys
from p800_simulator import call
call.ADDRESS = sys.argv[1]
status = call.run(sys.argv[2], sys.argv[3:])
os.write(2, b"loaded" if "p800_simulator.runner" in sys.modules else b"asked")
sys.exit(status)
"""


@pytest.fixture
def call(tmp_path, host, monkeypatch):
    """Calls a program; gives exit status, output, and who answered behind what it complained of."""
    if not host.has_nodes:
        pytest.skip("device nodes cannot be made here")
    root = tmp_path / "machine"
    shown = {"proc/sys/kernel/osrelease": "6.8.0-87-generic", "proc/sys/kernel/random/boot_id": "one"}
    shown |= {"sys/class/net/eth1/address": "0c:42:a1:00:01:01", "sys/class/net/eth1/operstate": "up"}
    for name, text in shown.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), ROOT_VARIABLE: str(root)}
    for arguments in (["init"], ["ready"]):
        subprocess.run([sys.executable, "-m", "p800_simulator", *arguments], env=environment, check=True)

    def caller(*argv):
        ended = subprocess.run(
            [sys.executable, "-c", CALLER, str(tmp_path / "socket"), *argv], env=environment, cwd=root, check=False, capture_output=True
        )
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    caller.service = lambda: subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path / "socket")], env={"PYTHONPATH": str(LIBRARY)}, stdout=subprocess.PIPE
    )
    return caller


def test_the_service_says_what_the_program_would(call):
    questions = (["mlnx_qos", "-i", "eth1"], ["mlnx_qos", "-i", "none"], ["lsmod"], ["mlnx_qos", "-i", "eth1", "--trust", "dscp"])
    alone = [call(*question) for question in questions]
    assert [(status, error.endswith("loaded")) for status, _out, error in alone] == [(0, True), (1, True), (0, True), (0, True)]
    with call.service() as service:
        try:
            assert service.stdout.readline() == b"ready\n"
            served = [call(*question) for question in questions]
            changed = call("mlnx_qos", "-i", "eth1")
        finally:
            service.kill()
    assert [(status, error) for status, _out, error in served] == [
        (status, error.replace("loaded", "asked")) for status, _out, error in alone
    ]
    assert "trust state: pcp" in alone[0][1]
    assert "trust state: dscp" in changed[1]
    assert served[1:] == [(status, out, error.replace("loaded", "asked")) for status, out, error in alone][1:]
    assert call("mlnx_qos", "-i", "eth1")[2] == "loaded"  # the service is gone
