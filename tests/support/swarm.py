"""The weights' swarm in a bed, run by the very program and from the very torrents that the role uses.

    swarm = Swarm(bed)
    prepared = swarm.prepare(bed.home("source") / "weights")      # what the source's stage does once
    swarm.start(prepared, {"source": ..., "h1": ...})             # member: folder
    swarm.wait(["h1"], timeout=60)                                # until these are complete; SwarmError says who failed and why
    swarm.status("h1")                                            # the sum of its lanes
    swarm.stop()

``python`` is an interpreter that has ``libtorrent``; by default the one that runs this.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
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

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _torrent  # noqa: E402 - found below the clone
from ansible_collections.flagos.kunlunxin.plugins.module_utils._piece_layers import PieceLayers  # noqa: E402
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import revision_name  # noqa: E402
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _zipapp  # noqa: E402

FIRST_PORT = 6900
WEIGH_SECONDS = 1
COUNTED = ("wanted_bytes", "done_bytes", "received_bytes", "sent_bytes", "wasted_bytes")
# In the bed, where the files are: what the stage's module does at the source.
_READ = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_source import WeightsSource
source = WeightsSource(sys.argv[2], sys.argv[3])
source.read(lambda count, note: None)
print(json.dumps(source.manifest()))
"""


class SwarmError(RuntimeError):
    """A lane failed, or was not complete in time."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What the source makes before anything is sent.

    :ivar folder: its files, as the bed sees them.
    :ivar cache: beside which the layers of their hash trees are kept.
    :ivar manifest_s: seconds that reading and hashing them took.
    """

    folder: Path
    manifest: dict[str, Any]
    cache: Path
    manifest_s: float


class Swarm:
    """The lanes of all members.

    :param python: the interpreter with libtorrent.
    :param lanes: how many for each member.
    :ivar options: what every lane's configuration says besides, or instead.
    :ivar largest_lane: the most anonymous memory that any lane had while somebody waited for it, in bytes.
    """

    def __init__(self, bed: Bed, python: str = sys.executable, lanes: int = 1) -> None:
        self.bed = bed
        self.python = python
        self.lanes = lanes
        self.options: dict[str, Any] = {}
        self.largest_lane = 0
        self.folder = bed.folder / "swarm"
        self._outside = bed.outside(self.folder)
        self._outside.mkdir(exist_ok=True)
        self.running: dict[tuple[str, int], Process] = {}
        self.program = self.folder / "swarm.pyz"
        bed.outside(self.program).write_bytes(_zipapp.build("_swarm_program"))

    def prepare(self, folder: Path) -> Prepared:
        """The manifest of a folder of the source, with what torrents are made of."""
        cache = self.folder / f"{folder.name}.cache.json"
        began = time.monotonic()
        manifest = json.loads(self.bed.run("source", sys.executable, "-c", _READ, ROOT / "collections", folder, cache, timeout=600))
        return Prepared(folder, manifest, cache, time.monotonic() - began)

    def torrents(self, prepared: Prepared) -> list[Path]:
        """The torrent of each lane, as files that every member can read."""
        layers = PieceLayers(str(self.bed.outside(prepared.cache)))
        name = revision_name(prepared.manifest["root"])
        paths = []
        for lane, files in enumerate(_torrent.lanes(prepared.manifest, self.lanes)):
            paths.append(self.folder / f"{name}-{lane}.torrent")
            self.bed.outside(paths[-1]).write_bytes(_torrent.torrent(prepared.manifest, files, layers.get, name))
        return paths

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
            **self.options,
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
        deadline, weighed = time.monotonic() + timeout, 0.0
        waiting = list(names)
        while waiting:
            if time.monotonic() > weighed + WEIGH_SECONDS:
                weighed = time.monotonic()
                self.largest_lane = max(self.largest_lane, *(process.anonymous_bytes() for process in self.running.values()))
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
