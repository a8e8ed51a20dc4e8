from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils._piece_layers import PieceLayers
from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import StatCache
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import WeightsError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_source import WeightsSource

FILES = {"config.json": b"{}", "sub/shard one": b"x" * 800_000, "empty": b""}
DIGESTS = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache" / "weights.json")


@pytest.fixture
def folder(tmp_path):
    for path, data in FILES.items():
        target = tmp_path / "source" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return tmp_path / "source"


def read(folder, cache):
    source = WeightsSource(str(folder), cache)
    unread = source.unread
    source.read(lambda done, note: None)
    return unread, source.manifest()["files"]


def test_what_was_read_is_kept_with_both_hashes(folder, cache):
    unread, files = read(folder, cache)
    assert unread == sorted(FILES)
    assert {path: entry["sha256"] for path, entry in files.items()} == DIGESTS
    assert files["empty"]["merkle_root"] == ""
    assert files["config.json"]["merkle_root"] == DIGESTS["config.json"], "a single leaf is the root of its tree"
    assert read(folder, cache) == ([], files)


def test_only_what_a_torrent_needs_is_kept_beside(folder, cache):
    _unread, files = read(folder, cache)
    root = files["sub/shard one"]["merkle_root"]
    assert os.listdir(os.path.join(os.path.dirname(cache), "layers")) == [root]
    assert len(PieceLayers(cache).get(root, 800_000)) == 4
    assert PieceLayers(cache).get("0" * 64, 800_000) is None


def test_a_cache_from_before_merkle_roots_counts_as_unread(folder, cache):
    older = StatCache(cache)
    for path in FILES:
        older.put(str(folder / path), (folder / path).stat(), DIGESTS[path])
    older.save()
    assert read(folder, cache)[0] == sorted(FILES)
    assert read(folder, cache)[0] == []


def test_a_layer_that_is_gone_or_cut_is_made_again(folder, cache):
    _unread, files = read(folder, cache)
    kept = PieceLayers(cache).path(files["sub/shard one"]["merkle_root"])
    os.truncate(kept, 32)
    assert read(folder, cache)[0] == ["sub/shard one"]
    os.unlink(kept)
    assert read(folder, cache) == (["sub/shard one"], files)
    assert read(folder, cache)[0] == []


def test_a_file_that_changes_between_the_look_and_the_read_is_named(folder, cache):
    source = WeightsSource(str(folder), cache)
    (folder / "sub" / "shard one").write_bytes(b"y" * 800_000)
    with pytest.raises(WeightsError, match=r"^sub/shard one: it changed while it was read"):
        source.read(lambda done, note: None)


def test_a_file_that_is_gone_is_named(folder, cache):
    source = WeightsSource(str(folder), cache)
    (folder / "sub" / "shard one").unlink()
    with pytest.raises(WeightsError, match=r"^sub/shard one: No such file"):
        source.read(lambda done, note: None)
