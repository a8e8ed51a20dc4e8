"""Every fault of weights on their way through the swarm, each in a bed of network namespaces: what became of it?

    python3 tests/faults/weights.py                             every fault; needs root
    python3 tests/faults/weights.py --only disk-full lying-peer some
    python3 tests/faults/weights.py --list

Prints a table and, last, one line of JSON with a key for each fault: ``held`` (true or false), and where they mean something ``lost_bytes``
(that a host had and had to receive again) and ``resent_ratio`` (what was sent more than once, over the payload).
Faults that take hosts with a controller are made in the lab, by tests/faults/test_weights_on_hosts.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from weights_faults import FAULTS, IN_THE_LAB, impossible, make  # noqa: E402 - the tests' support is no package


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), default=list(FAULTS), metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--list", action="store_true", help="name the faults")
    options = parser.parse_args()
    if options.list:
        for name, made in FAULTS.items():
            print(f"{name:22}{(made.__doc__ or '').splitlines()[0]}")
        for name, what in IN_THE_LAB.items():
            print(f"{name:22}(in the lab) {what}")
        return 0
    if reason := impossible():
        sys.exit(f"no fault can be made here: {reason}")
    figures = {}
    print(f"{'fault':22}{'held':6}{'lost bytes':>12}{'sent again':>12}{'seconds':>9}  what was seen")
    for name in options.only:
        began = time.monotonic()
        outcome = make(name)
        figures[name] = outcome.figures()
        lost = "" if outcome.lost_bytes is None else str(outcome.lost_bytes)
        again = "" if outcome.resent_ratio is None else f"{outcome.resent_ratio:.2%}"
        seconds = time.monotonic() - began
        print(f"{name:22}{'yes' if outcome.held else 'NO':6}{lost:>12}{again:>12}{seconds:>9.1f}  {outcome.seen}", flush=True)
    print(json.dumps(figures))
    return 0 if all(one["held"] for one in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
