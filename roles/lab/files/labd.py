"""Runs the lab's daemons (containerd, dockerd, the registry) in namespaces of their own.

The machine is the lab's host, not its own: bridges, firewall rules, ip_forward, overlay mounts and every
process of the lab live in one network, one mount and one PID namespace, which end with this program. The machine
itself gets one link (a veth end on the lab's control network) and the processes of this program and of slirp4netns, through
which lab hosts reach the internet with the machine's own sockets.

    labd start|stop|restart|status|wait|run CONFIG
    labd exec CONFIG COMMAND...

``run`` stays in the foreground (for a service manager); ``start`` does the same in the background and returns once the lab's Docker
answers. ``exec`` runs a command inside the lab's namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

START_SECONDS = 120
HOLD_SECONDS = 10
STOP_SECONDS = 90
# Folders that Docker and containerd make whatever their configuration says; taken away again if they were not there.
DOCKER_FOLDERS = [pathlib.Path("/run", name) for name in ("docker/plugins", "docker", "containerd/s", "containerd")]
PYTHON = [sys.executable, "-IS"]
# All that a daemon gets of the environment of who started the lab.
ENVIRONMENT = {"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
STOPPED = 3  # what `systemctl status` answers for a unit that does not run


class Lab:
    """The paths and addresses of one lab, from the configuration that the role writes."""

    def __init__(self, config_path: str) -> None:
        self.config_path = config_path
        config = json.loads(pathlib.Path(config_path).read_text(encoding="utf-8"))
        self.root = pathlib.Path(config["root"])
        self.run = pathlib.Path(config["run"])
        self.prefix: str = config["prefix"]
        self.rails: int = config["rails"]
        self.link: str = config["link"]
        self.cgroup: str = config["cgroup"]
        self.log = self.root / "log"
        self.pid_file = self.run / "labd.pid"
        self.inside_pid_file = self.run / "inside.pid"
        self.ready_file = self.run / "ready"

    def running_pid(self) -> int | None:
        """The process that holds the lab's lock; a stale file, for instance after a power loss, is nobody's."""
        try:
            with self.pid_file.open(encoding="ascii") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(stream.read())
        except FileNotFoundError:
            pass
        return None


def tell(message: str) -> None:
    print(f"labd: {message}", flush=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


# ---- outside: in the machine's namespaces --------------------------------------------------------------------------


@contextlib.contextmanager
def lock(lab: Lab) -> Iterator[int]:
    """Holds the PID file, locked, as long as the block lasts; gives its descriptor."""
    with lab.pid_file.open("a+", encoding="ascii") as stream:
        for _attempt in range(20):  # who asks whether the lab runs holds the lock for a moment
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        else:
            raise SystemExit("labd: the lab already runs")
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield stream.fileno()


def forget_last_run(lab: Lab) -> None:
    """No process of a former run is alive (its PID namespace is gone), so what it left below /run is stale."""
    for path in lab.run.iterdir():
        if path == lab.pid_file:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_folders(folders: list[pathlib.Path]) -> None:
    """Removes folders as far as they are empty: another Docker may have come to use them."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_cgroups(lab: Lab) -> None:
    """Removes the lab's cgroups; they are empty once its processes are gone, which the kernel may tell a moment late."""
    hierarchies = pathlib.Path("/sys/fs/cgroup")
    for hierarchy in (hierarchies, *hierarchies.iterdir()):
        for folder, _folders, _files in os.walk(hierarchy / lab.cgroup, topdown=False):
            for _attempt in range(20):
                try:
                    pathlib.Path(folder).rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)


def child_of(pid: int) -> int:
    """The first child of a process, waiting until it is there."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = children.read_text(encoding="ascii").split()
        if found:
            return int(found[0])
        time.sleep(0.02)
    raise SystemExit("labd: the lab's namespaces did not start within 10 s")


def connect(lab: Lab, pid: int) -> int:
    """Links the machine to the lab's control network, and the lab to the internet.

    Returns a file descriptor: slirp4netns, which gives the internet, ends when it is closed, at the latest with this process.
    """
    disconnect(lab)
    ip("link", "add", lab.link, "type", "veth", "peer", "name", "machine0", "netns", str(pid))
    ip("address", "add", f"{lab.prefix}.0.254/24", "dev", lab.link)
    ip("link", "set", lab.link, "up")
    ready, tell_ready = os.pipe()
    ended, life = os.pipe()
    options = ["--configure", "--mtu=1500", "--disable-host-loopback", f"--cidr={lab.prefix}.255.0/24"]
    pipes = [f"--ready-fd={tell_ready}", f"--exit-fd={ended}"]
    command = ["slirp4netns", *options, *pipes, "--netns-type=path", f"/proc/{pid}/ns/net", "internet0"]
    subprocess.Popen(command, pass_fds=[tell_ready, ended], stdin=subprocess.DEVNULL)
    os.close(tell_ready)
    os.close(ended)
    if os.read(ready, 1) != b"1":
        raise SystemExit("labd: slirp4netns did not connect the lab to the internet")
    os.close(ready)
    return life


def disconnect(lab: Lab) -> None:
    """Removes the machine's link if it is there. It also goes with the network namespace that it leads to, but at the kernel's leisure."""
    subprocess.run(["ip", "link", "delete", lab.link], stderr=subprocess.DEVNULL, check=False)


def run(lab: Lab) -> int:
    """Brings the lab's daemons up and waits, until a signal or until one of them ends."""
    lab.run.mkdir(mode=0o755, parents=True, exist_ok=True)
    with lock(lab) as lock_file:
        forget_last_run(lab)
        made = [folder for folder in DOCKER_FOLDERS if not folder.is_dir()]
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--propagation=slave", "--kill-child"]
        inside = subprocess.Popen(
            ["unshare", *namespaces, *PYTHON, __file__, "inside", lab.config_path],
            stdin=subprocess.PIPE,
            pass_fds=[lock_file],  # if this process is killed, the lab is held until its inside is gone, too
        )
        life = None
        try:
            lab.inside_pid_file.write_text(str(child_of(inside.pid)), encoding="ascii")
            life = connect(lab, inside.pid)
            inside.stdin.write(b"go\n")
            inside.stdin.flush()
            return inside.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            end(inside)
            if life is not None:
                os.close(life)
            disconnect(lab)
            remove_cgroups(lab)
            remove_folders(made)
            forget_last_run(lab)
            lab.pid_file.unlink()


def end(inside: subprocess.Popen) -> None:
    """The inside stops its daemons when nobody holds its pipe any more; when it does not, the kernel ends all of its namespace."""
    inside.stdin.close()
    try:
        inside.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        inside.kill()
        inside.wait()


def wait(lab: Lab) -> int:
    """Waits until the lab's Docker answers. A supervisor that was only just started may take a moment until it holds the lab."""
    begin = time.monotonic()
    held = False
    while not lab.ready_file.exists():
        elapsed = time.monotonic() - begin
        holder = lab.running_pid()
        held = held or holder is not None
        if elapsed > START_SECONDS or (holder is None and (held or elapsed > HOLD_SECONDS)):
            tell(f"the lab's daemons are not ready after {elapsed:.0f} s; their logs are in {lab.log}")
            return 1
        time.sleep(0.05)
    return 0


def start(lab: Lab) -> int:
    wait_for_the_killed(lab)
    if lab.running_pid() is None:
        lab.ready_file.unlink(missing_ok=True)  # of a machine that lost its power
        with (lab.log / "labd.log").open("ab") as log:
            subprocess.Popen(
                [*PYTHON, __file__, "run", lab.config_path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        tell("started")
    return wait(lab)


def wait_for_the_killed(lab: Lab) -> None:
    """Lets the inside of a supervisor that was killed come to its end."""
    deadline = time.monotonic() + STOP_SECONDS
    pid = lab.running_pid()
    while pid is not None and not pathlib.Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        pid = lab.running_pid()


def stop(lab: Lab) -> int:
    wait_for_the_killed(lab)
    pid = lab.running_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS + 10
        while lab.running_pid() is not None:
            if time.monotonic() > deadline:
                tell(f"the lab did not stop; its logs are in {lab.log}")
                return 1
            time.sleep(0.1)
        tell("stopped")
    return 0


def restart(lab: Lab) -> int:
    return stop(lab) or start(lab)


def status(lab: Lab) -> int:
    pid = lab.running_pid()
    tell("stopped" if pid is None else f"running, pid {pid}")
    return STOPPED if pid is None else 0


def enter(lab: Lab, command: list[str]) -> None:
    pid = lab.inside_pid_file.read_text(encoding="ascii")
    ended = subprocess.run(["nsenter", "--target", pid, "--net", "--mount", "--pid", "--", *command], check=False)
    raise SystemExit(ended.returncode)


def containerd_configuration(lab: Lab) -> str:
    return f"""version = 2
root = "{lab.root}/containerd"
state = "{lab.run}/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "{lab.run}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{lab.root}/containerd/opt"
"""


def dockerd_configuration(lab: Lab) -> str:
    """Everything that Docker would else share with, or take from, a Docker of the machine is set to a place of the lab's own."""
    return json.dumps(
        {
            "hosts": [f"unix://{lab.run}/docker.sock"],
            "group": "root",
            "pidfile": f"{lab.run}/docker.pid",
            "data-root": f"{lab.root}/docker",
            "exec-root": f"{lab.run}/docker",
            "deprecated-key-path": f"{lab.root}/etc/docker-key.json",
            "containerd": f"{lab.run}/containerd.sock",
            "default-runtime": "capbnd",
            "runtimes": {"capbnd": {"path": f"{lab.root}/bin/runc-capbnd"}},
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": f"/{lab.cgroup}",
            "bridge": "none",
            "userland-proxy": False,
            "storage-driver": "overlay2",
            "log-opts": {"max-size": "10m", "max-file": "2"},
        }
    )


def registry_configuration(lab: Lab) -> str:
    return json.dumps(
        {  # YAML's subset
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": f"{lab.root}/registry"}, "delete": {"enabled": True}},
            "auth": {"htpasswd": {"realm": "lab", "path": f"{lab.root}/etc/registry.htpasswd"}},
            "http": {
                "addr": f"{lab.prefix}.0.1:5443",
                "tls": {"certificate": f"{lab.root}/pki/registry.crt", "key": f"{lab.root}/pki/registry.key"},
            },
        }
    )


# ---- inside: PID 1 of the lab's own namespaces ---------------------------------------------------------------------


def build_networks(lab: Lab) -> None:
    """One bridge for the control network, with the machine on it, and one for each rail. Docker then uses the bridges it finds."""
    ip("link", "set", "lo", "up")
    for network in range(lab.rails + 1):
        bridge = f"lab{network}"
        # Its own address: else it has that of one of its ports, and a host that restarts takes it away from all others for seconds.
        ip("link", "add", bridge, "address", f"02:6c:61:62:00:{network:02x}", "type", "bridge")
        ip("address", "add", f"{lab.prefix}.{network}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
    ip("link", "set", "machine0", "master", "lab0")
    ip("link", "set", "machine0", "up")


def own_sysfs(lab: Lab) -> None:
    """A sysfs that shows this network namespace's links, with the machine's cgroups kept in it."""
    kept = lab.run / "cgroup"
    kept.mkdir()
    for arguments in (["--rbind", "/sys/fs/cgroup", kept], ["-t", "sysfs", "sysfs", "/sys"], ["--rbind", kept, "/sys/fs/cgroup"]):
        subprocess.run(["mount", *arguments], check=True)


def answers(path: pathlib.Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


class Daemons:
    """The lab's daemons, in the order of their start."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, configuration: str, *command: str) -> None:
        """Starts a daemon that takes its configuration from the file that its command ends with."""
        path = self.lab.run / f"{name}.conf"
        path.write_text(configuration, encoding="utf-8")
        with (self.lab.log / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([*command, path], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def wait_for_socket(self, name: str) -> None:
        """Waits until a daemon listens on the socket that is named after it."""
        path = self.lab.run / f"{name}.sock"
        deadline = time.monotonic() + START_SECONDS
        while not answers(path):
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"labd: {name} does not answer on {path}; its log is {self.lab.log}/{name}.log")
            time.sleep(0.05)

    def reap(self) -> str | None:
        """Collects ended processes (as PID 1 we inherit every orphan); the name of a daemon if one of ours ended."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            for name, process in self.processes.items():
                if process.pid == pid:
                    process.returncode = os.waitstatus_to_exitcode(code)
                    return name

    def stop(self) -> None:
        """In reverse order, so that dockerd stops its containers while containerd still answers."""
        for name, process in reversed(list(self.processes.items())):
            process.terminate()
            deadline = time.monotonic() + STOP_SECONDS / 2
            while process.returncode is None and time.monotonic() < deadline:
                self.reap()
                time.sleep(0.05)
            tell(f"{name} ended: {process.returncode}")


def inside(lab: Lab) -> int:
    """Runs as PID 1 of the lab: what is left when it returns, the kernel ends with the namespace."""
    if sys.stdin.buffer.readline() != b"go\n":
        return 1
    # A signal only has to wake select(): stopping is told by the pipe, ended children are looked for on each turn.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    own_sysfs(lab)
    build_networks(lab)
    daemons = Daemons(lab)
    try:
        daemons.start("containerd", containerd_configuration(lab), "containerd", "--config")
        daemons.start("registry", registry_configuration(lab), "docker-registry", "serve")
        daemons.wait_for_socket("containerd")
        daemons.start("docker", dockerd_configuration(lab), "dockerd", "--config-file")
        daemons.wait_for_socket("docker")
        lab.ready_file.touch()
        tell("ready")
        while True:
            readable, _writable, _broken = select.select([sys.stdin, wake_read], [], [])
            if sys.stdin in readable:
                return 0
            os.read(wake_read, 4096)
            ended = daemons.reap()
            if ended:
                tell(f"{ended} ended by itself with {daemons.processes[ended].returncode}; the lab stops")
                return 1
    finally:
        lab.ready_file.unlink(missing_ok=True)
        daemons.stop()


def main(arguments: list[str]) -> int:
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    actions = {"run": run, "start": start, "stop": stop, "restart": restart, "status": status, "wait": wait, "inside": inside}
    if len(arguments) == 2 and arguments[0] in actions:
        return actions[arguments[0]](Lab(arguments[1]))
    if len(arguments) > 2 and arguments[0] == "exec":
        enter(Lab(arguments[1]), arguments[2:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
