# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Images of a Docker engine by its API: look, pull by digest, load, tag.

The password travels in a header to a local socket: it is never on a command line and nothing stores it.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import urllib.parse

from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError, _UnixConnection

_CHUNK = 2**20


class EngineImages(EngineClient):
    """The images of one engine.

    :param stall_seconds: how long the engine may be silent within a pull or load.
    """

    def __init__(self, path, stall_seconds=600):
        super().__init__(path)
        self.stall_seconds = stall_seconds

    def find(self, *names):
        """What the engine says of the first of these names or digests that it has, or ``None``.

        :returns: the engine's own record: ``Id``, ``RepoDigests``, ``RepoTags``, ``Size`` and so on.
        """
        for name in names:
            if name:
                try:
                    return self.get("/images/%s/json" % urllib.parse.quote(name, safe="/:@"))
                except EngineError as error:
                    if "no such image" not in str(error).lower() and "not found" not in str(error).lower():
                        raise
        return None

    def pull(self, name, digest, username, password, report):
        """Pull ``name@digest``; layers already there are not fetched again.

        :param report: called with (bytes received so far, a note).
        :raises EngineError: with the engine's own words.
        """
        headers = {}
        if username and password:
            login = {"username": username, "password": password, "serveraddress": name.partition("/")[0]}
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(login).encode("utf-8")).decode("ascii")
        progress = PullProgress()
        query = urllib.parse.urlencode({"fromImage": name, "tag": digest})
        for message in self._messages("/images/create?" + query, headers):
            progress.take(message)
            report(progress.received, progress.note)

    def load(self, path, report):
        """Load an archive.

        Asked to be quiet, the engine would say nothing while it unpacks, which takes longer than it may be silent.

        :param report: called with (bytes of the archive read so far, a note).
        :raises EngineError: with the engine's own words, or why the archive cannot be read.
        """
        try:
            stream = open(path, "rb")  # noqa: SIM115  closed below; an error while it is read is one of the engine's stream
        except OSError as error:
            raise EngineError("%s: %s" % (path, error.strerror)) from error
        with stream:
            size = os.fstat(stream.fileno()).st_size
            for _unused in self._messages("/images/load?quiet=0", {"Content-Type": "application/x-tar"}, _reported(stream, report)):
                report(size, "unpacking")

    def tag(self, image, repository, tag):
        """Give an image one more name, so that it is not taken for a left-over when dangling images are pruned."""
        for _unused in self._messages("/images/%s/tag?%s" % (image, urllib.parse.urlencode({"repo": repository, "tag": tag})), {}):
            pass

    def _messages(self, path, headers, body=None):
        """POST and yield each JSON message of the answer's stream; an error among them is raised."""
        connection = _UnixConnection(self.path, self.stall_seconds)
        try:
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise EngineError(_words(answer.read()))
            for line in answer:
                if line.strip():
                    message = json.loads(line.decode("utf-8"))
                    if message.get("error"):
                        raise EngineError(message["error"])
                    yield message
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise EngineError("%s: %s" % (self.path, error)) from error
        finally:
            connection.close()


class PullProgress(object):
    """How far a pull is, from the engine's messages on its layers (moby/moby, distribution/pull_v2.go).

    :ivar received: bytes of layers received, as they travel.
    :ivar note: what is being done now.
    """

    def __init__(self):
        self._received = {}
        self.note = ""

    @property
    def received(self):
        return sum(self._received.values())

    def take(self, message):
        """Learn from one message of the stream; a message that says nothing about a layer changes nothing."""
        layer, status = message.get("id"), message.get("status", "")
        detail = message.get("progressDetail") or {}
        if status == "Downloading" and "current" in detail:
            self._received[layer] = detail["current"]
        elif status == "Extracting" and detail.get("total"):
            self._received[layer] = detail["total"]
            self.note = "unpacking"


def _reported(stream, report):
    """The chunks of a file, each reported once it was asked for."""
    done = 0
    while True:
        chunk = stream.read(_CHUNK)
        if not chunk:
            return
        yield chunk
        done += len(chunk)
        report(done, "loading")


def _words(body):
    """The engine's message in the body of a refusal."""
    try:
        return json.loads(body.decode("utf-8"))["message"]
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip() or "no reason given"
