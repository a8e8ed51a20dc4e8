"""The engine's image API, spoken to a socket that answers as dockerd does."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_images import EngineImages, PullProgress
from hypothesis import given
from hypothesis import strategies as st


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "socket"

    def log_message(self, *_arguments):
        """Tests are quiet."""

    def answer(self, status, *documents):
        lines = [json.dumps(document).encode() + b"\r\n" for document in documents]
        self.send_response(status)
        self.send_header("Content-Length", str(sum(map(len, lines))))
        self.end_headers()
        for line in lines:
            time.sleep(self.server.pause)
            self.wfile.write(line)

    def do_GET(self):
        image = self.server.images.get(self.path)
        self.answer(200, image) if image else self.answer(404, {"message": "No such image: x"})

    def do_POST(self):
        body = b""
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                break
        self.server.asked.append((self.path, dict(self.headers), body))
        self.answer(*self.server.answers)


@pytest.fixture
def engine(tmp_path):
    path = str(tmp_path / "docker.sock")
    with _Server(path, _Engine) as server:
        server.images, server.asked, server.answers, server.pause = {}, [], (200, {"status": "ok"}), 0
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server, EngineImages(path, stall_seconds=5)
        server.shutdown()
        thread.join()


def test_the_first_name_that_is_there_is_found(engine):
    server, images = engine
    server.images["/images/sha256:b/json"] = {"Id": "sha256:b"}
    assert images.find("sha256:a", "", "sha256:b")["Id"] == "sha256:b"
    assert images.find("sha256:a") is None


def test_a_pull_asks_by_digest_and_gives_the_password_in_a_header_only(engine):
    server, images = engine
    seen = []
    server.answers = (
        200,
        {"status": "Downloading", "id": "l1", "progressDetail": {"current": 3, "total": 9}},
        {"status": "Extracting", "id": "l1", "progressDetail": {"current": 1, "total": 9}},
    )
    images.pull("r.io/a", "sha256:d", "puller", "secret", lambda done, note: seen.append((done, note)))
    ((path, headers, _body),) = server.asked
    assert path == "/images/create?fromImage=r.io%2Fa&tag=sha256%3Ad"
    login = json.loads(base64.urlsafe_b64decode(headers["X-Registry-Auth"]))
    assert login == {"username": "puller", "password": "secret", "serveraddress": "r.io"}
    assert seen == [(3, ""), (9, "unpacking")]


def test_an_error_within_the_stream_is_an_error(engine):
    server, images = engine
    server.answers = (200, {"status": "Pulling"}, {"error": "no space left on device"})
    with pytest.raises(EngineError, match="no space left"):
        images.pull("r.io/a", "sha256:d", None, None, lambda done, note: None)


def test_a_refusal_is_told_in_the_engines_words(engine):
    server, images = engine
    server.answers = (404, {"message": "manifest unknown"})
    with pytest.raises(EngineError, match="manifest unknown"):
        images.pull("r.io/a", "sha256:d", None, None, lambda done, note: None)


def test_an_archive_is_streamed_whole(engine, tmp_path):
    server, images = engine
    archive, seen = tmp_path / "a.tar", []
    archive.write_bytes(b"x" * 2_500_000)
    images.load(str(archive), lambda done, note: seen.append(done))
    ((path, _headers, body),) = server.asked
    assert (path, body) == ("/images/load?quiet=0", archive.read_bytes())
    assert seen[-1] == 2_500_000


LAYER = {"status": "Loading layer", "progressDetail": {"current": 1, "total": 9}, "progress": "[> ]", "id": "l1"}


def test_an_engine_that_tells_of_its_unpacking_may_take_its_time(engine, tmp_path):
    server, images = engine
    archive, seen = tmp_path / "a.tar", []
    archive.write_bytes(b"x" * 100)
    server.answers, server.pause, images.stall_seconds = (200, *[LAYER] * 4, {"stream": "Loaded image: a:1\n"}), 0.3, 1
    images.load(str(archive), lambda done, note: seen.append((done, note)))
    assert seen == [(100, "loading")] + [(100, "unpacking")] * 5


def test_an_engine_that_falls_silent_is_given_up(engine, tmp_path):
    server, images = engine
    (tmp_path / "a.tar").write_bytes(b"x")
    server.answers, server.pause, images.stall_seconds = (200, LAYER), 1, 0.3
    with pytest.raises(EngineError, match=r"docker\.sock: timed out"):
        images.load(str(tmp_path / "a.tar"), lambda done, note: None)


def test_an_archive_that_is_not_there_is_an_error(engine, tmp_path):
    server, images = engine
    with pytest.raises(EngineError, match=r"gone\.tar: No such file"):
        images.load(str(tmp_path / "gone.tar"), lambda done, note: None)
    assert server.asked == []


def test_an_engine_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(EngineError, match=r"nowhere\.sock"):
        EngineImages(str(tmp_path / "nowhere.sock")).tag("sha256:a", "b", "c")


messages = st.fixed_dictionaries(
    {"status": st.sampled_from(["Downloading", "Extracting", "Pull complete", "Waiting"])},
    optional={
        "id": st.sampled_from(["a", "b"]),
        "progressDetail": st.none() | st.fixed_dictionaries({}, optional={"current": st.integers(0, 9), "total": st.integers(0, 9)}),
    },
)


@given(st.lists(messages))
def test_any_stream_of_messages_is_counted(stream):
    progress = PullProgress()
    for message in stream:
        progress.take(message)
        assert progress.received >= 0
