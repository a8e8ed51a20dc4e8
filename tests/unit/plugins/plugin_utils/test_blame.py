"""Which hosts failures point at."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._blame import Blame, Role, blame
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("a", "b", "c", "d")
EVERYONE = set(itertools.permutations(NAMES, 2))


def those_with(name):
    return {pair for pair in EVERYONE if name in pair}


@pytest.mark.parametrize(
    ("failing", "causes"),
    [
        (set(), []),
        (those_with("c"), [Blame(("c",), Role.BOTH, ("a", "b", "d"))]),
        (EVERYONE, [Blame(NAMES, Role.ALL)]),
        (those_with("c") | those_with("d"), [Blame(("c",), Role.BOTH, ("a", "b", "d")), Blame(("d",), Role.BOTH, ("a", "b"))]),
        ({("a", "c"), ("b", "c"), ("d", "c")}, [Blame(("c",), Role.TARGET, ("a", "b", "d"))]),
        ({("c", "a"), ("c", "b"), ("c", "d")}, [Blame(("c",), Role.ASKER, ("a", "b", "d"))]),
        ({("a", "b"), ("b", "a")}, [Blame(("a", "b"), Role.PAIR, first=1)]),
        ({("a", "b")}, [Blame(("a", "b"), Role.PAIR, first=1)]),
        # two halves of a cluster: one line
        ({pair for pair in EVERYONE if len(set(pair) & {"a", "b"}) == 1}, [Blame(("a", "b", "c", "d"), Role.PAIR, first=2)]),
    ],
)
def test_the_host_that_all_failures_have_in_common_is_named(failing, causes):
    assert blame(failing, EVERYONE) == causes


def test_of_two_hosts_nobody_can_tell_which_one_it_is():
    assert blame({("a", "b"), ("b", "a")}, {("a", "b"), ("b", "a")}) == [Blame(("a", "b"), Role.PAIR, first=1)]


def test_a_port_of_the_head_alone_is_the_heads_and_not_everyones():
    asked = {(name, "a") for name in "bcd"}
    assert blame(asked, asked) == [Blame(("a",), Role.TARGET, ("b", "c", "d"))]


@given(st.sets(st.sampled_from(sorted(EVERYONE))))
def test_every_failure_is_explained_by_exactly_one_cause_at_most_one_cause_a_pair_of_hosts(failing):
    causes = blame(failing, EVERYONE)
    explained = set().union(*(one.pairs(failing) for one in causes))
    assert explained == failing
    assert all(one.pairs(failing) for one in causes)
    assert len(causes) <= len({frozenset(pair) for pair in failing}) * 2


@given(st.sets(st.sampled_from(sorted(EVERYONE))), st.randoms())
def test_the_order_of_the_failures_does_not_matter(failing, random):
    shuffled = list(failing)
    random.shuffle(shuffled)
    assert blame(shuffled, EVERYONE) == blame(sorted(failing), EVERYONE)
