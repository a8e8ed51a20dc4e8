"""The coordinator's decisions, with the commands it runs replaced. That the commands do what they should is shown on the lab."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_coordinator, _serve_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_coordinator import Coordinator, ServiceError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_http import NoAnswerError, RefusedError

FRESH = {"left_over": [], "placement": []}
USED = {"left_over": ["raylet"], "placement": []}


def status(hosts):
    return "Active:\n" + " 1 node_ab\n" * hosts + f"Pending:\n (no pending nodes)\nTotal Usage:\n 0.0/{hosts}.0 GPU\n"


class World:
    """Stands for the other containers, FlagScale, Ray, the endpoint and the clock."""

    def __init__(self, folder):
        self.folder = folder
        self.now = 0.0
        self.members = {"10.0.0.2": [FRESH], "10.0.0.3": [FRESH]}
        self.ray = [status(3)]
        self.answers = [{}]
        self.health = [None]
        self.commands = []
        self.engine_pid = os.getpid()

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    @staticmethod
    def next(queue):
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def run(self, command, **options):
        self.commands.append(command)
        if command[0] == "ssh":
            said = self.next(self.members[command[4]])
            if isinstance(said, str):
                return subprocess.CompletedProcess(command, 255, "", said)
            return subprocess.CompletedProcess(command, 0, json.dumps(said), "")
        if "flagscale serve" in command[2]:
            if self.engine_pid:
                pids = self.folder / "logs" / "serve_logs" / "pids"
                pids.mkdir(parents=True)
                (pids / "host_0_localhost.pid").write_text(f"{self.engine_pid}\n")
                (pids.parent / "host_0_localhost.output").write_text("INFO fine\n\x1b[31mValueError: no room\x1b[0m\nbye\n")
            return subprocess.CompletedProcess(command, 0, "Error: The yaml does not exist.\n")
        return subprocess.CompletedProcess(command, 0, self.next(self.ray))

    def ask(self, queue):
        answer = self.next(queue)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def world(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "logs").mkdir()
    return World(tmp_path)


@pytest.fixture
def coordinator(world, monkeypatch):
    monkeypatch.setattr(_serve_coordinator._serve_container, "alive", lambda pid: pid == os.getpid())
    monkeypatch.setattr(_serve_coordinator._serve_container, "placement", lambda: [{"rank": 0, "local_rank": 0, "pid": 5, "device": None}])
    deployment = {
        "deployment": "d1",
        "address": "10.0.0.1",
        "peers": [{"name": f"node{n}", "address": f"10.0.0.{n}"} for n in (1, 2, 3)],
        "slots": 1,
        "folder": str(world.folder),
        "logs": str(world.folder / "logs"),
        "program": "/p.pyz",
        "document": "/d/serve.yaml",
        "before_start": "",
        "model": "tiny",
        "ports": {"ssh": 2222, "api": 8000},
        "limits": {"ready_seconds": 100, "probe_seconds": 5},
    }
    state = _serve_state.StateFile(str(world.folder / "state"), "d1", world.clock)
    made = Coordinator(deployment, state, run=world.run, clock=world.clock, sleep=world.sleep)
    monkeypatch.setattr(made.endpoint, "complete", lambda *a, **o: world.ask(world.answers))
    monkeypatch.setattr(made.endpoint, "get", lambda *a, **o: world.ask(world.health))
    return made


def test_it_comes_up(world, coordinator):
    world.members["10.0.0.3"] = ["ssh: connect to host 10.0.0.3 port 2222: Connection refused", FRESH]
    world.members["10.0.0.2"] = [USED, FRESH]
    world.ray = [status(2), status(3)]
    world.answers = [NoAnswerError("Connection refused"), RefusedError(503, "loading"), {}]
    coordinator.bring_up()
    kept = json.loads((world.folder / "state" / "placement.json").read_text())
    assert kept == {"deployment": "d1", "workers": [{"rank": 0, "local_rank": 0, "pid": 5, "device": None, "host": "node1"}]}


def test_who_does_not_answer_is_named(world, coordinator):
    world.members["10.0.0.3"] = ["ssh: connect to host 10.0.0.3 port 2222: Connection refused"]
    with pytest.raises(ServiceError, match=r"not ready within 100 s: no container answers on node3: ssh: .*refused"):
        coordinator.bring_up()
    assert not any("flagscale" in " ".join(command) for command in world.commands)


def test_a_container_that_stays_used_is_not_served_from(world, coordinator):
    world.members["10.0.0.2"] = [USED]
    with pytest.raises(ServiceError, match=r"node2: renewing, an earlier engine left raylet"):
        coordinator.bring_up()


def test_flagscale_that_starts_nothing_fails_whatever_its_status(world, coordinator):
    world.engine_pid = None
    with pytest.raises(ServiceError, match=r"flagscale serve started no engine: Error: The yaml does not exist"):
        coordinator.bring_up()


def test_a_host_that_ray_lacks_is_named(world, coordinator):
    world.ray = [status(2)]
    world.members["10.0.0.2"] = [FRESH, USED]
    with pytest.raises(ServiceError, match=r"Ray counts 2 of 3 hosts, 2 of 3 devices; no raylet on node3"):
        coordinator.bring_up()


def test_an_engine_that_ends_while_loading_fails_at_once_with_its_error(world, coordinator):
    world.engine_pid = 1 << 30
    world.answers = [NoAnswerError("Connection refused")]
    with pytest.raises(ServiceError, match=r"the engine has ended: ValueError: no room") as caught:
        coordinator.bring_up()
    assert caught.value.log == ["INFO fine", "ValueError: no room", "bye"]
    assert world.now < 10


def test_no_completion_within_the_limit(world, coordinator):
    world.answers = [NoAnswerError("timed out")]
    with pytest.raises(ServiceError, match=r"not ready within 100 s: no completion: timed out"):
        coordinator.bring_up()


def test_the_logs_of_one_earlier_run_are_kept(world, coordinator):
    logs = world.folder / "logs"
    (logs / "last").write_text("1")
    (logs / "previous").mkdir()
    (logs / "previous" / "older").write_text("0")
    coordinator.bring_up()
    assert [path.name for path in (logs / "previous").iterdir()] == ["last"]
    assert sorted(path.name for path in logs.iterdir()) == ["flagscale.log", "previous", "serve_logs"]


def watch(world, coordinator, seconds):
    for _second in range(seconds):
        world.now += 1
        coordinator.check()


def test_a_late_server_is_left_alone(world, coordinator):
    coordinator.bring_up()
    world.health = [NoAnswerError("timed out")]
    watch(world, coordinator, 120)


def test_a_closed_port_is_the_end_only_when_it_stays_closed(world, coordinator):
    coordinator.bring_up()
    world.health = [NoAnswerError("Connection refused"), None, NoAnswerError("Connection refused"), None]
    watch(world, coordinator, 60)
    world.health = [NoAnswerError("Connection refused")]
    with pytest.raises(ServiceError, match="the API is closed"):
        watch(world, coordinator, 20)


def test_an_engine_that_says_it_is_dead_is_believed(world, coordinator):
    coordinator.bring_up()
    world.health = [RefusedError(503, "")]
    with pytest.raises(ServiceError, match="says that it is dead"):
        watch(world, coordinator, 6)


def test_stop_is_flagscales_own_and_renews_the_others(world, coordinator):
    coordinator.bring_up()
    del world.commands[:]
    coordinator.take_down()
    assert world.commands[0][2] == "python -m flag_scale.run --config-path /d --config-name serve action=stop"
    assert [command[4] for command in world.commands[1:]] == ["10.0.0.2", "10.0.0.3"]
    assert all(command[-1] == "--renew" for command in world.commands[1:])


def test_the_image_is_activated_before_every_command(world, coordinator):
    coordinator.deployment["before_start"] = "source /activate serving"
    coordinator.bring_up()
    assert all(c[2].startswith("source /activate serving && ") for c in world.commands if c[0] == "bash")


LOG = """\
(APIServer pid=198) WARNING 11-23 22:02:24 [cpu.py:224] ImportError: Triton is not installed.
(EngineCore pid=230) ERROR 11-23 22:04:05 [ray_executor_v2.py:485] RayWorkerProc rank=[2] died unexpectedly, shutting down executor.
(APIServer pid=198) ERROR 11-23 22:04:05 [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.
INFO:     Application shutdown complete.
"""


def test_the_cause_is_the_first_error_without_its_prefix():
    assert _serve_coordinator.cause(LOG) == "RayWorkerProc rank=[2] died unexpectedly, shutting down executor."
    assert _serve_coordinator.cause("fine\nlast words\n\n") == "last words"
    assert _serve_coordinator.cause("") == "its log is empty"
