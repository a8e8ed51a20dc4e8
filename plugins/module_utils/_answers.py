# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Are two sets of greedy answers the same answers?

A question is ``{"id", "prompt" | "messages", "max_tokens"}``, an answer ``{"id", "tokens", "logprobs", "text"}``: token ids and
the natural logarithm of the probability that the model gave to each. All functions are pure.
"""

from __future__ import annotations

import math

TOLERANCE = 1e-3


def compare(reference, observed, tolerance=TOLERANCE):
    """Figures of the comparison.

    :param reference: the answers to measure by.
    :param observed: the answers measured, in any order.
    :param tolerance: how far a logprob may differ; a value that is not a finite number is always too far.
    :returns: ``{"questions", "tokens", "identical", "largest_logprob_difference", "differences": [line, ...]}``; the answers
        are the same when ``differences`` is empty.
    """
    found = {answer["id"]: answer for answer in observed}
    differences = ["no question was asked"] if not reference else []
    largest, tokens, identical = 0.0, 0, 0
    for expected in reference:
        name = expected["id"]
        answer = found.pop(name, None)
        if answer is None:
            differences.append("%s: not answered" % name)
            continue
        trouble = _malformed(expected) or _malformed(answer)
        if trouble:
            differences.append("%s: %s" % (name, trouble))
            continue
        tokens += len(expected["tokens"])
        place = _first_difference(expected["tokens"], answer["tokens"])
        if place is not None:
            differences.append(
                "%s: token %d is %s, expected %s" % (name, place, _item(answer["tokens"], place), _item(expected["tokens"], place))
            )
            continue
        identical += 1
        distance, place = _farthest(expected["logprobs"], answer["logprobs"])
        largest = max(largest, distance)
        if not distance <= tolerance:
            differences.append(
                "%s: logprob of token %d is %.6f, expected %.6f within %g"
                % (name, place, answer["logprobs"][place], expected["logprobs"][place], tolerance)
            )
    differences += ["%s: answered, but not in the reference" % name for name in sorted(found)]
    return {
        "questions": len(reference),
        "tokens": tokens,
        "identical": identical,
        "largest_logprob_difference": largest,
        "differences": differences,
    }


def not_distinct(answers):
    """Names of questions that got the same tokens; a server that ignores what it is asked gives such answers."""
    by_tokens = {}
    for answer in answers:
        by_tokens.setdefault(tuple(answer["tokens"]), []).append(answer["id"])
    return ["%s have the same answer" % ", ".join(names) for names in by_tokens.values() if len(names) > 1]


def _malformed(answer):
    """What makes an answer unfit for comparing, or ``None``."""
    tokens, logprobs = answer["tokens"], answer["logprobs"]
    if not tokens:
        return "the answer is empty"
    if len(tokens) != len(logprobs):
        return "%d tokens but %d logprobs" % (len(tokens), len(logprobs))
    for place, value in enumerate(logprobs):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return "logprob of token %d is %s" % (place, value)
    return None


def _first_difference(left, right):
    if left == right:
        return None
    shorter = min(len(left), len(right))
    return next((place for place in range(shorter) if left[place] != right[place]), shorter)


def _item(items, place):
    return items[place] if place < len(items) else "absent"


def _farthest(left, right):
    """The largest difference of two equally long lists, and its place."""
    return max((abs(left[place] - right[place]), place) for place in range(len(left)))
