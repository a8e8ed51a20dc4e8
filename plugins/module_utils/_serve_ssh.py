# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The ssh of the serving containers: every file of it, as text.

FlagScale reaches the other containers by a bare ``ssh -n -p PORT ADDRESS "command"``. So the key, the known hosts and
the environment must all come from files that ssh and sshd read by themselves, and a host key that is not known must end the
connection instead of asking.
"""

from __future__ import annotations

# A session gets the container's environment; what sshd itself sets for a session is left to sshd.
OWN_TO_A_SESSION = frozenset(
    [
        "HOME",
        "HOSTNAME",
        "LOGNAME",
        "MAIL",
        "OLDPWD",
        "PWD",
        "SHELL",
        "SHLVL",
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "TERM",
        "USER",
        "_",
    ]
)


def server_settings(address, port, folder, pid_file):
    """``sshd_config``: one port, one key, root alone, nothing forwarded.

    :param address: the address to listen on, the host's own on the control network.
    :param folder: absolute path of the folder with ``host_key`` and ``authorized_keys``.
    """
    return _lines(
        "Port %d" % port,
        "ListenAddress %s" % address,
        "HostKey %s/host_key" % folder,
        "AuthorizedKeysFile %s/authorized_keys" % folder,
        "PidFile %s" % pid_file,
        "AllowUsers root",
        "PermitRootLogin prohibit-password",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "UseDNS no",
        "PrintMotd no",
        "X11Forwarding no",
        "AllowTcpForwarding no",
        "AllowAgentForwarding no",
        "PermitUserEnvironment yes",
        "MaxStartups 100",
    )


def client_settings(addresses, port, folder):
    """``~/.ssh/config`` of the first host's container, for exactly the cluster's addresses."""
    return _lines(
        "Host %s" % " ".join(addresses),
        "    User root",
        "    Port %d" % port,
        "    IdentityFile %s/id_ed25519" % folder,
        "    IdentitiesOnly yes",
        "    UserKnownHostsFile %s/known_hosts" % folder,
        "    GlobalKnownHostsFile /dev/null",
        "    StrictHostKeyChecking yes",
        "    BatchMode yes",
        "    ConnectTimeout 10",
        "    LogLevel ERROR",
    )


def session_environment(environment):
    """``~/.ssh/environment``: what a process started over ssh must share with the rest of its container."""
    return _lines(
        *("%s=%s" % (name, value) for name, value in sorted(environment.items()) if name not in OWN_TO_A_SESSION and "\n" not in value)
    )


def known_hosts(port, keys):
    """``known_hosts`` of the containers.

    :param keys: pairs of address and public host key (``ssh-ed25519 AAAA...``, a comment after it is dropped).
    """
    return _lines(*("[%s]:%d %s" % (address, port, " ".join(key.split()[:2])) for address, key in keys))


def _lines(*lines):
    return "".join(line + "\n" for line in lines)
