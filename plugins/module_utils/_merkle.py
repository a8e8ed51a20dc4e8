# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""BitTorrent v2's hash trees, as BEP 52 defines them (https://www.bittorrent.org/beps/bep_0052.html).

A file is cut into leaves of 16 KiB, the last one as short as it is; a node is the SHA-256 of its two children, and where the file has
ended a leaf is 32 zero bytes. The **root** is that of the smallest full tree that holds the file. A **layer** is all nodes of one height,
each named by the bytes of file below it (its *granularity*, a power of two); nodes with nothing but padding below are left out. From a
finer layer every coarser one follows, and the root, without the file.
"""

from __future__ import annotations

from hashlib import sha256

LEAF = 2**14
HASH = 32  # bytes
_MOST_PIECES = 2**14
_SMALLEST_PIECE, _LARGEST_PIECE = 2**18, 2**22


def piece_length(size):
    """The length of a piece: as small as leaves ``size`` bytes in at most 16,384 pieces, within 256 KiB to 4 MiB.

    Small pieces are passed on sooner; many cost memory, a longer torrent and a message to every peer each, which below 256 KiB is a tenth of
    the processor time (measured); above 4 MiB nothing is gained, and some disk back ends of
    libtorrent take twice the processor time.
    """
    length = _SMALLEST_PIECE
    while length < _LARGEST_PIECE and length * _MOST_PIECES < size:
        length *= 2
    return length


def granularity(size):
    """What the kept layer of a file of ``size`` bytes is cut by: :func:`piece_length`, or leaves where the file is a single piece."""
    length = piece_length(size)
    return length if size > length else LEAF


def count(size, grain):
    """How many hashes a layer has."""
    return -(-size // grain)


def leaves(block):
    """The hashes of a block's leaves.

    :param block: a ``memoryview`` that begins where a leaf begins.
    """
    return [sha256(block[start : start + LEAF]).digest() for start in range(0, len(block), LEAF)]


def fold(hashes, fine, coarse):
    """A coarser layer out of a finer one, both as lists of hashes.

    :param fine: the granularity of ``hashes``.
    :param coarse: the granularity wanted.
    :raises ValueError: the layer wanted is the finer one.
    """
    if coarse < fine:
        raise ValueError("a layer of %d bytes does not tell one of %d" % (fine, coarse))
    while fine < coarse:
        if len(hashes) % 2:
            hashes = hashes + [padding(fine)]
        hashes = _pairs(hashes)
        fine *= 2
    return hashes


def root(hashes, grain):
    """The root of a file in hex by any of its layers, or empty for an empty file, which has none.

    :param grain: the granularity of ``hashes``; below the file's size, or a leaf.
    """
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes = hashes + [padding(grain)]
        hashes = _pairs(hashes)
        grain *= 2
    return hashes[0].hex() if hashes else ""


def padding(grain):
    """The hash of a tree that has nothing of the file below it."""
    node = bytes(HASH)
    while grain > LEAF:
        node = sha256(node + node).digest()
        grain //= 2
    return node


def split(layer):
    """A layer as it is kept, one hash after another, as a list.

    :raises ValueError: it does not consist of whole hashes.
    """
    if len(layer) % HASH:
        raise ValueError("%d bytes are no hashes of %d" % (len(layer), HASH))
    return [layer[start : start + HASH] for start in range(0, len(layer), HASH)]


def _pairs(hashes):
    return [sha256(left + right).digest() for left, right in zip(hashes[::2], hashes[1::2])]  # noqa: B905 - zip has no strict in 3.8
