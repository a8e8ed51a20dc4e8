# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The Docker Engine API over its unix socket, with the standard library alone.

A host needs no Docker SDK for what preflight and container_engine ask: version, information, containers.
"""

from __future__ import annotations

import http.client
import json
import socket

DEFAULT_SOCKET = "/var/run/docker.sock"
ANSWER_SECONDS = 20


class EngineError(Exception):
    """The engine did not answer, or refused; the text is the engine's own where it sent one."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineClient:
    """Requests to one engine; each opens its own connection, so that a restarted engine is simply asked again."""

    def __init__(self, path=DEFAULT_SOCKET, timeout=ANSWER_SECONDS):
        self.path = path
        self.timeout = timeout

    def get(self, path):
        """The decoded JSON answer of ``GET path``. EngineError when there is none or it is not a success."""
        connection = _UnixConnection(self.path, self.timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError("no answer on %s: %s" % (self.path, error)) from error
        finally:
            connection.close()
        try:
            document = json.loads(body.decode("utf-8")) if body else None
        except ValueError as error:
            raise EngineError("no JSON on %s: %s" % (self.path, error)) from error
        if answer.status >= 400:
            message = document.get("message") if isinstance(document, dict) else None
            raise EngineError(message or "%s answered %d" % (path, answer.status))
        return document

    def version(self):
        """The engine's version, for example ``20.10.24+dfsg1``."""
        return self.get("/version")["Version"]

    def information(self):
        """What ``docker info`` shows; DockerRootDir is the data root."""
        return self.get("/info")

    def containers(self, running_only=True):
        """Containers as ``{id: {"name", "labels", "running"}}``."""
        found = self.get("/containers/json?all=%d" % (0 if running_only else 1))
        return {
            item["Id"]: {
                "name": (item.get("Names") or ["/?"])[0].lstrip("/"),
                "labels": item.get("Labels") or {},
                "running": item.get("State") == "running",
            }
            for item in found
        }
