# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which pieces of a lane are known to be on the disk, before a byte is asked for.

In a torrent of version 2 every file begins with a piece of its own (BEP 52), so a file is a range of pieces. What is known of each file
is brought together here, so that nothing is read that need not be: libtorrent's own check reads all files of a lane.
"""

from __future__ import annotations

import os

from . import _merkle


class LaneFile(object):
    """One file of a lane.

    :ivar path: below the lane's folder.
    :ivar size: in bytes.
    :ivar first: its first piece.
    :ivar pieces: how many pieces it has; none when it is empty.
    """

    def __init__(self, path, size, first, pieces):
        self.path = path
        self.size = size
        self.first = first
        self.pieces = pieces

    def range(self):
        return range(self.first, self.first + self.pieces)


def files_of(torrent_info):
    """The files of a lane, without what libtorrent puts between them.

    :param torrent_info: a ``libtorrent.torrent_info``.
    :returns: list of :class:`LaneFile`.
    """
    storage, length = torrent_info.files(), torrent_info.piece_length()
    found = []
    for index in range(storage.num_files()):
        if storage.file_flags(index) & storage.flag_pad_file:
            continue
        size = storage.file_size(index)
        path = storage.file_path(index)
        prefix = storage.name() + os.sep
        if path.startswith(prefix):
            path = path[len(prefix) :]
        found.append(LaneFile(path, size, storage.file_offset(index) // length, -(-size // length)))
    return found


def piece_hashes(path, size, piece_length):
    """The hashes of a file's pieces, as a torrent has them, by reading it.

    :returns: list of 32 bytes; shorter where the file is, and other where its bytes are.
    """
    found = []
    with open(path, "rb") as stream:
        while True:
            block = stream.read(piece_length)
            if not block:
                return found
            leaves = _merkle.leaves(memoryview(block))
            if size <= piece_length:  # its only piece is no larger than it must be: BEP 52 makes no layer of it
                found.append(bytes.fromhex(_merkle.root(leaves, _merkle.LEAF)))
            else:
                found += _merkle.fold(leaves, _merkle.LEAF, piece_length)


def known(files, count, complete, resumed, check):
    """The pieces that are on the disk.

    :param files: as :func:`files_of` returns them.
    :param count: how many pieces the lane has.
    :param complete: paths of files that are known to be whole.
    :param resumed: what the lane itself wrote down when it last ran, as a list of bool, or ``None`` when that cannot be trusted.
    :param check: called with a :class:`LaneFile` that is there and nobody knows about; returns a list of bool, one for each piece.
    :returns: list of bool.
    """
    have = [False] * count
    for entry in files:
        if entry.path in complete:
            pieces = [True] * entry.pieces
        elif resumed is not None and any(resumed[entry.first : entry.first + entry.pieces]):
            pieces = resumed[entry.first : entry.first + entry.pieces]
        else:
            pieces = check(entry)
        have[entry.first : entry.first + entry.pieces] = pieces
    return have


def done_bytes(entry, have, piece_length):
    """How much of a file is on the disk, in bytes."""
    whole = sum(1 for piece in entry.range() if have[piece]) * piece_length
    if entry.pieces and have[entry.first + entry.pieces - 1]:
        whole -= entry.pieces * piece_length - entry.size
    return whole
