"""When a wait goes on, when it ends, and what it says."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_state
from ansible_collections.flagos.kunlunxin.plugins.modules import serve_wait

PLAN = {"head": {"name": "node1"}, "limits": {"ready_seconds": 100}}


class World:
    def __init__(self, folder):
        self.folder = str(folder)
        self.now = 1000.0
        self.failed = False

    def waiting(self):
        return serve_wait.Waiting(PLAN, self.folder, "d1", unit_failed=lambda: self.failed, clock=lambda: self.now)

    def state(self, deployment="d1"):
        return _serve_state.StateFile(self.folder, deployment, lambda: self.now)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_state_of_another_deployment_is_none(world):
    world.state("d0").enter(_serve_state.READY)
    waiting = world.waiting()
    assert waiting.look() is None
    assert waiting.words(None) == "the container has not started"


def test_it_waits_while_there_is_hope(world):
    waiting = world.waiting()
    world.state().enter(_serve_state.JOINING, "3 of 4 hosts")
    world.now += 120
    assert waiting.words(waiting.look()) == "counting Ray's hosts: 3 of 4 hosts"
    assert waiting.failure(waiting.look()) is None


def test_a_failure_ends_it_though_the_unit_starts_again(world):
    waiting = world.waiting()
    state = world.state()
    state.enter(_serve_state.LOADING)
    world.now += 5
    state.fail("the engine has ended: no room", ["ValueError: no room", "bye"])
    world.now += 10
    world.state().enter(_serve_state.WAITING)
    line = str(waiting.failure(waiting.look()))
    assert line.startswith(
        "node1: serve: the engine has ended: no room, in the phase 'loading the model'; the log ends with: bye; expected a completion within 100 s"
    )
    assert "\n" not in line


def test_a_failure_of_before_does_not_end_it(world):
    world.state().fail("long ago")
    world.now += 60
    waiting = world.waiting()
    world.state().enter(_serve_state.LOADING)
    assert waiting.failure(waiting.look()) is None


def test_a_unit_that_systemd_gave_up_ends_it_at_once(world):
    waiting = world.waiting()
    world.failed = True
    assert "has failed before the serve program ran" in str(waiting.failure(None))


def test_nothing_at_all_ends_with_the_limit(world):
    waiting = world.waiting()
    world.now += 100 + serve_wait.GRACE_SECONDS + 1
    assert "the container has not started" in str(waiting.failure(None))


def test_workers_are_those_of_this_deployment(tmp_path):
    assert serve_wait.read_workers(str(tmp_path), "d1") == []
    (tmp_path / serve_wait.PLACEMENT_FILE).write_text(json.dumps({"deployment": "d1", "workers": [{"rank": 0}]}))
    assert serve_wait.read_workers(str(tmp_path), "d1") == [{"rank": 0}]
    assert serve_wait.read_workers(str(tmp_path), "d2") == []
