"""Hash trees, held against BEP 52 written down as plainly as it can be."""

from __future__ import annotations

from hashlib import sha256

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle
from hypothesis import example, given
from hypothesis import strategies as st

LEAF = _merkle.LEAF
# Around leaves and pieces, where trees change their shape.
sizes = st.builds(lambda leaves, more: max(0, leaves * LEAF + more), st.integers(0, 17), st.sampled_from([-1, 0, 1, 5000]))
grains = st.sampled_from([LEAF * 2**power for power in range(7)])


def content(size):
    return bytes(range(251)) * (size // 251) + b"x" * (size % 251)


def plain_layer(data, grain):
    """The hashes of all whole subtrees of ``grain`` bytes that hold some of the data."""

    def node(start, length):
        if length == LEAF:
            return sha256(data[start : start + LEAF]).digest() if start < len(data) else bytes(32)
        return sha256(node(start, length // 2) + node(start + length // 2, length // 2)).digest()

    return [node(start, grain) for start in range(0, len(data), grain)]


def plain_root(data):
    whole = LEAF
    while whole < len(data):
        whole *= 2
    return plain_layer(data, whole)[0].hex() if data else ""


@given(sizes, grains)
def test_a_layer_and_the_root_are_those_of_the_whole_tree(size, grain):
    data = content(size)
    layer = _merkle.fold(_merkle.leaves(memoryview(data)), LEAF, grain)
    assert layer == plain_layer(data, grain)
    if size > grain or grain == LEAF:
        assert _merkle.root(layer, grain) == plain_root(data)
        assert len(layer) == _merkle.count(size, grain)


@given(sizes, st.lists(grains, min_size=3, max_size=3))
def test_folding_at_once_and_by_steps_is_the_same(size, steps):
    fine, middle, coarse = sorted(steps)
    layer = plain_layer(content(size), fine)
    assert _merkle.fold(_merkle.fold(layer, fine, middle), middle, coarse) == _merkle.fold(layer, fine, coarse)


def test_a_coarse_layer_does_not_tell_a_finer_one():
    with pytest.raises(ValueError, match="does not tell"):
        _merkle.fold([bytes(32)], 2 * LEAF, LEAF)


@given(st.integers(0, 2**43))
@example(0)
@example(2**30)
@example(2**30 + 1)
def test_pieces_are_few_and_no_larger_than_needed(size):
    length = _merkle.piece_length(size)
    assert 2**18 <= length <= 2**22
    assert length & (length - 1) == 0
    assert _merkle.count(size, length) <= 2**14 or length == 2**22
    assert length == 2**18 or _merkle.count(size, length // 2) > 2**14


@given(st.integers(0, 2**43), st.integers(0, 2**43))
def test_what_is_kept_of_a_file_is_fine_enough_for_every_torrent_that_has_it(size, others):
    piece = _merkle.piece_length(size + others)
    assert _merkle.granularity(size) <= piece
    assert size <= piece or _merkle.granularity(size) >= 2**18


@given(st.lists(st.binary(min_size=32, max_size=32)))
def test_a_layer_is_read_back(hashes):
    assert _merkle.split(b"".join(hashes)) == hashes


def test_half_a_hash_is_no_layer():
    with pytest.raises(ValueError, match="31 bytes are no hashes"):
        _merkle.split(b"x" * 31)
