"""The engine's API over its socket, against a real HTTP server on a real socket."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from typing import ClassVar

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError


class Handler(http.server.BaseHTTPRequestHandler):
    answers: ClassVar = {
        "/version": (200, {"Version": "24.0.5"}),
        "/containers/json?all=0": (200, [{"Id": "abc", "Names": ["/one"], "Labels": None, "State": "running"}]),
        "/broken": (500, {"message": "no space left on device"}),
    }

    def do_GET(self):
        status, body = self.answers.get(self.path, (404, {"message": "page not found"}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"no JSON" if self.path == "/text" else json.dumps(body).encode())

    def log_message(self, *unused):
        pass

    def address_string(self):
        return "engine"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def client(tmp_path):
    with Server(str(tmp_path / "engine.sock"), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield EngineClient(str(tmp_path / "engine.sock"), timeout=5)
        server.shutdown()


def test_it_asks_and_decodes(client):
    assert client.version() == "24.0.5"
    assert client.containers() == {"abc": {"name": "one", "labels": {}, "running": True}}


def test_a_refusal_carries_the_engines_words(client):
    with pytest.raises(EngineError, match="no space left on device"):
        client.get("/broken")


def test_an_answer_that_is_no_json(client):
    with pytest.raises(EngineError, match="no JSON"):
        client.get("/text")


def test_no_engine_names_the_socket(tmp_path):
    with pytest.raises(EngineError, match=r"absent\.sock"):
        EngineClient(str(tmp_path / "absent.sock")).version()
