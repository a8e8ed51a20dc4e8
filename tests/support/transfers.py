"""Other ways to bring a folder to every host of a bed, to hold the swarm against: a chain, rsync over ssh, aria2.

Each engine sends one folder of the source to a folder of the same name at every host. ``verifies`` says whether it checks what arrives
against what was sent; what comes out of one that does not is worth nothing before it was read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from bed import Bed, BedError, Process, program

CHAIN_PORT = 5300
TRACKER_PORT = 6969
ARIA2_PORT = 6881


class Engine(Protocol):
    """One way."""

    verifies: bool

    def prepare(self, folder: Path) -> None:
        """What happens once, before the clock runs: services that are there anyhow, torrents."""

    def transfer(self, timeout: float) -> None:
        """From the first byte on until every host has all."""

    def finish(self) -> None:
        """After the clock has stopped."""


def target(bed: Bed, name: str, folder: Path) -> Path:
    """Where a host keeps the files of a folder of the source."""
    return bed.home(name) / folder.name


class Chain:
    """`tar | nc` from the source to the first host, which stores and passes on (`tee`), and so on down the hosts.

    The listeners are up before the clock runs.
    """

    verifies = False

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.listeners: dict[str, Process] = {}
        self.netcat = program("nc.openbsd")

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        self._listen()

    def transfer(self, timeout: float) -> None:
        bed = self.bed
        first = f"{self.netcat} -N {bed.address[bed.hosts[0]]} {CHAIN_PORT}"
        sending = bed.start("source", "bash", "-c", f"set -o pipefail; tar -C {self.folder} -cf - . | {first}", stdin=subprocess.DEVNULL)
        bed.finish({"source": sending, **self.listeners}, timeout)

    def finish(self) -> None:
        self.listeners.clear()

    def _listen(self) -> None:
        """From the last host to the first, for each reaches out to the next one at once."""
        beyond = ""
        for name in reversed(self.bed.hosts):
            address = self.bed.address[name]
            pass_on = f"| tee >({beyond}) " if beyond else ""
            script = (
                f"set -o pipefail; {self.netcat} -d -l {address} {CHAIN_PORT} {pass_on}| tar -C {target(self.bed, name, self.folder)} -xf -"
            )
            listening = self.bed.start(name, "bash", "-c", script, stdin=subprocess.DEVNULL)
            listening.listens(CHAIN_PORT)
            self.listeners[name] = listening
            beyond = f"{self.netcat} -N {address} {CHAIN_PORT}"


class Ssh:
    """OpenSSH's own server at every host, with keys and settings of the bed's own."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        folder = bed.folder / "ssh"
        outside = bed.outside(folder)
        outside.mkdir(mode=0o700)
        for key in ("host", "login"):
            bed.run("source", program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "bed", "-f", folder / key)
        (outside / "authorized").write_text((outside / "login.pub").read_text())
        host_key = " ".join((outside / "host.pub").read_text().split()[:2])
        (outside / "known_hosts").write_text("".join(f"{address} {host_key}\n" for address in bed.address.values()))
        (outside / "client").write_text(
            f"IdentityFile {folder}/login\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\n"
            "StrictHostKeyChecking yes\nBatchMode yes\nUser root\n"
        )
        for name in bed.hosts:
            (outside / f"{name}.conf").write_text(
                f"ListenAddress {bed.address[name]}\nHostKey {folder}/host\nPidFile none\nAuthorizedKeysFile {folder}/authorized\n"
                "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nMaxStartups 100\n"
            )
            serving = bed.start(name, program("sshd"), "-D", "-e", "-f", folder / f"{name}.conf", stderr=subprocess.DEVNULL)
            serving.listens(22)
        self.command = f"ssh -F {folder}/client"


class Rsync:
    """rsync over ssh.

    :ivar options: rsync's.
    """

    verifies = True
    options: tuple[str, ...] = ("--archive", "--whole-file", "--inplace")

    def __init__(self, bed: Bed, ssh: Ssh) -> None:
        self.bed = bed
        self.ssh = ssh
        self.program = program("rsync")

    def prepare(self, folder: Path) -> None:
        self.folder = folder

    def send(self, sender: str, receiver: str) -> Process:
        place = self.folder if sender == "source" else target(self.bed, sender, self.folder)
        to = f"root@{self.bed.address[receiver]}:{target(self.bed, receiver, self.folder)}/"
        return self.bed.start(
            sender,
            self.program,
            *self.options,
            f"--rsh={self.ssh.command}",
            f"{place}/",
            to,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def transfer(self, timeout: float) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        pass


class RsyncParallel(Rsync):
    """From the source to every host at once: what people do who have no better tool."""

    def transfer(self, timeout: float) -> None:
        self.bed.finish({name: self.send("source", name) for name in self.bed.hosts}, timeout)


class Synchronize(RsyncParallel):
    """What `ansible.posix.synchronize` starts on the controller for `mode: push` and no other option, for all hosts at once.

    Its defaults compress (ansible.posix 2.1, plugins/modules/synchronize.py).
    """

    options = ("--delay-updates", "-F", "--compress", "--archive", "--out-format=<<CHANGED>>%i %n%L")


class RsyncTree(Rsync):
    """Doubling: whoever has all sends it to one who has nothing, round by round."""

    def transfer(self, timeout: float) -> None:
        have, lack = ["source"], list(self.bed.hosts)
        while lack:
            pairs = list(zip(have, lack))  # noqa: B905 - the longer one waits
            self.bed.finish({receiver: self.send(sender, receiver) for sender, receiver in pairs}, timeout)
            have += [receiver for _sender, receiver in pairs]
            lack = lack[len(pairs) :]


class Aria2:
    """A BitTorrent v1 swarm of aria2, with a tracker of our own at the source."""

    verifies = True

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.members: dict[str, Process] = {}
        self.tracker: Process | None = None
        self.program = program("aria2c")

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        self.tracker = self.bed.start("source", sys.executable, Path(__file__), self.bed.address["source"], str(TRACKER_PORT))
        self.tracker.listens(TRACKER_PORT)
        self.torrent = self.bed.folder / "aria2.torrent"
        announce = f"http://{self.bed.address['source']}:{TRACKER_PORT}/announce"
        self.bed.outside(self.torrent).write_bytes(torrent_v1(self.bed.outside(folder), announce))

    def start(self, name: str, *options: str) -> None:
        self.members[name] = self.bed.start(
            name,
            self.program,
            "--no-conf",
            "--quiet",
            "--enable-dht=false",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--disable-ipv6",
            "--file-allocation=none",
            "--bt-max-peers=0",
            "--bt-request-peer-speed-limit=1000M",
            f"--bt-external-ip={self.bed.address[name]}",
            f"--listen-port={ARIA2_PORT}",
            f"--dir={self.bed.home(name)}",
            *options,
            str(self.torrent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def transfer(self, timeout: float) -> None:
        self.start("source", "--bt-seed-unverified", "--check-integrity=false", "--seed-ratio=0.0")
        self.members["source"].listens(ARIA2_PORT)
        for name in self.bed.hosts:
            # It goes on giving; that it has all, it says by a command.
            self.start(name, "--seed-ratio=0.0", f"--on-bt-download-complete={self._done(name)}")
        deadline = time.monotonic() + timeout
        while not all(self._mark(name).exists() for name in self.bed.hosts):
            if time.monotonic() > deadline:
                raise BedError(f"aria2 is not finished after {timeout:.0f} s")
            time.sleep(0.05)

    def _mark(self, name: str) -> Path:
        return self.bed.outside(self.bed.home(name) / "aria2.done")

    def _done(self, name: str) -> Path:
        script = self.bed.home(name) / "aria2.sh"
        self.bed.outside(script).write_text(f"#!/bin/sh\ntouch {self.bed.home(name)}/aria2.done\n")
        self.bed.outside(script).chmod(0o700)
        return script

    def finish(self) -> None:
        for process in [*self.members.values(), *([self.tracker] if self.tracker else [])]:
            process.kill_all()
        self.members.clear()


def bencode(value: Any) -> bytes:
    """BEP 3's encoding of integers, texts, bytes, lists and mappings."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    return b"l" + b"".join(map(bencode, value)) + b"e"


def torrent_v1(folder: Path, announce: str, piece_length: int = 2**18) -> bytes:
    """A torrent of a folder, as BEP 3 has it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())

    def pieces() -> Iterator[bytes]:
        rest = b""
        for path in files:
            rest += path.read_bytes()
            whole = len(rest) // piece_length * piece_length
            for start in range(0, whole, piece_length):
                yield rest[start : start + piece_length]
            rest = rest[whole:]
        if rest:
            yield rest

    info = {
        "name": folder.name,
        "piece length": piece_length,
        "private": 1,
        "files": [{"length": path.stat().st_size, "path": list(path.relative_to(folder).parts)} for path in files],
        "pieces": b"".join(hashlib.sha1(piece).digest() for piece in pieces()),  # noqa: S324 - what BEP 3 says
    }
    return bencode({"announce": announce, "info": info})


class Tracker(http.server.BaseHTTPRequestHandler):
    """Tells everybody who else has asked (BEP 3, BEP 23), and to ask again soon."""

    peers: set[tuple[str, int]] = set()  # noqa: RUF012 - of all requests

    def do_GET(self) -> None:
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, encoding="latin-1")
        me = (self.client_address[0], int(asked["port"][0]))
        self.peers.add(me)
        others = b"".join(bytes(map(int, address.split("."))) + port.to_bytes(2, "big") for address, port in self.peers - {me})
        body = bencode({"interval": 2, "min interval": 1, "peers": others})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Tracker).serve_forever()
