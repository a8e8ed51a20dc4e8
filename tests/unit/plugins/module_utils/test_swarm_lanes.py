"""The lanes of one machine, as processes: what is started, what is left alone, what ends."""

from __future__ import annotations

import os
import time
import zipfile

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_units
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_lanes import Lanes, decoded

# A lane that says that it is whole, and ends when it is told to.
PROGRAM = b"""
import json, os, signal, sys, time
config = json.load(open(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(0))
told = {"phase": "complete", "pid": os.getpid(), "torrent": open(config["torrent"]).read(), "path": os.environ.get("PYTHONPATH", "")}
with open(config["state"] + ".status.new", "w") as stream:
    json.dump(told, stream)
os.rename(config["state"] + ".status.new", config["state"] + ".status.json")
time.sleep(60)
"""


@pytest.fixture
def lanes(tmp_path, monkeypatch):
    """Makes the lanes of a machine anew, as each module does; what still runs in the end is ended."""
    monkeypatch.setattr(_swarm_units, "has_systemd", lambda: False)
    made = []

    def make(count=2, revision="98ea6e4f216f2fb4"):
        made.append(Lanes(str(tmp_path / "state"), revision, "member", count))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def start(tmp_path):
    def begin(lanes, program=PROGRAM, wheel="", **options):
        own = {"folder": str(tmp_path), "complete": [], **options}
        count = len(lanes.names)
        started = lanes.start(program, wheel, [b"torrent %d" % lane for lane in range(count)], [own] * count, 60)
        until = time.monotonic() + 20
        while not all(lanes.statuses()):
            assert time.monotonic() < until, "lanes that say something"
            time.sleep(0.05)
        return started

    return begin


def pids(lanes):
    return [status["pid"] for status in lanes.statuses()]


def test_each_lane_has_its_torrent_and_its_word(lanes, start):
    here = lanes()
    assert (here.statuses(), here.active()) == ([{}, {}], [False, False])
    assert start(here) == ["member-0", "member-1"]
    assert [status["torrent"] for status in here.statuses()] == ["torrent 0", "torrent 1"]
    assert here.active() == [True, True]


def test_what_runs_as_it_should_is_left_alone_whoever_started_it(lanes, start):
    start(lanes())
    before = pids(lanes())
    assert start(lanes()) == []
    assert pids(lanes()) == before


@pytest.mark.parametrize("news", [{"complete": ["a"]}, {"program": PROGRAM + b"#"}], ids=["other files", "another program"])
def test_what_runs_otherwise_is_started_anew(lanes, start, news):
    start(lanes())
    before = pids(lanes())
    assert start(lanes(), **news) == ["member-0", "member-1"]
    assert not set(before) & set(pids(lanes()))


def test_one_that_was_killed_is_started_and_what_it_said_is_forgotten(lanes, start):
    start(lanes())
    before = pids(lanes())
    os.kill(before[1], 9)
    while lanes().active()[1]:
        time.sleep(0.02)
    assert start(lanes()) == ["member-1"]
    assert pids(lanes())[0] == before[0]
    assert pids(lanes())[1] != before[1]


@pytest.mark.parametrize(("count", "revision"), [(1, "98ea6e4f216f2fb4"), (2, "0123456789abcdef")], ids=["fewer lanes", "another revision"])
def test_lanes_that_are_no_longer_wanted_end(lanes, start, count, revision):
    start(lanes(2))
    start(lanes(count, revision))
    assert lanes(count, revision).active() == [True] * count
    assert lanes(2).active() == [revision == "98ea6e4f216f2fb4", False]


def test_the_end_is_waited_for_and_nothing_stays(lanes, start, tmp_path):
    here = lanes()
    start(here)
    here.stop()
    assert here.active() == [False, False]
    here.stop()
    here.clear()
    assert list((tmp_path / "state" / "weights").iterdir()) == []


def test_libtorrent_is_unpacked_once_for_all_lanes(lanes, start, tmp_path):
    wheel = tmp_path / "libtorrent-2.0.11-cp311-cp311-linux.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("libtorrent/__init__.py", "")
    here = lanes()
    start(here, wheel=str(wheel))
    engine = here.statuses()[0]["path"]
    assert (engine, os.listdir(engine)) == (str(tmp_path / "state" / "weights" / "engine" / wheel.stem), ["libtorrent"])
    here.stop()
    wheel.unlink()
    start(lanes(), wheel=str(wheel))  # unpacked is unpacked


def test_notes_are_forgotten_when_they_are_wrong(lanes, start):
    here = lanes(1)
    start(here)
    here.stop()
    notes = os.path.join(here.folder, "member-0.resume")
    with open(notes, "w") as stream:
        stream.write("boot\nnotes")
    here.forget_notes()
    here.forget_notes()
    assert not os.path.exists(notes)


def test_torrents_are_in_the_order_of_their_lanes():
    assert decoded([{"lane": 1, "torrent": "Yg=="}, {"lane": 0, "torrent": "YQ=="}]) == [b"a", b"b"]


def test_a_unit_may_write_what_it_must_and_nothing_else(monkeypatch):
    ran = []
    monkeypatch.setattr(_swarm_units, "_run", ran.append)
    monkeypatch.setattr(_swarm_units, "_answer", lambda argv: ran.append(argv) or "")
    _swarm_units.SystemdUnits().start("member-0", ["python3", "swarm.pyz", "c.json"], {"PYTHONPATH": "/e"}, ["/state", "/models/a b"], 60)
    command = ran[-1]
    assert command[0] == "systemd-run"
    assert command[-3:] == ["python3", "swarm.pyz", "c.json"]
    assert {
        "--unit=flagos-kunlunxin-weights-member-0.service",
        "--setenv=PYTHONPATH=/e",
        "--property=User=flagos-swarm",
        "--property=ProtectSystem=strict",
        '--property=ReadWritePaths="/state" "/models/a b"',
        "--property=NoNewPrivileges=yes",
        "--property=CapabilityBoundingSet=",
        "--property=RuntimeMaxSec=60",
    } <= set(command)


def test_a_unit_that_cannot_start_is_one_line(monkeypatch):
    monkeypatch.setattr(_swarm_units, "_answer", lambda argv: "")
    with pytest.raises(_swarm_units.UnitError, match=r"^false: *$"):
        _swarm_units._run(["false"])
    with pytest.raises(_swarm_units.UnitError, match=r"^sh: a b$"):
        _swarm_units._run(["sh", "-c", "echo a; echo b; exit 1"])
