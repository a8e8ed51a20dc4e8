from __future__ import annotations

import errno
import hashlib
import os
import signal

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _hash_pool, _merkle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import ChangedError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import stamp

CONTENT = {
    "empty": b"",
    "one byte": b"x",
    "a leaf": b"l" * _merkle.LEAF,
    "a piece": b"p" * 2**16,
    "more than a piece": b"q" * (2**16 + 1),
    "größe": os.urandom(5_000_000),
}


@pytest.fixture
def files(tmp_path):
    """Files on the disk, and what they are taken for."""
    for name, data in CONTENT.items():
        (tmp_path / name).write_bytes(data)
    return {str(tmp_path / name): stamp((tmp_path / name).stat()) for name in CONTENT}


def expected(data):
    grain = _merkle.granularity(len(data))
    layer = _merkle.fold(_merkle.leaves(memoryview(data)), _merkle.LEAF, grain)
    return _hash_pool.Hashes(hashlib.sha256(data).hexdigest(), _merkle.root(layer, grain), b"".join(layer))


@pytest.mark.parametrize("workers", [1, 2, 20])
def test_each_file_is_hashed_both_ways_and_the_bytes_counted(files, workers):
    found, counts = {}, []
    _hash_pool.hash_all(files, found.__setitem__, counts.append, workers)
    assert {os.path.basename(path): hashes for path, hashes in found.items()} == {name: expected(data) for name, data in CONTENT.items()}
    assert sum(counts) == sum(map(len, CONTENT.values()))


def test_one_large_file_among_small_ones_is_read_by_two_threads_to_the_same_end(files):
    (path,) = (path for path in files if path.endswith("größe"))
    assert _hash_pool.hashes_of(path, files[path], two_threads=True) == expected(CONTENT["größe"])
    assert files[path][0] > sum(stamp[0] for stamp in files.values()) / 2, "with two processes it is such a file"


def test_the_largest_files_come_first(files):
    order = []
    _hash_pool.hash_all(files, lambda path, hashes: order.append(os.path.basename(path)), lambda count: None, workers=1)
    assert order == sorted(CONTENT, key=lambda name: -len(CONTENT[name]))


def test_a_file_that_is_no_longer_what_it_was_taken_for_is_named(files, tmp_path):
    (tmp_path / "a leaf").write_bytes(b"m" * _merkle.LEAF)
    with pytest.raises(ChangedError, match=r"a leaf\Z"):
        _hash_pool.hash_all(files, lambda path, hashes: None, lambda count: None, workers=2)


def test_a_file_that_grows_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)

    def grow(_count):
        with path.open("ab") as stream:
            stream.write(b"y")

    with pytest.raises(ChangedError, match=r"a\Z"):
        _hash_pool.hashes_of(str(path), stamp(path.stat()), grow)


def test_a_file_that_cannot_be_read_is_named(files, tmp_path):
    (tmp_path / "one byte").unlink()
    with pytest.raises(OSError, match="No such file") as failed:
        _hash_pool.hash_all(files, lambda path, hashes: None, lambda count: None, workers=2)
    assert (failed.value.errno, failed.value.filename) == (errno.ENOENT, str(tmp_path / "one byte"))


def test_a_process_that_is_killed_is_told_by_the_file_that_it_read(files, monkeypatch):
    monkeypatch.setattr(_hash_pool, "hashes_of", lambda *_arguments, **_more: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(OSError, match="the process that read it was killed") as failed:
        _hash_pool.hash_all(files, lambda path, hashes: None, lambda count: None, workers=2)
    assert failed.value.filename.endswith(("größe", "more than a piece"))


def test_no_process_is_left_whatever_happens(files):
    def refuse(_path, _hashes):
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        _hash_pool.hash_all(files, refuse, lambda count: None, workers=2)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
