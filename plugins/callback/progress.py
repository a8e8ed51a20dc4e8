# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress for people, timings for machines.

The plugin imports nothing of the collection, so that a clone can load it by its path even before set-up linked the
clone as a collection.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Shows stages, hosts and long transfers, and writes timings as JSON
version_added: 0.1.0
description:
  - On a terminal one live line shows the stage, the task, how many hosts are through it and, for a task that reports its
    progress, the amount, rate and time left of the slowest host, and what all hosts have together. Finished tasks and stages stay above it as plain lines.
  - Anywhere else only plain lines are written, a running transfer at most every O(interval) seconds.
  - A stage is a playbook file, named after it.
  - A failure is one line with host and message. With C(-v) results are shown in full, as the default callback does.
  - The timings name each task's action, what came of it and, with C(--diff), for each host a digest of the diff it gave, so that a
    program can see whether two runs would do the same.
  - A task reports progress by returning or, while it runs with C(async), by adding a key C(progress) with C(done), C(total), C(unit),
    C(note) and, where hosts give to each other what comes from one place, C(from_source). The collection's modules do that by themselves.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  timings_file:
    description:
      - The file that the timings are written to, as JSON, after every stage. None are written when it is empty.
      - A relative path in C(ansible.cfg) starts at that file.
    type: path
    default: ''
    env:
      - name: FLAGOS_KUNLUNXIN_TIMINGS
    ini:
      - section: callback_progress
        key: timings_file
  interval:
    description: Seconds between two plain lines about a running task.
    type: float
    default: 10
    env:
      - name: FLAGOS_KUNLUNXIN_PROGRESS_INTERVAL
    ini:
      - section: callback_progress
        key: interval
  live:
    description:
      - Whether to show the live line where the output is a terminal.
      - A program that reads the output from a pseudo-terminal wants C(false).
    type: bool
    default: true
    env:
      - name: FLAGOS_KUNLUNXIN_PROGRESS_LIVE
    ini:
      - section: callback_progress
        key: live
requirements:
  - set as stdout in configuration
"""

import collections
import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import threading
import time

from ansible import constants as C
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

# What Ansible puts in front of a lookup's own words, by 2.18 and by 2.19.
WRAPPING = re.compile(r"^.*?(?:[Tt]he lookup plugin '[\w.]+' failed: |original message: )", re.DOTALL)
UNITS = ("B", "kB", "MB", "GB", "TB")
RATE_WINDOW_S = 30.0
REDRAW_S = 0.5


def own_words(message):
    """The lines of a failure's message, without what Ansible wraps around those of a lookup."""
    return [line.strip() for line in WRAPPING.sub("", str(message)).splitlines() if line.strip()]


def amount(value, unit="bytes"):
    """A number as people read it: ``amount(3.2e9)`` is ``3.2 GB``, ``amount(3, "layers")`` is ``3 layers``."""
    if unit == "seconds":
        return clock(value)
    if unit != "bytes":
        return f"{value:g} {unit}"
    scaled = float(value)
    for name in UNITS:
        if abs(scaled) < 999.5 or name == UNITS[-1]:
            break
        scaled /= 1000
    return f"{scaled:.1f} {name}" if scaled < 10 and name != "B" else f"{scaled:.0f} {name}"


def clock(seconds):
    """Seconds as ``4.2 s``, ``48 s``, ``3 min 05 s`` or ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Meter:
    """The reports of one host on one task, and the rate they make over the last half minute."""

    def __init__(self):
        self.total = None
        self.unit = "bytes"
        self.note = ""
        self.from_source = None
        self._samples = collections.deque()

    def add(self, now, record):
        """Take one ``progress`` record that arrived at ``now`` (seconds of a monotonic clock)."""
        done = float(record.get("done") or 0)
        self.total = record.get("total")
        self.unit = record.get("unit") or "bytes"
        self.note = record.get("note") or ""
        self.from_source = record.get("from_source")
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()  # a new attempt starts from less: the old rate says nothing about it
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()

    @property
    def done(self):
        return self._samples[-1][1] if self._samples else 0.0

    @property
    def fraction(self):
        """Between 0 and 1, or ``None`` where the total is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def rate(self):
        """Units per second, or ``None`` before two reports."""
        if len(self._samples) < 2:
            return None
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None

    @property
    def seconds_left(self):
        return (self.total - self.done) / self.rate if self.total and self.rate else None

    def __str__(self):
        parts = []
        if self.unit == "seconds":
            parts.append(f"{clock(self.done)} of at most {clock(self.total)}" if self.total else clock(self.done))
        elif self.total:
            done = amount(self.done) if self.unit == "bytes" else f"{self.done:g}"
            parts.append(f"{self.fraction:.0%}, {done} of {amount(self.total, self.unit)}")
        else:
            parts.append(amount(self.done, self.unit))
        if self.unit != "seconds" and self.rate:
            parts.append(f"{amount(round(self.rate, 2), self.unit)}/s")
        if self.unit != "seconds" and self.seconds_left is not None:
            parts.append(f"{clock(self.seconds_left)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


def slowest(meters):
    """The ``(host, meter)`` that the others wait for, or ``None``."""
    return min(meters.items(), key=lambda item: (item[1].fraction or 0.0, item[1].done), default=None)


def in_all(meters, arrived):
    """What several hosts have together, such as ``in all 1.2 TB of 2.8 TB, 3.1 GB/s, 0.45 copies from the source``.

    :param meters: of the hosts that are still at it.
    :param arrived: the meters of those that are through.
    :returns: "" where it cannot be told, or says nothing new.
    """
    everyone = [*meters, *arrived]
    if any(meter.unit != "bytes" or not meter.total for meter in everyone) or not meters or len(everyone) == 1:
        return ""
    total = sum(meter.total for meter in everyone)
    done = sum(meter.done for meter in meters) + sum(meter.total for meter in arrived)
    parts = [f"in all {amount(done)} of {amount(total)}"]
    rates = [meter.rate for meter in meters if meter.rate]
    if rates:
        parts.append(f"{amount(sum(rates))}/s")
    given = [meter.from_source for meter in everyone if meter.from_source is not None]
    if given:
        parts.append(f"{sum(given) / max(meter.total for meter in everyone):.2f} copies from the source")
    return ", ".join(parts)


class TaskRun:
    """One task on its hosts, from its start to its last result."""

    def __init__(self, stage, role, name, started, action=""):
        self.stage = stage
        self.role = role
        self.name = name
        self.action = action
        self.started = started
        self.ended = started
        self.waiting = set()
        self.outcomes = collections.defaultdict(list)
        self.meters = {}
        self.arrived = []
        self.diffs = collections.defaultdict(hashlib.sha256)
        self.silent = False
        self.shown_at = started

    def result(self, host, outcome, now):
        self.waiting.discard(host)
        meter = self.meters.pop(host, None)
        if meter and meter.unit == "bytes" and outcome in ("ok", "changed"):
            self.arrived.append(meter)
        self.outcomes[outcome].append(host)
        self.ended = now

    def diff(self, host, shown):
        """Take a diff that a host gave; a loop gives one for each item."""
        self.diffs[host].update(json.dumps(shown, sort_keys=True, default=str).encode())

    @property
    def seconds(self):
        return self.ended - self.started

    @property
    def hosts(self):
        return sum(len(hosts) for hosts in self.outcomes.values())

    @property
    def title(self):
        return f"{self.role} : {self.name}" if self.role else self.name

    def running_line(self, now):
        """What still goes on, in words."""
        parts = [self.title]
        if self.hosts + len(self.waiting) > 1:
            parts.append(f"{self.hosts} of {self.hosts + len(self.waiting)} hosts")
        last = slowest(self.meters)
        if last:
            host, meter = last
            parts.append(f"{host}: {meter}" if len(self.waiting) > 1 else str(meter))
            parts.extend(filter(None, [in_all(self.meters.values(), self.arrived)]))
        parts.append(clock(now - self.started))
        return " | ".join(parts)

    def finished_line(self):
        counts = []
        for outcome in ("ok", "changed", "failed", "unreachable", "skipped"):
            hosts = self.outcomes.get(outcome, ())
            if hosts and outcome == "changed" and len(hosts) < self.hosts:
                counts.append(f"changed={len(hosts)} ({', '.join(sorted(hosts))})")
            elif hosts:
                counts.append(f"{outcome}={len(hosts)}")
        return f"  {self.title} .. {' '.join(counts)} {clock(self.seconds)}"

    def record(self):
        return {
            "stage": self.stage,
            "role": self.role,
            "name": self.name,
            "action": self.action,
            "seconds": round(self.seconds, 3),
            **{outcome: len(hosts) for outcome, hosts in sorted(self.outcomes.items())},
            **({"diffs": {host: digest.hexdigest()[:12] for host, digest in sorted(self.diffs.items())}} if self.diffs else {}),
        }


class StatusLine:
    """One line at the bottom of a terminal, redrawn by a thread; nothing anywhere else.

    It is written with ``os.write``, so that no lock of Python's can be held while Ansible forks a worker, and the cursor
    goes back to its start, so that whatever else is printed overwrites it.
    """

    def __init__(self, text):
        self._text = text
        self._descriptor = None
        self._stop = threading.Event()
        self._thread = None

    @property
    def shown(self):
        return self._thread is not None

    def start(self):
        self._descriptor = sys.stdout.fileno()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(REDRAW_S):
            text = self._text()
            if text is not None:
                self._write(text)

    def _write(self, text):
        width = shutil.get_terminal_size().columns - 1
        shown = text if len(text) <= width else text[: max(0, width - 1)] + "…"
        os.write(self._descriptor, f"\r\x1b[K{shown}\r".encode())

    def clear(self):
        if self.shown:
            self._write("")

    def stop(self):
        if self.shown:
            self._stop.set()
            self._thread.join()
            self.clear()
            self._thread = None


class _Clearing:
    """Ansible's display, with the status line wiped before each line."""

    def __init__(self, display, status):
        self._wrapped = display
        self._status = status

    def __getattr__(self, name):
        return getattr(self._wrapped, name)

    def display(self, *arguments, **options):
        self._status.clear()
        self._wrapped.display(*arguments, **options)

    def banner(self, *arguments, **options):
        self._status.clear()
        self._wrapped.banner(*arguments, **options)


class CallbackModule(DefaultCallback):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "flagos.kunlunxin.progress"

    def __init__(self):
        super().__init__()
        self._clock = time.monotonic
        self._began_at = datetime.datetime.now(datetime.UTC)
        self._began = self._clock()
        self._stages = {}
        self._stage = None
        self._stage_names = []
        self._task = None
        self._tasks = []
        self._hosts = None
        self._said = set()
        self._status = StatusLine(self._status_text)
        self._display = _Clearing(self._display, self._status)

    # Stages

    def v2_playbook_on_start(self, playbook):
        super().v2_playbook_on_start(playbook)
        self._stage_names = list(dict.fromkeys(self._stage_name(play) for play in playbook.get_plays()))
        if self.get_option("live") and sys.stdout.isatty():
            self._status.start()

    @staticmethod
    def _stage_name(play):
        path = play.get_path().rpartition(":")[0]
        return pathlib.PurePath(path).stem or play.get_name().strip()

    def v2_playbook_on_play_start(self, play):
        self._finish_task()
        name = self._stage_name(play)
        if self._stage != name:
            self._finish_stage()
            self._stage = name
            self._stages.setdefault(name, {"seconds": 0.0, "tasks": 0, "changed": 0, "failed": 0})
            self._stages[name]["resumed"] = self._clock()
        if self._verbose:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        position = f"{self._stage_names.index(name) + 1}/{len(self._stage_names)} " if name in self._stage_names else ""
        self._display.display(f"[{position}{name}] {play.get_name().strip()}", color=C.COLOR_HIGHLIGHT)

    def _finish_stage(self):
        if self._stage is None:
            return
        stage = self._stages[self._stage]
        stage["seconds"] += self._clock() - stage.pop("resumed")
        self._write_timings()
        self._stage = None

    # Tasks

    def _task_start(self, task, prefix=None):
        self._finish_task()
        self._said.clear()
        role = task._role.get_name(include_role_fqcn=False) if task._role else ""
        action = str(task.action)
        if "{{" not in action:  # one that is a template has no name yet, and asking for it makes a warning
            action = str(task.resolved_action or action)
        self._task = TaskRun(self._stage, role, task.name or task.action, self._clock(), action)
        # Ansible's own check of a role's variables has something to say only when it fails.
        self._task.silent = str(task.action).endswith("validate_argument_spec")
        if self._status_text() is None:
            self._status.clear()
        if self._verbose:
            super()._task_start(task, prefix)
        else:
            self._task_type_cache[task._uuid] = prefix or "TASK"
            self._last_task_name = task.get_name().strip()

    def v2_runner_on_start(self, host, task):
        super().v2_runner_on_start(host, task)
        if self._task:
            self._task.waiting.add(host.get_name())

    def v2_runner_on_ok(self, result):
        if not isinstance(result._task, TaskInclude):  # what it includes speaks for itself
            self._settle(result, "changed" if result._result.get("changed", False) else "ok")
        if self._verbose:
            super().v2_runner_on_ok(result)
            return
        self._warnings(result)
        if result._task.action in C._ACTION_DEBUG and "msg" in result._result:
            self._message(result._result["msg"])

    def v2_on_file_diff(self, result):
        """Called with C(--diff) alone, and before the result itself."""
        looped = result._task.loop and "results" in result._result
        for one in result._result["results"] if looped else [result._result]:
            if self._task and one.get("diff"):
                self._task.diff(result._host.get_name(), one["diff"])
        super().v2_on_file_diff(result)

    def v2_runner_on_skipped(self, result):
        self._settle(result, "skipped")
        if self._verbose:
            super().v2_runner_on_skipped(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._settle(result, "ok" if ignore_errors else "failed")
        if self._verbose or ignore_errors or not result._result.get("msg") or self._details(result):
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._warnings(result)
        self._fatal(result, "FAILED", result._result["msg"])

    def v2_runner_on_unreachable(self, result):
        self._settle(result, "unreachable")
        if self._verbose:
            super().v2_runner_on_unreachable(result)
            return
        if result._task.ignore_unreachable:  # a later task says what it means
            return
        self._fatal(result, "UNREACHABLE", result._result.get("msg", ""))

    def v2_runner_item_on_ok(self, result):
        if self._verbose:
            super().v2_runner_item_on_ok(result)
        elif result._task.action in C._ACTION_DEBUG and "msg" in result._result:
            self._message(result._result["msg"])

    def v2_runner_item_on_skipped(self, result):
        if self._verbose:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_on_async_poll(self, result):
        self._report(result)

    def v2_runner_retry(self, result):
        if self._verbose:
            super().v2_runner_retry(result)
        self._report(result)

    def v2_runner_on_async_ok(self, result):
        if self._verbose:
            super().v2_runner_on_async_ok(result)

    def v2_playbook_on_include(self, included_file):
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats):
        self._finish_task()
        self._finish_stage()
        self._status.stop()
        super().v2_playbook_on_stats(stats)
        self._hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._write_timings()
        if len(self._stages) > 1:
            parts = ", ".join(f"{name} {clock(stage['seconds'])}" for name, stage in self._stages.items())
            self._display.display(f"{clock(self._clock() - self._began)} in all: {parts}")

    # Helpers

    @property
    def _verbose(self):
        return self._display.verbosity > 0

    def _settle(self, result, outcome):
        if self._task:
            self._task.result(result._host.get_name(), outcome, self._clock())

    def _finish_task(self):
        task, self._task = self._task, None
        if not task or not task.hosts:
            return
        self._tasks.append(task.record())
        stage = self._stages[task.stage]
        stage["tasks"] += 1
        stage["changed"] += len(task.outcomes["changed"])
        stage["failed"] += len(task.outcomes["failed"]) + len(task.outcomes["unreachable"])
        told = {outcome for outcome, hosts in task.outcomes.items() if hosts} - {"skipped"}
        if told and not self._verbose and not (task.silent and told == {"ok"}):
            self._display.display(task.finished_line(), color=C.COLOR_CHANGED if task.outcomes["changed"] else C.COLOR_OK)

    def _report(self, result):
        task = self._task
        if not task:
            return
        now = self._clock()
        record = result._result.get("progress")
        if isinstance(record, dict):
            task.meters.setdefault(result._host.get_name(), Meter()).add(now, record)
        if not self._status.shown and now - task.shown_at >= self.get_option("interval"):
            task.shown_at = now
            self._display.display(f"  {task.running_line(now)}")

    def _status_text(self):
        """What the live line shows; None where the operator types at the place that it would be drawn over."""
        task = self._task
        if task and task.action.rpartition(".")[2] == "pause":
            return None
        return f"{self._stage} | {task.running_line(self._clock())}" if task else ""

    @staticmethod
    def _details(result):
        """Whether a failure's message alone would hide what the operator needs: a program's output, a loop's items."""
        return any(result._result.get(key) for key in ("stdout", "stderr", "module_stdout", "module_stderr", "results"))

    def _warnings(self, result):
        """Warnings alone: an exception's text repeats the message, and its traceback is for -v."""
        self._handle_warnings(result._result)

    def _message(self, message):
        """Print a message of ``debug`` as text, once however many hosts say the same."""
        if str(message) in self._said:
            return
        self._said.add(str(message))
        lines = message if isinstance(message, list) else str(message).splitlines()
        for line in lines:
            self._display.display(f"    {line}")

    def _fatal(self, result, outcome, message):
        """One line, or one for each finding of the message."""
        for line in own_words(message) or [""]:
            text = f"fatal: [{self.host_label(result)}]: {outcome}! => {line}"
            self._display.display(text, color=C.COLOR_ERROR, stderr=self.get_option("display_failed_stderr"))

    def _write_timings(self):
        target = self.get_option("timings_file")
        if not target:
            return
        record = {
            "started": self._began_at.isoformat(timespec="seconds"),
            "total_s": round(self._clock() - self._began, 3),
            "parts": {name: round(stage["seconds"], 3) for name, stage in self._stages.items()},
            "stages": [
                {"name": name, **{key: round(value, 3) for key, value in stage.items() if key != "resumed"}}
                for name, stage in self._stages.items()
            ],
            "tasks": self._tasks,
            "hosts": self._hosts,
        }
        path = pathlib.Path(target)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{os.getpid()}")
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            part.replace(path)
        except OSError as error:
            self._display.warning(f"timings cannot be written to {path}: {error.strerror}")
