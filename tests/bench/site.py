"""How long the first command and the second run take here, and what the service weighs.

    python3 tests/bench/site.py                     from nothing: refuses while a lab or its cache is there
    python3 tests/bench/site.py --fresh             destroys both first, and the clone's environment
    python3 tests/bench/site.py --second-run-only   the second half, on a lab that is up

Prints a table and, last, one line of JSON. A package manager's own download cache is left as it is, and said.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from clone import ARTIFACTS, RequestLoop, Service, play  # noqa: E402 - the clone's tools are no package

GIB = 2**30
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": GIB}
# The defaults of the role lab, which nothing could be asked for before the first command has set up Ansible.
FOLDERS = (Path("/var/lib/flagos-kunlunxin-lab"), Path("/var/cache/flagos-kunlunxin-lab"))
ENGINE = "unix:///run/flagos-kunlunxin-lab/docker.sock"


def start_from_nothing(fresh: bool) -> None:
    """Make sure that neither the lab nor its cache is there.

    :raises SystemExit: one is, and ``fresh`` does not allow to destroy it.
    """
    present = [str(folder) for folder in FOLDERS if folder.exists()]
    if present and not fresh:
        sys.exit(f"{' and '.join(present)}: observed a lab, expected none; give --fresh to destroy it, or --second-run-only")
    if present:
        subprocess.run(["make", "destroy"], cwd=ROOT, check=True)
    if fresh:
        for folder in (".venv", "collections"):
            shutil.rmtree(ROOT / folder, ignore_errors=True)


def first_run() -> dict[str, Any]:
    """The first command of the README."""
    began = time.monotonic()
    subprocess.run(["make", "demo"], cwd=ROOT, check=True)
    seconds = time.monotonic() - began
    return {"first_run_s": round(seconds, 1), "parts": json.loads((ARTIFACTS / "demo.json").read_text())["parts"]}


def memory_gib() -> float:
    """What the lab's hosts take together, without page cache, as their engine counts it."""
    command = ["docker", "--host", ENGINE, "stats", "--no-stream", "--format", "{{.MemUsage}}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    used = (re.match(r"([\d.]+)([KMG]?i?B)", line) for line in lines)
    return sum(float(match[1]) * UNITS[match[2]] for match in used) / GIB


def disk_gib() -> float:
    """What the lab and its cache take, mounts of other file systems left out."""
    folders = [str(folder) for folder in FOLDERS if folder.exists()]
    lines = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1", *folders], check=True, capture_output=True, text=True
    ).stdout
    return sum(int(line.split()[0]) for line in lines.splitlines()) / GIB


def token_identical() -> bool:
    """Whether the cluster's answers are, token by token, those of a single process: what the stage verify recorded."""
    return bool(json.loads((ARTIFACTS / "flagos-verify.json").read_text())["token_identical"])


def second_run() -> dict[str, Any]:
    """The site again, with requests going on beside it."""
    began = time.monotonic()
    with RequestLoop(Service.of()) as loop:
        ended = play("site.yml")
        seconds = time.monotonic() - began
    if ended.status:
        sys.exit(f"the second run of the site ended with {ended.status}")
    for line in loop.failed:
        print(f"failed request: {line}")
    return {
        "second_run_s": round(seconds, 1),
        "second_run_parts": ended.timings["parts"],
        "second_run_changed": ended.changed,
        "answered_requests": loop.answered,
        "failed_requests": len(loop.failed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--fresh", action="store_true", help="destroy the lab, its cache and the clone's environment first")
    choice.add_argument("--second-run-only", action="store_true", help="on a lab that is up")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if not options.second_run_only:
        start_from_nothing(options.fresh)
        figures |= first_run()
    figures |= second_run()
    figures |= {"memory_gib": round(memory_gib(), 2), "disk_gib": round(disk_gib(), 2), "token_identical": token_identical()}

    print("\nThe package managers' own download caches were left as they were.")
    for name, value in figures.items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for part, figure in rows:
            print(f"{f'{name} {part}'.strip():36} {figure}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
