# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Run a playbook of the collection from Python, by ansible-runner.

    from ansible_collections.flagos.kunlunxin.plugins.plugin_utils.runner import run_playbook

    result = run_playbook("site", inventory="inventory/", on_event=print)
    result.ok, result.changed, result.stages, result.failures

    found = preflight(inventory="inventory/")
    found.exit_code, found.report["checks"]

or from a shell, with the result as one last line of JSON:

    python -m ansible_collections.flagos.kunlunxin.plugins.plugin_utils.runner site --inventory inventory/

The exit status is ansible-playbook's; of ``preflight`` it is 0 where nothing is to be said, 1 with warnings and things to do, 2 where
something stands in the way.

Nothing of a run stays on disk. ansible-runner's private folder is readable by its owner alone, lies in memory where the machine has
a file system there, and is removed with the run; extra variables go through a file in it and so never onto a command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..callback.progress import own_words

COLLECTION = "flagos.kunlunxin"
# .../ROOT/ansible_collections/flagos/kunlunxin/plugins/plugin_utils/runner.py, links left as they are
COLLECTIONS_ROOT = Path(__file__).absolute().parents[5]
UNKNOWN = 2  # also what the report has for an error
MEMORY = Path("/dev/shm")  # noqa: S108 - only ever a fresh folder of our own in it
# ansible-runner gives a playbook a terminal, at which nobody sits.
UNATTENDED = {"enrol_prompt": False}
# The callback's line at the start of a play: `[2/7 image] Bring the image`
STAGE_LINE = re.compile(r"^\[(?:(?P<position>\d+)/(?P<count>\d+) )?(?P<stage>[^\]]+)\] ", re.MULTILINE)
KINDS = {
    "playbook_on_play_start": "stage",
    "playbook_on_task_start": "task",
    "playbook_on_handler_task_start": "task",
    "runner_on_ok": "result",
    "runner_on_skipped": "result",
    "runner_on_failed": "failure",
    "runner_on_unreachable": "failure",
    "runner_on_async_poll": "progress",
    "runner_retry": "progress",
}


@dataclasses.dataclass(frozen=True)
class Event:
    """Something happened in a run.

    :ivar kind: ``stage``, ``task``, ``result``, ``progress`` or ``failure``.
    :ivar stage: the stage it belongs to, the name of a playbook file; empty before the first.
    :ivar task: the task's name; empty for a stage.
    :ivar host: the host's name; empty for a stage or a task.
    :ivar message: what a failure said, in one line; several findings are parted by ``|``.
    :ivar progress: how far a long task is: ``done``, ``total`` (or ``None``), ``unit`` and ``note``.
    """

    kind: str
    stage: str = ""
    task: str = ""
    host: str = ""
    message: str = ""
    progress: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class HostCounts:
    """How many tasks ended how on one host."""

    ok: int = 0
    changed: int = 0
    unreachable: int = 0
    failed: int = 0
    skipped: int = 0
    rescued: int = 0
    ignored: int = 0


@dataclasses.dataclass(frozen=True)
class Failure:
    """One failed task on one host; ``host`` is empty when no play began, as with a file that cannot be read."""

    host: str
    stage: str
    task: str
    message: str


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run came to.

    :ivar status: ansible-runner's word: ``successful``, ``failed``, ``timeout`` or ``canceled``.
    :ivar rc: the exit status of ansible-playbook.
    :ivar seconds: the wall time of the plays.
    :ivar stages: seconds of each stage, in order.
    :ivar hosts: the counts of each host.
    :ivar failures: in the order they came; a failure that the play itself handled is not among them.
    """

    status: str
    rc: int
    seconds: float
    stages: Mapping[str, float]
    hosts: Mapping[str, HostCounts]
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> bool:
        return self.status == "successful"

    @property
    def changed(self) -> int:
        """Changed tasks on all hosts together: 0 says that the cluster was as the inventory wants it."""
        return sum(counts.changed for counts in self.hosts.values())


@dataclasses.dataclass(frozen=True)
class Preflight:
    """What preflight came to.

    :ivar report: the document of the role preflight, ``{"ok", "exit_code", "checks", "passed", ...}``; empty where the run ended before
        the hosts were judged, and ``result.failures`` says why.
    """

    result: Result
    report: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """0: nothing to say; 1: warnings or things to do; 2: something stands in the way, or nobody knows."""
        return int(self.report["exit_code"]) if self.report and (self.result.ok or not self.report["ok"]) else UNKNOWN

    @property
    def ok(self) -> bool:
        return self.exit_code != UNKNOWN


class _Listener:
    """Turns ansible-runner's events into ours, and keeps the failures and what was printed outside of tasks."""

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        self._on_event = on_event
        self._stage = ""
        self.failures: list[Failure] = []
        self.outside: list[str] = []

    def __call__(self, raw: Mapping[str, Any]) -> bool:
        kind = KINDS.get(raw["event"])
        if kind:
            event = self._event(kind, raw)
            if event.kind == "failure":
                self.failures.append(Failure(event.host, event.stage, event.task, event.message))
            if self._on_event:
                self._on_event(event)
        elif raw["event"] in ("verbose", "error", "warning"):
            self.outside += raw.get("stdout", "").splitlines()
        return False  # ansible-runner then keeps no file of the event

    def _event(self, kind: str, raw: Mapping[str, Any]) -> Event:
        data = raw.get("event_data", {})
        result = data.get("res") or {}
        if kind == "stage":
            found = STAGE_LINE.search(raw.get("stdout", ""))
            self._stage = found["stage"] if found else str(data.get("name", ""))
            return Event(kind, self._stage)
        if kind == "failure" and data.get("ignore_errors"):
            kind = "result"
        message = " | ".join(own_words(result.get("msg") or result.get("censored") or "")) if kind == "failure" else ""
        progress = result.get("progress") if kind == "progress" else None
        return Event(kind, self._stage, str(data.get("task", "")), str(data.get("host", "")), message, progress)


def _timings(path: Path) -> dict[str, Any]:
    """What the callback wrote; empty counts when no play began."""
    empty: dict[str, Any] = {"total_s": 0.0, "parts": {}, "hosts": {}}
    return {**empty, **json.loads(path.read_text())} if path.exists() else empty


def _counts(summary: Mapping[str, int]) -> HostCounts:
    """One host's counts, from ansible's own summary of it."""
    return HostCounts(**{{"failures": "failed"}.get(name, name): number for name, number in summary.items()})


def run_playbook(
    playbook: str = "site",
    *,
    inventory: str | Path,
    extra_vars: Mapping[str, Any] | None = None,
    limit: str = "",
    tags: Sequence[str] = (),
    check: bool = False,
    diff: bool = False,
    environment: Mapping[str, str] | None = None,
    on_event: Callable[[Event], object] | None = None,
    cancel: Callable[[], bool] | None = None,
    timeout: int | None = None,
) -> Result:
    """Run one of the collection's playbooks and wait for its end.

    :param playbook: its name without folder and ending, such as ``site``, ``serve`` or ``stop``.
    :param inventory: file or folder.
    :param extra_vars: as with ``-e``; secrets may be among them.
    :param environment: added to the process's environment.
    :param on_event: is called with every :class:`Event`.
    :param cancel: is asked now and then; ``True`` ends the run.
    :param timeout: seconds after which the run is ended.
    :raises FileNotFoundError: the inventory is not there.
    """
    import ansible_runner  # here, so that a controller without it can still import this module's types

    inventory = Path(inventory).absolute()
    if not inventory.exists():
        raise FileNotFoundError(f"inventory: observed no {inventory}, expected a file or folder; name one that exists")
    listener = _Listener(on_event)
    with tempfile.TemporaryDirectory(prefix="flagos-kunlunxin-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        private = Path(folder)
        timings = private / "timings.json"
        options: list[str] = []
        variables = private / "extra_vars.json"
        variables.touch(mode=0o600)
        variables.write_text(json.dumps({**UNATTENDED, **(extra_vars or {})}))
        options += ["--extra-vars", f"@{variables}"]
        options += [flag for flag, wanted in (("--check", check), ("--diff", diff)) if wanted]
        options += ["--tags", ",".join(tags)] if tags else []
        paths = filter(None, [str(COLLECTIONS_ROOT), os.environ.get("ANSIBLE_COLLECTIONS_PATH")])
        run = ansible_runner.run(
            private_data_dir=str(private),
            playbook=f"{COLLECTION}.{playbook}",
            inventory=str(inventory),
            limit=limit or None,
            cmdline=" ".join(options) or None,
            envvars={
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
                "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(paths),
                "ANSIBLE_STDOUT_CALLBACK": f"{COLLECTION}.progress",
                "ANSIBLE_NOCOLOR": "True",
                "ANSIBLE_FORCE_COLOR": "False",
                "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner would switch it off
                "ANSIBLE_PIPELINING": "True",
                "ANSIBLE_FORKS": "32",
                "FLAGOS_KUNLUNXIN_PROGRESS_LIVE": "False",
                "FLAGOS_KUNLUNXIN_TIMINGS": str(timings),
                **(environment or {}),
            },
            event_handler=listener,
            cancel_callback=cancel,
            timeout=timeout,
            quiet=True,
            suppress_output_file=True,
            suppress_env_files=True,
        )
        record = _timings(timings)
    failures = list(listener.failures)
    if run.status == "failed" and not failures:
        said = " ".join(line.strip() for line in listener.outside if line.strip())
        failures.append(Failure("", "", "", said or f"ansible-playbook ended with {run.rc}"))
    hosts = {host: _counts(summary) for host, summary in (record["hosts"] or {}).items()}
    return Result(run.status, run.rc, record["total_s"], record["parts"], hosts, tuple(failures))


def preflight(*, inventory: str | Path, before: str = "host", extra_vars: Mapping[str, Any] | None = None, **options: Any) -> Preflight:
    """Run preflight and wait for its end; no host is changed.

    :param before: the stage about to run: what the stages before it establish must be there.
    :param options: as :func:`run_playbook` takes them.
    :raises FileNotFoundError: the inventory is not there.
    """
    with tempfile.TemporaryDirectory(prefix="flagos-kunlunxin-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        path = Path(folder) / "preflight.json"
        variables = {"preflight_before": before, **(extra_vars or {}), "preflight_report_file": str(path)}
        result = run_playbook("preflight", inventory=inventory, extra_vars=variables, **options)
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Preflight(result, report)


def _show(event: Event) -> None:
    if event.kind == "stage":
        print(f"[{event.stage}]", flush=True)
    elif event.kind == "task":
        print(f"  {event.task}", flush=True)
    elif event.kind == "progress" and event.progress:
        print(f"    {event.host}: {json.dumps(dict(event.progress))}", flush=True)
    elif event.kind == "failure":
        print(f"  {event.host}: {event.message}", flush=True)


def _variables(text: str) -> Any:
    """Variables as JSON, or the content of a file of JSON or YAML: a secret belongs into a file, not on a command line."""
    return yaml.safe_load(Path(text[1:]).read_text(encoding="utf-8")) if text.startswith("@") else json.loads(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The shell's entry; returns the exit status."""
    parser = argparse.ArgumentParser(prog="runner", description="Run a playbook of flagos.kunlunxin by ansible-runner.")
    parser.add_argument("playbook", nargs="?", default="site")
    parser.add_argument("-i", "--inventory", required=True, type=Path)
    parser.add_argument(
        "-e", "--extra-vars", type=_variables, default={}, metavar="JSON|@FILE", help="variables as one JSON object, or a file of them"
    )
    parser.add_argument("-l", "--limit", default="")
    parser.add_argument("-t", "--tags", nargs="*", default=[])
    parser.add_argument("-C", "--check", action="store_true")
    parser.add_argument("-D", "--diff", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if options.playbook == "preflight":
            found = preflight(**{name: value for name, value in vars(options).items() if name != "playbook"}, on_event=_show)
            print(json.dumps({**dataclasses.asdict(found.result), **found.report, "ok": found.ok, "exit_code": found.exit_code}))
            return found.exit_code
        result = run_playbook(**vars(options), on_event=_show)
    except FileNotFoundError as error:
        parser.error(str(error))
    print(json.dumps({"ok": result.ok, "changed": result.changed, **dataclasses.asdict(result)}))
    return 0 if result.ok else result.rc or 1


if __name__ == "__main__":
    sys.exit(main())
