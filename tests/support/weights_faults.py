"""Faults of weights on their way through the swarm, each made in a bed of its own, and what came of it.

The role's own modules run on the members (:mod:`weights_stage`). Payloads are small and links slow, so that there is time for a fault.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bed import Bed, BedError, require
from weights_stage import StageError, WeightsStage, digests

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle, _torrent  # isort: skip - weights_stage makes it importable

MIB = 2**20
RATE_MBIT = 40
LEAF = 16384  # what is hashed at once
PIECE = _merkle.piece_length(0)  # of every torrent of so few bytes
MOST_RESENT = 0.05  # of the payload
# Faults of the run and not of the transfer; tests/faults/test_weights_on_hosts.py makes them on hosts that a controller manages.
IN_THE_LAB = {
    "controller-killed": "the controller is killed; transfers go on, and the rerun picks them up",
    "two-runs": "two runs at once; the second says who holds the lock",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    :ivar held: whether all is as it must be.
    :ivar seen: in a few words.
    :ivar lost_bytes: bytes that a host had to receive or read again though it had them.
    :ivar resent_ratio: bytes sent more often than once to a host, over the payload.
    """

    held: bool
    seen: str
    lost_bytes: int | None = None
    resent_ratio: float | None = None

    def figures(self) -> dict[str, Any]:
        found = {"held": self.held, "lost_bytes": self.lost_bytes, "resent_ratio": self.resent_ratio}
        return {name: value for name, value in found.items() if value is not None}


FAULTS: dict[str, Callable[[], Outcome]] = {}


def fault(name: str) -> Callable[[Callable[[], Outcome]], Callable[[], Outcome]]:
    def keep(made: Callable[[], Outcome]) -> Callable[[], Outcome]:
        FAULTS[name] = made
        return made

    return keep


def impossible() -> str:
    """Why no fault can be made here; empty where they can."""
    if os.geteuid():
        return "network namespaces are made by root"
    try:
        import libtorrent  # noqa: F401 - whether it can be had is the question

        require("ip", "tc", "unshare", "nsenter")
        with Bed(1):
            pass
    except (ImportError, BedError) as error:
        return str(error)
    return ""


def make(name: str) -> Outcome:
    """Make a fault; what could not be brought about did not hold."""
    try:
        return FAULTS[name]()
    except (StageError, BedError) as error:
        return Outcome(False, str(error))


@contextlib.contextmanager
def stage(hosts: int, mib: int = 24, rate_mbit: float = RATE_MBIT) -> Iterator[WeightsStage]:
    """A source with three shards and a small file."""
    with Bed(hosts, rate_mbit) as bed:
        made = WeightsStage(bed)
        for number, part in enumerate((0.5, 0.3, 0.2), 1):
            made.file(f"part-{number}.bin", round(mib * MIB * part))
        made.file("tokenizer.json", 2000)
        yield made


def damage(path: Path, at: int, count: int = 4096) -> None:
    """Other bytes in the middle of a file, without a word to anybody: neither its length nor its times tell."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(at)
        old = stream.read(count)
        stream.seek(at)
        stream.write(bytes(byte ^ 0xFF for byte in old))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def decay(made: WeightsStage, host: str, path: str, *places: int) -> None:
    """Bytes of a finished host turn on the disk; what the host knows of the file still fits it."""
    full = made.revision_folder(host) / path
    for place in places:
        damage(full, place)
    cache = made.bed.outside(made.state(host)) / "weights.verified.json"
    known = json.loads(cache.read_text())
    status = full.stat()
    for name, entry in known.items():
        if name.endswith(f"{made.revision}/{path}"):
            entry[0] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    cache.write_text(json.dumps(known))


def torrent_of(made: WeightsStage) -> bytes:
    """The only lane's."""
    return base64.b64decode(made.torrents[0]["torrent"])


def sent(made: WeightsStage, *names: str) -> int:
    """What lanes that still run have sent, in bytes."""
    for name in names:
        made.steady(name)
    return sum(made.counted(name, "sent_bytes") for name in names)


def ratio(count: int, payload: int) -> float:
    return round(max(0, count) / payload, 4)


# ---- something dies


@fault("receiver-killed")
def receiver_killed() -> Outcome:
    """SIGKILL of a receiver at half way; two others have everything, so that what they send is all that it got."""
    with stage(2, 48, 80) as made:
        made.read()
        made.give("h2")
        made.prepare()
        made.offer()
        made.join("h1", "h2")
        made.until_part("h1", 0.5)
        made.kill("h1")
        at = made.counted("h1", "done_bytes") / made.manifest["bytes"]
        made.join("h1")
        made.wait("h1", timeout=60)
        again = sent(made, "source", "h2") - made.manifest["bytes"]
        wasted = made.counted("h1", "wasted_bytes")
        made.end("source", "h1", "h2")
        made.serve("h1")
        resent = ratio(again, made.manifest["bytes"])
        return Outcome(
            made.right("h1") and resent <= MOST_RESENT,
            f"killed at {at:.0%}, {resent:.1%} sent again, {wasted} bytes of it in the second part",
            max(0, again),
            resent,
        )


@fault("source-killed-early")
def source_killed_early() -> Outcome:
    """SIGKILL of the source before a full copy is out; it comes back."""
    with stage(2, 16) as made:
        made.prepare()
        made.offer()
        made.join("h1", "h2")
        waits = {host: made.waiting(host, quiet=3) for host in ("h1", "h2")}
        made.until_part("h1", 0.3)
        made.kill("source")
        stand = [-1, 0]
        while stand[0] != stand[1]:  # until the two have all that either has
            time.sleep(4)
            stand = [stand[1], made.counted("h1", "done_bytes") + made.counted("h2", "done_bytes")]
        part = stand[1] / 2 / made.manifest["bytes"]
        alive = len(made.pids("h1") + made.pids("h2"))
        made.offer()
        failed = [text for one in waits.values() if (text := one.finish(60))]
        told = [note for one in waits.values() for note in one.notes if "waiting for a source" in note]
        received = made.counted("h1", "received_bytes") + made.counted("h2", "received_bytes")
        again = received - 2 * made.manifest["bytes"]
        made.end("source", "h1", "h2")
        made.serve("h1", "h2")
        held = not failed and bool(told) and part < 1 and alive == 2 and made.right("h1") and made.right("h2")
        resent = ratio(again // 2, made.manifest["bytes"])
        return Outcome(held, f"the hosts stood at {part:.0%}, said {told[-1:]}, and finished with the source back", 0, resent)


@fault("source-killed-late")
def source_killed_late() -> Outcome:
    """SIGKILL of the source when one host is complete and another one is not."""
    with stage(2, 16) as made:
        made.read()
        made.give("h1")
        made.prepare()
        made.offer()
        made.join("h1", "h2")
        made.until_part("h2", 0.2)
        made.kill("source")
        at = made.counted("h2", "done_bytes") / made.manifest["bytes"]
        made.wait("h2", timeout=60)
        again = made.counted("h2", "received_bytes") - made.manifest["bytes"]
        made.end("h1", "h2")
        made.serve("h1", "h2")
        return Outcome(
            made.right("h1") and made.right("h2"),
            f"killed with one host complete and the other at {at:.0%}, which finished without it",
            0,
            ratio(again, made.manifest["bytes"]),
        )


@fault("power-cut")
def power_cut() -> Outcome:
    """A host ends without notice and starts again: what its lane noted as written is not on the disk."""
    with stage(1, 32, 60) as made:
        made.prepare()
        made.offer()
        made.join("h1")
        made.until_part("h1", 0.5)
        resume = made.lane_file("h1", 0, ".resume")
        made.until("the lane's notes", resume.exists)
        made.kill("h1")
        # The namespaces' machine cannot be restarted: the notes are those of an earlier start, and three pieces are lost.
        _boot, _line, notes = resume.read_bytes().partition(b"\n")
        resume.write_bytes(b"00000000-0000-4000-8000-000000000000\n" + notes)
        lost = 0
        for name in sorted(made.status("h1")["files"]):
            half = made.incoming("h1") / name
            content = half.read_bytes() if half.exists() else b""
            for start in range(0, len(content) - PIECE, PIECE):
                if lost < 3 and content[start : start + PIECE] == (made.source / name).read_bytes()[start : start + PIECE]:
                    damage(half, start, PIECE)
                    lost += 1
        made.join("h1")
        made.wait("h1", timeout=60)
        received = made.counted("h1", "received_bytes")
        again = sent(made, "source") - made.manifest["bytes"]
        made.end("source", "h1")
        made.serve("h1")
        resent = ratio(again, made.manifest["bytes"])
        held = made.right("h1") and lost == 3 and resent <= MOST_RESENT and received < made.manifest["bytes"] * 0.7
        return Outcome(held, f"{lost} lost pieces found by reading, {again} bytes sent again", max(0, again), resent)


# ---- bytes are wrong


@fault("flipped-bytes")
def flipped_bytes() -> Outcome:
    """4 KiB of one file of a finished host turn; the full look names the file, and its piece alone comes again."""
    with stage(2, 12, 200) as made:
        made.read()
        made.give("h1", "h2")
        decay(made, "h1", "part-1.bin", 1_000_000)
        overlooked = made.look("h1")["h1"]["wrong"]
        found = made.look("h1", read="everything")["h1"]["wrong"]
        made.look("h2")
        made.arrange()
        made.offer()
        made.join("h1", "h2")
        made.wait("h1", timeout=60)
        made.steady("h1")
        received = made.counted("h1", "received_bytes")
        made.end("source", "h1", "h2")
        made.serve("h1")
        held = not overlooked and found == ["part-1.bin"] and made.right("h1") and 0 < received <= 3 * PIECE
        return Outcome(
            held,
            f"named {found}, {received} bytes came for 4096 wrong ones",
            max(0, received - PIECE),
            ratio(received, made.manifest["bytes"]),
        )


@fault("decayed-host")
def decayed_host() -> Outcome:
    """A finished host whose disk has decayed offers all it has, beside the source: it notices before it sends."""
    with stage(2, 12) as made:
        made.read()
        made.give("h2")
        decay(made, "h2", "part-1.bin", *range(0, 5 * MIB, PIECE))
        made.prepare()
        made.join("h1", "h2")
        made.offer()
        made.wait("h1", timeout=60)
        status = made.status("h1")
        ended = made.end("source", "h1", "h2")
        made.serve("h1")
        unread = made.look("h2")["h2"]["unread"]
        held = made.right("h1") and not status["failed_pieces"] and unread == ["part-1.bin"] and bool(ended["h2"].get("warnings"))
        return Outcome(held, f"the decayed host said {ended['h2']['trouble']}; {status['failed_pieces']} wrong pieces sent", 0)


@fault("lying-peer")
def lying_peer() -> Outcome:
    """A member offers wrong bytes in many pieces, beside the source."""
    with stage(2, 12) as made:
        bed, liar = made.bed, made.bed.address["h2"]
        made.prepare()
        place = bed.home("h2") / "lies"
        shutil.copytree(made.source, bed.outside(place))
        for name in ("part-1.bin", "part-2.bin"):
            for at in range(0, (made.source / name).stat().st_size, 2 * PIECE):
                damage(bed.outside(place) / name, at)
        torrent = bed.home("h2") / "lane.torrent"
        bed.outside(torrent).write_bytes(torrent_of(made))
        # A lane that has all looks at each piece before it sends it; this one lacks a file.
        bed.outside(place / "tokenizer.json").unlink()
        claimed = ["part-1.bin", "part-2.bin", "part-3.bin"]
        lying = made.raw_lane(
            "h2", {**made.parts["members"]["h2"][0], "torrent": str(torrent), "folder": str(place), "complete": claimed}, "liar"
        )
        made.join("h1")
        made.offer()
        failed = made.waiting("h1").finish(60)
        status = made.status("h1")
        made.end("source", "h1")
        lying.stop()
        if failed:
            return Outcome(False, failed)
        made.serve("h1")
        return Outcome(
            made.right("h1") and status["failed_pieces"] > 0 and liar in status["liars"],
            f"{status['failed_pieces']} pieces refused, none accepted; suspected: {', '.join(status['liars'])} (it is {liar})",
            status["wasted_bytes"],
            ratio(status["received_bytes"] - made.manifest["bytes"], made.manifest["bytes"]),
        )


@fault("source-changed")
def source_changed() -> Outcome:
    """A file of the source is written to after it was hashed."""
    with stage(1, 12) as made:
        made.prepare()
        damage(made.source / "part-2.bin", 2 * MIB)
        changed = (made.source / "part-2.bin").read_bytes()
        made.offer()
        made.join("h1")
        made.until("the source to notice", lambda: made.status("source").get("phase") == "failed")
        error = made.status("source")["error"]
        time.sleep(1)
        wrong = 0
        arrived = made.incoming("h1") / "part-2.bin"
        for start in range(0, arrived.stat().st_size if arrived.exists() else 0, LEAF):
            with arrived.open("rb") as stream:
                stream.seek(start)
                leaf = stream.read(LEAF)
            wrong += start <= 2 * MIB < start + LEAF and leaf == changed[start : start + LEAF]
        ended = made.end("source", "h1")
        held = error["file"] == "part-2.bin" and not wrong and not ended["h1"]["moved"] and ended["source"]["trouble"] != []
        made.bring("h1")  # the rerun reads what changed
        return Outcome(held and made.right("h1"), f"the source named {error['file']}: {error['reason']}; {wrong} wrong leaves at the host")


@fault("changes-while-read")
def changes_while_read() -> Outcome:
    """Somebody writes to a file of the source while it is hashed."""
    with stage(1, 48) as made:
        done = threading.Event()

        def write() -> None:
            with (made.source / "part-1.bin").open("r+b") as stream:
                while not done.wait(0.005):
                    stream.seek(0)
                    stream.write(os.urandom(16))
                    stream.flush()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            answer = made.read_source()
        finally:
            done.set()
            writer.join()
        named = "part-1.bin: it changed while it was read" in answer.get("msg", "")
        made.read()  # nobody writes any more
        return Outcome(named, answer.get("msg", "nothing was said"))


# ---- places


@fault("disk-full")
def disk_full() -> Outcome:
    """The disk of one host fills up while weights arrive, with room for one lane of two; then there is room again."""
    with stage(2, 16) as made:
        models = made.bed.home("h1") / "models"
        made.bed.run("h1", "mkdir", "-p", models)
        made.bed.run("h1", "mount", "-t", "tmpfs", "-o", "size=40m", "small", models)
        made.prepare(lanes=2)
        made.bed.run("h1", "dd", "if=/dev/zero", f"of={models}/others", "bs=1M", "count=28", "status=none")
        made.offer()
        made.join("h1", "h2")
        waits = {host: made.waiting(host) for host in ("h1", "h2")}
        said = waits["h1"].finish(60)
        other = waits["h2"].finish(60)
        made.until("the lane that has room", lambda: any(made.status("h1", lane)["phase"] == "complete" for lane in (0, 1)), 30)
        kept = sum(made.status("h1", lane)["done_bytes"] for lane in (0, 1) if made.status("h1", lane)["phase"] == "complete")
        made.end("source", "h1", "h2")
        made.serve("h2")
        made.bed.run("h1", "rm", models / "others")
        made.look()
        made.arrange(lanes=2)
        made.offer()
        made.join("h1", "h2")
        made.wait("h1", timeout=60)
        received = made.counted("h1", "received_bytes")
        lost = max(0, received - (made.manifest["bytes"] - kept))
        made.end("source", "h1", "h2")
        made.serve("h1")
        resent = ratio(lost, made.manifest["bytes"])
        named = "part-" in said and "No space left" in said and "make room" in said
        held = named and not other and kept > 0 and resent <= MOST_RESENT and made.right("h1") and made.right("h2")
        return Outcome(
            held, f"said: {said}; kept {kept} of {made.manifest['bytes']} bytes; the other host: {other or 'finished'}", lost, resent
        )


@fault("file-names")
def file_names() -> Outcome:
    """Blanks, unicode, deep folders, links, empty files, one large file among many small ones."""
    with Bed(2, 100) as bed:
        made = WeightsStage(bed)
        made.file("large.bin", 10 * MIB)
        for number in range(60):
            made.file(f"many/small {number}.txt", 10 + number * 97)
        made.file("größe 模型 \U0001f600/gewichte é é.bin", 300_000)
        made.file("/".join(f"deep {level}" for level in range(40)) + "/bottom", 70_000)
        made.file("empty folder's/nothing", 0)
        made.file(" leading and trailing ", 20_000)
        made.file("'quotes\" $HOME `id` ; & | * ? [x] {y} %41 #.bin", 20_000)
        made.file("-rf", 5000)
        blob = bed.outside(bed.home("source")) / "blobs"
        blob.mkdir()
        (blob / "abc").write_bytes(os.urandom(200_000))
        (made.source / "linked.bin").symlink_to("../blobs/abc")
        made.bring("h1", "h2")
        return Outcome(
            made.right("h1") and made.right("h2") and not list(made.revision_folder("h1").glob(".*")),
            f"{len(digests(made.source))} files, the longest name {max(map(len, digests(made.source)))} characters, equal on both hosts",
        )


@fault("name-that-escapes")
def name_that_escapes() -> Outcome:
    """Torrents are not made of such names; and a lane that is given one made elsewhere writes nothing outside its folder."""
    refused = []
    names = ("../evil", "/evil", "a/../../evil", "a/./evil", "..", "a//evil", "")
    for name in names:
        entry = {"size": 1, "sha256": "0" * 64, "merkle_root": "0" * 64}
        with contextlib.suppress(_torrent.TorrentError):
            _torrent.torrent({"bytes": 1, "files": {name: entry}}, [name], lambda *_unused: None, "name")
            return Outcome(False, f"a torrent was made of {name!r}")
        refused.append(name)
    outside, arrived = [], 0
    with Bed(2, 200) as bed:
        made = WeightsStage(bed)
        for number, content in enumerate(hostile_torrents()):
            found = _take_hostile(made, number, content)
            outside += found[0]
            arrived += found[1]
    return Outcome(
        not outside and arrived > 0, f"{len(refused)} names refused; of hostile torrents {arrived} files arrived inside, outside: {outside}"
    )


def hostile_torrents() -> list[bytes]:
    """Torrents as we never make them: with ways up, absolute names, links out, and a name of their own that leads away."""
    content = b"evil"
    root = bytes.fromhex(_merkle.root(_merkle.leaves(memoryview(content)), _merkle.LEAF))
    leaf = {"": {"length": len(content), "pieces root": root}}
    trees: list[tuple[str, dict[str, Any]]] = [
        ("name", {"..": {"..": {"evil": leaf}}, "good": leaf}),
        ("name", {"/": {"evil": leaf}, "/abs": leaf, "good": leaf}),
        ("name", {"a/../../evil": leaf, "..\\evil": leaf, "good": leaf}),
        ("../../../evil", {"evil": leaf, "good": leaf}),
        ("/evil", {"evil": leaf, "good": leaf}),
        ("..", {"evil": leaf, "good": leaf}),
        (
            "name",
            {"good": leaf, "link": {"": {"attr": "l", "length": 0, "symlink path": ["..", "..", "outside"]}}, "linkz": {"evil": leaf}},
        ),
    ]
    return [
        _torrent.bencode(
            {"info": {"file tree": tree, "meta version": 2, "name": name, "piece length": PIECE, "private": 1}, "piece layers": {}}
        )
        for name, tree in trees
    ]


def _take_hostile(made: WeightsStage, number: int, content: bytes) -> tuple[list[str], int]:
    """Give a torrent to a lane whose source has all of it; what it made outside its folder, and how many files inside."""
    import libtorrent

    bed, called = made.bed, f"hostile-{number}"
    places = {name: bed.home(name) / called for name in ("h1", "h2")}
    for name, place in places.items():
        folder = bed.outside(place)
        folder.mkdir()
        (folder / "inside").mkdir()
        bed.outside(bed.home(name) / f"{called}.torrent").write_bytes(content)
    try:
        torrent = libtorrent.torrent_info(libtorrent.bdecode(content))
    except RuntimeError:
        torrent = None  # libtorrent itself wants nothing of it; the lane must say so
    if torrent:
        storage = torrent.files()
        for index in range(storage.num_files()):
            name = storage.file_path(index).removeprefix(torrent.name() + "/")
            if not storage.file_flags(index) & (storage.flag_pad_file | storage.flag_symlink):
                target = bed.outside(places["h2"]) / "inside" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"evil")
    before = _everything(bed.outside(bed.folder))
    lanes = {}
    for name, other in (("h2", "h1"), ("h1", "h2")):
        config = {
            "torrent": str(bed.home(name) / f"{called}.torrent"),
            "folder": str(places[name] / "inside"),
            "complete": "everything" if name == "h2" else [],
            "listen": [f"{bed.address[name]}:6900"],
            "peers": [f"{bed.address[other]}:6900"],
            "allow": [bed.address[other]],
        }
        lanes[name] = made.raw_lane(name, config, called)
    made.until("the end of a hostile torrent", lambda: made.raw_status("h1", called).get("phase") in ("complete", "failed"), 15)
    for lane in lanes.values():
        lane.stop()
    allowed = tuple(str(bed.outside(bed.home(name) / called)) for name in places)
    new = sorted(path for path in _everything(bed.outside(bed.folder)) - before if not path.startswith(allowed))
    inside = bed.outside(places["h1"]) / "inside"
    leads_away = [str(path) for path in inside.rglob("*") if path.is_symlink() and not path.resolve().is_relative_to(inside.resolve())]
    return new + leads_away, sum(path.is_file() for path in inside.rglob("*"))


def _everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


# ---- the network


@fault("link-cut")
def link_cut() -> Outcome:
    """The cable of one host is out for five seconds."""
    with stage(2) as made:
        made.prepare()
        made.offer()
        made.join("h1", "h2")
        made.until_part("h1", 0.3)
        with made.bed.cut("h1"):
            time.sleep(5)
            stood = made.counted("h1", "done_bytes")
        restored = time.monotonic()
        made.until("bytes after the cut", lambda: made.counted("h1", "done_bytes") > stood, 60)
        back = time.monotonic() - restored
        made.wait("h1", "h2", timeout=60)
        for host in made.bed.hosts:
            made.steady(host)
        again = sum(made.counted(host, "received_bytes") for host in made.bed.hosts) - 2 * made.manifest["bytes"]
        made.end("source", "h1", "h2")
        made.serve("h1", "h2")
        resent = ratio(again // 2, made.manifest["bytes"])
        held = made.right("h1") and made.right("h2") and back < 15
        return Outcome(held, f"bytes again {back:.1f} s after the cable was back", max(0, again), resent)


@fault("stranger")
def stranger() -> Outcome:
    """Somebody on the network has the torrent, dials everybody and listens."""
    with stage(3, 8) as made:
        bed = made.bed
        made.prepare(hosts=("h1", "h2"))
        torrent = bed.home("h3") / "lane.torrent"
        bed.outside(torrent).write_bytes(torrent_of(made))
        bed.run("h3", "mkdir", bed.home("h3") / "loot")
        everybody = [bed.address[name] for name in ("h1", "h2", "source")]
        config = {
            "torrent": str(torrent),
            "folder": str(bed.home("h3") / "loot"),
            "complete": [],
            "listen": [f"{bed.address['h3']}:6900"],
            "peers": [f"{address}:6900" for address in everybody],
            "allow": everybody,
        }
        thief = made.raw_lane("h3", config, "thief")
        made.join("h1")
        made.offer()
        made.wait("h1", timeout=60)
        made.join("h2")  # with a complete host there as well
        made.wait("h2", timeout=60)
        time.sleep(2)
        loot = made.raw_status("h3", "thief")
        seen = {name: sorted(made.status(name)["peers"]) for name in ("source", "h1", "h2")}
        made.end("source", "h1", "h2")
        thief.stop()
        met = [name for name, peers in seen.items() if bed.address["h3"] in peers]
        held = loot["received_bytes"] == 0 and not loot["peers"] and not met
        return Outcome(
            held, f"the stranger got {loot['received_bytes']} bytes from {len(loot['peers'])} peers; met by {met or 'nobody'}", 0
        )


# ---- lanes


@fault("three-lanes")
def three_lanes() -> Outcome:
    """Begun with one lane and ended at half way; three lanes go on where it stopped, and three bring it to another host as well."""
    with stage(2) as made:
        made.prepare(lanes=1)
        made.offer()
        made.join("h1")
        made.until_part("h1", 0.3)
        made.end("source", "h1")
        kept = made.counted("h1", "done_bytes")
        made.look()
        made.arrange(lanes=3)
        made.offer()
        made.join("h1", "h2")
        made.wait("h1", "h2", timeout=60)
        made.steady("h1")
        received = made.counted("h1", "received_bytes")
        ended = made.end("source", "h1", "h2")
        made.serve("h1", "h2")
        lost = max(0, received - (made.manifest["bytes"] - kept))
        resent = ratio(lost, made.manifest["bytes"])
        held = kept > 0 and len(ended["h1"]["lanes"]) == 3 and made.right("h1") and made.right("h2") and resent <= MOST_RESENT
        return Outcome(held, f"one lane brought {kept} bytes, three the rest", lost, resent)


__all__ = ["FAULTS", "IN_THE_LAB", "Outcome", "impossible", "make"]
