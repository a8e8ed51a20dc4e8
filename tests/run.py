"""Run the project's tests as named steps, with a table of their times.

    tests/run.py                    what fits in 45 minutes (`make test`)
    tests/run.py --full             every case, resumable (`make test-full`)
    tests/run.py --only lint unit   some groups or steps
    tests/run.py --list

A step's output goes to artifacts/tests/STEP.log; what failed is also printed. The lab is made once, by the step `lab`;
scenarios and cases share it in the order of the site's own stages. Steps and single pytest cases that
passed are remembered under the hash of the tree: `--full` goes on where either command was stopped, and trusts nothing else.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LOGS = ROOT / "artifacts" / "tests"
MEMORY = ROOT / ".cache" / "tests"
LINE = 300  # characters of a line of the last summary
PLAYBOOK = BIN / "ansible-playbook"

# Scenarios in the order of the stages: the first ones find hosts without a service, the second ones need it up.
SCENARIOS_BEFORE = (
    "lab",
    "preflight",
    "pairs",
    "host",
    "rdma",
    "driver",
    "container_engine",
    "image",
    "image_archive",
    "weights",
    "weights_rsync_tree",
    "lock",
)
SCENARIOS_SERVING = ("serve", "verify")
SCENARIOS_ONLY_FULL = ("lab", "driver", "weights_rsync_tree")
# They take the sshd of the lab's serving image where the machine has none.
ENROL = "tests/unit/enrol"
# The example of P800 machines on simulated hosts: ends with hosts that are not the lab's inventory's.
P800 = (
    "tests/integration/test_simulated_host.py",
    "tests/faults/test_preflight.py",
    "tests/integration/test_p800_site.py",
    "tests/integration/test_boot_line.py",
)
# Cases that begin with fresh hosts; the last one ends with the service up.
WAY_UP = ("tests/integration/test_fresh_hosts.py", "tests/faults/test_killed_controller.py")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How many cases passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: its name, the group it is asked for by, and what runs it with the file for its output.

    :ivar only_full: left out of `make test`, which has to fit in its time; runs with `--full` or when it is named.
    :ivar beside: needs the lab's image and none of its hosts, and so goes on beside what does.
    :ivar grows: it does more with `--full`, so that only its single cases can be remembered without.
    """

    name: str
    group: str
    run: Callable[[Context, Path], Outcome]
    needs_lab: bool = False
    only_full: bool = False
    beside: bool = False
    grows: bool = False


@dataclasses.dataclass(frozen=True)
class Context:
    """What the steps share: whether every case is wanted, and the file that passed cases are remembered in."""

    full: bool
    passed: Path


def execute(command: list[str | Path], log: Path, cwd: Path = ROOT) -> int:
    """Run a program with its output added to the log; returns its exit status."""
    with log.open("a") as stream:
        print(f"$ {' '.join(map(str, command))}", file=stream, flush=True)
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}
        return subprocess.run(
            list(map(str, command)), check=False, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        ).returncode


def command(*arguments: str | Path) -> Callable[[Context, Path], Outcome]:
    """A step that is one program: it counts as one case."""

    def run(context: Context, log: Path) -> Outcome:
        return Outcome(failed=1) if execute(list(arguments), log) else Outcome(passed=1)

    return run


def junit(report: Path) -> Outcome:
    """The counts of a JUnit report."""
    suites = list(ElementTree.parse(report).iter("testsuite"))
    tests, skipped = (sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "skipped"))
    failed = sum(int(suite.get(key, 0)) for suite in suites for key in ("failures", "errors"))
    return Outcome(tests - failed - skipped, failed, skipped)


def pytest(*selection: str) -> Callable[[Context, Path], Outcome]:
    """A step of pytest cases, each remembered by itself."""

    def run(context: Context, log: Path) -> Outcome:
        report = log.with_suffix(".xml")
        report.unlink(missing_ok=True)
        options = [f"--junitxml={report}", f"--remember={context.passed}"]
        options += ["--skip-remembered"] if context.full else ["-m", "not full"]
        status = execute([sys.executable, "-m", "pytest", *options, *selection], log)
        outcome = junit(report) if report.exists() else Outcome()
        everything_remembered = status == 5 and context.full
        if status and not outcome.failed and not everything_remembered:
            outcome += Outcome(failed=1)  # a crash, or no case found, is a failure
        return outcome

    return run


def tracked_files() -> Iterator[Path]:
    """The files of the tree that git knows or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return (path for name in sorted(listing.stdout.split("\0")) if name and (path := ROOT / name).is_file())


def tree_hash() -> str:
    """One hash of all names and contents: a result counts for this tree and for no other."""
    digest = hashlib.sha256()
    for path in tracked_files():
        digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def get_pip_stand_in() -> None:
    """Let ansible-test make its environments from the configured package index alone.

    ansible-test fetches a get-pip script of the very version its release names, from a host that a closed network does not
    reach, unless the script is in its cache. The stand-in there takes pip from ensurepip and then that version from the index.
    """
    package = importlib.util.find_spec("ansible_test")
    source = Path(package.submodule_search_locations[0]) / "_internal" / "python_requirements.py"  # type: ignore[union-attr, index]
    version = re.search(r"\bpip='([\d.]+)'", source.read_text()).group(1)  # type: ignore[union-attr]
    target = Path.home() / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests" / "support" / "get_pip.py", target)


def ansible_test(*arguments: str) -> Callable[[Context, Path], Outcome]:
    """A step of ansible-test, on a copy of the tracked files where the collection's own path ends as it must."""

    def run(context: Context, log: Path) -> Outcome:
        get_pip_stand_in()
        with tempfile.TemporaryDirectory(prefix="ansible-test-") as folder:
            copy = Path(folder) / "ansible_collections" / "flagos" / "kunlunxin"
            for path in tracked_files():
                target = copy / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target, follow_symlinks=False)
            for name in ("ansible", "community"):
                (copy.parent.parent / name).symlink_to(ROOT / "collections" / "ansible_collections" / name)
            status = execute([BIN / "ansible-test", *arguments, "--color", "no"], log, cwd=copy)
            reports = (copy / "tests" / "output" / "junit").glob("*.xml")
            outcome = sum(map(junit, reports), Outcome())
        if status and not outcome.failed:
            outcome += Outcome(failed=1)
        return outcome if outcome != Outcome() else Outcome(passed=1)

    return run


def molecule(scenario: str) -> Step:
    run = command(BIN / "molecule", "test", "--scenario-name", scenario)
    return Step(f"molecule-{scenario}", "molecule", run, needs_lab=True, only_full=scenario in SCENARIOS_ONLY_FULL)


PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RUNS_ON_HOSTS = ("plugins/modules", "plugins/module_utils", "tests/simulators/p800/p800_simulator")
STEPS = (
    Step("ruff", "lint", command(BIN / "ruff", "check", ".")),
    Step("format", "lint", command(BIN / "ruff", "format", "--check", ".")),
    Step("mypy", "lint", command(BIN / "mypy", "tools", "tests/run.py", "tests/simulators", "plugins/plugin_utils")),
    Step(
        "python-3.8",
        "lint",
        command(BIN / "vermin", "--target=3.8-", "--violations", "--no-tips", *RUNS_ON_HOSTS),
    ),
    Step("ansible-lint", "lint", command(BIN / "ansible-lint", "--offline", "--profile", "production", "--strict")),
    Step("changelog", "lint", command(BIN / "antsibull-changelog", "lint")),
    Step("unit", "unit", pytest("tests/unit", f"--ignore={ENROL}"), grows=True),
    # The same cases again, as ansible-test runs them.
    Step("ansible-test-units", "collection", ansible_test("units", "--venv", "--python", PYTHON), only_full=True),
    Step("ansible-test-sanity", "collection", ansible_test("sanity", "--venv", "--python", PYTHON, "--junit")),
    Step("lab", "lab", command(PLAYBOOK, "playbooks/lab.yml"), needs_lab=True),
    # A lab that serves, as `make demo` leaves it, is none for the first scenarios.
    Step("stop", "integration", command(PLAYBOOK, "playbooks/stop.yml", "--inventory", "inventory/"), needs_lab=True),
    Step("enrol", "integration", pytest(ENROL), needs_lab=True, beside=True, grows=True),
    *map(molecule, SCENARIOS_BEFORE),
    # From fresh hosts; killed on its way up and let through at last: from here on the site serves.
    Step("p800", "integration", pytest(*P800), needs_lab=True, grows=True),
    Step("way-up", "integration", pytest(*WAY_UP), needs_lab=True, grows=True),
    Step("site", "integration", command(PLAYBOOK, "site.yml", "--inventory", "inventory/"), needs_lab=True),
    Step("integration", "integration", pytest("tests/integration", *map("--ignore={}".format, WAY_UP + P800)), needs_lab=True, grows=True),
    *map(molecule, SCENARIOS_SERVING),
    Step("faults", "faults", pytest("tests/faults", *map("--ignore={}".format, WAY_UP + P800)), needs_lab=True, grows=True),
)


def chosen(only: list[str], full: bool) -> list[Step]:
    """The steps asked for.

    :raises SystemExit: no step is called so, or a scenario lies about that no step runs.
    """
    present = {file.parent.name for file in (ROOT / "extensions" / "molecule").glob("*/molecule.yml")}
    if forgotten := present - set(SCENARIOS_BEFORE) - set(SCENARIOS_SERVING):
        sys.exit(f"extensions/molecule: no step runs {', '.join(sorted(forgotten))}; name it in SCENARIOS_BEFORE or SCENARIOS_SERVING")
    known = {step.name for step in STEPS} | {step.group for step in STEPS}
    if unknown := sorted(set(only) - known):
        sys.exit(f"no step or group is called {', '.join(unknown)}; --list shows them")
    if only:
        return [step for step in STEPS if step.name in only or (step.group in only and (full or not step.only_full))]
    return [step for step in STEPS if full or not step.only_full]


class Memory:
    """The steps of this very tree that passed before."""

    def __init__(self, tree: str) -> None:
        self._steps = MEMORY / f"{tree}.json"
        self.cases = MEMORY / f"{tree}.cases"
        self._lock = threading.Lock()
        MEMORY.mkdir(parents=True, exist_ok=True)

    def recall(self) -> dict[str, Outcome]:
        return {name: Outcome(**counts) for name, counts in json.loads(self._steps.read_text()).items()} if self._steps.exists() else {}

    def keep(self, name: str, outcome: Outcome) -> None:
        with self._lock:
            known = {**self.recall(), name: outcome}
            part = self._steps.with_suffix(".part")
            part.write_text(json.dumps({step: dataclasses.asdict(counts) for step, counts in known.items()}))
            part.replace(self._steps)


def log_of(step: str) -> Path:
    return LOGS / f"{step}.log"


def show_failure(log: Path, lines: int) -> None:
    print(f"----- the end of {log.relative_to(ROOT)}")
    print("\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
    print("-----", flush=True)


def failures(log: Path) -> list[str]:
    """The lines of a log that say what failed: of pytest's summary, and of Ansible each failed task with its result."""
    found, task = [], ""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.rstrip("* ")
        elif re.match(r"(fatal|failed): \[", line):
            found.append(f"{task}: {line}")
        elif line == "...ignoring":
            del found[-1:]  # not pop: of a nested run the failed task may have been printed in another form
        elif re.match(r"(FAILED|ERROR) \S", line):
            found.append(line)
    return found


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    step: str
    seconds: float
    outcome: Outcome


def run_step(step: Step, context: Context, memory: Memory) -> Row:
    """Run one step, or take what it came to before."""
    before = memory.recall().get(step.name) if context.full else None
    # The lab is what later steps stand on: its play settles in seconds what is still there.
    if before and step.name != "lab":
        print(f"{step.name}: {before} (passed before)", flush=True)
        return Row(step.name, 0.0, before)
    log = log_of(step.name)
    log.unlink(missing_ok=True)
    print(f"{step.name} ...", flush=True)
    started = time.monotonic()
    outcome = step.run(context, log)
    seconds = time.monotonic() - started
    if outcome.failed:
        show_failure(log, 80)
    elif context.full or not step.grows:
        memory.keep(step.name, outcome)
    print(f"{step.name}: {outcome} ({seconds:.0f} s)", flush=True)
    return Row(step.name, round(seconds, 1), outcome)


def run_all(steps: list[Step], context: Context, memory: Memory) -> list[Row]:
    """Run the steps: what needs no hosts goes on beside the lab and its first scenarios, which mostly wait for hosts and downloads."""

    def lane(chosen: list[Step]) -> list[Row]:
        return [run_step(step, context, memory) for step in chosen]

    making = [step for step in steps if step.name == "lab"]
    alone = [step for step in steps if not step.needs_lab]
    beside = [step for step in steps if step.beside]
    on_hosts = [step for step in steps if step.needs_lab and not step.beside and step not in making]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        lab = pool.submit(lane, making)

        def if_it_is_up(chosen: list[Step]) -> list[Row]:
            if any(row.outcome.failed for row in lab.result()):
                print(f"without the lab these steps cannot run: {', '.join(step.name for step in chosen)}", flush=True)
                return []
            return lane(chosen)

        without_hosts = pool.submit(lambda: lane(alone) + if_it_is_up(beside))
        return lab.result() + if_it_is_up(on_hosts) + without_hosts.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every case; what passed on this tree before is not run again")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="steps or groups to run")
    parser.add_argument("--list", action="store_true", help="name the steps")
    arguments = parser.parse_args()
    steps = chosen(arguments.only, arguments.full)
    if arguments.list:
        for step in steps:
            print(f"{step.group:12} {step.name}")
        return 0

    memory = Memory(tree_hash())
    LOGS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    table = run_all(steps, Context(arguments.full, memory.cases), memory)
    total = sum((row.outcome for row in table), Outcome())

    seconds = time.monotonic() - began
    width = max(len(row.step) for row in table)
    print(f"\n{'step':{width}} {'seconds':>8} {'passed':>7} {'failed':>7} {'skipped':>8}")
    for row in table:
        print(f"{row.step:{width}} {row.seconds:8.1f} {row.outcome.passed:7} {row.outcome.failed:7} {row.outcome.skipped:8}")
    print(f"{'in all':{width}} {seconds:8.1f}")
    record = {
        "host": platform.node(),
        "full": arguments.full,
        "seconds": round(seconds, 1),
        "steps": [dataclasses.asdict(row) for row in table],
    }
    (LOGS / "timings.json").write_text(json.dumps(record, indent=1) + "\n")
    failed = [row.step for row in table if row.outcome.failed]
    for name in failed:  # once more, because whoever comes later may see the end of a long output alone
        show_failure(log_of(name), 25)
    for name in failed:
        print(f"{name} failed")
        print("\n".join(f"  {line[:LINE]}" for line in failures(log_of(name))[-3:]))
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
