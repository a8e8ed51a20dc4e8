"""One machine's part of the swarm, by the module, with lanes that say at once that they are whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import manifest_of, revision_name

FILES = {"config.json": b"{}", "sub dir/shard": b"x" * 1000}
# A lane that brings what its environment holds, and ends when it is told to.
PROGRAM = b"""
import json, os, signal, sys, time
config = json.load(open(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(0))
told = json.loads(os.environ["LANE_TELLS"])
for path, content in json.loads(os.environ["LANE_BRINGS"]).items():
    target = os.path.join(config["folder"], path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w") as stream:
        stream.write(content)
with open(config["state"] + ".status.new", "w") as stream:
    json.dump(told, stream)
os.rename(config["state"] + ".status.new", config["state"] + ".status.json")
time.sleep(60)
"""
pytestmark = pytest.mark.skipif(os.path.isdir("/run/systemd/system") and not os.geteuid(), reason="here lanes would be units of systemd")


@pytest.fixture
def arguments(tmp_path):
    manifest = manifest_of({path: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for path, data in FILES.items()})
    return {
        "path": str(tmp_path / "models" / "m"),
        "manifest": manifest,
        "state_dir": str(tmp_path / "state"),
        "lanes": [{"listen": ["127.0.0.1:6900"], "peers": [], "allow": []}],
    }


@pytest.fixture
def lane(run_module, arguments, monkeypatch, tmp_path):
    """``lane(state, ...)`` runs the module; lanes bring ``brings`` and say ``tells``."""
    folder = tmp_path / "state" / "weights" / revision_name(arguments["manifest"]["root"])

    def run(state, brings=None, tells=None, check=False, **more):
        monkeypatch.setenv("LANE_BRINGS", json.dumps({path: data.decode() for path, data in (FILES if brings is None else brings).items()}))
        monkeypatch.setenv("LANE_TELLS", json.dumps(tells or {"phase": "complete", "error": None}))
        given = {**arguments, "state": state, **more}
        if state == "started":
            given.update(torrents=[{"lane": 0, "torrent": "YQ=="}], program=base64.b64encode(PROGRAM).decode())
        answer = run_module("weights_swarm", given, check=check)
        until = time.monotonic() + 20
        while state == "started" and not check and not list(folder.glob("*.status.json")):
            assert time.monotonic() < until, answer
            time.sleep(0.05)
        return answer

    yield run
    run("stopped")


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def incoming(arguments):
    return os.path.join(f"{arguments['path']}.revisions", revision_name(arguments["manifest"]["root"]), ".incoming")


def test_check_mode_starts_and_ends_nothing(lane, tmp_path):
    before = tree(tmp_path)
    assert lane("started", check=True)["lanes"] == ["member-0"]
    assert lane("stopped", check=True)["lanes"] == ["member-0"]
    assert tree(tmp_path) == before


def test_a_second_start_starts_nothing_and_neither_is_a_change(lane):
    first, again = lane("started"), lane("started")
    assert (first["lanes"], again["lanes"]) == (["member-0"], [])
    assert (first["changed"], again["changed"]) == (False, False)


def test_nobody_who_reads_the_folder_meets_half_a_file(lane, arguments):
    lane("started")
    folder = os.path.dirname(incoming(arguments))
    assert os.listdir(folder) == [".incoming"]
    ended = lane("stopped")
    assert (ended["moved"], ended["trouble"]) == (sorted(FILES), [])
    assert {path: open(os.path.join(folder, path), "rb").read() for path in FILES} == FILES  # noqa: SIM115 - closed in time


def test_what_arrived_is_proven_and_not_read_again(lane, run_module, arguments):
    lane("started")
    lane("stopped")
    held = run_module("weights_info", {key: arguments[key] for key in ("path", "manifest", "state_dir")})
    assert (held["absent"], held["unread"], held["wrong"]) == ([], [], [])


def test_a_lane_that_is_not_whole_keeps_what_it_has_for_the_next_run(lane, arguments):
    error = {"file": "sub dir/shard", "reason": "No space left on device"}
    lane("started", brings={"config.json": b"{}"}, tells={"phase": "failed", "error": error})
    ended = lane("stopped")
    assert (ended["moved"], ended["trouble"]) == ([], ["sub dir/shard: No space left on device"])
    assert os.path.exists(os.path.join(incoming(arguments), "config.json"))


def test_a_file_that_is_no_longer_right_is_read_whatever_the_lane_noted(lane, arguments, tmp_path):
    lane("started")
    lane("stopped")
    shard = os.path.join(os.path.dirname(incoming(arguments)), "sub dir", "shard")
    with open(shard, "r+b") as stream:
        stream.write(b"damage")
    notes = tmp_path / "state" / "weights" / revision_name(arguments["manifest"]["root"]) / "member-0.resume"
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_bytes(b"boot\nall is there")
    lane("started", brings={})
    assert not notes.exists()
    with open(os.path.join(incoming(arguments), "sub dir", "shard"), "rb") as stream:
        assert stream.read(6) == b"damage"


def test_the_source_stays_as_it_is(lane, arguments, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    lane("started", brings={}, source=True, path=str(source))
    ended = lane("stopped", source=True, path=str(source))
    assert (ended["lanes"], ended["moved"]) == (["source-0"], [])
    assert [path.name for path in source.iterdir()] == ["file"]


def test_an_engine_that_cannot_be_unpacked_is_one_line(run_module, arguments, tmp_path):
    (tmp_path / "broken.whl").write_text("no zip")
    given = {
        **arguments,
        "state": "started",
        "torrents": [{"lane": 0, "torrent": "YQ=="}],
        "program": "",
        "engine": str(tmp_path / "broken.whl"),
    }
    answer = run_module("weights_swarm", given)
    assert answer["failed"]
    assert "swarm of the weights: File is not a zip file; expected lanes that start" in answer["msg"]
