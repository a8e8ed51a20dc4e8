"""A bed of network namespaces with links of a known rate, for measuring transfers and for cutting them.

    from bed import Bed
    with Bed(hosts=4, rate_mbit=60) as bed:
        bed.check_links()                                     # iperf3; BedError below 93% of the rate
        bed.run("h1", "ping", "-c1", bed.address["source"])   # what it prints
        sending = bed.start("source", "sh", "-c", "...")      # a Process: .send(SIGTERM), .wait()
        with bed.cut("h2"): ...                               # the cable of one host is out

``source`` and ``h1`` to ``hN`` are network namespaces on a bridge in a namespace of its own. `tbf` limits both ends of every cable, so
that a host sends and receives at the rate, each for itself, as on a switch. Each has a folder, ``bed.home(name)``, on a tmpfs.

All of it, the processes, the namespaces, the mounts (/run is the bed's own, too), hangs on one process in a PID namespace, which ends
when whoever made the bed ends, in whatever way; the kernel then takes the rest along. What could stay behind when that was SIGKILL, an
empty folder and an empty control group, carries ``PREFIX`` and the maker's pid in its name; the next bed takes it away.

It needs root, iproute2 and util-linux; what else is needed is for the caller to ask (:func:`require`):

    apt-get install iperf3 aria2 rsync netcat-openbsd openssh-client openssh-server
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PREFIX = "flagos-bed"
PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "iperf3": "iperf3",
    "aria2c": "aria2",
    "rsync": "rsync",
    "nc.openbsd": "netcat-openbsd",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "openssl": "openssl",
}
# For benchmarks of devices between networks: nobody's addresses (RFC 2544, RFC 6890).
NETWORK = "198.18.0"
PORT_RATE = 0.93  # of the rate, at least, for a link that is what it should be; headers take 4.5%
ATTEMPTS = 3  # a machine that is busy for a moment is not too busy
# A switch's port: a few packets at once, and a queue of some milliseconds.
BURST_BYTES, QUEUE_MS = 32 * 1024, 40
# The first process of the bed: takes orphans' ends, and ends when its standard input is closed.
_HOLDER = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
"""
_numbers = itertools.count()


class BedError(RuntimeError):
    """The bed cannot be made, or is not what it should be; the text says why."""


def search_path() -> str:
    """Where programs are looked for: services' programs, too."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def program(name: str) -> str:
    """The full path of a program.

    :raises BedError: it is not installed; the text says how to.
    """
    require(name)
    return str(shutil.which(name, path=search_path()))


def require(*names: str) -> None:
    """Make sure that programs are installed.

    :raises BedError: some are not; one line says which, and how to install them.
    """
    if missing := [name for name in names if not shutil.which(name, path=search_path())]:
        packages = sorted({PACKAGES[name] for name in missing})
        raise BedError(f"not installed: {', '.join(missing)}; apt-get install {' '.join(packages)}")


class Process(subprocess.Popen[Any]):
    """A process in the bed; as a Popen it is `nsenter`, which ends when the process does, and as it does."""

    def inner(self) -> int:
        """The pid of the process itself, as everyone outside sees it.

        :raises BedError: it has ended.
        """
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and self.poll() is None:
            with contextlib.suppress(OSError):
                if children := Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
                    return int(children[0])
            time.sleep(0.005)
        raise BedError(f"the process ended with {self.poll()}: {self.args!r}")

    def anonymous_bytes(self) -> int:
        """Memory of the process that no file stands behind (RssAnon of proc_pid_status(5)); 0 once it has ended."""
        with contextlib.suppress(OSError, BedError):
            if found := re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{self.inner()}/status").read_text(), re.MULTILINE):
                return int(found.group(1)) * 1024
        return 0

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself."""
        os.kill(self.inner(), number)

    def stop(self, timeout: float = 30) -> int:
        """Asks the process to end, and waits for it."""
        with contextlib.suppress(BedError, ProcessLookupError):
            self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill_all(self) -> None:
        """Kills the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def listens(self, port: int, timeout: float = 10) -> None:
        """Waits until somebody listens at a TCP port of the process's namespace.

        :raises BedError: nobody does.
        """
        wanted = re.compile(rf"^\s*\d+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A ", re.MULTILINE)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            tables = [Path(f"/proc/{self.inner()}/net/{name}").read_text() for name in ("tcp", "tcp6")]
            if any(wanted.search(table) for table in tables):
                return
            time.sleep(0.01)
        raise BedError(f"nobody listens at port {port} after {timeout} s: {self.args!r}")


class CpuClock:
    """CPU-seconds of everything that joins it and of all that those start: a control group, or else what our children came to.

    :ivar group: the folder of the group; None where none can be made. A child that outlives the reading is then not counted.
    """

    def __init__(self, name: str) -> None:
        self.group: Path | None = None
        for line in Path("/proc/mounts").read_text().splitlines():
            _device, mount, kind, options, *_rest = line.split()
            if kind == "cgroup2" or (kind == "cgroup" and "cpuacct" in options.split(",")):
                with contextlib.suppress(OSError):
                    group = Path(mount) / name
                    group.mkdir()
                    self.group = group
                    if self._counters() is not None:
                        return
                    self.close()

    def _counters(self) -> float | None:
        assert self.group
        with contextlib.suppress(OSError):
            return int(dict(line.split() for line in (self.group / "cpu.stat").read_text().splitlines())["usage_usec"]) / 1e6
        with contextlib.suppress(OSError):
            return int((self.group / "cpuacct.usage").read_text()) / 1e9
        return None

    def seconds(self) -> float:
        if self.group and (counted := self._counters()) is not None:
            return counted
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def joining(self, command: list[str]) -> list[str]:
        """The command line that joins the group and then becomes ``command``."""
        if not self.group:
            return command
        return ["/bin/sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self.group / "cgroup.procs"), *command]

    def close(self) -> None:
        if self.group:
            remove_group(self.group)
            self.group = None


def remove_group(group: Path) -> None:
    """Removes a control group once its processes are gone: the kernel takes its time with those of a PID namespace."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


def clean_up() -> None:
    """Takes away what beds left behind whose makers were killed."""
    groups = itertools.chain(Path("/sys/fs/cgroup").glob(f"{PREFIX}-*"), Path("/sys/fs/cgroup").glob(f"*/{PREFIX}-*"))
    for left in [*groups, *Path(tempfile.gettempdir()).glob(f"{PREFIX}-*")]:
        maker = left.name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if maker.isdigit() and not Path("/proc", maker).exists():
            if left.is_relative_to("/sys"):
                remove_group(left)
            else:
                shutil.rmtree(left, ignore_errors=True)


class Bed:
    """One source and some hosts; a context manager.

    :param hosts: how many besides the source.
    :param rate_mbit: what each sends and receives at most, in Mbit/s on the wire; None for no limit.
    :ivar hosts: their names; ``source`` is not among them.
    :ivar members: the names of all.
    :ivar address: the address of each, on its interface ``eth0``.
    :ivar folder: the bed's tmpfs; of use only inside, see :meth:`outside`.
    """

    def __init__(self, hosts: int, rate_mbit: float | None = None) -> None:
        self.rate_mbit = rate_mbit
        self.hosts = [f"h{number}" for number in range(1, hosts + 1)]
        self.members = ["source", *self.hosts]
        self.address = {name: f"{NETWORK}.{number}" for number, name in enumerate(self.members, 1)}
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.folder = Path(tempfile.gettempdir()) / self.name
        self._exits = contextlib.ExitStack()
        self._init = 0

    def __enter__(self) -> Bed:
        if os.geteuid():
            raise BedError("network namespaces are made by root")
        require("ip", "tc", "unshare", "nsenter")
        clean_up()
        with contextlib.ExitStack() as made:
            made.enter_context(_ended_by_signals())
            self.folder.mkdir(mode=0o700)
            made.callback(self.folder.rmdir)
            self.cpu = CpuClock(self.name)
            made.callback(self.cpu.close)
            self._hold(made)
            self._in_bridge(self._set_up())
            self._exits = made.pop_all()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._exits.close()

    def _hold(self, made: contextlib.ExitStack) -> None:
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-c", _HOLDER]
        # A session of its own: the terminal's Ctrl-C is for the maker, who takes the bed down in order.
        holder = subprocess.Popen(self.cpu.joining(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert holder.stdin and holder.stdout

        def let_go() -> None:
            assert holder.stdin and holder.stdout
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()

        made.callback(let_go)
        if holder.stdout.readline() != b"ready\n":
            raise BedError("the kernel gives no namespaces")
        self._init = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])

    def _set_up(self) -> str:
        lines = [
            f"mount -t tmpfs -o mode=0700,size=90% {PREFIX} {self.folder}",
            f"mount -t tmpfs -o mode=0755 {PREFIX} /run",
            "mkdir /run/netns /run/sshd",
            "ip link set lo up",
            "ip link add bridge type bridge",
            "ip link set bridge up",
        ]
        for name in self.members:
            lines += [
                f"mkdir {self.home(name)}",
                f"ip netns add {name}",
                f"ip link add {name} type veth peer name eth0 netns {name}",
                f"ip link set {name} master bridge up",
                f"ip -n {name} link set lo up",
                f"ip -n {name} address add {self.address[name]}/24 dev eth0",
                f"ip -n {name} link set eth0 up",
            ]
            if self.rate_mbit:
                shape = f"tbf rate {round(self.rate_mbit * 1e6)}bit burst {BURST_BYTES}b latency {QUEUE_MS}ms"
                lines += [f"tc qdisc add dev {name} root {shape}", f"tc -n {name} qdisc add dev eth0 root {shape}"]
        return "\n".join(lines)

    def _in_bridge(self, script: str) -> None:
        done = subprocess.run(
            ["nsenter", f"--target={self._init}", "--mount", "--net", "--pid", "sh", "-e"],
            check=False,
            input=script,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BedError(f"the bed cannot be made: {done.stderr.strip()}")

    # ---- folders

    def home(self, name: str) -> Path:
        """The folder of a member, as processes of the bed see it."""
        return self.folder / name

    def outside(self, path: Path) -> Path:
        """The same file or folder as everybody else sees it."""
        return Path(f"/proc/{self._init}/root{path}")

    # ---- commands

    def command(self, name: str, *arguments: str | Path) -> list[str]:
        """The command line that runs another one in the namespace of a member."""
        enter = ["nsenter", f"--target={self._init}", "--mount", "--pid", f"--net=/proc/{self._init}/root/run/netns/{name}"]
        return self.cpu.joining([*enter, *map(str, arguments)])

    def run(self, name: str, *arguments: str | Path, timeout: float = 120) -> str:
        """What a command prints.

        :raises BedError: it fails.
        """
        done = subprocess.run(
            self.command(name, *arguments), check=False, capture_output=True, text=True, timeout=timeout, start_new_session=True
        )
        if done.returncode:
            raise BedError(f"{name}: {' '.join(map(str, arguments))}: {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, name: str, *arguments: str | Path, **options: Any) -> Process:
        """Starts a process; it is killed with the bed at the latest. ``options`` are Popen's."""
        return Process(self.command(name, *arguments), start_new_session=True, **options)

    def finish(self, processes: dict[str, Process], timeout: float) -> None:
        """Waits until processes have ended well.

        :param processes: each by what it is called in an error.
        :raises BedError: one fails or takes too long; the others are killed.
        """
        deadline = time.monotonic() + timeout
        try:
            for name, process in processes.items():
                if status := process.wait(max(0.1, deadline - time.monotonic())):
                    raise BedError(f"{name}: ended with {status}")
        except subprocess.TimeoutExpired as expired:
            raise BedError(f"not finished after {timeout:.0f} s: {expired.cmd!r}") from expired
        finally:
            for process in processes.values():
                process.kill_all()

    # ---- cables

    @contextlib.contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """A member is cut off as long as the block lasts."""
        self._in_bridge(f"ip link set {name} down")
        try:
            yield
        finally:
            self._in_bridge(f"ip link set {name} up")

    def wire_bytes(self, name: str) -> int:
        """What a member has sent since the bed was made, with headers, as the switch's port counts it."""
        for line in Path(f"/proc/{self._init}/net/dev").read_text().splitlines():
            port, _colon, counters = line.partition(":")
            if port.strip() == name:
                return int(counters.split()[0])
        raise BedError(f"{name}: no such port")

    def check_links(self, seconds: float = 2) -> dict[str, float]:
        """What TCP gets of the rate: from the source to one host, to two at once in all, and the less of both ways at once.

        :raises BedError: one stream gets less than 93%: then the bed does not measure the network.
        """
        require("iperf3")
        assert self.rate_mbit
        servers = [self.start(name, "iperf3", "--server", "--port", "5201", stdout=subprocess.DEVNULL) for name in self.hosts[:2]]
        servers.append(self.start("source", "iperf3", "--server", "--port", "5201", stdout=subprocess.DEVNULL))
        try:
            for server in servers:
                server.listens(5201)
            one = 0.0
            for _attempt in range(ATTEMPTS):
                one = max(one, self._streams(seconds, [("source", "h1")])[0])
                if one >= PORT_RATE:
                    break
            else:
                raise BedError(f"one stream gets {one:.0%} of {self.rate_mbit:g} Mbit/s, expected {PORT_RATE:.0%}: the machine is too busy")
            two = sum(self._streams(seconds, [("source", "h1"), ("source", self.hosts[1])])) if len(self.hosts) > 1 else one
            both = min(self._streams(seconds, [("source", "h1"), ("h1", "source")]))
        finally:
            for server in servers:
                server.kill_all()
        return {"one_way": round(one, 3), "two_flows": round(two, 3), "both_ways": round(both, 3)}

    def _streams(self, seconds: float, ends: list[tuple[str, str]]) -> list[float]:
        """What streams at once get of the rate, after a second in which TCP finds its pace."""
        options = ["--json", "--port", "5201", "--omit", "1", "--time", f"{seconds:g}"]
        clients = [
            self.start(sender, "iperf3", "--client", self.address[receiver], *options, stdout=subprocess.PIPE) for sender, receiver in ends
        ]
        found = [json.loads(client.communicate()[0])["end"]["sum_received"]["bits_per_second"] for client in clients]
        assert self.rate_mbit
        return [rate / self.rate_mbit / 1e6 for rate in found]


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the maker as an exception does, so that what is open is closed; only the main thread can ask for that."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before: dict[signal.Signals, Callable[..., object] | int | None] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
