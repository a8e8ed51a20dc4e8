# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Torrents of weights: BitTorrent v2 alone (BEP 52), private (BEP 27), made from a manifest and kept layers without reading a file.

One revision is cut into lanes, groups of files of about the same size, each a torrent of its own.
"""

from __future__ import annotations

import re

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import WeightsError, is_inside

# What libtorrent 2.0 writes under another name than the torrent's: it replaces control characters, drops backslashes and the marks of
# writing direction, and cuts long names (src/torrent_info.cpp, sanitize_append_path_element; each tried with 2.0.11).
_REWRITTEN = re.compile("[\x01-\x1f\\\\\u200e\u200f\u202a-\u202e]")
_UPPER = re.compile("[A-Z]")
_LONGEST_NAME = 240  # bytes
_DEEPEST = 94  # folders: libtorrent reads a hundred levels of bencoding
_ROOT = re.compile(r"[0-9a-f]{64}\Z")


class TorrentError(WeightsError):
    """A torrent that cannot be made.

    :ivar remedy: what the operator can do.
    """

    def __init__(self, observed, expected, remedy):
        super().__init__(observed, expected)
        self.remedy = remedy


def lanes(manifest, count):
    """Cut a manifest into groups of files of about the same size; equal manifests are always cut alike.

    :param manifest: as :func:`_weights.manifest_of` returns it.
    :param count: how many groups; at most as many as there are files that are not empty, for a torrent must have a byte.
    :returns: the paths of each group, sorted; the largest file comes first into the group that has the least.
    """
    files = manifest["files"]
    count = max(1, min(count, sum(1 for entry in files.values() if entry["size"])))
    groups = [[] for _lane in range(count)]
    held = [0] * count
    for path in sorted(files, key=lambda path: (-files[path]["size"], path)):
        emptiest = min(range(count), key=lambda lane: (held[lane], len(groups[lane]), lane))
        groups[emptiest].append(path)
        held[emptiest] += files[path]["size"]
    return [sorted(group) for group in groups]


def torrent(manifest, paths, layers, name, root_certificate=""):
    """A torrent of some files of a manifest.

    Every torrent of a manifest has pieces of the same length, :func:`_merkle.piece_length` of all its bytes. To libtorrent a torrent of
    one file that lies in no folder is a file, not a folder with a file in it.

    :param layers: called with a merkle root and a size; returns the layer that was kept of that file, see :mod:`_piece_layers`.
    :param name: the name in the torrent; nothing on a disk has to be called so.
    :param root_certificate: PEM of the authority whose members alone may take part; empty where anybody may who is let in.
    :returns: the file's content.
    :raises TorrentError: a file's name cannot be in a torrent, or what has to be known of it is missing.
    """
    if not any(manifest["files"][path]["size"] for path in paths):
        raise TorrentError("%d empty files" % len(paths), "a byte of weights at least", "mend weights_source")
    piece = _merkle.piece_length(manifest["bytes"])
    tree, piece_layers = {}, {}
    _refuse_equal_names(paths)
    for path in paths:
        parts, entry = _parts(path), manifest["files"][path]
        leaf = {"length": entry["size"]}
        if entry["size"]:
            leaf["pieces root"] = _root(entry, path)
        if entry["size"] > piece:
            piece_layers[leaf["pieces root"]] = _layer(entry, path, layers, piece)
        folder = tree
        for part in parts[:-1]:
            folder = folder.setdefault(part, {})
        folder[parts[-1]] = {"": leaf}
    info = {"file tree": tree, "meta version": 2, "name": name, "piece length": piece, "private": 1}
    if root_certificate:
        info["ssl-cert"] = root_certificate
    return bencode({"info": info, "piece layers": piece_layers})


def _root(entry, path):
    root = entry.get("merkle_root", "")
    if not _ROOT.match(root):
        raise TorrentError("%s: no merkle root" % path, "what was found when it was read", "run weights.yml again, which reads that file")
    return bytes.fromhex(root)


def _layer(entry, path, layers, piece):
    root, size = entry["merkle_root"], entry["size"]
    remedy = "run weights.yml again, which reads that file"
    kept = layers(root, size)
    if not kept:
        raise TorrentError("%s: the hashes of its pieces are missing" % path, "those kept when it was read", remedy)
    folded = _merkle.fold(kept, _merkle.granularity(size), piece)
    if _merkle.root(folded, piece) != root:
        remedy = "remove %s from the folder layers beside the cache, then %s" % (root, remedy)
        raise TorrentError("%s: the hashes of its pieces are damaged" % path, "those kept when it was read", remedy)
    return b"".join(folded)


def _parts(path):
    """The names on a file's way, as bytes: the order in a torrent is that of bytes."""
    try:
        parts = path.encode("utf-8").split(b"/")
    except UnicodeEncodeError:
        raise _unfit_name(path, "not UTF-8", "names in UTF-8") from None
    if not is_inside(path):
        raise _unfit_name(path, "outside the folder", "names inside it")
    if _REWRITTEN.search(path):
        raise _unfit_name(path, "with characters that libtorrent replaces", "no control characters, backslashes or marks of direction")
    if max(map(len, parts)) > _LONGEST_NAME:
        raise _unfit_name(path, "too long", "at most %d bytes between two slashes" % _LONGEST_NAME)
    if len(parts) - 1 > _DEEPEST:
        raise _unfit_name(path, "too deep", "at most %d folders" % _DEEPEST)
    return parts


def _refuse_equal_names(paths):
    """libtorrent takes names for the same that differ in the case of ASCII letters, and gives the second one another name."""
    seen = {}
    for path in paths:
        lower = _UPPER.sub(lambda letter: letter.group().lower(), path)
        if lower in seen:
            raise _unfit_name(path, "that differs from %s by case alone" % ascii(seen[lower]), "names that differ otherwise, too")
        seen[lower] = path


def _unfit_name(path, what, expected):
    return TorrentError("%s: a name %s" % (ascii(path), what), expected, "rename it in the source, or choose another weights_transport")


def bencode(value):
    """BEP 3's encoding of integers, text (as UTF-8), bytes, lists and dicts with text or bytes as keys.

    :raises TypeError: anything else.
    """
    parts = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value, parts):
    if isinstance(value, bool) or not isinstance(value, (int, str, bytes, list, dict)):
        raise TypeError("%s cannot be bencoded" % type(value).__name__)
    if isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, (str, bytes)):
        data = _bytes(value)
        parts.append(b"%d:" % len(data))
        parts.append(data)
    elif isinstance(value, list):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    else:
        parts.append(b"d")
        for key in sorted(value, key=_bytes):
            _encode(_bytes(key), parts)
            _encode(value[key], parts)
        parts.append(b"e")


def _bytes(text):
    if not isinstance(text, (str, bytes)):
        raise TypeError("a key of %s cannot be bencoded" % type(text).__name__)
    return text.encode("utf-8") if isinstance(text, str) else text
