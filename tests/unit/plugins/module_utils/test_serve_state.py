"""The state file: what it keeps, and what survives a restart of the program."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_state


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_the_time_of_a_phase_is_that_of_its_first_note(tmp_path):
    clock = Clock()
    state = _serve_state.StateFile(str(tmp_path), "d1", clock)
    clock.now = 1010.0
    state.enter(_serve_state.WAITING, "node2: not asked yet")
    clock.now = 1020.0
    state.enter(_serve_state.WAITING, "node3: not asked yet")
    record = _serve_state.read(str(tmp_path))
    assert (record["phase"], record["since"], record["reason"]) == (_serve_state.WAITING, 1010.0, "node3: not asked yet")


def test_a_failure_outlives_the_restart_of_the_same_deployment_only(tmp_path):
    state = _serve_state.StateFile(str(tmp_path), "d1", Clock())
    state.enter(_serve_state.LOADING)
    state.fail("the engine has ended", [f"line {i}" for i in range(100)])
    _serve_state.StateFile(str(tmp_path), "d1", Clock())
    failure = _serve_state.read(str(tmp_path))["failure"]
    assert (failure["phase"], failure["reason"]) == (_serve_state.LOADING, "the engine has ended")
    assert failure["log"][-1] == "line 99" and len(failure["log"]) == _serve_state.LOG_LINES_KEPT
    _serve_state.StateFile(str(tmp_path), "d2", Clock())
    assert _serve_state.read(str(tmp_path))["failure"] is None


def test_what_cannot_be_read_is_no_state(tmp_path):
    assert _serve_state.read(str(tmp_path)) is None
    (tmp_path / _serve_state.FILE_NAME).write_text("{half")
    assert _serve_state.read(str(tmp_path)) is None
