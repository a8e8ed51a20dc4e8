# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the serve program says about itself: one small JSON file on each host.

The program is the only writer; modules, people and later supervisors are readers. The file outlives the container, so
the reason of a failure is still there after the unit has restarted.
"""

from __future__ import annotations

import json
import os
import time

FILE_NAME = "state.json"

STARTING = "starting"
WAITING = "waiting for the other containers"
LAUNCHING = "starting Ray and the engine"
JOINING = "counting Ray's hosts"
LOADING = "loading the model"
READY = "ready"
FAILED = "failed"
STOPPED = "stopped"

LOG_LINES_KEPT = 20


class StateFile(object):
    """The state of one host's program.

    :param folder: the folder of the file; it must exist.
    :param deployment: the identity of the deployment the program serves; a reader tells an old state by it.
    :param clock: seconds since the epoch, replaced in tests.
    """

    def __init__(self, folder, deployment, clock=time.time):
        self.path = os.path.join(folder, FILE_NAME)
        self._clock = clock
        before = read(folder) or {}
        self._record = {
            "deployment": deployment,
            "started": clock(),
            "phase": STARTING,
            "since": clock(),
            "reason": "",
            "failure": before.get("failure") if before.get("deployment") == deployment else None,
        }
        self._write()

    def enter(self, phase, reason=""):
        """Note the phase and, in words, how it stands. The time of a phase is that of its first note."""
        if phase == self._record["phase"] and reason == self._record["reason"]:
            return
        if phase != self._record["phase"]:
            self._record["since"] = self._clock()
        self._record.update(phase=phase, reason=reason)
        self._write()

    def fail(self, reason, log_lines=()):
        """Keep why the service failed, in which phase, and the last lines of the engine's log."""
        self._record["failure"] = {
            "at": self._clock(),
            "phase": self._record["phase"],
            "reason": reason,
            "log": list(log_lines)[-LOG_LINES_KEPT:],
        }
        self.enter(FAILED, reason)

    def _write(self):
        part = self.path + ".part"
        with open(part, "w") as stream:
            json.dump(self._record, stream, indent=1, sort_keys=True)
            stream.write("\n")
        os.rename(part, self.path)


def read(folder):
    """The record kept in ``folder``, or ``None`` where there is none that can be read."""
    try:
        with open(os.path.join(folder, FILE_NAME)) as stream:
            record = json.load(stream)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
