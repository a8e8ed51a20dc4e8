"""What a lane leaves on the disk."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_state import COMPLETE, FAILED, RECEIVING, LaneState


@pytest.fixture
def state(tmp_path):
    return LaneState(str(tmp_path / "lane-0"))


@pytest.fixture
def told(state):
    return lambda: _swarm_state.read_status(state.prefix)


def test_a_lane_that_told_nothing_has_an_empty_status(told):
    assert told() == {}


def test_half_a_status_is_none(state, told, tmp_path):
    (tmp_path / "lane-0.status.json").write_text('{"phase": "rec')
    assert told() == {}


def test_what_is_not_told_anew_stays_and_a_new_phase_is_told_at_once(state, told):
    state.tell(RECEIVING, wanted_bytes=10, done_bytes=4)
    state.tell(RECEIVING, done_bytes=5)
    assert told()["done_bytes"] == 4
    state.tell(COMPLETE, done_bytes=10)
    assert {key: told()[key] for key in ("phase", "wanted_bytes", "done_bytes", "error")} == {
        "phase": COMPLETE,
        "wanted_bytes": 10,
        "done_bytes": 10,
        "error": None,
    }


def test_a_failure_names_file_and_reason(state, told):
    state.tell(RECEIVING, done_bytes=4)
    state.fail("model.bin", "No space left on device")
    assert (told()["phase"], told()["error"]) == (FAILED, {"file": "model.bin", "reason": "No space left on device"})


def test_a_reader_never_meets_half_a_status(state, tmp_path):
    for done in range(50):
        state.tell(RECEIVING if done % 2 else COMPLETE, done_bytes=done)
        assert json.loads((tmp_path / "lane-0.status.json").read_text())["done_bytes"] == done
    assert [path.name for path in tmp_path.iterdir()] == ["lane-0.status.json"]


def test_notes_come_back_as_they_were(state):
    assert state.resume() is None
    state.save_resume(b"d3:key\n5:valuee")
    assert state.resume() == b"d3:key\n5:valuee"


def test_notes_of_an_earlier_start_of_the_machine_are_not_trusted(state, monkeypatch):
    state.save_resume(b"notes")
    monkeypatch.setattr(_swarm_state, "boot_id", lambda: "another")
    assert state.resume() is None


def test_the_folder_is_called_as_the_torrent_calls_it(state, tmp_path):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(folder)
        view = state.view("98ea6e4f216f2fb4", str(tmp_path / folder))
    assert (tmp_path / view / "98ea6e4f216f2fb4" / "file").read_text() == "new"
