"""Torrents, held against those that libtorrent makes of the same folders."""

from __future__ import annotations

import time

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle, _torrent, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._piece_layers import PieceLayers
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_source import WeightsSource
from hypothesis import given
from hypothesis import strategies as st

NAME = "0123456789abcdef"
PIECE = 2**18
values = st.recursive(
    st.integers(-(2**63) + 1, 2**63 - 1) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=4), inner, max_size=4),
    max_leaves=12,
)
sizes = st.dictionaries(st.text("abc/", min_size=1, max_size=4), st.integers(0, 2**40), min_size=1, max_size=30)

FILES = {
    "config.json": 2,
    "empty": 0,
    "a leaf": 2**14,
    "a leaf and more": 2**14 + 1,
    "a piece": PIECE,
    "a piece and more": PIECE + 1,
    "five pieces": 5 * PIECE,
    "Größe 模型/deep/er/shard one": 300_000,
    "Größe 模型/" + "deeper/" * 90 + "x": 1,
    "zzz" * 80: 100_000,
}


def make(folder, files):
    """Files of certain sizes, no two alike."""
    for number, (path, size) in enumerate(sorted(files.items())):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes((number + index) % 256 for index in range(256)) * (size // 256) + b"e" * (size % 256))
    return folder


@pytest.fixture
def read(tmp_path):
    """Reads a folder as the module does: its manifest, and the layers that were kept."""

    def read(folder):
        cache = str(tmp_path / "cache" / "weights.json")
        source = WeightsSource(str(folder), cache)
        source.read(lambda done, note: None)
        return source.manifest(), PieceLayers(cache).get

    return read


@pytest.fixture
def lt():
    return pytest.importorskip("libtorrent")


def theirs(lt, folder, piece):
    """The torrent that libtorrent makes of a folder."""
    storage = lt.file_storage()
    lt.add_files(storage, str(folder))
    made = lt.create_torrent(storage, piece, lt.create_torrent.v2_only)
    made.set_priv(True)
    lt.set_piece_hashes(made, str(folder.parent))
    return made.generate()


@pytest.mark.parametrize("files", [FILES, {"one": 5 * PIECE}, {"folder/one": 7}, {"a": 3 * 2**22, "b": 1}], ids=["all", "one", "deep", "a"])
def test_it_is_the_torrent_that_libtorrent_makes(lt, tmp_path, read, files):
    manifest, layers = read(make(tmp_path / NAME, files))
    content = _torrent.torrent(manifest, sorted(files), layers, NAME)
    ours, wanted = lt.bdecode(content), theirs(lt, tmp_path / NAME, _merkle.piece_length(sum(files.values())))
    assert ours[b"info"] == wanted[b"info"]
    assert ours[b"piece layers"] == wanted[b"piece layers"]
    info = lt.torrent_info(content)
    assert info.info_hashes().v2 == lt.torrent_info(lt.bencode(wanted)).info_hashes().v2
    assert (info.info_hashes().has_v1(), info.priv(), info.is_valid()) == (False, True, True)


def test_layers_fold_to_the_pieces_of_a_manifest_that_has_larger_ones(lt, tmp_path, read):
    """The large file makes all pieces larger than those that were kept of the other one."""
    files = {"small": 300_000, "large": 2**14 * PIECE + 1}
    manifest, layers = read(make(tmp_path / NAME, {"small": 300_000, "config.json": 2}))
    manifest = _weights.manifest_of({**manifest["files"], "large": {"size": files["large"], "sha256": "1" * 64, "merkle_root": "2" * 64}})
    content = _torrent.torrent(manifest, ["config.json", "small"], layers, NAME)
    wanted = theirs(lt, tmp_path / NAME, 2 * PIECE)
    assert lt.bdecode(content)[b"piece layers"] == wanted[b"piece layers"]
    assert lt.torrent_info(content).info_hashes().v2 == lt.torrent_info(lt.bencode(wanted)).info_hashes().v2


def test_a_seed_with_it_finds_every_file_whole(lt, tmp_path, read):
    folder = make(tmp_path / NAME, FILES)
    manifest, layers = read(folder)
    session = lt.session(
        {"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False}
    )
    for paths in _torrent.lanes(manifest, 3):
        info = lt.torrent_info(_torrent.torrent(manifest, paths, layers, NAME))
        handle = session.add_torrent({"ti": info, "save_path": str(tmp_path if info.num_files() > 1 else folder)})
        for _moment in range(600):
            status = handle.status()
            if status.state not in (lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data):
                break
            time.sleep(0.05)
        assert (status.state, status.progress) == (lt.torrent_status.seeding, 1.0)


@pytest.mark.parametrize("path", [path for path in FILES if FILES[path]])
def test_a_name_is_the_same_for_libtorrent(lt, path):
    manifest = _weights.manifest_of({name: {"size": 1, "sha256": "1" * 64, "merkle_root": "1" * 64} for name in (path, "another")})
    storage = lt.torrent_info(_torrent.torrent(manifest, [path, "another"], None, NAME)).files()
    assert f"{NAME}/{path}" in [storage.file_path(index) for index in range(storage.num_files())]


@pytest.mark.parametrize(
    ("paths", "observed"),
    [
        (["../escape"], "'../escape': a name outside the folder"),
        (["/etc/passwd"], "'/etc/passwd': a name outside the folder"),
        (["a//b"], "'a//b': a name outside the folder"),
        ([b"gr\xf6\xdfe".decode("utf-8", "surrogateescape")], "'gr\\udcf6\\udcdfe': a name not UTF-8"),
        (["a\nb"], "'a\\nb': a name with characters that libtorrent replaces"),
        (["a\\b"], "'a\\\\b': a name with characters that libtorrent replaces"),
        (["\u202eb"], "'\\u202eb': a name with characters that libtorrent replaces"),
        (["x" * 241], f"'{'x' * 241}': a name too long"),
        (["d/" * 95 + "x"], f"'{'d/' * 95}x': a name too deep"),
        (["README.md", "readme.md"], "'readme.md': a name that differs from 'README.md' by case alone"),
    ],
)
def test_a_name_that_would_not_arrive_as_it_is_is_refused(paths, observed):
    manifest = _weights.manifest_of({path: {"size": 1, "sha256": "1" * 64, "merkle_root": "1" * 64} for path in paths})
    with pytest.raises(_torrent.TorrentError) as refused:
        _torrent.torrent(manifest, paths, None, NAME)
    assert refused.value.observed == observed
    assert str(refused.value).isascii() and "\n" not in str(refused.value)


def test_what_is_not_known_of_a_file_is_told(tmp_path, read):
    manifest, layers = read(make(tmp_path / "source", {"shard": 600_000, "empty": 0}))
    with pytest.raises(_torrent.TorrentError, match="shard: the hashes of its pieces are missing"):
        _torrent.torrent(manifest, ["shard"], lambda root, size: None, NAME)
    with pytest.raises(_torrent.TorrentError, match="shard: the hashes of its pieces are damaged") as refused:
        _torrent.torrent(manifest, ["shard"], lambda root, size: [bytes(32)] * 4, NAME)
    assert refused.value.remedy.startswith(f"remove {manifest['files']['shard']['merkle_root']} from the folder layers")
    with pytest.raises(_torrent.TorrentError, match="1 empty files"):
        _torrent.torrent(manifest, ["empty"], layers, NAME)
    del manifest["files"]["shard"]["merkle_root"]
    with pytest.raises(_torrent.TorrentError, match="shard: no merkle root"):
        _torrent.torrent(manifest, ["shard"], layers, NAME)


def test_an_authority_makes_another_torrent(lt, tmp_path, read):
    manifest, layers = read(make(tmp_path / "source", {"a": 7}))
    plain, closed = (lt.torrent_info(_torrent.torrent(manifest, ["a"], layers, NAME, pem)) for pem in ("", "PEM"))
    assert closed.ssl_cert() == "PEM"
    assert plain.info_hashes().v2 != closed.info_hashes().v2


@given(sizes, st.integers(1, 12))
def test_lanes_hold_every_file_once_and_about_as_much_as_each_other(sizes, count):
    manifest = _weights.manifest_of({path: {"size": size, "sha256": "1" * 64} for path, size in sizes.items()})
    lanes = _torrent.lanes(manifest, count)
    assert lanes == _torrent.lanes(_weights.manifest_of(dict(reversed(manifest["files"].items()))), count)
    assert sorted(path for lane in lanes for path in lane) == sorted(sizes)
    held = [sum(sizes[path] for path in lane) for lane in lanes]
    assert max(held) - min(held) <= max(sizes.values())
    if any(sizes.values()):
        assert all(held)
        assert len(lanes) == min(count, sum(1 for size in sizes.values() if size))


@given(values)
def test_what_is_bencoded_is_what_libtorrent_reads(value):
    lt = pytest.importorskip("libtorrent")
    encoded = _torrent.bencode({"value": value})
    assert lt.bdecode(encoded) == {b"value": value}
    assert lt.bencode({b"value": value}) == encoded


@pytest.mark.parametrize("value", [None, 1.5, True, {1: 2}, ["a", ()]])
def test_nothing_else_is_bencoded(value):
    with pytest.raises(TypeError, match="cannot be bencoded"):
        _torrent.bencode(value)


def test_keys_are_in_the_order_of_their_bytes():
    assert _torrent.bencode({"b": 1, b"a": [b"\xff", "ä"], "Z": {}}) == b"d1:Zde1:al1:\xff2:\xc3\xa4e1:bi1ee"
