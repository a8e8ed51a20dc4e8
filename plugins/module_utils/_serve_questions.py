# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Questions put to the running service, and its answers in the form that ``_answers`` compares."""

from __future__ import annotations

import re

from ._serve_http import NoAnswerError

# ``return_tokens_as_token_ids`` is vLLM's own extension: tokens come as "token_id:42" instead of text, which may be ambiguous.
_TOKEN = re.compile(r"^token_id:(\d+)$")


def ask(endpoint, model, question, seconds):
    """One greedy answer.

    :param question: ``{"id", "prompt" | "messages", "max_tokens"}``.
    :raises NoAnswerError, RefusedError: when none comes, or one without token ids.
    """
    options = {"max_tokens": question["max_tokens"], "return_tokens_as_token_ids": True}
    if "messages" in question:
        choice = endpoint.chat(model, question["messages"], seconds, logprobs=True, **options)
        steps = (choice.get("logprobs") or {}).get("content") or []
        tokens, logprobs = [step.get("token") for step in steps], [step.get("logprob") for step in steps]
        text = (choice.get("message") or {}).get("content")
    else:
        choice = endpoint.complete(model, question["prompt"], seconds, logprobs=0, **options)
        steps = choice.get("logprobs") or {}
        tokens, logprobs = steps.get("tokens") or [], steps.get("token_logprobs") or []
        text = choice.get("text")
    return {"id": question["id"], "tokens": [_token_id(token) for token in tokens], "logprobs": list(logprobs), "text": text or ""}


def _token_id(token):
    found = _TOKEN.match(token or "")
    if not found:
        raise NoAnswerError("the endpoint sends no token ids (%r)" % (token,))
    return int(found.group(1))
