"""The comparison of answers: what must pass, and everything that must not."""

from __future__ import annotations

import copy
import math

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _answers
from hypothesis import given
from hypothesis import strategies as st


def answer(name="a", tokens=(1, 2, 3), logprobs=(-0.5, -1.0, -2.0)):
    return {"id": name, "tokens": list(tokens), "logprobs": list(logprobs), "text": ""}


logprob = st.floats(-50, 0, allow_nan=False)
answers = st.lists(st.lists(st.tuples(st.integers(0, 200000), logprob), min_size=1, max_size=16), min_size=1, max_size=6).map(
    lambda rows: [answer(f"q{i}", *zip(*row, strict=False)) for i, row in enumerate(rows)]
)


@given(answers)
def test_answers_equal_themselves(given_answers):
    figures = _answers.compare(given_answers, copy.deepcopy(given_answers))
    assert figures["differences"] == []
    assert figures["identical"] == figures["questions"] == len(given_answers)
    assert figures["largest_logprob_difference"] == 0


@given(answers, st.data())
def test_one_other_token_is_found_and_named(given_answers, data):
    changed = copy.deepcopy(given_answers)
    which = data.draw(st.integers(0, len(changed) - 1))
    place = data.draw(st.integers(0, len(changed[which]["tokens"]) - 1))
    changed[which]["tokens"][place] += 1
    differences = _answers.compare(given_answers, changed)["differences"]
    assert len(differences) == 1
    assert differences[0].startswith(f"q{which}: token {place} is ")


@given(answers, st.data(), st.floats(1.01e-3, 10))
def test_a_logprob_too_far_is_found(given_answers, data, shift):
    changed = copy.deepcopy(given_answers)
    which = data.draw(st.integers(0, len(changed) - 1))
    place = data.draw(st.integers(0, len(changed[which]["tokens"]) - 1))
    changed[which]["logprobs"][place] -= shift
    assert len(_answers.compare(given_answers, changed)["differences"]) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "x", True])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number_never_passes(value, side):
    pair = [[answer()], [answer(logprobs=(-0.5, value, -2.0))]]
    assert _answers.compare(pair[side], pair[1 - side])["differences"]
    assert _answers.compare(pair[1], copy.deepcopy(pair[1]))["differences"]


def test_missing_and_extra_answers_differ():
    figures = _answers.compare([answer("a"), answer("b")], [answer("b"), answer("c")])
    assert figures["differences"] == ["a: not answered", "c: answered, but not in the reference"]


def test_an_answer_cut_short_differs():
    assert _answers.compare([answer()], [answer(tokens=(1, 2), logprobs=(-0.5, -1.0))])["differences"] == [
        "a: token 2 is absent, expected 3"
    ]


def test_empty_answers_and_no_questions_never_pass():
    assert _answers.compare([answer(tokens=(), logprobs=())], [answer(tokens=(), logprobs=())])["differences"]
    assert _answers.compare([], [])["differences"]


def test_within_the_tolerance():
    near = answer(logprobs=(-0.5005, -1.0, -2.0))
    figures = _answers.compare([answer()], [near])
    assert figures["differences"] == []
    assert figures["largest_logprob_difference"] == pytest.approx(0.0005)


def test_equal_answers_to_different_questions_are_named():
    assert _answers.not_distinct([answer("a"), answer("b"), answer("c", (9,), (-1.0,))]) == ["a, b have the same answer"]
