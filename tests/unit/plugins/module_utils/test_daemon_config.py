"""daemon.json: merging, and what a running daemon needs to take a difference."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _daemon_config as daemon
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 5), st.text("ab", max_size=2), st.lists(st.text("ab", max_size=1), max_size=3, unique=True)),
    lambda inner: st.dictionaries(st.text("xyz", min_size=1, max_size=1), inner, max_size=3),
    max_leaves=5,
)
OPTIONS = st.dictionaries(st.text("xyz", min_size=1, max_size=1), VALUES, max_size=3)


@given(OPTIONS, OPTIONS)
def test_a_merge_is_settled_by_one_application(present, wanted):
    merged = daemon.merge(present, wanted)
    assert daemon.merge(merged, wanted) == merged
    assert merged.keys() == present.keys() | wanted.keys()


@given(OPTIONS)
def test_nothing_wanted_changes_nothing(present):
    assert daemon.merge(present, {}) == present
    assert daemon.needs(present, present) == daemon.NOTHING


def test_what_is_there_and_not_named_stays():
    present = {"log-opts": {"max-size": "1m"}, "insecure-registries": ["a"], "debug": True}
    wanted = {"log-opts": {"max-file": "3"}, "insecure-registries": ["b", "a"], "debug": False}
    assert daemon.merge(present, wanted) == {
        "log-opts": {"max-size": "1m", "max-file": "3"},
        "insecure-registries": ["a", "b"],
        "debug": False,
    }


@pytest.mark.parametrize(
    ("after", "need"),
    [
        ({"mtu": 1500}, daemon.NOTHING),
        ({"mtu": 1500, "max-concurrent-downloads": 9}, daemon.RELOAD),
        ({"mtu": 1400}, daemon.RESTART),
        ({}, daemon.RESTART),
        ({"mtu": 1500, "debug": True, "data-root": "/data"}, daemon.RESTART),
    ],
)
def test_a_restart_only_where_a_reload_is_not_enough(after, need):
    assert daemon.needs({"mtu": 1500}, after) == need


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_no_file_is_no_options(text):
    assert daemon.parse_config(text) == {}


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_a_broken_file_is_refused(text):
    with pytest.raises(ValueError):
        daemon.parse_config(text)


@given(OPTIONS)
def test_what_is_written_is_read_back(options):
    assert daemon.parse_config(daemon.render(options)) == json.loads(json.dumps(options))
