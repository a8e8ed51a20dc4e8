"""What programs of a clone do with it: run its playbooks, read its inventory, ask its service.

Standard library only; Ansible is the one in `.venv`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
INVENTORY = ROOT / "inventory"
ARTIFACTS = ROOT / "artifacts"


@dataclasses.dataclass(frozen=True)
class Play:
    """An ended run of ansible-playbook.

    :ivar status: its exit status.
    :ivar output: what it printed; empty when that went to the terminal.
    :ivar timings: what the callback wrote: ``parts`` (stage: seconds), ``tasks``, ``hosts``, ``total_s``. A task has its ``action``
        and, of a run with ``--diff``, the digests of its ``diffs`` by host.
    """

    status: int
    output: str
    timings: Mapping[str, Any]

    @property
    def hosts(self) -> dict[str, dict[str, int]]:
        """The counts of each host: ``ok``, ``changed``, ``unreachable``, ``failures``, ``skipped``."""
        return self.timings.get("hosts") or {}

    @property
    def changed(self) -> int:
        """Changed tasks on all hosts together."""
        return sum(counts["changed"] for counts in self.hosts.values())

    @property
    def changes(self) -> list[tuple[str, str, int]]:
        """What the run changed, or in check mode would change: role, task, and on how many hosts."""
        return [(task["role"], task["name"], task["changed"]) for task in self.tasks if task.get("changed")]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The records of the tasks that had a result on some host, in order."""
        return list(self.timings.get("tasks", ()))

    @property
    def fatal(self) -> list[str]:
        """The lines that say what failed."""
        return [line for line in self.output.splitlines() if line.startswith(("fatal:", "[ERROR]", "ERROR!"))]


def play(
    playbook: str | Path,
    *options: str,
    inventory: Path = INVENTORY,
    capture: bool = False,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Play:
    """Run a playbook of the clone.

    :param playbook: relative to the clone's root.
    :param capture: keep the output instead of showing it.
    :param timeout: seconds, after which :class:`subprocess.TimeoutExpired` is raised.
    """
    with tempfile.TemporaryDirectory() as folder:
        timings = Path(folder) / "timings.json"
        completed = subprocess.run(
            [str(BIN / "ansible-playbook"), "--inventory", str(inventory), str(ROOT / playbook), *options],
            check=False,
            cwd=ROOT,
            env={**os.environ, "FLAGOS_KUNLUNXIN_TIMINGS": str(timings), **(environment or {})},
            stdin=subprocess.DEVNULL if capture else None,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.STDOUT if capture else None,
            text=True,
            timeout=timeout,
        )
        return Play(completed.returncode, completed.stdout or "", json.loads(timings.read_text()) if timings.exists() else {})


def evaluate(expression: str, inventory: Path = INVENTORY, host: str = "localhost") -> Any:
    """What an expression is worth on a host, with the inventory's variables and the collection's lookups."""
    command = [
        BIN / "ansible",
        host,
        "--inventory",
        inventory,
        "--module-name",
        "ansible.builtin.debug",
        "--args",
        f"msg={{{{ {expression} }}}}",
    ]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "minimal"}
    answer = subprocess.run(list(map(str, command)), check=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    return json.loads(answer.stdout.partition("=>")[2])["msg"]


@dataclasses.dataclass(frozen=True)
class Service:
    """The model that the cluster serves, under the OpenAI-compatible interface."""

    url: str
    model: str

    @classmethod
    def of(cls, inventory: Path = INVENTORY) -> Service:
        """The service that the inventory's plan makes."""
        plan = evaluate("lookup('flagos.kunlunxin.plan')", inventory)
        return cls(f"http://{plan['head']['address']}:{plan['ports']['api']}", plan["model"]["name"])

    def post(self, path: str, body: Mapping[str, Any], timeout: float = 120) -> Any:
        """POST JSON, return JSON.

        :raises OSError: the service does not answer, or answers with an error.
        """
        content = json.dumps({"model": self.model, "temperature": 0, **body}).encode()
        request = urllib.request.Request(f"{self.url}{path}", content, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)

    def chat(self, question: str, max_tokens: int = 32) -> str:
        messages = [{"role": "user", "content": question}]
        answer = self.post("/v1/chat/completions", {"messages": messages, "max_tokens": max_tokens})
        return str(answer["choices"][0]["message"]["content"])


class RequestLoop:
    """One small completion after the other in a thread, to see whether what goes on beside it disturbs the service."""

    def __init__(self, service: Service, pause_s: float = 0.5) -> None:
        self._service = service
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.failed: list[str] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._service.post("/v1/completions", {"prompt": "Hello", "max_tokens": 1}, timeout=30)
                self.answered += 1
            except (OSError, ValueError) as error:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {error}")
            self._stop.wait(self._pause_s)

    def __enter__(self) -> RequestLoop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
