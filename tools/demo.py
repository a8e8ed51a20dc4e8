"""The main job on this machine: set up the clone, make the lab, bring up the site, ask it something.

    python3 tools/demo.py        (what `make demo` runs)

Ends with the chat's answer, a table of where the time went, and the same figures as one last line of JSON, which is also left in
artifacts/demo.json. Every part does again only what is not yet done, so after a break the same command goes on.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any

from clone import ARTIFACTS, ROOT, Service, play
from environment import link, prepare, refuse_old_python

QUESTION = "What is a mixture of experts?"
NOTEWORTHY_S = 5.0


def default(variable: str) -> str:
    """The plain default of a variable of the role lab, read without what reads YAML: that is not installed yet."""
    text = (ROOT / "roles" / "lab" / "defaults" / "main.yml").read_text()
    return re.search(rf"^{variable}: \"?([^\"\n]+)", text, re.MULTILINE).group(1)  # type: ignore[union-attr]


def refuse_unfit_machine() -> None:
    """What the role lab would refuse, said before anything is installed.

    :raises SystemExit: this machine cannot carry the lab.
    """
    link()
    sys.path.insert(0, str(ROOT / "collections"))
    from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_machine, _lab_machine_facts

    name = default("lab_name")
    facts = _lab_machine_facts.read_machine(f"/var/lib/{name}", f"/var/cache/{name}")
    needs = {"memory": int(default("lab_memory_gib")) * 2**30, "disk": int(default("lab_disk_gib")) * 2**30}
    found = _lab_machine.findings(facts, {"prefix": default("lab_prefix"), **needs})
    if found:
        sys.exit("\n".join(map(str, found)))


def table(parts: dict[str, float], tasks: list[dict[str, Any]]) -> None:
    """Print each part, and below it the tasks that made most of it."""
    for name, seconds in parts.items():
        print(f"{name:44} {seconds:8.1f} s")
        for task in tasks:
            if task["stage"] == name and task["seconds"] >= NOTEWORTHY_S:
                print(f"    {task['name'][:40]:40} {task['seconds']:8.1f} s")


def main() -> None:
    refuse_old_python()
    refuse_unfit_machine()
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
