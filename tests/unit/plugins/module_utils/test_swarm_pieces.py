"""Which pieces of a lane are on the disk, before a byte is asked for."""

from __future__ import annotations

import os

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle, _swarm_pieces
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_pieces import LaneFile

PIECE = _merkle.piece_length(0)  # the shortest
LARGE = os.urandom(4 * PIECE + 1000)
SMALL = os.urandom(160_000)


def hashes(content, size=PIECE):
    """The pieces of a file as its torrent names them: a file of one piece by its root, others by a layer."""
    leaves = _merkle.leaves(memoryview(content))
    if len(content) <= size:
        return [bytes.fromhex(_merkle.root(leaves, _merkle.LEAF))]
    return _merkle.fold(leaves, _merkle.LEAF, size)


def found(path, content, noted=None):
    wanted = hashes(content)
    return _swarm_pieces.found_pieces(str(path), len(content), PIECE, wanted, noted or [False] * len(wanted))


@pytest.mark.parametrize("content", [LARGE, SMALL, b"x"], ids=["five pieces", "a piece of ten leaves", "a byte"])
def test_a_whole_file_is_all_there(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert all(found(path, content))


def test_one_wrong_byte_costs_one_piece(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE[: 2 * PIECE + 5] + bytes([LARGE[2 * PIECE + 5] ^ 1]) + LARGE[2 * PIECE + 6 :])
    assert found(path, LARGE) == [True, True, False, True, True]


def test_a_file_that_was_cut_has_what_it_has(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE[: 2 * PIECE + 5])
    assert found(path, LARGE) == [True, True, False, False, False]


def test_what_is_noted_is_not_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(len(LARGE)))
    assert found(path, LARGE, [True, False, False, True, False]) == [True, False, False, True, False]


def test_holes_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "file"
    with path.open("wb") as stream:
        stream.truncate(len(LARGE))
        stream.seek(3 * PIECE)
        stream.write(LARGE[3 * PIECE : 4 * PIECE])
    if os.stat(path).st_blocks * 512 > 2 * PIECE:
        pytest.skip("a file system without holes")
    read, wanted = [], hashes(LARGE)
    monkeypatch.setattr(_swarm_pieces._merkle, "leaves", lambda block: read.append(len(block)) or [bytes(32)] * 4)
    _swarm_pieces.found_pieces(str(path), len(LARGE), PIECE, wanted, [False] * 5)
    assert read == [PIECE]


FILES = [LaneFile("a", 3 * PIECE, 0, 3), LaneFile("empty", 0, 3, 0), LaneFile("b", 10, 3, 1)]


def test_files_known_to_be_whole_are_neither_looked_up_nor_read():
    have = _swarm_pieces.known(FILES, 4, {"a", "b", "empty"}, None, lambda entry, noted: [False] * entry.pieces)
    assert have == [True] * 4


def test_what_was_noted_is_handed_on_and_nothing_is_where_the_notes_cannot_be_trusted():
    asked = []

    def check(entry, noted):
        asked.append((entry.path, noted))
        return noted

    assert _swarm_pieces.known(FILES, 4, set(), [True, False, True, False], check) == [True, False, True, False]
    assert asked == [("a", [True, False, True]), ("empty", []), ("b", [False])]
    assert _swarm_pieces.known(FILES, 4, {"b"}, None, check) == [False, False, False, True]


def test_the_files_of_a_torrent_are_ranges_of_its_pieces(tmp_path):
    pytest.importorskip("libtorrent")
    import libtorrent
    from ansible_collections.flagos.kunlunxin.plugins.module_utils import _torrent

    def entry(content):
        return {"size": len(content), "sha256": "0" * 64, "merkle_root": _merkle.root(_merkle.leaves(memoryview(content)), _merkle.LEAF)}

    manifest = {"bytes": len(LARGE) + len(SMALL), "files": {"deep/er/large": entry(LARGE), "empty": entry(b""), "small": entry(SMALL)}}
    made = _torrent.torrent(manifest, sorted(manifest["files"]), lambda root, size: hashes(LARGE), "98ea6e4f216f2fb4")
    files = _swarm_pieces.files_of(libtorrent.torrent_info(libtorrent.bdecode(made)))
    assert {(one.path, one.size, one.pieces) for one in files} == {("deep/er/large", len(LARGE), 5), ("empty", 0, 0), ("small", 160_000, 1)}
    assert sorted(piece for one in files for piece in one.range()) == list(range(6))
