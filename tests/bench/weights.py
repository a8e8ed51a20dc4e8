"""How long weights take to N hosts, in times of the link's own, by the role's swarm and by other ways, in a bed of network namespaces.

    python3 tests/bench/weights.py --hosts 4        also 8 and 16; needs root and two idle cores, takes 10 to 20 minutes
    python3 tests/bench/weights.py --loopback       one host, links without a limit: what a lane can do at most here
    python3 tests/bench/weights.py --hosts 4 --smoke --payload-mib 8 --rate-mbit 80

Prints a table and, last, one line of JSON. ``t0_s`` is bytes over link rate; ``ENGINE_over_t0`` the median of an engine's runs over its
T0. The chain and the role run three times each, taking turns; the others once, on a quarter of the payload (4 and 8 hosts).
A run ends only when an independent `openssl dgst -sha256` agrees on all files of all hosts: outside the clock for engines that verify what
arrives, inside for the chain. ``cpu_s_per_gib`` is CPU-seconds of all ends, the source's and the hosts', over GiB delivered;
``source_copies`` what the source sent in the role's runs, over the payload; ``tcp_over_t0`` what TCP's own headers and habits cost in this bed.
``lane_anonymous_mib`` is the most memory that any lane had, page cache not counted, looked at once a second.
``manifest_s`` is what the source's stage spends once beforehand on reading and hashing; it is in no ratio.
``cpu_busy`` is the largest part of the machine's cores that a run took for itself. Above 0.7 the processor is measured and not the
network: then there is no report. A T0 too short for fixed costs to vanish is refused as well; `--smoke` lets both pass.

    apt-get install iperf3 aria2 rsync netcat-openbsd openssh-client openssh-server
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from bed import Bed, BedError, require  # noqa: E402 - the tests' support is no package
from swarm import Prepared, Swarm, SwarmError  # noqa: E402
from transfers import Aria2, Chain, Engine, RsyncParallel, RsyncTree, Ssh, Synchronize, target  # noqa: E402

MIB, GIB = 2**20, 2**30
ROUNDS = 3
MOST_BUSY = 0.7
# By the number of hosts: rate in Mbit/s that two cores carry for every engine, payload in MiB, and the least T0 in seconds.
SCALES = {4: (60, 352, 40), 8: (30, 320, 80), 16: (15, 240, 120)}
ONCE = ("rsync_parallel", "rsync_tree", "synchronize", "aria2")
CORES = len(os.sched_getaffinity(0))


@dataclasses.dataclass(frozen=True)
class Run:
    """One transfer to all hosts.

    :ivar over_t0: its time over bytes / link rate; 0 where links have no limit.
    :ivar cpu_s: CPU-seconds of all ends.
    :ivar cpu_busy: the part of the cores that this was.
    :ivar others_busy: the part that everything else on the machine took.
    :ivar source_copies: payload that the source sent, over the payload, as the engine counts it or else as the wire does.
    """

    engine: str
    mib: int
    seconds: float
    over_t0: float
    cpu_s: float
    cpu_busy: float
    others_busy: float
    cpu_s_per_gib: float
    source_copies: float
    wire_copies: float


class Role:
    """The role's swarm, from its program's start at every host until the last one says that all is on disk."""

    verifies = True

    def __init__(self, bed: Bed, swarm: Swarm, prepared: Prepared) -> None:
        self.bed = bed
        self.swarm = swarm
        self.prepared = prepared
        self.sent = 0

    def prepare(self, folder: Path) -> None:
        self.folder = folder

    def transfer(self, timeout: float) -> None:
        places = {"source": self.folder, **{name: target(self.bed, name, self.folder) for name in self.bed.hosts}}
        self.swarm.start(self.prepared, places)
        self.swarm.wait(self.bed.hosts, timeout)

    def finish(self) -> None:
        self.swarm.stop(keep=True)
        self.sent = self.swarm.status("source")["sent_bytes"]
        self.swarm.forget()


def make_payload(folder: Path, size: int) -> None:
    """Incompressible files as a model's folder has them: shards, a shorter last one, and what lies beside them."""
    small = {"config.json": 1747, "generation_config.json": 171, "model.safetensors.index.json": size // 400, "tokenizer.json": size // 100}
    shards = 15
    each = (size - sum(small.values())) * 2 // (2 * shards - 1)
    sizes = {f"model-{number:05}-of-{shards:05}.safetensors": each for number in range(1, shards)}
    last = f"model-{shards:05}-of-{shards:05}.safetensors"
    folder.mkdir()
    for name, count in {**sizes, last: size - sum(small.values()) - each * (shards - 1), **small}.items():
        with (folder / name).open("wb") as stream:
            for start in range(0, count, MIB):
                stream.write(os.urandom(min(MIB, count - start)))


def digests(bed: Bed, names: list[str], folders: list[Path]) -> list[str]:
    """What OpenSSL makes of all files of a folder of each member, all at once."""
    script = 'cd "$0" && find . -type f -print0 | sort -z | xargs -0 openssl dgst -sha256 -r'
    pairs = zip(names, folders, strict=True)
    running = [bed.start(name, "sh", "-c", script, folder, stdout=subprocess.PIPE, text=True) for name, folder in pairs]
    return [str(process.communicate()[0]) for process in running]


def machine_busy() -> float:
    """CPU-seconds that the machine has worked since it was started."""
    user, nice, system, _idle, _waiting, *rest = (int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest[:2])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """Runs engines in a bed, one after another."""

    def __init__(self, bed: Bed, smoke: bool) -> None:
        self.bed = bed
        self.smoke = smoke
        self.expected: dict[Path, str] = {}
        self.sizes: dict[Path, int] = {}
        self.runs: list[Run] = []

    def payload(self, name: str, size: int) -> Path:
        """A folder at the source."""
        folder = self.bed.home("source") / name
        make_payload(self.bed.outside(folder), size)
        self.expected[folder], self.sizes[folder] = digests(self.bed, ["source"], [folder])[0], size
        return folder

    def run(self, name: str, engine: Engine, folder: Path) -> None:
        """One transfer, and its line of the table.

        :raises SystemExit: some file of some host is wrong, or the processor was what limited.
        """
        bed, size = self.bed, self.sizes[folder]
        targets = [target(bed, host, folder) for host in bed.hosts]
        for host, place in zip(bed.hosts, targets, strict=True):
            bed.run(host, "sh", "-c", 'rm -rf "$0" && mkdir "$0"', place)
        t0 = size * 8 / (bed.rate_mbit * 1e6) if bed.rate_mbit else 0.0
        engine.prepare(folder)
        wire, cpu, machine, began = bed.wire_bytes("source"), bed.cpu.seconds(), machine_busy(), time.monotonic()
        engine.transfer(timeout=60 + 3 * t0 * len(bed.hosts))
        found = None if engine.verifies else digests(bed, bed.hosts, targets)
        seconds = time.monotonic() - began
        cpu, machine, wire = bed.cpu.seconds() - cpu, machine_busy() - machine, bed.wire_bytes("source") - wire
        engine.finish()
        for host, digest in zip(bed.hosts, found or digests(bed, bed.hosts, targets), strict=True):
            if digest != self.expected[folder]:
                sys.exit(f"{name}: {host} has other bytes than the source")
        for host, place in zip(bed.hosts, targets, strict=True):
            bed.run(host, "rm", "-rf", place)
        run = Run(
            engine=name,
            mib=size // MIB,
            seconds=round(seconds, 2),
            over_t0=round(seconds / t0, 3) if t0 else 0.0,
            cpu_s=round(cpu, 2),
            cpu_busy=round(cpu / seconds / CORES, 3),
            others_busy=round(max(0.0, machine - cpu) / seconds / CORES, 3),
            cpu_s_per_gib=round(cpu / (size * len(bed.hosts) / GIB), 2),
            source_copies=round((engine.sent if isinstance(engine, Role) else wire) / size, 3),
            wire_copies=round(wire / size, 3),
        )
        self.runs.append(run)
        print("  ".join(f"{value:{width}}" for value, width in zip(dataclasses.astuple(run), WIDTHS, strict=True)), flush=True)
        if run.cpu_busy > MOST_BUSY and not self.smoke:
            sys.exit(
                f"{name} took {run.cpu_busy:.0%} of {CORES} cores, expected {MOST_BUSY:.0%} at most: no report; give a lower --rate-mbit"
            )

    def median(self, engine: str, figure: str) -> float | None:
        """The median of a figure over an engine's runs; None without any."""
        found = [getattr(run, figure) for run in self.runs if run.engine == engine]
        return round(statistics.median(found), 3) if found else None


WIDTHS = (15, 5, 8, 8, 8, 9, 12, 14, 14, 12)


def heading() -> None:
    print(
        "  ".join(
            f"{field.name:{'<' if field.name == 'engine' else '>'}{width}}"
            for field, width in zip(dataclasses.fields(Run), WIDTHS, strict=True)
        )
    )


def ratio(one: float | None, other: float | None) -> float | None:
    """One figure over another; None where one was not measured."""
    return round(one / other, 3) if one and other else None


def shaped(options: argparse.Namespace) -> dict[str, Any]:
    """The table of one number of hosts."""
    rate, mib, least = SCALES.get(options.hosts, SCALES[4])
    rate, mib = options.rate_mbit or rate, options.payload_mib or mib
    t0 = mib * MIB * 8 / (rate * 1e6)
    if t0 < least and not options.smoke:
        sys.exit(f"{mib} MiB at {rate:g} Mbit/s: T0 is {t0:.0f} s, expected at least {least} s; give more --payload-mib")
    once = [name for name in ONCE if name in options.only] if options.hosts <= 8 else []
    require("iperf3", "openssl", *(["nc.openbsd"] if "chain" in options.only else []), *(["aria2c"] if "aria2" in once else []))
    if any("sync" in name for name in once):
        require("rsync", "ssh", "ssh-keygen", "sshd")
    with Bed(options.hosts, rate) as bed:
        links = bed.check_links()
        print(
            f"{options.hosts} hosts, {rate:g} Mbit/s, {mib} MiB, T0 {t0:.1f} s, {CORES} cores, load {os.getloadavg()[0]:.1f}; TCP gets {links}"
        )
        bench = Bench(bed, options.smoke)
        folder = bench.payload("weights", mib * MIB)
        figures: dict[str, Any] = {"hosts": options.hosts, "rate_mbit": rate, "payload_mib": mib, "t0_s": round(t0, 2)}
        engines: dict[str, Engine] = {}
        if "chain" in options.only:
            engines["chain"] = Chain(bed)
        if "role" in options.only:
            swarm = Swarm(bed, options.python, options.lanes)
            prepared = swarm.prepare(folder)
            engines["role"] = Role(bed, swarm, prepared)
            figures["manifest_s"] = round(prepared.manifest_s, 2)
        heading()
        for _round in range(options.rounds):
            for name, engine in engines.items():
                bench.run(name, engine, folder)
        if "role" in engines:
            figures["lane_anonymous_mib"] = swarm.largest_lane // MIB
        if once:
            quarter = bench.payload("quarter", mib * MIB // 4)
            ssh = Ssh(bed) if any("sync" in name for name in once) else None
            for name in once:
                bench.run(name, Aria2(bed) if name == "aria2" else RSYNCS[name](bed, ssh), quarter)
    for name in ("role", "chain", *ONCE):
        figures[f"{name}_over_t0"] = bench.median(name, "over_t0")
    return {
        **figures,
        "role_over_chain": ratio(figures["role_over_t0"], figures["chain_over_t0"]),
        "rsync_parallel_over_role": ratio(figures["rsync_parallel_over_t0"], figures["role_over_t0"]),
        "cpu_role_over_rsync_parallel": ratio(*(bench.median(name, "cpu_s_per_gib") for name in ("role", "rsync_parallel"))),
        "tcp_over_t0": round(1 / links["one_way"], 3),
        "source_copies": bench.median("role", "source_copies"),
        "cpu_s_per_gib": {name: bench.median(name, "cpu_s_per_gib") for name in dict.fromkeys(run.engine for run in bench.runs)},
        "cpu_busy": max(run.cpu_busy for run in bench.runs),
        "cores": CORES,
        "links": links,
        "runs": [dataclasses.asdict(run) for run in bench.runs],
    }


RSYNCS: dict[str, Any] = {"rsync_parallel": RsyncParallel, "rsync_tree": RsyncTree, "synchronize": Synchronize}


def loopback(options: argparse.Namespace) -> dict[str, Any]:
    """One host, links without a limit."""
    mib = options.payload_mib or 1024
    with Bed(1) as bed:
        bench = Bench(bed, smoke=True)
        folder = bench.payload("weights", mib * MIB)
        swarm = Swarm(bed, options.python, options.lanes)
        prepared = swarm.prepare(folder)
        engines: dict[str, Engine] = {"chain": Chain(bed), "role": Role(bed, swarm, prepared)}
        heading()
        for _round in range(options.rounds):
            for name, engine in engines.items():
                bench.run(name, engine, folder)
    return {
        "loopback": True,
        "payload_mib": mib,
        "lanes": options.lanes,
        "manifest_s": round(prepared.manifest_s, 2),
        "lane_anonymous_mib": swarm.largest_lane // MIB,
        "gib_per_s": {name: round(mib / 1024 / (bench.median(name, "seconds") or 1), 3) for name in engines},
        "cpu_s_per_gib": {name: bench.median(name, "cpu_s_per_gib") for name in engines},
        "cpu_busy": max(run.cpu_busy for run in bench.runs),
        "cores": CORES,
        "runs": [dataclasses.asdict(run) for run in bench.runs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=4, help="how many besides the source")
    parser.add_argument("--payload-mib", type=int)
    parser.add_argument("--rate-mbit", type=float, help="what each end of a cable carries")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--lanes", type=int, default=1, help="processes of the swarm at each host")
    parser.add_argument("--only", nargs="+", default=["chain", "role", *ONCE], choices=["chain", "role", *ONCE], metavar="ENGINE")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has libtorrent")
    parser.add_argument("--loopback", action="store_true", help="one host, links without a limit")
    parser.add_argument("--smoke", action="store_true", help="see that it works: no least T0, no limit of CPU")
    options = parser.parse_args()
    try:
        figures = loopback(options) if options.loopback else shaped(options)
    except (BedError, SwarmError) as failure:
        sys.exit(str(failure))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
