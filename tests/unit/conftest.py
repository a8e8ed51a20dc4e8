"""What all unit tests share.

Property tests on a busy machine: an example may take its time, and what fails can be run again as it was. A server to fetch from.
"""

from __future__ import annotations

import http.server
import re
import threading
import time
import urllib.parse

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    """ansible-test runs these cases without the project's own settings, and all of them."""
    config.addinivalue_line("markers", "full: slow; only `make test-full` runs it")


class MirrorServer(http.server.ThreadingHTTPServer):
    """An HTTP server with files, and with the faults that servers have.

    :ivar files: the files by path.
    :ivar ranges: whether a part of a file may be asked for.
    :ivar breaks: after how many bytes a file's next answers break off.
    :ivar stays: whether it keeps a connection after an answer.
    :ivar answers: the states of a file's next answers.
    :ivar redirects: where a file is instead.
    :ivar token: what is asked for.
    :ivar asked: (path, Range, Authorization) of every question.
    """

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.breaks: dict[str, list[int]] = {}
        self.answers: dict[str, list[int]] = {}
        self.redirects: dict[str, str] = {}
        self.token = ""
        self.asked: list[tuple[str, str, str]] = []
        self.stays = False
        self.scheme = "http"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.server_address[0]}:{self.server_address[1]}/model/"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: MirrorServer

    def do_GET(self) -> None:
        mirror, path = self.server, urllib.parse.unquote(self.path).removeprefix("/model/")
        asked, bearer = self.headers.get("Range", ""), self.headers.get("Authorization", "")
        mirror.asked.append((path, asked, bearer))
        if mirror.answers.get(path):
            return self.send_error(mirror.answers[path].pop(0))
        if mirror.token and bearer != f"Bearer {mirror.token}":
            return self.send_error(401)
        if path in mirror.redirects:
            return self._head(302, Location=mirror.redirects[path], Content_Length="0")
        if path not in mirror.files:
            return self.send_error(404)
        content, first = mirror.files[path], 0
        if asked and mirror.ranges:
            first, last = (int(number) if number else len(content) - 1 for number in re.findall(r"(\d+)-(\d*)", asked)[0])
            if first >= len(content):
                return self._head(416, Content_Range=f"bytes */{len(content)}", Content_Length="0")
            part = content[first : last + 1]
            self._head(206, Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(content)}", Content_Length=str(len(part)))
        else:
            part = content
            self._head(200, Content_Length=str(len(part)))
        if mirror.breaks.get(path) and asked != "bytes=0-0":
            part = part[: mirror.breaks[path].pop(0)]
        self.wfile.write(part)
        while mirror.stays:
            time.sleep(0.01)
        return None

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def mirror_server(monkeypatch):
    """Makes servers on addresses of the loopback interface."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NETRC", "/nonexistent")
    made = []

    def make(address: str = "127.0.0.1") -> MirrorServer:
        made.append(MirrorServer(address))
        return made[-1]

    yield make
    for server in made:
        server.shutdown()
        server.server_close()
