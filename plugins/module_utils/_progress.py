# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How far a long task is, told while it still runs.

A module answers only once, when it ends. Run with ``async`` and ``poll`` (or ``poll: 0`` and a later
``ansible.builtin.async_status``), Ansible keeps a job file on the host and reads it at every poll.
:class:`Progress` adds one key, ``progress``, to that job file; the poll carries it to the controller, where the
callback ``flagos.kunlunxin.progress`` shows it with rate and time left. No extra connection, file or port is made.

Outside an async job (check mode, a plain task, a unit test) reporting does nothing.
"""

from __future__ import annotations

import glob
import json
import os
import time

# From a program that a module runs up to the wrapper, and no further than that: others' jobs are none of ours.
_GENERATIONS = 4


def describe(done, total=None, unit="bytes", note="", from_source=None):
    """The record that the callback understands.

    :param done: amount finished so far, in ``unit``.
    :param total: the whole amount, or ``None`` where it is not known.
    :param unit: ``bytes``, ``seconds`` or a plural noun such as ``layers``.
    :param note: a few words on what is happening now.
    :param from_source: how much came from where the whole is, where hosts also give to each other; ``None`` where they do not.
    :returns: a dict that a module may also return under the key ``progress``, for tasks with ``until``.
    """
    record = {"done": done, "total": total, "unit": unit, "note": note}
    return record if from_source is None else dict(record, from_source=from_source)


def job_file(command_line, async_dir):
    """The job file of the async job that a process runs.

    Ansible starts a module from ``async_wrapper.py JOB LIMIT MODULE ARGUMENTS`` and names the file ``JOB.PID``
    (ansible-core, lib/ansible/modules/async_wrapper.py).

    :param command_line: the argument list of the process.
    :param async_dir: the folder of the job files.
    :returns: the path, or ``None`` when the process is no async wrapper.
    """
    for position, argument in enumerate(command_line[:-1]):
        if os.path.basename(argument) == "async_wrapper.py":
            job = command_line[position + 1]
            found = glob.glob(os.path.join(glob.escape(async_dir), glob.escape(job) + ".*[0-9]"))
            return found[0] if found else None
    return None


def _own_job_file():
    """The job file of the async job that this process works for: as its module, or as a program that the module runs."""
    async_dir = os.path.expanduser(os.environ.get("ANSIBLE_ASYNC_DIR", "~/.ansible_async"))
    pid = os.getppid()
    for _generation in range(_GENERATIONS):
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as stream:
                found = job_file([part.decode("utf-8", "replace") for part in stream.read().split(b"\0")[:-1]], async_dir)
            with open("/proc/%d/stat" % pid) as stream:
                pid = int(stream.read().rpartition(")")[2].split()[1])
        except OSError:  # the process ended, or is the first one's parent, which none is
            return None
        if found:
            return found
    return None


class Progress(object):
    """Reports of one long task.

    :param total: the whole amount, or ``None`` where it is not known.
    :param unit: see :func:`describe`.
    :param path: the job file; found by itself unless given.
    :param interval: seconds between two writes, so that a fast loop may report every step.
    """

    def __init__(self, total=None, unit="bytes", path=None, interval=1.0):
        self.total = total
        self.unit = unit
        self.interval = interval
        self._written = float("-inf")
        self._path = path or _own_job_file()

    def report(self, done, note="", from_source=None):
        """Say that ``done`` of ``total`` is finished, see :func:`describe`; at most one write an interval."""
        now = time.monotonic()
        if self._path is None or now - self._written < self.interval:
            return
        self._written = now
        record = describe(done, self.total, self.unit, note, from_source)
        try:
            with open(self._path) as stream:
                job = json.load(stream)
            job["progress"] = record
            # A reader must never meet half a record: it would take the job for unparsable.
            temporary = self._path + ".progress"
            with open(temporary, "w") as stream:
                json.dump(job, stream)
            os.rename(temporary, self._path)
        except (OSError, ValueError):
            self._path = None  # a report that cannot be kept must never fail the work it reports on
