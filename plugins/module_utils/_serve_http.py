# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""A client of the OpenAI-style endpoint, with the standard library alone."""

from __future__ import annotations

import http.client
import json


class NoAnswerError(Exception):
    """Nobody answered in time; the text says how it failed."""


class RefusedError(Exception):
    """The endpoint answered with an error status.

    :ivar status: the HTTP status.
    """

    def __init__(self, status, text):
        super(RefusedError, self).__init__("HTTP %d: %s" % (status, " ".join(text.split())[:300]))
        self.status = status


class Endpoint(object):
    """One server at ``address:port``; every request opens its own connection."""

    def __init__(self, address, port):
        self.address = address
        self.port = port

    @property
    def url(self):
        return "http://%s:%d" % (self.address, self.port)

    def get(self, path, seconds):
        """The body of ``GET path``. :raises NoAnswerError, RefusedError:"""
        return self._ask("GET", path, None, seconds)

    def post(self, path, document, seconds):
        """The decoded JSON answer to ``POST path``. :raises NoAnswerError, RefusedError:"""
        body = self._ask("POST", path, json.dumps(document), seconds)
        try:
            return json.loads(body)
        except ValueError:
            raise NoAnswerError("%s%s answered with something that is not JSON" % (self.url, path))

    def complete(self, model, prompt, seconds, **options):
        """The first choice of a greedy completion."""
        question = dict({"model": model, "prompt": prompt, "temperature": 0}, **options)
        return self._first_choice("/v1/completions", question, seconds)

    def chat(self, model, messages, seconds, **options):
        """The first choice of a greedy chat answer."""
        question = dict({"model": model, "messages": messages, "temperature": 0}, **options)
        return self._first_choice("/v1/chat/completions", question, seconds)

    def _first_choice(self, path, question, seconds):
        answer = self.post(path, question, seconds)
        try:
            return answer["choices"][0]
        except (KeyError, IndexError, TypeError):
            raise NoAnswerError("%s%s answered without a choice" % (self.url, path))

    def _ask(self, method, path, body, seconds):
        connection = http.client.HTTPConnection(self.address, self.port, timeout=seconds)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError("%s%s: %s" % (self.url, path, error or type(error).__name__))
        finally:
            connection.close()
        if answer.status >= 300:
            raise RefusedError(answer.status, text)
        return text
