from __future__ import annotations

import hashlib
import os
import shutil

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_host import HostWeights

FILES = {"config.json": b"{}", "sub/shard one": b"x" * 1000, "empty": b""}


@pytest.fixture
def manifest():
    return _weights.manifest_of({path: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for path, data in FILES.items()})


@pytest.fixture
def host(tmp_path, manifest):
    """Makes a fresh view of the same host, as each task does."""
    return lambda: HostWeights(str(tmp_path / "models" / "m"), manifest, str(tmp_path / "state"))


def bring(host, paths=tuple(FILES)):
    for path in paths:
        target = os.path.join(host().folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as stream:
            stream.write(FILES[path])


def read(host, trust=True, keep=True):
    held = host()
    held.look(trust)
    count = len(held.unread)
    held.read(lambda done, note: None, keep)
    return held, count


def test_a_fresh_host_lacks_everything(host):
    held = host()
    held.look()
    assert (held.absent, held.unread, held.wrong) == (sorted(FILES), [], [])
    assert held.missing_bytes() == 1002
    assert held.free_bytes() > 0


def test_what_was_read_once_is_not_read_again(host):
    bring(host)
    held, count = read(host)
    assert (held.absent, held.unread, held.wrong, count) == ([], [], [], 3)
    assert read(host)[1] == 0
    assert read(host, trust=False)[1] == 3


def test_check_mode_remembers_nothing(host):
    bring(host)
    read(host, keep=False)
    assert read(host)[1] == 3


def test_what_a_broken_transfer_left_counts_as_stored(host):
    bring(host)
    os.truncate(os.path.join(host().folder, "sub/shard one"), 400)
    held = host()
    held.look()
    assert (held.absent, held.missing_bytes()) == (["sub/shard one"], 600)


def test_a_file_of_right_size_with_other_bytes_is_wrong_and_stays_so(host):
    bring(host)
    path = os.path.join(host().folder, "sub/shard one")
    read(host)
    times = os.stat(path)
    with open(path, "r+b") as stream:
        stream.write(b"damage")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert read(host)[0].wrong == ["sub/shard one"]
    held, count = read(host)
    assert (held.wrong, count) == (["sub/shard one"], 0)


def test_settling_links_and_writes_the_receipt_once(host, manifest):
    bring(host)
    assert [action.split()[0] for action in host().pending()] == ["link", "write"]
    host().settle()
    assert host().pending() == []
    assert os.path.realpath(host().path) == os.path.realpath(host().folder)
    assert _receipt.read(host().state_dir, "weights")["root"] == manifest["root"]


def test_a_folder_that_the_operator_brought_stays_a_folder(host):
    os.makedirs(host().path)
    assert host().folder == host().path
    bring(host)
    host().settle()
    assert not os.path.islink(host().path)
    assert host().pending() == []


def test_a_new_revision_lives_beside_the_old_one(host, tmp_path):
    bring(host)
    host().settle()
    other = _weights.manifest_of({"config.json": {"size": 2, "sha256": "0" * 64}})
    newer = HostWeights(host().path, other, host().state_dir)
    newer.look()
    assert newer.absent == ["config.json"]
    assert newer.folder != host().folder
    assert [action.split()[0] for action in newer.pending()] == ["link", "write"]
    shutil.rmtree(tmp_path / "models")


def test_old_revisions_go_and_nothing_else_does(host, tmp_path):
    bring(host)
    read(host)
    parent = tmp_path / "models" / "m.revisions"
    for age, name in enumerate(["a" * 16, "b" * 16, "c" * 16]):
        (parent / name).mkdir()
        os.utime(parent / name, (1e9 - age, 1e9 - age))
    (parent / "notes").mkdir()
    (parent / ("d" * 16)).symlink_to(tmp_path)
    assert host().superfluous(0) == []
    assert host().pending(3)[-1:] == ["remove %s" % (parent / ("c" * 16))]
    host().settle(3)
    assert sorted(path.name for path in parent.iterdir()) == sorted(
        [os.path.basename(host().folder), "a" * 16, "b" * 16, "d" * 16, "notes"]
    )
    assert host().pending(3) == []


def entry(content):
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def newer(host):
    """The next revision on the same host: one file is the same under another name, one is new."""
    bring(host)
    read(host)
    manifest = _weights.manifest_of({"renamed one": entry(b"x" * 1000), "new": entry(b"n" * 10), "config.json": entry(b"{}")})
    return lambda: HostWeights(host().path, manifest, host().state_dir)


def looked(make):
    held = make()
    held.look()
    return held


def test_what_another_revision_holds_is_neither_sent_nor_stored_twice(host, newer):
    held = looked(newer)
    assert held.absent == ["config.json", "new", "renamed one"]
    assert sorted(held.elsewhere) == ["config.json", "renamed one"]
    assert held.missing_bytes() == 10
    held.take_from_elsewhere()
    held = looked(newer)
    assert (held.absent, held.unread, held.wrong, held.elsewhere) == (["new"], [], [], {})
    assert held.complete() == ["config.json", "renamed one"]
    for path, other in (("renamed one", "sub/shard one"), ("config.json", "config.json")):
        assert os.path.samefile(os.path.join(held.folder, path), os.path.join(host().folder, other))
    # The earlier revision is still known without a look at its bytes.
    assert looked(host).unread == []


def test_a_file_of_another_revision_that_changed_is_not_taken(host, newer):
    with open(os.path.join(host().folder, "sub/shard one"), "r+b") as stream:
        stream.write(b"y")
    assert sorted(looked(newer).elsewhere) == ["config.json"]


def test_the_folder_that_an_operator_brought_has_no_other_revisions(host, newer):
    os.makedirs(host().path)
    assert looked(newer).elsewhere == {}


def test_what_arrived_proven_is_known_without_a_look_at_its_bytes(host):
    folder = host().folder
    bring(host, ["config.json"])
    read(host)
    for path in ("sub/shard one", "empty"):
        target = os.path.join(folder, ".incoming", path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as stream:
            stream.write(FILES[path])
    assert looked(host).absent == ["empty", "sub/shard one"]
    assert looked(host).missing_bytes() == 0
    assert host().take_arrived(["sub/shard one", "empty", "config.json", "of another manifest"]) == ["empty", "sub/shard one"]
    held = looked(host)
    assert (held.absent, held.unread, held.complete()) == ([], [], sorted(FILES))
    host().settle()
    assert not os.path.exists(os.path.join(folder, ".incoming"))
