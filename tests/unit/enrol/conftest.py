"""Hosts to enrol: OpenSSH's own sshd with accounts of its own in a mount namespace, and a paramiko server for what OpenSSH does by PAM only.

The namespace hides the machine's accounts, homes and /run behind files of the test, so nothing of the machine is touched; it needs root.
`sudo` there is a stand-in that answers as sudo does.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

PASSWORD = "first-Password-41"
_HASH = "$6$enrolsalt$vMDxhbRO0hrRo7mIQ7bfmna8eZQJz/ED4aXXXZNEkBY5uzkWGHs6JHeWUu5EGCGOvVI95j1zxSzaJHeJpfZ4E1"
USER_ID = 61001
_SUDO = """#!/bin/sh
# A stand-in: $HOME/.sudo says what the rules are (free, password, anything else: none).
rules=$(cat "$HOME/.sudo" 2>/dev/null)
case "$rules $2" in
    "free -n"|"free -S") exit 0 ;;
    "password -n") echo "sudo: a password is required" >&2; exit 1 ;;
    "password -S") read -r given; [ "$given" = "%s" ] && exit 0; echo "sudo: 1 incorrect password attempt for $given" >&2; exit 1 ;;
    *) echo "fresh is not in the sudoers file." >&2; exit 1 ;;
esac
"""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair at a path."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", f"test {path.name}", "-f", str(path)], check=True)
    return path


def _sshd_program() -> tuple[str, dict[str, str]] | None:
    """OpenSSH's server: the machine's, or the one that the lab's cache holds for its serving image."""
    if program := shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"):
        return program, {}
    for found in sorted(Path("/var/cache/flagos-kunlunxin-lab/serving").glob("*/tree/usr/sbin/sshd")):
        tree = found.parents[2]
        return str(found), {"LD_LIBRARY_PATH": f"{tree}/usr/lib/x86_64-linux-gnu"}
    return None


class OpenSsh:
    """A host with sshd: the accounts root, and ``fresh`` with a password.

    :ivar homes: what the host sees as /home.
    :ivar home: of ``fresh``.
    """

    def __init__(self, folder: Path, program: str, environment: dict[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        self._program, self._environment = program, environment
        self.homes = folder / "home"
        self.home = self.homes / "fresh"
        self.home.mkdir(parents=True)
        self.homes.chmod(0o755)
        os.chown(self.home, USER_ID, USER_ID)
        tools = self.homes / ".tools"
        tools.mkdir()
        (tools / "sudo").write_text(_SUDO % "sudo-Password-42")
        (tools / "sudo").chmod(0o755)
        self.settings = {"PasswordAuthentication": "yes"}
        self.shell = "/bin/bash"
        self.shadow = f"{_HASH}:19000:0:99999:7:::"
        self.host_keys = [keygen(folder / f"host_{kind}", kind) for kind in ("ed25519", "rsa", "ecdsa")]
        self._process: subprocess.Popen[bytes] | None = None

    def allow_sudo(self, rules: str) -> None:
        """What sudo thinks of ``fresh``: ``free``, ``password`` or anything else."""
        (self.home / ".sudo").write_text(rules)

    def start(self) -> None:
        """Start sshd and wait until it listens."""
        etc = self.folder / "etc"
        etc.mkdir(exist_ok=True)
        users = (
            f"root:x:0:0::/root:/bin/bash\nsshd:x:105:65534::/run/sshd:/bin/false\nfresh:x:{USER_ID}:{USER_ID}::/home/fresh:{self.shell}\n"
        )
        (etc / "passwd").write_text(users)
        (etc / "group").write_text(f"root:x:0:\nnogroup:x:65534:\nfresh:x:{USER_ID}:\n")
        (etc / "shadow").write_text(f"root:*:19000:0:99999:7:::\nsshd:!:19000::::::\nfresh:{self.shadow}\n")
        (etc / "shadow").chmod(0o600)
        settings = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "UsePAM": "no",
            "PidFile": "none",
            "UseDNS": "no",
            **self.settings,
        }
        settings["SetEnv"] = "PATH=/home/.tools:/usr/bin:/bin"
        lines = [f"{name} {value}" for name, value in settings.items()] + [f"HostKey {path}" for path in self.host_keys]
        (etc / "sshd_config").write_text("\n".join(lines) + "\n")
        mounts = " && ".join(f"mount --bind {etc}/{name} /etc/{name}" for name in ("passwd", "group", "shadow"))
        script = (
            f"mount -t tmpfs none /run && mkdir -m 755 /run/sshd && {mounts} && mount --bind {self.homes} /home"
            f" && exec {self._program} -D -e -f {etc}/sshd_config"
        )
        # The namespace of processes ends with its first one, which ends with this child: no session outlives the test.
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        with (self.folder / "sshd.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )
        for _attempt in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(self.log())

    def log(self) -> str:
        """What sshd said."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def stop(self) -> None:
        """End it, its sessions too."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., OpenSsh]]:
    """``openssh(settings...)`` is a host that is not started yet; all are ended with the test."""
    found = _sshd_program()
    if not found or os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("needs OpenSSH's sshd (openssh-server), and root that may unshare")
    started: list[OpenSsh] = []

    def make(**settings: str) -> OpenSsh:
        host = OpenSsh(tmp_path_factory.mktemp("host"), *found)
        host.settings.update(settings)
        started.append(host)
        return host

    yield make
    for host in started:
        host.stop()


class ParamikoHost(paramiko.ServerInterface):
    """A host of paramiko's: commands run in a shell of this machine whose HOME is a folder of the test.

    :ivar methods: the ways to log in that it names.
    :ivar also_lets_in: a public key that it takes wherever it is written; ``deaf`` is a host that takes none.
    :ivar banner: what it says before a refusal; then it hangs up, as sshd does for PAM.
    :ivar questions: what keyboard-interactive asks, in rounds.
    """

    def __init__(self, folder: Path, host_key: Path | None = None) -> None:
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.key = paramiko.PKey.from_path(str(host_key or keygen(folder / "host_key")))
        self.methods, self.banner, self.questions = "publickey,password", "", [[("Password: ", False)]]
        self.output: bytes | None = None
        self.also_lets_in, self.deaf = "", False
        self.further_key: paramiko.PKey | None = None
        self.answers: list[list[str]] = []
        self.passwords: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            if self.further_key:
                transport.add_server_key(self.further_key)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Login(self, transport))
            except (paramiko.SSHException, EOFError, OSError):
                transport.close()

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()
        self._thread.join()


class _Login(paramiko.ServerInterface):
    """One connection."""

    def __init__(self, host: ParamikoHost, transport: paramiko.Transport) -> None:
        self._host, self._transport, self._round = host, transport, 0

    def get_allowed_auths(self, username: str) -> str:
        return self._host.methods

    def get_banner(self) -> tuple[str | None, str | None]:
        return (self._host.banner, "en") if self._host.banner else (None, None)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        file = self._host.home / ".ssh" / "authorized_keys"
        known = key.get_base64() in self._host.also_lets_in or (file.is_file() and key.get_base64() in file.read_text())
        return paramiko.AUTH_SUCCESSFUL if known and not self._host.deaf and "publickey" in self._host.methods else paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self._host.passwords.append(password)
        if "password" not in self._host.methods.split(","):
            return paramiko.AUTH_FAILED
        if self._host.banner:
            self._transport.close()
        return paramiko.AUTH_SUCCESSFUL if password == PASSWORD and not self._host.banner else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str) -> paramiko.InteractiveQuery:
        return paramiko.InteractiveQuery("", "", *self._host.questions[0])

    def check_auth_interactive_response(self, responses: list[str]) -> int | paramiko.InteractiveQuery:
        self._host.answers.append(list(responses))
        self._round += 1
        if self._round < len(self._host.questions):
            return paramiko.InteractiveQuery("", "", *self._host.questions[self._round])
        return paramiko.AUTH_SUCCESSFUL if responses == [PASSWORD] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._execute, args=(channel, command), daemon=True).start()
        return True

    def _execute(self, channel: paramiko.Channel, command: bytes) -> None:
        if self._host.output is not None:
            channel.sendall(self._host.output)
            channel.send_exit_status(1)
        else:
            ended = subprocess.run(
                ["sh", "-c", command],
                input=channel.makefile("rb").read(),
                capture_output=True,
                check=False,
                env={"HOME": str(self._host.home), "PATH": os.environ["PATH"]},
            )
            channel.sendall(ended.stdout)
            channel.sendall_stderr(ended.stderr)
            channel.send_exit_status(ended.returncode)
        channel.close()


@pytest.fixture
def paramiko_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ParamikoHost]]:
    """``paramiko_host()`` is a host that listens; all are ended with the test."""
    started: list[ParamikoHost] = []

    def make(host_key: Path | None = None) -> ParamikoHost:
        started.append(ParamikoHost(tmp_path_factory.mktemp("paramiko"), host_key))
        return started[-1]

    yield make
    for host in started:
        host.close()


@pytest.fixture
def own_key(tmp_path: Path) -> Path:
    """The operator's key pair."""
    return keygen(tmp_path / "id_ed25519")
