"""The wait for what the swarm brings: when it ends, what it says, and when it gives up."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.modules import weights_swarm_wait
from ansible_collections.flagos.kunlunxin.plugins.modules.weights_swarm_wait import WaitError, note, wait


def status(phase="receiving", done=0, peers=(), **more):
    return {
        "phase": phase,
        "seconds": 1.5,
        "done_bytes": done,
        "peers": {f"192.0.2.{n}": {"progress": part} for n, part in enumerate(peers)},
        "error": None,
        **more,
    }


class Story:
    """Lanes that go on as told: one list of statuses a look, the last one for ever; a clock that a sleep moves."""

    def __init__(self, *looks, active=True):
        self.looks = list(looks)
        self.running = active
        self.clock = 0.0
        self.said = []

    def statuses(self):
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def active(self):
        return [self.running for _lane in self.looks[0]]

    def sleep(self, seconds):
        self.clock += seconds

    def wait(self, patience=600):
        return wait(
            self, patience, lambda done, words, from_source: self.said.append((done, words, from_source)), lambda: self.clock, self.sleep
        )


def test_it_ends_when_every_lane_is_whole():
    whole = [status("complete", 10), status("complete", 20)]
    story = Story([{}, {}], [status(done=5, source_bytes=2), status("complete", 20, source_bytes=6)], whole)
    assert story.wait() == whole
    assert [(done, from_source) for done, _words, from_source in story.said] == [(0, 0), (25, 8)]


def test_it_fails_at_once_with_file_and_reason():
    story = Story([status(), status("failed", error={"file": "model-3", "reason": "No space left on device"})])
    with pytest.raises(WaitError) as failed:
        story.wait()
    assert (failed.value.observed, story.clock) == ("model-3: No space left on device", 0)
    assert failed.value.remedy == "make room, then run weights.yml again; what was received is kept"


def test_a_source_that_is_gone_is_waited_for_and_said():
    story = Story([status(done=5, peers=(0.25, 0.4)), status(done=5, peers=(0.973,))])
    with pytest.raises(WaitError) as failed:
        story.wait(patience=60)
    assert story.clock == pytest.approx(60, abs=1)
    assert "no byte for 59 s, waiting for a source: the best peer has 40.0%" in [words for _done, words, _source in story.said]
    assert story.said[0] == (10, "receiving from 2", 0)
    assert failed.value.observed == "no byte for 60 s; the best peer has 40.0%"


def test_a_source_that_comes_back_in_time_is_no_failure():
    standing = [[status(done=5)]] * 100
    story = Story(*standing, [status(done=6)], *standing, [status("complete", 10)])
    assert story.wait(patience=60)


@pytest.mark.parametrize("phase", ["checking", "flushing"])
def test_a_disk_that_takes_its_time_is_not_silence(phase):
    assert Story(*[[status(phase, 5)]] * 1000, [status("complete", 5)]).wait(patience=60)


def test_a_lane_that_ends_without_a_word_is_noticed_and_one_that_systemd_starts_anew_is_not():
    gone = Story([status(done=5)], active=False)
    with pytest.raises(WaitError, match="a lane ended and said nothing"):
        gone.wait()
    assert 15 < gone.clock < 17
    back = Story(*[[status(done=5)]] * 20, [status(done=6)], [status("complete", 10)], active=False)
    assert back.wait()


@pytest.mark.parametrize(
    ("statuses", "quiet", "words"),
    [
        ([status("checking", file="model-1"), status()], 0, "reading model-1"),
        ([status("flushing"), status("complete")], 0, "writing to the disk"),
        ([status(peers=(1, 0.5)), status(peers=(1,))], 5, "receiving from 2"),
    ],
)
def test_what_goes_on_is_said_in_a_few_words(statuses, quiet, words):
    assert note(statuses, quiet) == words


@pytest.fixture
def arguments(tmp_path):
    return {
        "folder": "/models/m.revisions/98ea6e4f216f2fb4",
        "files": ["a", "b"],
        "bytes": 12,
        "total_bytes": 30,
        "state_dir": str(tmp_path),
        "revision": "98ea6e4f216f2fb4",
        "lanes": 1,
    }


def test_check_mode_predicts_files_and_bytes_and_waits_for_nothing(run_module, arguments):
    answer = run_module("weights_swarm_wait", arguments, check=True)
    assert (answer["changed"], answer["files"], answer["bytes"], answer["diff"]["after"]) == (True, ["a", "b"], 12, "a\nb\n")


def test_what_arrived_is_what_was_predicted_and_a_second_run_changes_nothing(run_module, arguments, tmp_path):
    lane = tmp_path / "weights" / "98ea6e4f216f2fb4"
    lane.mkdir(parents=True)
    told = status("complete", 30, received_bytes=13, sent_bytes=40, seconds=1.5, liars=["192.0.2.7"])
    (lane / "member-0.status.json").write_text(json.dumps(told))
    predicted = run_module("weights_swarm_wait", arguments, check=True)
    made = run_module("weights_swarm_wait", arguments)
    assert {key: made[key] for key in ("changed", "files", "bytes", "diff")} == {
        key: predicted[key] for key in ("changed", "files", "bytes", "diff")
    }
    assert (made["received_bytes"], made["sent_bytes"], made["liars"]) == (13, 40, ["192.0.2.7"])
    assert "bytes that are not those of the weights came from 192.0.2.7, and were refused" in json.dumps(made["warnings"])
    again = run_module("weights_swarm_wait", {**arguments, "files": [], "bytes": 0})
    assert (again["changed"], again["diff"]["before"]) == (False, again["diff"]["after"])


def test_a_failure_is_one_line_with_what_to_do(run_module, arguments, tmp_path):
    lane = tmp_path / "weights" / "98ea6e4f216f2fb4"
    lane.mkdir(parents=True)
    (lane / "member-0.status.json").write_text(json.dumps(status("failed", error={"file": "a", "reason": "Permission denied"})))
    answer = run_module("weights_swarm_wait", arguments)
    assert answer["failed"]
    assert "weights for /models/m.revisions/98ea6e4f216f2fb4: a: Permission denied; expected files that can be written" in answer["msg"]
    assert "\n" not in answer["msg"]


def test_the_remedy_speaks_of_what_is_kept():
    assert weights_swarm_wait.trouble([status()]) is None
