"""The main job on this machine: set up the clone, make the lab, bring up the site, ask it something.

    python3 tools/demo.py        (what `make demo` runs)

Ends with the chat's answer, a table of where the time went, and the same figures as one last line of JSON, which is also left in
artifacts/demo.json. Every part does again only what is not yet done, so after a break the same command goes on.
"""

import json
import sys
import time
from typing import Any

from clone import ARTIFACTS, Service, play
from environment import prepare

QUESTION = "What is a mixture of experts?"
NOTEWORTHY_S = 5.0


def table(parts: dict[str, float], tasks: list[dict[str, Any]]) -> None:
    """Print each part, and below it the tasks that made most of it."""
    for name, seconds in parts.items():
        print(f"{name:44} {seconds:8.1f} s")
        for task in tasks:
            if task["stage"] == name and task["seconds"] >= NOTEWORTHY_S:
                print(f"    {task['name'][:40]:40} {task['seconds']:8.1f} s")


def main() -> None:
    began = time.monotonic()
    parts = {"environment": prepare(dev=False)}
    tasks: list[dict[str, Any]] = []
    for playbook in ("playbooks/lab.yml", "site.yml"):
        ended = play(playbook)
        if ended.status:
            sys.exit(ended.status)
        parts |= ended.timings["parts"]
        tasks += ended.timings["tasks"]
    started = time.monotonic()
    service = Service.of()
    answer = service.chat(QUESTION)
    parts["chat"] = time.monotonic() - started
    total = time.monotonic() - began

    print()
    table(parts, tasks)
    print(f"{'in all':44} {total:8.1f} s\n")
    print(f"{service.model} at {service.url}\nquestion: {QUESTION}\nanswer:   {answer}")
    figures = {"parts": {name: round(seconds, 1) for name, seconds in parts.items()}, "total_s": round(total, 1), "answer": answer}
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "demo.json").write_text(json.dumps(figures) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
