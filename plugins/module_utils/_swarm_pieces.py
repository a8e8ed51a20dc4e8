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


def found_pieces(path, size, piece_length, wanted, noted):
    """Which pieces of a file are on the disk, by reading those that nobody noted; where the file has holes nothing is read.

    :param wanted: the hash of each piece, as 32 bytes.
    :param noted: list of bool: the pieces that are known without a look.
    :returns: list of bool.
    :raises OSError: when the file cannot be read.
    """
    found = list(noted)
    with open(path, "rb") as stream:
        for piece, digest in enumerate(wanted):
            start = piece * piece_length
            if not noted[piece] and _has_data(stream.fileno(), start, min(size, start + piece_length)):
                stream.seek(start)
                found[piece] = _piece_hash(stream.read(piece_length), size, piece_length) == digest
    return found


def _has_data(descriptor, start, end):
    """Whether a part of a file is not all hole (lseek(2), ``SEEK_DATA``)."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) < end
    except OSError:  # no data up to the file's end, or the file is shorter
        return False


def _piece_hash(block, size, piece_length):
    """The hash of a piece as a torrent has it; empty for no bytes."""
    if not block:
        return b""
    leaves = _merkle.leaves(memoryview(block))
    if size <= piece_length:  # its only piece is no larger than it must be: BEP 52 makes no layer of it
        return bytes.fromhex(_merkle.root(leaves, _merkle.LEAF))
    return _merkle.fold(leaves, _merkle.LEAF, piece_length)[0]


def known(files, count, complete, resumed, check):
    """The pieces that are on the disk.

    What a lane that was killed had not noted yet is read: that costs less than to receive it again.

    :param files: as :func:`files_of` returns them.
    :param count: how many pieces the lane has.
    :param complete: paths of files that are known to be whole.
    :param resumed: what the lane itself wrote down when it last ran, as a list of bool, or ``None`` when that cannot be trusted.
    :param check: called with a :class:`LaneFile` and the pieces of it that were noted, as a list of bool; returns such a list.
    :returns: list of bool.
    """
    have = [False] * count
    for entry in files:
        if entry.path in complete:
            pieces = [True] * entry.pieces
        else:
            pieces = check(entry, resumed[entry.first : entry.first + entry.pieces] if resumed is not None else [False] * entry.pieces)
        have[entry.first : entry.first + entry.pieces] = pieces
    return have
