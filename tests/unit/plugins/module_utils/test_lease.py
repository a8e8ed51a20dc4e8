from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lease as lease
from hypothesis import given
from hypothesis import strategies as st

names = st.sampled_from(["a", "b", "c"])
holders = st.builds(
    lambda controller, process, insists: {
        "controller": controller,
        "process": process,
        "ended": "",
        "insists": insists,
        "who": f"{process}@{controller}",
        "doing": "site.yml",
    },
    names,
    names,
    st.booleans(),
)
times = st.integers(min_value=0, max_value=10**9)


def record_of(holder, now=100, ttl=50):
    return lease.grant({}, holder, now, ttl)


def holder(controller="a", process="1", **more):
    return {
        "controller": controller,
        "process": process,
        "ended": "",
        "insists": False,
        "who": f"root@{controller}",
        "doing": "site.yml",
        **more,
    }


def test_nobody_holds_it():
    assert lease.decide({}, holder(), 0) == (lease.FREE, "")


def test_the_holder_renews_and_keeps_its_since():
    first = record_of(holder())
    assert lease.decide(first, holder(), 10**9) == (lease.HELD, "")
    assert lease.grant(first, holder(), 120, 50) == {**first, "expires": 170}


def test_another_controller_waits_until_it_runs_out():
    record = record_of(holder())
    assert lease.decide(record, holder("b"), 149)[0] == lease.FOREIGN
    state, note = lease.decide(record, holder("b"), 150)
    assert state == lease.FREE
    assert "root@a" in note and "ran out" in note


def test_a_run_of_the_same_controller_blocks_only_while_it_lives():
    record = record_of(holder(process="1"))
    assert lease.decide(record, holder(process="2"), 101)[0] == lease.FOREIGN
    state, note = lease.decide(record, holder(process="2", ended="1"), 101)
    assert (state, "process has ended" in note) == (lease.FREE, True)


def test_what_one_controller_says_of_its_processes_does_not_free_another_ones_lease():
    assert lease.decide(record_of(holder("a", "1")), holder("b", "2", ended="1"), 101)[0] == lease.FOREIGN


def test_insisting_takes_it_and_says_from_whom():
    state, note = lease.decide(record_of(holder()), holder("b", insists=True), 101)
    assert (state, "root@a" in note) == (lease.FREE, True)


@given(holders, holders, times, times)
def test_two_living_runs_never_both_get_it(one, other, start, later):
    record = lease.grant({}, one, start, 50)
    state, _note = lease.decide(record, other, start + later)
    if not lease.is_of(record, other) and not other["insists"]:
        assert (state == lease.FREE) == (later >= 50)


@given(
    st.none() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text() | st.just("since"), st.text() | st.integers())
)
def test_a_damaged_record_is_none(document):
    assert lease.parse(document) == {}


@given(holders, times)
def test_a_whole_record_is_read_as_it_was_written(one, now):
    record = lease.grant({}, one, now, 50)
    assert lease.parse(dict(record)) == record


def test_the_line_names_holder_since_work_and_end():
    text = lease.describe(record_of(holder(), now=0, ttl=60))
    assert text == "held by root@a since 1970-01-01T00:00:00Z, running site.yml; it runs out at 1970-01-01T00:01:00Z unless renewed"
