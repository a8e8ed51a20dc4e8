# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What runs in a serving container, read from ``/proc`` and from the logs of Ray's workers.

Every serving container has its own process namespace, so all processes seen here are ours.
"""

from __future__ import annotations

import collections
import glob
import os
import re

from ._serve_ray import worker

Process = collections.namedtuple("Process", "pid parent state command")

INIT = 1
RAY_LOGS = "/tmp/ray/session_latest/logs"  # noqa: S108 - where Ray keeps them, in a container of our own
_WORKER_LOG = re.compile(r"worker-.*-(\d+)\.(?:out|err)$")
_ACCELERATOR = re.compile(r"^/dev/xpu\d+$")
_READ_AT_MOST = 4 << 20


def processes(proc="/proc"):
    """All processes of the container."""
    found = []
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open(os.path.join(proc, name, "stat")) as stream:
                stat = stream.read()
        except OSError:  # it ended meanwhile
            continue
        command = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
        found.append(Process(int(name), int(parent), state, command))
    return found


def left_over(found, program):
    """The processes that an engine left behind: whatever the container's init has adopted.

    Ray and the engine detach from the session that starts them; nothing else does. So in a container that no engine
    has used, init has one child, our program.

    :param found: the result of :func:`processes`.
    :param program: the process id of our program in this container.
    :returns: sorted names of the commands.
    """
    return sorted(p.command for p in found if p.parent == INIT and p.pid != program and p.state != "Z")


def alive(pid, proc="/proc"):
    """Whether the process exists and is no zombie."""
    return any(p.pid == pid and p.state != "Z" for p in processes(proc))


def placement(proc="/proc", logs=RAY_LOGS):
    """The engine's workers in this container, by their own word.

    A worker names its rank and local rank in its log, whose name carries its process id; only workers that
    live count. The device is the accelerator node that the process holds open, ``None`` where it holds none (the CPU).

    :returns: a list of dicts ``rank``, ``local_rank``, ``pid``, ``device``, by rank.
    """
    living = {p.pid for p in processes(proc) if p.state != "Z"}
    workers = {}
    for path in sorted(glob.glob(os.path.join(logs, "worker-*"))):
        named = _WORKER_LOG.search(path)
        pid = int(named.group(1)) if named else None
        if pid not in living:
            continue
        try:
            with open(path, errors="replace") as stream:
                said = worker(stream.read(_READ_AT_MOST))
        except OSError:
            continue
        if said:
            workers[pid] = {"rank": said.rank, "local_rank": said.local_rank, "pid": pid, "device": _device(pid, proc)}
    return sorted(workers.values(), key=lambda w: w["rank"])


def _device(pid, proc):
    folder = os.path.join(proc, str(pid), "fd")
    held = set()
    try:
        for name in os.listdir(folder):
            try:
                held.add(os.readlink(os.path.join(folder, name)))
            except OSError:  # closed meanwhile
                continue
    except OSError:
        return None
    nodes = sorted(path for path in held if _ACCELERATOR.match(path))
    return nodes[0] if len(nodes) == 1 else None
