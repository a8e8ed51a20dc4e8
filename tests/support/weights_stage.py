"""The stage `weights` on the members of a bed: the very modules that the role calls, in its order, each on the member it is for.

    with Bed(hosts=2, rate_mbit=40) as bed:
        stage = WeightsStage(bed)
        stage.read()                        # manifest of stage.source
        stage.look()                        # what each host lacks
        stage.arrange(lanes=1)              # torrents, and everybody's part
        stage.offer()                       # the source's lanes
        stage.join("h1", "h2")              # the hosts' lanes
        stage.wait("h1", "h2", timeout=60)
        stage.end("h1", "h2")               # lanes ended, what arrived at its place
        stage.serve("h1")                   # proven and linked

The bed has no systemd, so that lanes are processes. They and the modules run on the interpreter that this runs on, which must have
libtorrent.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bed import Bed, BedError, Process

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights  # noqa: E402 - found by the line above
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _swarm, _zipapp  # noqa: E402

MODULES = "ansible_collections.flagos.kunlunxin.plugins.modules"
FIRST_PORT, MOST_LANES = 6900, 16
LOOK_SECONDS = 0.1
# The module's own waiting, with what it reports as lines: outside an asynchronous task nobody would see it.
_WAIT = f"""
import json, sys
from {MODULES} import weights_swarm_wait as module
from {MODULES}.weights_swarm_wait import Lanes
state_dir, revision, lanes, patience, module.QUIET_SECONDS = json.loads(sys.argv[1])
try:
    module.wait(Lanes(state_dir, revision, "member", lanes), patience, lambda done, note, _from_source: print(json.dumps([done, note]), flush=True))
except module.WaitError as error:
    sys.exit("%s; expected %s; %s" % (error.observed, error.expected, error.remedy))
"""


class StageError(RuntimeError):
    """A module failed, or something did not happen in time; the text says what."""


class Waiting:
    """The wait of one host, going on beside."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lines: list[tuple[int, str]] = []

    def finish(self, timeout: float) -> str:
        """Waits for the end; returns why it failed, or nothing.

        :raises StageError: it takes too long.
        """
        try:
            out, err = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            self._process.kill_all()
            raise StageError(f"still waiting after {timeout:g} s") from expired
        self._lines = [tuple(line) for line in map(json.loads, out.splitlines())]
        return err.strip() if self._process.returncode else ""

    @property
    def notes(self) -> list[str]:
        """What it said, each once, in order; known once it has ended."""
        return list(dict.fromkeys(note for _done, note in self._lines))


class WeightsStage:
    """Weights on their way from the member ``source`` to the hosts of a bed.

    :param path: what is served on a host, below its home.
    :ivar source: the folder that the weights come from, as everybody else sees it.
    :ivar manifest: once they were read.
    """

    def __init__(self, bed: Bed, path: str = "models/m") -> None:
        self.bed = bed
        self.source = bed.outside(bed.home("source") / "weights")
        self.source.mkdir()
        self.manifest: dict[str, Any] = {}
        self.torrents: list[dict[str, Any]] = []
        self.parts: dict[str, Any] = {}
        self.held: dict[str, dict[str, Any]] = {}
        self._path = path
        self._program = base64.b64encode(_zipapp.build("_swarm_program")).decode("ascii")
        self._calls = itertools.count()

    # ---- places

    def served(self, host: str) -> Path:
        """The path that is served on a host, as the bed sees it."""
        return self.bed.home(host) / self._path

    def state(self, name: str) -> Path:
        return self.bed.home(name) / "state"

    @property
    def revision(self) -> str:
        return _weights.revision_name(self.manifest["root"])

    def revision_folder(self, host: str) -> Path:
        """Where a host's files belong, as everybody else sees it."""
        return self.bed.outside(Path(f"{self.served(host)}{_weights.REVISIONS}") / self.revision)

    def incoming(self, host: str) -> Path:
        """Where they arrive."""
        return self.revision_folder(host) / ".incoming"

    def lane_file(self, name: str, lane: int, suffix: str) -> Path:
        """A file of one lane of a member, such as ``.status.json``, as everybody else sees it."""
        part = "source" if name == "source" else "member"
        return self.bed.outside(self.state(name)) / "weights" / self.revision / f"{part}-{lane}{suffix}"

    # ---- modules

    def module(self, member: str, called: str, /, **arguments: Any) -> dict[str, Any]:
        """What a module answers on a member."""
        given = self.bed.folder / f"call-{next(self._calls)}.json"
        self.bed.outside(given).write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process = self._start(member, "-m", f"{MODULES}.{called}", given)
        out, err = process.communicate(timeout=120)
        if not out:
            raise StageError(f"{member}: {called}: {err.strip()}")
        answer: dict[str, Any] = json.loads(out)
        return answer

    def well(self, member: str, called: str, /, **arguments: Any) -> dict[str, Any]:
        """What a module answers that must not fail.

        :raises StageError: it fails.
        """
        answer = self.module(member, called, **arguments)
        if answer.get("failed"):
            raise StageError(f"{member}: {called}: {answer['msg']}")
        return answer

    def _start(self, name: str, *arguments: str | Path) -> Process:
        # As the role's hosts have it: paths are UTF-8.
        environment = ["LC_ALL=C.UTF-8", f"PYTHONPATH={ROOT / 'collections'}", "PYTHONDONTWRITEBYTECODE=1"]
        command = ["env", *environment, sys.executable, *arguments]
        return self.bed.start(name, *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _everywhere(self, call: Callable[[str], Any], names: tuple[str, ...]) -> dict[str, Any]:
        with concurrent.futures.ThreadPoolExecutor(max(1, len(names))) as pool:
            return dict(zip(names, pool.map(call, names), strict=True))

    def read_source(self) -> dict[str, Any]:
        """What reading the source comes to, be it that it is refused."""
        home = self.bed.home("source")
        return self.module(
            "source", "weights_manifest_info", source=str(home / "weights"), cache=str(self.state("source") / "weights.json")
        )

    def read(self) -> None:
        """Read the source."""
        answer = self.read_source()
        if answer.get("failed"):
            raise StageError(answer["msg"])
        self.manifest = answer["manifest"]

    def look(self, *hosts: str, read: str = "nothing") -> dict[str, dict[str, Any]]:
        """What hosts, or all of them, hold of the manifest."""

        def ask(host: str) -> dict[str, Any]:
            answer = self.well(host, "weights_info", **self._of(host), read=read, interfaces=["eth0"])
            # Who is asked over ssh knows these; who is asked by nsenter does not.
            answer["swarm"]["login"] = {"client": self.bed.address["source"], "server": self.bed.address[host]}
            return answer

        found = self._everywhere(ask, hosts or tuple(self.bed.hosts))
        self.held.update(found)
        return found

    def arrange(self, lanes: int = 1, hosts: tuple[str, ...] = ()) -> None:
        """Cut the torrents, and settle everybody's part; only these hosts are let in."""
        cut = self.well(
            "source",
            "weights_torrents_info",
            manifest=self.manifest,
            cache=str(self.state("source") / "weights.json"),
            lanes=lanes,
            name=self.revision,
        )
        self.torrents = cut["torrents"]
        members = hosts or tuple(self.bed.hosts)
        plan = {
            "hosts": [{"name": host, "swarm_interfaces": ["eth0"]} for host in members],
            "swarm": {"member_port": FIRST_PORT, "source_port": FIRST_PORT + MOST_LANES, "most_lanes": MOST_LANES},
        }
        told = {host: self.held[host]["swarm"] for host in members}
        self.parts = _swarm.arrange(plan, told, {host: self.bed.address[host] for host in members}, [_swarm.CONTROLLER], len(self.torrents))

    def prepare(self, lanes: int = 1, hosts: tuple[str, ...] = ()) -> None:
        """All that comes before the first lane."""
        self.read()
        self.look(*hosts)
        self.arrange(lanes, hosts)

    def _of(self, host: str) -> dict[str, Any]:
        return {"path": str(self.served(host)), "state_dir": str(self.state(host)), "manifest": self.manifest}

    def _lanes(self, name: str, **arguments: Any) -> dict[str, Any]:
        if name == "source":
            place = {
                **self._of(name),
                "path": str(self.bed.home("source") / "weights"),
                "source": True,
                "lanes": self.parts["sources"][_swarm.CONTROLLER],
            }
        else:
            place = {**self._of(name), "lanes": self.parts["members"][name]}
        return self.well(name, "weights_swarm", **place, **arguments)

    def offer(self) -> None:
        """Start the source's lanes."""
        self.join("source")

    def join(self, *names: str) -> None:
        """Start the lanes of members."""
        self._everywhere(lambda name: self._lanes(name, state="started", torrents=self.torrents, program=self._program), names)

    def end(self, *names: str) -> dict[str, dict[str, Any]]:
        """End the lanes of members, and take what arrived; by member what the module answers."""
        return self._everywhere(lambda name: self._lanes(name, state="stopped"), names)

    def waiting(self, host: str, patience: float = 600, quiet: float = 10) -> Waiting:
        """Begin to wait as the role does.

        :param quiet: how long no byte arrives before that is said.
        """
        arguments = [str(self.state(host)), self.revision, len(self.torrents), patience, quiet]
        return Waiting(self._start(host, "-c", _WAIT, json.dumps(arguments)))

    def wait(self, *hosts: str, timeout: float) -> None:
        """Wait as the role does, until these are complete.

        :raises StageError: one is not, in time.
        """
        waits = {host: self.waiting(host) for host in hosts}
        deadline = time.monotonic() + timeout
        for host, one in waits.items():
            if failed := one.finish(max(1.0, deadline - time.monotonic())):
                raise StageError(f"{host}: {failed}")

    def serve(self, *hosts: str) -> None:
        """Prove what is there and serve it."""
        self._everywhere(lambda host: self.well(host, "weights", **self._of(host)), hosts)

    def give(self, *hosts: str) -> None:
        """Hosts that are finished, without the network: the source must have been read."""
        for host in hosts:
            shutil.copytree(self.source, self.revision_folder(host))
        self.serve(*hosts)

    def bring(self, *hosts: str, lanes: int = 1, timeout: float = 60) -> None:
        """The whole stage without a fault."""
        self.prepare(lanes, hosts)
        self.offer()
        self.join(*hosts)
        self.wait(*hosts, timeout=timeout)
        self.end("source", *hosts)
        self.serve(*hosts)

    # ---- lanes

    def status(self, name: str, lane: int = 0) -> dict[str, Any]:
        """What a lane last told; empty before its first word."""
        try:
            found: dict[str, Any] = json.loads(self.lane_file(name, lane, ".status.json").read_text())
        except OSError:
            return {}
        return found

    def counted(self, name: str, figure: str) -> int:
        """A figure of a member, over its lanes."""
        return sum(int(self.status(name, lane).get(figure, 0)) for lane in range(len(self.torrents)))

    def until(self, what: str, happened: Callable[[], object], timeout: float = 60) -> None:
        """Look again and again.

        :raises StageError: it has not happened in time.
        """
        deadline = time.monotonic() + timeout
        while not happened():
            if time.monotonic() > deadline:
                raise StageError(f"not after {timeout:g} s: {what}")
            time.sleep(LOOK_SECONDS)

    def until_part(self, host: str, part: float, timeout: float = 60) -> None:
        """Until a host has a part of all bytes, 0 to 1."""
        wanted = part * self.manifest["bytes"]
        self.until(f"{part:.0%} at {host}", lambda: self.counted(host, "done_bytes") >= wanted, timeout)

    def steady(self, name: str) -> None:
        """Until a lane has told its last figures: they are a second old at most."""
        seen = self.status(name)["updated"]
        self.until(f"news of {name}", lambda: self.status(name)["updated"] >= seen + 1, 20)

    def pids(self, name: str) -> list[int]:
        """The lanes' processes of a member, as everybody else sees them."""
        wanted = str(self.bed.home(name)).encode()
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit():
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    if len(words) > 2 and words[-3].startswith(wanted) and words[-3].endswith(b"/swarm.pyz"):
                        found.append(int(folder.name))
        return found

    def kill(self, name: str) -> None:
        """SIGKILL for all lanes of a member.

        :raises StageError: it has none.
        """
        if not (found := self.pids(name)):
            raise StageError(f"{name}: no lane to kill")
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        self.until(f"{name}'s lanes gone", lambda: not self.pids(name), 10)

    def raw_lane(self, name: str, config: Mapping[str, Any], called: str) -> Process:
        """The lanes' program on a member with a configuration of its own; ``called`` names its files in the member's home."""
        home = self.bed.home(name)
        program, written = home / f"{called}.swarm.pyz", home / f"{called}.json"
        self.bed.outside(program).write_bytes(base64.b64decode(self._program))
        self.bed.outside(written).write_text(json.dumps({"state": str(home / called), "linger_seconds": 600, **config}))
        return self._start(name, program, written)

    def raw_status(self, name: str, called: str) -> dict[str, Any]:
        """What such a lane last told."""
        try:
            found: dict[str, Any] = json.loads(self.bed.outside(self.bed.home(name) / f"{called}.status.json").read_text())
        except OSError:
            return {}
        return found

    # ---- bytes

    def file(self, path: str, size: int) -> Path:
        """Make a file of the source, of bytes that nothing packs."""
        place = self.source / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(size))
        return place

    def right(self, host: str) -> bool:
        """Whether what a host serves is all that the source has, by hashes made here and now."""
        folder = self.revision_folder(host)
        here = self.bed.outside(self.served(host))
        return Path(os.readlink(here)).name == self.revision and digests(folder) == digests(self.source)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files of a folder, by path; links stand for what they point to."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


__all__ = ["BedError", "StageError", "Waiting", "WeightsStage", "digests"]
