# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What ssh itself would do for a host, as ``ssh -G`` tells: its configuration files, Ansible's arguments and its defaults together."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ._known_hosts import name_of
from ._refused import Refused


@dataclasses.dataclass(frozen=True)
class SshSettings:
    """Settings of one host.

    :ivar address: the name or address that is connected to.
    :ivar user: the account that is logged in to.
    :ivar name: the name under which known_hosts has the host.
    :ivar known_hosts: the files that are read, the operator's first.
    :ivar hashed: whether ssh hashes the names that it adds to known_hosts.
    :ivar identities: private keys that are tried, whether they exist or not.
    """

    address: str
    port: int
    user: str
    name: str
    known_hosts: tuple[str, ...]
    hashed: bool
    identities: tuple[str, ...]


def ask(shell: str, address: str) -> SshSettings:
    """Settings for the ssh command line and the address (``user@host``) by which Ansible reaches a host.

    :raises Refused: ssh does not understand them, or they lead by way of another host.
    """
    host = address.replace("[", "").replace("]", "")  # brackets are rsync's way to write an IPv6 address
    command = [*shlex.split(shell), "-G", "--", host]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise Refused("ssh", f"{command[0]}: {error.strerror}", "OpenSSH's client", "install openssh-client on the controller") from None
    if ended.returncode:
        words = " ".join(ended.stderr.split()) or f"exit code {ended.returncode}"
        raise Refused("ssh settings", words, "settings that ssh understands", "mend ansible_ssh_common_args or ~/.ssh/config")
    return read(ended.stdout)


def read(output: str) -> SshSettings:
    """The settings in what ``ssh -G`` printed.

    :raises Refused: they lead by way of another host.
    """
    lines: dict[str, list[str]] = {}
    for line in output.splitlines():
        keyword, _blank, value = line.partition(" ")
        lines.setdefault(keyword.lower(), []).append(value)
    single = {keyword: values[0] for keyword, values in lines.items()}
    for keyword in ("proxyjump", "proxycommand"):
        if single.get(keyword, "none") != "none":
            raise Refused(
                "ssh settings",
                f"{keyword} {single[keyword]}",
                "a host that this controller reaches by itself",
                "enrol from a controller that does, or put its key in known_hosts and yours in authorized_keys by hand",
            )
    port = int(single["port"])
    return SshSettings(
        address=single["hostname"],
        port=port,
        user=single["user"],
        # ssh_config(5), HostKeyAlias: the alias stands for the name as it is, whatever the port.
        name=single["hostkeyalias"].lower() if _is_set(single, "hostkeyalias") else name_of(single["hostname"], port),
        known_hosts=tuple(
            _expanded(path) for key in ("userknownhostsfile", "globalknownhostsfile") for path in single.get(key, "").split()
        ),
        hashed=single.get("hashknownhosts") in ("yes", "true"),
        identities=tuple(_expanded(path) for path in lines.get("identityfile", [])),
    )


def _is_set(single: Mapping[str, str], keyword: str) -> bool:
    return single.get(keyword, "none") != "none"


def _expanded(path: str) -> str:
    return str(Path(path).expanduser())
