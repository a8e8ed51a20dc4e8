"""Every fault of tests/faults/preflight.yml on hosts that are ready: does preflight find it, where it is, and as what?

    python3 tests/faults/preflight.py                        every fault; makes the hosts ready first, where they are not
    python3 tests/faults/preflight.py --only mtu port-down   some
    python3 tests/faults/preflight.py --seed 7               on other hosts
    python3 tests/faults/preflight.py --markdown             the table as a document

Healthy runs come between the faults: they show that a fault was really mended, and count false alarms. Prints a table and, last, one line of
JSON: ``injected``, ``found``, ``right_host``, ``right_cause``, ``healthy_runs``, ``false_alarms`` (findings of these) and ``slowest_s``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

import p800  # noqa: E402 - the clone's tools are no package
from injection import FAULTS, HEALTHY_RUNS, Outcome, alarms, hosts_for, inject  # noqa: E402 - as above
from lab import Lab  # noqa: E402 - as above

HEADINGS = ["fault", "failures", "how", "host", "check", "found", "right host", "right cause", "seconds"]


def row(outcome: Outcome) -> list[str]:
    fault = outcome.fault
    marks = ["yes" if mark else "NO" for mark in (outcome.found, outcome.right_host, outcome.right_cause)]
    failures = ", ".join(map(str, fault.failures)) or "-"
    return [fault.name, failures, "simulated" if fault.simulator else "real", outcome.host, fault.check, *marks, f"{outcome.seconds:.1f}"]


def table(rows: Sequence[Sequence[str]], markdown: bool) -> Iterator[str]:
    if markdown:
        yield from (f"| {' | '.join(cells)} |" for cells in (HEADINGS, ["-"] * len(HEADINGS), *rows))
        return
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    yield from ("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in (HEADINGS, *rows))


def say(*lines: str) -> None:
    print(*lines, sep="\n    ", file=sys.stderr, flush=True)


def make_ready(lab: Lab) -> None:
    """Hosts as the stages leave them before serving, from bare ones unless they are so already."""
    if found := alarms():
        say("the hosts are not ready; making them so", *found)
        p800.make_bare(lab)
        p800.settle("site.yml", *p800.RENDERED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), default=list(FAULTS), metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0, help="which host gets which fault")
    parser.add_argument("--healthy", type=int, default=HEALTHY_RUNS, help="runs on healthy hosts")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    options = parser.parse_args()
    lab = Lab.of_this_machine()
    make_ready(lab)
    outcomes: list[Outcome] = []
    false_alarms: list[str] = []
    healthy = 0
    for number, (name, host) in enumerate(hosts_for(options.only, options.seed).items(), 1):
        outcome = inject(FAULTS[name], lab, host)
        outcomes.append(outcome)
        say(f"{number}/{len(options.only)} {'  '.join(row(outcome))}", *([] if outcome.good else outcome.seen))
        while healthy < options.healthy * number // len(options.only):
            healthy += 1
            if found := alarms():
                say("after it, on healthy hosts:", *found)
                false_alarms += found
    print(*table([row(one) for one in outcomes], options.markdown), sep="\n")
    figures = {
        "injected": len(outcomes),
        "found": sum(one.found for one in outcomes),
        "right_host": sum(one.right_host for one in outcomes),
        "right_cause": sum(one.right_cause for one in outcomes),
        "healthy_runs": healthy,
        "false_alarms": len(false_alarms),
        "slowest_s": max(one.seconds for one in outcomes),
    }
    print(json.dumps(figures))
    return 0 if all(one.good for one in outcomes) and not false_alarms else 1


if __name__ == "__main__":
    sys.exit(main())
