"""The client of the endpoint against a server of the standard library that says what a case wants said."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_http import Endpoint, NoAnswerError, RefusedError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_questions import ask


class Server:
    """Answers every request with the next of ``answers``: (status, text)."""

    def __init__(self):
        self.answers = []
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.reply()

            def do_GET(self):
                self.reply()

            def reply(self):
                status, text = outer.answers.pop(0)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = Endpoint("127.0.0.1", self.server.server_port)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_completion_is_asked_greedily_and_read_as_token_ids(server):
    choice = {"text": " Paris", "logprobs": {"tokens": ["token_id:7", "token_id:42"], "token_logprobs": [-0.25, -1.5]}}
    server.answers = [(200, json.dumps({"choices": [choice]}))]
    answer = ask(server.endpoint, "tiny", {"id": "capital", "prompt": "The capital is", "max_tokens": 2}, 5)
    assert answer == {"id": "capital", "tokens": [7, 42], "logprobs": [-0.25, -1.5], "text": " Paris"}
    assert server.asked[0]["temperature"] == 0
    assert server.asked[0]["return_tokens_as_token_ids"] is True


def test_a_chat_is_read_as_token_ids(server):
    content = [{"token": "token_id:7", "logprob": -0.25}]
    server.answers = [(200, json.dumps({"choices": [{"message": {"content": "Hi"}, "logprobs": {"content": content}}]}))]
    answer = ask(server.endpoint, "tiny", {"id": "hi", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}, 5)
    assert (answer["tokens"], answer["logprobs"], answer["text"]) == ([7], [-0.25], "Hi")


def test_text_instead_of_token_ids_is_no_answer(server):
    choice = {"text": "x", "logprobs": {"tokens": [" Paris"], "token_logprobs": [-0.25]}}
    server.answers = [(200, json.dumps({"choices": [choice]}))]
    with pytest.raises(NoAnswerError, match="no token ids"):
        ask(server.endpoint, "tiny", {"id": "q", "prompt": "x", "max_tokens": 1}, 5)


def test_an_answer_without_logprobs_has_no_tokens(server):
    server.answers = [(200, json.dumps({"choices": [{"text": "x", "logprobs": None}]}))]
    assert ask(server.endpoint, "tiny", {"id": "q", "prompt": "x", "max_tokens": 1}, 5)["tokens"] == []


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"choices": []}'])
def test_what_is_no_answer_is_said_to_be_none(server, text):
    server.answers = [(200, text)]
    with pytest.raises(NoAnswerError):
        server.endpoint.complete("tiny", "x", 5)


def test_an_error_status_is_a_refusal_with_the_servers_words(server):
    server.answers = [(503, "engine\nis dead")]
    with pytest.raises(RefusedError, match="HTTP 503: engine is dead") as caught:
        server.endpoint.get("/health", 5)
    assert caught.value.status == 503


def test_a_closed_port_is_called_refused():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    with pytest.raises(NoAnswerError, match="refused"):
        Endpoint("127.0.0.1", port).get("/health", 5)
