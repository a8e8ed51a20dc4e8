# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""ssh by paramiko: the keys that a host offers, logins to it, commands on it. What goes wrong is told as ``Refused``."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import re
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

try:
    import paramiko
except ImportError:  # a collection from Galaxy brings no Python packages; `require` says so in one line
    paramiko = None

from ._known_hosts import name_of
from ._public_key import PublicKey, parse
from ._refused import Refused

# One exchange of keys shows one key: the algorithms by which each type is asked for (RFC 8332 for those of ssh-rsa).
_ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
# Begins what our commands print: a login shell's own start-up files may print before it.
_MARK = b"flagos-enrol\n"
_EXPIRED_PASSWORD = re.compile(
    r"password (has )?expired|password change required|required to change your password|new password", re.IGNORECASE
)
_EXPIRED_ACCOUNT = re.compile(r"account (has )?expired", re.IGNORECASE)


def require() -> None:
    """Have paramiko, and have it say nothing by itself.

    :raises Refused: it is not installed beside ansible-core.
    """
    if paramiko is None:
        raise Refused("paramiko", "not installed", "3.5 or newer, beside ansible-core", "pip install paramiko, with the pip of that Python")
    logging.getLogger("paramiko").addHandler(logging.NullHandler())


def offered_keys(address: str, port: int, seconds: float) -> list[PublicKey]:
    """Every key that a host offers, of all types, by exchanges of keys that end before any login.

    :param seconds: time for each connection.
    :raises Refused: it is unreachable, no sshd answers, or it breaks the exchange off.
    """
    require()
    found: list[PublicKey] = []
    mismatch = ""
    for kind, algorithms in _ALGORITHMS.items():
        with contextlib.closing(paramiko.Transport(_connect(address, port, seconds))) as transport:
            transport.banner_timeout = seconds
            transport.get_security_options().key_types = algorithms
            try:
                transport.start_client(timeout=seconds)
            except paramiko.ssh_exception.IncompatiblePeer as error:
                mismatch = str(error)
                continue
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise _no_ssh(address, port, kind, error) from None
            found.append(parse(f"{kind} {transport.get_remote_server_key().get_base64()}"))
    if not found:
        expected = f"a host key of type {', '.join(_ALGORITHMS)}"
        raise Refused("sshd", mismatch, expected, "let its sshd_config offer one: ssh-keygen -A, and no narrower HostKeyAlgorithms")
    return found


def _connect(address: str, port: int, seconds: float) -> socket.socket:
    try:
        return socket.create_connection((address, port), timeout=seconds)
    except ConnectionRefusedError:
        remedy = "start sshd on the host, or mend ansible_port"
        raise Refused("sshd", f"nothing listens on port {port} of {address}", "an sshd", remedy) from None
    except socket.gaierror as error:
        remedy = "mend ansible_host, or make the name resolve"
        raise Refused("reachable", f"{address}: {error.strerror}", "a name that resolves", remedy) from None
    except OSError as error:
        words = f"no answer in {seconds:g} s" if isinstance(error, TimeoutError) else error.strerror or os_error(error)
        remedy = "switch the host on, and mend ansible_host, cable, route or firewall"
        raise Refused("reachable", f"{address} port {port}: {words}", "a connection", remedy) from None


def os_error(error: OSError) -> str:
    """An error's words where the system's own are missing."""
    return str(error) or errno.errorcode.get(error.errno or 0, type(error).__name__)


def _no_ssh(address: str, port: int, kind: str, error: Exception) -> Refused:
    words = str(error) or "the connection was closed"
    remedy = "see that ansible_port is sshd's; an sshd that is busy, or that penalises this controller, answers some minutes later"
    return Refused("sshd", f"{address} port {port}, asked for its {kind} key: {words}", "an sshd that exchanges keys", remedy)


@dataclasses.dataclass(frozen=True)
class Credential:
    """One way to log in.

    :ivar name: ``own key``, ``other key`` or ``password``.
    :ivar attempt: takes transport and user; returns what the host still asks for besides.
    """

    name: str
    attempt: Callable[[Any, str], Sequence[str]]


def by_key(name: str, key: Any) -> Credential:
    """Log in with a private key as paramiko knows it, or as an agent holds it."""
    return Credential(name, lambda transport, user: transport.auth_publickey(user, key))


def by_password(password: str) -> Credential:
    """Log in with a password, by the method of that name or, where the host knows only that, by its one question."""

    def attempt(transport: Any, user: str) -> Sequence[str]:
        try:
            return transport.auth_password(user, password, fallback=False)  # type: ignore[no-any-return]
        except paramiko.BadAuthenticationType as error:
            if "keyboard-interactive" not in error.allowed_types:
                raise
            return transport.auth_interactive(user, _one_answer(password))  # type: ignore[no-any-return]

    return Credential("password", attempt)


def _one_answer(password: str) -> Callable[[str, str, list[tuple[str, bool]]], list[str]]:
    """Answers the first hidden question alone: what follows may be the one for a new password."""
    answered: list[str] = []

    def answer(_title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        if not prompts:
            return []
        asked = " ".join([instructions, *(prompt for prompt, _echo in prompts)])
        if answered or len(prompts) > 1 or prompts[0][1] or _EXPIRED_PASSWORD.search(asked):
            raise paramiko.AuthenticationException(f"asks: {asked}")
        answered.append(asked)
        return [password]

    return answer


class Session:
    """A login that commands can be run in; a context manager that ends it.

    :ivar by: the name of the credential that was let in.
    """

    def __init__(self, client: Any, by: str, user: str, seconds: float) -> None:
        self._client = client
        self._user = user
        self._seconds = seconds
        self.by = by

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def run(self, script: str, *arguments: str, secret: str = "") -> tuple[int, bytes, str]:
        """Run a script of one line by ``sh``, whatever the login shell is.

        :param arguments: its ``$1`` and so on. They are seen by whoever lists processes on the host.
        :param secret: its standard input, which nobody sees.
        :returns: exit code, standard output, errors in one line without ``secret``.
        :raises Refused: the account's session does not run commands, or does not answer in time.
        """
        command = shlex.join(["sh", "-c", f"echo {_MARK.decode().strip()}; {script}", "sh", *arguments])
        try:
            stdin, stdout, stderr = self._client.exec_command(command, timeout=self._seconds)
            with contextlib.suppress(OSError):  # it ended without reading, and its errors say why
                stdin.write(secret)
                stdin.channel.shutdown_write()
            output, errors = stdout.read(), stderr.read().decode("utf-8", "replace")
            code = stdout.channel.recv_exit_status()
        except (paramiko.SSHException, EOFError, OSError) as error:
            words = f"no answer in {self._seconds:g} s" if isinstance(error, TimeoutError) else str(error) or "the connection was closed"
            raise Refused("session", words, f"a command that ends, as {self._user}", "log in by hand and see what it waits for") from None
        before, mark, answer = output.partition(_MARK)
        if not mark:
            raise self._no_session(" ".join((before.decode("utf-8", "replace") + " " + errors).split()), code)
        hidden = secret.strip()
        return code, answer, " ".join((errors.replace(hidden, "***") if hidden else errors).split())

    def _no_session(self, words: str, code: int) -> Refused:
        if _EXPIRED_PASSWORD.search(words):
            return expired_password(self._user, words)
        if _EXPIRED_ACCOUNT.search(words):
            return expired_account(self._user, words)
        remedy = f"give {self._user} a login shell (chsh), and its key in authorized_keys no command of its own"
        return Refused("session", words or f"no output, exit code {code}", "a login that runs commands", remedy)


def expired_password(user: str, words: str) -> Refused:
    """The host wants another password before anything else."""
    remedy = f"log in as {user} by hand once and change it (or, as root on the host: chage -d $(date +%F) {user}), then run this again"
    return Refused("password", f"must be changed first: {words}", "a password that is valid", remedy)


def expired_account(user: str, words: str) -> Refused:
    """The host does not let this account in any more."""
    return Refused("account", f"{user}: {words}", "an account that is valid", f"as root on the host: chage -E -1 {user}")


def login(address: str, port: int, user: str, host_keys: Sequence[PublicKey], credentials: Sequence[Credential], seconds: float) -> Session:
    """Log in to a host that proves one of the accepted keys, with the first credential that it takes.

    :raises Refused: it has another key, or takes none of the credentials.
    """
    require()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for key in host_keys:
        # paramiko's names for its keys, which are OpenSSH's
        client.get_host_keys().add(name_of(address, port), key.type, paramiko.PKey.from_type_string(key.type, key.blob))
    # A host with several types must prove one that was accepted. Recent paramiko asks for the first of them by itself; before, it asked for
    # ssh-rsa by its SHA-1 name, which sshd refuses, and then for any other.
    types = {key.type for key in host_keys}
    others = [algorithm for kind, algorithms in _ALGORITHMS.items() if kind not in types for algorithm in algorithms]
    tried = _Tried(user, credentials)
    try:
        client.connect(
            address.lower(),  # as name_of has it
            port,
            user,
            sock=_connect(address, port, seconds),
            timeout=seconds,
            banner_timeout=seconds,
            auth_timeout=seconds,
            disabled_algorithms={"keys": others},
            auth_strategy=tried,
        )
    except Refused:
        client.close()
        raise
    except (paramiko.SSHException, EOFError, OSError) as error:
        client.close()
        if tried.began:
            raise tried.refused(error) from None
        if isinstance(error, paramiko.BadHostKeyException | paramiko.ssh_exception.IncompatiblePeer):
            shown = ", ".join(key.fingerprint for key in host_keys)
            remedy = "run this again; if it stays so, several machines answer at this address"
            raise Refused("host key", f"another one than a moment ago: {error}", shown, remedy) from None
        raise _no_ssh(address, port, "accepted", error) from None
    return Session(client, tried.name, user, seconds)


class _Tried:
    """What a login tried, as ``SSHClient.connect`` calls it once the host has proved its key."""

    def __init__(self, user: str, credentials: Sequence[Credential]) -> None:
        self._user = user
        self._credentials = credentials
        self._banner = ""
        self._failures: list[tuple[str, Exception]] = []
        self._methods: Sequence[str] = ()
        self.name = ""
        self.began = False

    def authenticate(self, transport: Any) -> None:
        """Try each credential until one is taken."""
        self.began = True
        for credential in self._credentials:
            self.name = credential.name
            try:
                more = credential.attempt(transport, self._user)
            except (paramiko.SSHException, EOFError, OSError) as error:
                self._failures.append((credential.name, error))
                self._methods = getattr(error, "allowed_types", self._methods)
                self._banner = getattr(transport.auth_handler, "banner", None) or self._banner
                if not transport.is_active():
                    raise
                continue
            if not more:
                return
            remedy = "let this account in with one of them alone while it is enrolled"
            raise Refused("login", f"after the {credential.name}, still asked for: {', '.join(more)}", "one credential", remedy)
        raise self._failures[-1][1]

    def refused(self, error: Exception) -> Refused:
        """Why nobody was let in."""
        banner = " ".join((self._banner.decode("utf-8", "replace") if isinstance(self._banner, bytes) else self._banner).split())
        words = " ".join(part for part in (str(error), banner) if part)
        if _EXPIRED_ACCOUNT.search(words):
            return expired_account(self._user, banner or words)
        if _EXPIRED_PASSWORD.search(words):
            return expired_password(self._user, words)
        name = self._failures[-1][0]
        check = {"password": "password", "own key": "own key"}.get(name, "key login")
        expected = f"a login as {self._user}"
        on_host = f"; as root on the host: chage -l {self._user}, passwd -S {self._user}, journalctl -u ssh -u sshd"
        if isinstance(error, paramiko.BadAuthenticationType):
            offered = ", ".join(self._methods) or "nothing"
            remedy = "use one of these (enrol_password, enrol_private_key), or allow it in the host's sshd_config while it is enrolled"
            return Refused(check, f"not asked for: the host takes {offered}", expected, remedy)
        if not isinstance(error, paramiko.AuthenticationException):
            return Refused(check, f"the host ended the connection: {words or 'without a word'}", expected, f"mend the account{on_host}")
        root = " (root: PermitRootLogin)" if self._user == "root" else ""
        remedies = {
            "password": f"mend enrol_user or enrol_password; sshd_config may allow no password{root}",
            "other key": f"mend enrol_user or enrol_private_key; its public half must be in the account's authorized_keys{root}",
            "own key": f"sshd must read the account's authorized_keys (AuthorizedKeysFile, StrictModes, AllowUsers){root}",
        }
        return Refused(check, f"refused: {words}", expected, remedies[name] + on_host)


def private_key(path: str) -> Any:
    """The private key in a file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is encrypted, or no private key; the message says which.
    """
    require()
    try:
        return paramiko.PKey.from_path(path)
    except OSError:
        raise
    except TypeError:  # how cryptography says that a password is missing
        raise ValueError("encrypted") from None
    except Exception as error:  # cryptography's and paramiko's own, many and undocumented
        raise ValueError(str(error) or type(error).__name__) from None


def keys_of_agent() -> Iterator[tuple[bytes, Any]]:
    """The keys that an ssh agent holds, each with its public half."""
    require()
    with contextlib.suppress(paramiko.SSHException, OSError):
        for key in paramiko.Agent().get_keys():
            yield key.asbytes(), key
