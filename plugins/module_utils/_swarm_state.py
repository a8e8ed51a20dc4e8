# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a lane of the swarm leaves on the disk: how far it is, for whoever watches, and what it needs to go on after it was killed."""

from __future__ import annotations

import json
import os
import time

CHECKING, RECEIVING, FLUSHING, COMPLETE, FAILED = "checking", "receiving", "flushing", "complete", "failed"
TELL_SECONDS = 1.0
# Why a lane ends that has everything: what it has is no longer what it was.
CHANGED = "it changed since it was hashed"


def boot_id():
    """What changes when the machine is restarted (proc(5), /proc/sys/kernel/random/boot_id)."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def read_status(prefix):
    """What a lane last told, as a dict; empty when it told nothing yet.

    :param prefix: as in :class:`LaneState`.
    """
    try:
        with open(prefix + ".status.json") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return {}


def reason_of(status):
    """Why a lane has ended that cannot go on, with the file that it is about; empty while it goes on.

    :param status: as :func:`read_status` returns it.
    """
    error = status.get("error")
    if not error:
        return ""
    return "%s: %s" % (error["file"], error["reason"]) if error["file"] else error["reason"]


class LaneState(object):
    """The files of one lane.

    :param prefix: what their names begin with.
    """

    def __init__(self, prefix):
        self.prefix = prefix
        self.view_folder = prefix + ".view"
        self._told = {}
        self._written = float("-inf")

    def tell(self, phase, at_once=False, **figures):
        """Say how far the lane is; what is not given stays as it was told.

        :param at_once: write it; otherwise at most one write in ``TELL_SECONDS`` within a phase.
        """
        news = phase != self._told.get("phase")
        self._told.update(figures, phase=phase)
        now = time.monotonic()
        if news or at_once or phase == FAILED or now - self._written >= TELL_SECONDS:
            self._written = now
            record = dict({"error": None}, **self._told)
            record.update(updated=time.time(), pid=os.getpid())
            _replace(self.prefix + ".status.json", json.dumps(record).encode("utf-8"))

    def fail(self, path, reason):
        """Say why the lane has ended."""
        self.tell(FAILED, error={"file": path, "reason": reason})

    def save_resume(self, data):
        """Keep libtorrent's own notes, and on which start of the machine they were taken."""
        _replace(self.prefix + ".resume", boot_id().encode("ascii") + b"\n" + data)

    def resume(self):
        """The notes, or ``None`` where there are none or the machine was restarted since: what they call written may then be lost."""
        try:
            with open(self.prefix + ".resume", "rb") as stream:
                boot, _line, data = stream.read().partition(b"\n")
        except OSError:
            return None
        return data if boot.decode("ascii", "replace") == boot_id() else None

    def view(self, name, folder):
        """A folder in which ``folder`` is called ``name``, as the torrent calls it."""
        os.makedirs(self.view_folder, mode=0o755, exist_ok=True)
        link = os.path.join(self.view_folder, name)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(folder, link)
        return self.view_folder


def _replace(path, data):
    """A reader meets the old file or the new one. Not synchronised: after a power cut the files themselves are read."""
    temporary = path + ".new"
    with open(temporary, "wb") as stream:
        stream.write(data)
    os.rename(temporary, path)
