# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The program that carries one lane of the swarm, packed as a zipapp: ``swarm.pyz CONFIG.json``.

It needs ``libtorrent`` and runs as a user that may write below ``folder`` and ``state`` only. CONFIG.json::

    torrent         file of the lane's torrent
    folder          where its files are or go, whatever the torrent calls the folder
    complete        paths that are known to be whole, or "everything" for a source
    listen          addresses with port that it is bound to; it answers on no other
    peers           addresses with port of the others, which are connected again and again
    allow           addresses that get anything
    state           what the names of its own files begin with
    tls             files with its "certificate" and "key", as PEM; it then speaks TLS alone, to members of the torrent's authority
    linger_seconds  it ends by itself when nobody has needed it for so long

It ends with 0 when it was told to or is no longer needed, and with 3 when it cannot go on; ``STATE.status.json`` says why. Either
way it takes its key with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys

from ._swarm_state import LaneState

CANNOT_GO_ON = 3


def main(argv=None):
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        sys.stderr.write(__doc__)
        return 2
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: asked.append(True))
    os.umask(0o022)
    with open(arguments[0]) as stream:
        config = json.load(stream)
    code = _carry(config, lambda: bool(asked))
    _forget_key(config)  # not where it fails otherwise, for then it is started again
    return code


def _carry(config, stopped):
    """Carry the lane to its end; returns the exit code."""
    state = LaneState(config["state"])
    try:
        # What it needs besides Python comes with it; that it does not load is a line for the operator, not a traceback.
        import libtorrent  # noqa: F401

        from ._swarm_lane import Lane, LaneError
    except ImportError as error:
        state.fail("", "libtorrent does not load: %s" % error)
        return CANNOT_GO_ON
    try:
        Lane(config, state).run(stopped)
    except LaneError as error:
        state.fail(error.path, error.reason)
        sys.stderr.write("%s\n" % error)
        return CANNOT_GO_ON
    except (OSError, RuntimeError) as error:
        state.fail("", str(error))
        sys.stderr.write("%s\n" % error)
        return CANNOT_GO_ON
    return 0


def _forget_key(config):
    if config.get("tls"):
        with contextlib.suppress(OSError):
            os.unlink(config["tls"]["key"])
