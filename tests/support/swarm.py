"""The weights' swarm in a bed, run by the very program and from the very torrents that the role uses.

    swarm = Swarm(bed, python="/usr/bin/python3")
    prepared = swarm.prepare(bed.home("source") / "weights")      # what the source's stage does once
    swarm.start(prepared, {"source": ..., "h1": ...})             # member: folder
    swarm.wait(["h1"], timeout=60)                                # until these are complete; SwarmError says who failed and why
    swarm.status("h1")                                            # the sum of its lanes
    swarm.stop()

``python`` is an interpreter that has ``libtorrent``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bed import Bed, BedError, Process

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

FIRST_PORT = 6900
COUNTED = ("wanted_bytes", "done_bytes", "received_bytes", "sent_bytes", "wasted_bytes")
# TODO goes away with the role's own program
STAND_IN = os.environ.get("SWARM_STAND_IN", "")


class SwarmError(RuntimeError):
    """A lane failed, or was not complete in time."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What the source makes before anything is sent.

    :ivar folder: its files, as the bed sees them.
    :ivar manifest_s: seconds that reading and hashing them took.
    """

    folder: Path
    manifest: dict[str, Any]
    layers: Path
    manifest_s: float


class Swarm:
    """The lanes of all members.

    :param python: the interpreter with libtorrent.
    :param lanes: how many for each member.
    """

    def __init__(self, bed: Bed, python: str, lanes: int = 1) -> None:
        self.bed = bed
        self.python = python
        self.lanes = lanes
        self.folder = bed.folder / "swarm"
        self._outside = bed.outside(self.folder)
        self._outside.mkdir(exist_ok=True)
        self.running: dict[tuple[str, int], Process] = {}
        self.program = Path(STAND_IN)

    def prepare(self, folder: Path) -> Prepared:
        """The manifest of a folder, with what torrents are made of."""
        began = time.monotonic()
        made = json.loads(self.bed.run("source", self.python, self.program, "--torrents", folder, str(self.lanes), self.folder))
        return Prepared(folder, {"torrents": made}, self.folder, time.monotonic() - began)

    def torrents(self, prepared: Prepared) -> list[Path]:
        """The torrent of each lane, as files that every member can read."""
        return [Path(name) for name in prepared.manifest["torrents"]]

    def start(self, prepared: Prepared, folders: dict[str, Path], complete: tuple[str, ...] = ("source",), linger: int = 900) -> None:
        """Starts every lane of these members.

        :param folders: where each has the files, or where they go.
        :param complete: the members that have them.
        """
        for lane, torrent in enumerate(self.torrents(prepared)):
            for name, folder in folders.items():
                self.start_lane(name, lane, torrent, folder, list(folders), name in complete, linger)

    def start_lane(self, name: str, lane: int, torrent: Path, folder: Path, members: list[str], whole: bool, linger: int = 900) -> None:
        """Starts one lane of one member."""
        port = FIRST_PORT + lane
        others = [self.bed.address[other] for other in members if other != name]
        config = {
            "torrent": str(torrent),
            "folder": str(folder),
            "complete": "everything" if whole else [],
            "listen": [f"{self.bed.address[name]}:{port}"],
            "peers": [f"{address}:{port}" for address in others],
            "allow": others,
            "state": str(self.folder / f"{name}-lane-{lane}"),
            "tls": None,
            "linger_seconds": linger,
        }
        path = self.folder / f"{name}-lane-{lane}.json"
        self.bed.outside(path).write_text(json.dumps(config))
        log = self.bed.outside(self.folder / f"{name}-lane-{lane}.log").open("wb")
        with log:
            process = self.bed.start(name, self.python, self.program, path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running[name, lane] = process

    def statuses(self, name: str) -> list[dict[str, Any] | None]:
        """What each lane of a member last said; None before its first word."""
        found: list[dict[str, Any] | None] = []
        for member, lane in self.running:
            if member == name:
                path = self._outside / f"{name}-lane-{lane}.status.json"
                found.append(json.loads(path.read_text()) if path.exists() else None)
        return found

    def status(self, name: str) -> dict[str, int]:
        """The counts of a member, its lanes in all."""
        known = [status for status in self.statuses(name) if status]
        return {key: sum(int(status[key]) for status in known) for key in COUNTED}

    def wait(self, names: list[str], timeout: float) -> None:
        """Waits until all lanes of these members are complete.

        :raises SwarmError: one has failed or ended, or is not complete in time.
        """
        deadline = time.monotonic() + timeout
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                statuses = self.statuses(name)
                if failed := [status for status in statuses if status and status["phase"] == "failed"]:
                    raise SwarmError(f"{name}: {failed[0]['error']}")
                if all(status and status["phase"] == "complete" for status in statuses):
                    waiting.remove(name)
                elif ended := [lane for (member, lane), process in self.running.items() if member == name and process.poll() is not None]:
                    raise SwarmError(f"{name}: lane {ended[0]} ended: {self.log(name, ended[0])}")
            if time.monotonic() > deadline:
                raise SwarmError(f"not complete after {timeout:.0f} s: {', '.join(waiting)}")
            time.sleep(0.1)

    def log(self, name: str, lane: int) -> str:
        """The end of what a lane printed."""
        return (self._outside / f"{name}-lane-{lane}.log").read_text(errors="replace")[-2000:].strip()

    def stop(self, keep: bool = False) -> None:
        """Ends every lane.

        :param keep: whether what they wrote down stays, for a status or for lanes that go on from there.
        """
        for process in self.running.values():
            with contextlib.suppress(BedError, ProcessLookupError):
                process.send(signal.SIGTERM)
        for process in self.running.values():
            process.wait(30)
        if not keep:
            self.forget()

    def forget(self) -> None:
        """Takes away what lanes wrote down."""
        self.running.clear()
        for path in self._outside.glob("*-lane-*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
