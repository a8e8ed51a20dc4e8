"""Handles on the lab's hosts from outside, for tests that do to them what an operator, a cable or a power cut does.

    from lab import Lab
    lab = Lab.of_this_machine()
    with lab.cut("node3"): ...            # its control interface's cable is out; also lab.cut("node3", "eth2")
    lab.kill("node2"); lab.start("node2") # power cut, power on
    lab.execute("node1", "systemctl is-active docker")

No product code uses this. The same from a shell: python tests/support/lab.py cut|restore|stop|kill|start|reset|exec|processes HOST [...]
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

CLONE = pathlib.Path(__file__).resolve().parents[2]
LAB_ROOT = pathlib.Path("/var/lib/flagos-kunlunxin-lab")


class LabError(RuntimeError):
    """A command on the lab failed; the text says which, and what it said."""


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of a host, its pid as the host sees it."""

    pid: int
    user: str
    command: str


def command(*arguments: str, timeout: float = 120) -> str:
    """What a command prints. LabError when it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        raise LabError(f"{' '.join(arguments)}: {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Lab:
    """One lab: its folder, and the folder of its sockets."""

    root: pathlib.Path
    run: pathlib.Path

    @classmethod
    def of_this_machine(cls, root: pathlib.Path = LAB_ROOT) -> Lab:
        config = json.loads((root / "etc" / "labd.json").read_text())
        return cls(root, pathlib.Path(config["run"]))

    @property
    def facts(self) -> dict:
        """lab.json: hosts and their addresses, registry, image, model."""
        return json.loads((self.root / "lab.json").read_text())

    @property
    def hosts(self) -> dict[str, str]:
        """Names and control addresses."""
        return {folder.name: (folder / "address").read_text() for folder in sorted((self.root / "hosts").iterdir())}

    # ---- commands

    def docker(self, *arguments: str, timeout: float = 120) -> str:
        return command("docker", "--host", f"unix://{self.run}/docker.sock", *arguments, timeout=timeout)

    def execute(self, host: str, shell: str, timeout: float = 120) -> str:
        """Runs a shell line on a host without ssh: it works on a host that is cut off, too."""
        return self.docker("exec", host, "sh", "-c", shell, timeout=timeout)

    def ssh(self, host: str, shell: str, timeout: float = 120) -> str:
        """Runs a shell line on a host as an operator would; its key is checked."""
        return command(
            "ssh",
            "-i",
            str(self.root / "ssh" / "id_ed25519"),
            "-o",
            f"UserKnownHostsFile={self.root}/ssh/known_hosts",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            f"root@{self.hosts[host]}",
            shell,
            timeout=timeout,
        )

    def inside(self, *arguments: str) -> str:
        """Runs a command in the lab's own namespaces, where bridges and the hosts' cables are."""
        return command(str(self.root / "bin" / "labd"), "exec", str(self.root / "etc" / "labd.json"), *arguments)

    def processes(self, host: str) -> list[Process]:
        """All processes of a host, those of its containers included."""
        lines = self.execute(host, "ps -eo pid=,user=,args=").splitlines()
        return [Process(int(pid), user, args) for pid, user, args in (line.split(None, 2) for line in lines)]

    def containers(self, host: str) -> list[str]:
        """Names of the containers that a host's own Docker has, running or not."""
        return self.execute(host, "docker ps --all --format '{{.Names}}'").split()

    # ---- cables

    def cable(self, host: str, interface: str = "eth0") -> str:
        """The machine's end of a host's interface."""
        index = self.execute(host, f"cat /sys/class/net/{interface}/iflink").strip()
        links = self.inside("ip", "-o", "link").splitlines()
        return next(line.split(":")[1].split("@")[0].strip() for line in links if line.startswith(f"{index}:"))

    def set_cable(self, host: str, interface: str, state: str) -> None:
        """Puts a cable ``up`` or ``down``; nothing inside the host is touched."""
        self.inside("ip", "link", "set", self.cable(host, interface), state)

    @contextlib.contextmanager
    def cut(self, host: str, interface: str = "eth0") -> Iterator[None]:
        """The host is cut off from one network as long as the block lasts."""
        self.set_cable(host, interface, "down")
        try:
            yield
        finally:
            self.set_cable(host, interface, "up")

    def limit(self, host: str, rate: str | None, interface: str = "eth0") -> None:
        """Limits what a host receives to a rate as tc writes it (``200mbit``); None lifts the limit."""
        cable = self.cable(host, interface)
        shape = (
            ("replace", "dev", cable, "root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
            if rate
            else ("del", "dev", cable, "root")
        )
        self.inside("tc", "qdisc", *shape)

    # ---- power

    def stop(self, host: str) -> None:
        """Shuts a host down in order; it stays off until start()."""
        self.docker("stop", host)

    def kill(self, host: str) -> None:
        """Cuts a host's power; it stays off until start()."""
        self.docker("kill", host)

    def start(self, host: str, timeout: float = 120) -> None:
        """Powers a host on and waits until sshd answers."""
        self.docker("start", host)
        self.wait_for_ssh(host, timeout)

    def wait_for_ssh(self, host: str, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((self.hosts[host], 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
            time.sleep(0.2)
        raise LabError(f"{host}: sshd does not answer after {timeout} s")

    def reset(self, *hosts: str) -> None:
        """Makes hosts anew: nothing installed, no image, the same address and key."""
        command(
            "ansible-playbook",
            "-i",
            str(CLONE / "inventory"),
            str(CLONE / "playbooks" / "lab_reset.yml"),
            "-e",
            json.dumps({"lab_reset_hosts": list(hosts)}),
            timeout=300,
        )


def main(arguments: list[str]) -> None:
    lab = Lab.of_this_machine()
    action, host, *rest = arguments
    if action in ("cut", "restore"):
        lab.set_cable(host, rest[0] if rest else "eth0", "down" if action == "cut" else "up")
    elif action == "exec":
        print(lab.execute(host, " ".join(rest)), end="")
    elif action == "processes":
        print("\n".join(f"{process.pid} {process.user} {process.command}" for process in lab.processes(host)))
    elif action in ("stop", "kill", "start", "reset"):
        getattr(lab, action)(host, *rest)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
