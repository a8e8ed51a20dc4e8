"""How fast the manifest of a folder of weights is made, beside ``openssl dgst -sha256`` of the same files.

    python3 tests/bench/weights_manifest.py                 16 files of 16 MiB in memory, three rounds
    python3 tests/bench/weights_manifest.py --processes 16  what more processors give (not for the gates)
    python3 tests/bench/weights_manifest.py --folder DIR    files on the disk of DIR; what is measured is then the disk, too

Everything is measured in each round, so that all meet the same machine. Prints a table of the medians and, last, one line of JSON:

* ``both_over_openssl_per_core``: SHA-256, merkle root and kept layer in one read, bytes for each second of processor time over those of
  openssl; SHA-256 is computed twice, so 0.5 is what there can be;
* ``flat_over_openssl_per_core``: the same of SHA-256 alone, as hosts verify;
* ``scaling``: the wall clock's rate of both with two processes over that with one, of the fastest rounds;
* ``openssl_scaling``: the same of two openssl at once and one, which is what the machine has to give at that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _hash_pool, _weights  # noqa: E402 - found below the clone
from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import stamp  # noqa: E402

FILES = 16
MEMORY = Path("/dev/shm")


def cpu_seconds() -> float:
    """Processor time of this process and of those it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Wall seconds and processor seconds of some work."""
    cpu, began = cpu_seconds(), time.perf_counter()
    work()
    return time.perf_counter() - began, cpu_seconds() - cpu


def openssl(*groups: list[Path]) -> None:
    """One openssl for each group of files, all at once."""
    started = [subprocess.Popen(["openssl", "dgst", "-sha256", *group], stdout=subprocess.DEVNULL) for group in groups]
    if any(process.wait() for process in started):
        sys.exit("openssl failed")


def flat(paths: list[Path], workers: int) -> None:
    _weights.hash_files(str(paths[0].parent), [path.name for path in paths], lambda path, sha256: None, lambda done, note: None, workers)


def both(paths: list[Path], workers: int) -> None:
    files = {str(path): stamp(path.stat()) for path in paths}
    _hash_pool.hash_all(files, lambda path, hashes: None, lambda count: None, workers)


def make(folder: Path, count: int, mib: int) -> list[Path]:
    """Files that no file system could store as less than they are."""
    folder.mkdir(exist_ok=True)
    block = os.urandom(2**20)
    paths = [folder / f"model-{number:05}.safetensors" for number in range(count)]
    for number, path in enumerate(paths):
        with path.open("wb") as stream:
            for index in range(mib):
                stream.write(number.to_bytes(8, "big") + index.to_bytes(8, "big") + block[16:])
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=16, help="size of each of the sixteen files")
    parser.add_argument("--processes", type=int, default=2, help="how many are compared with one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=MEMORY if MEMORY.is_dir() else None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        paths = make(Path(name), FILES, options.mib)
        large = make(Path(name) / "large", 1, options.mib * FILES)
        work: dict[str, Callable[[], None]] = {
            "openssl": lambda: openssl(paths),
            "openssl, all at once": lambda: openssl(*(paths[start :: options.processes] for start in range(options.processes))),
            "flat, 1 thread": lambda: flat(paths, 1),
            "both, 1 process": lambda: both(paths, 1),
            "both, all processes": lambda: both(paths, options.processes),
            "both, 1 large file": lambda: both(large, options.processes),
        }
        taken: dict[str, list[tuple[float, float]]] = {what: [] for what in work}
        for _round in range(options.rounds):
            for what, run in work.items():
                taken[what].append(measured(run))
    total = FILES * options.mib * 2**20
    per_core = {what: total / statistics.median(cpu for _wall, cpu in times) for what, times in taken.items()}
    fastest = {what: total / min(wall for wall, _cpu in times) for what, times in taken.items()}
    print(f"{'':22} {'GB/s, wall':>11} {'GB per CPU second':>18} {'over openssl':>13}")
    for what, times in taken.items():
        wall = total / statistics.median(seconds for seconds, _cpu in times)
        print(f"{what:22} {wall / 1e9:11.2f} {per_core[what] / 1e9:18.2f} {per_core[what] / per_core['openssl']:13.2f}")
    print(
        json.dumps(
            {
                "both_over_openssl_per_core": round(per_core["both, 1 process"] / per_core["openssl"], 3),
                "flat_over_openssl_per_core": round(per_core["flat, 1 thread"] / per_core["openssl"], 3),
                "scaling": round(fastest["both, all processes"] / fastest["both, 1 process"], 2),
                "openssl_scaling": round(fastest["openssl, all at once"] / fastest["openssl"], 2),
                "openssl_gb_per_cpu_second": round(per_core["openssl"] / 1e9, 2),
                "processes": options.processes,
                "bytes": total,
                "rounds": options.rounds,
                "load": round(os.getloadavg()[0], 1),
            }
        )
    )


if __name__ == "__main__":
    main()
