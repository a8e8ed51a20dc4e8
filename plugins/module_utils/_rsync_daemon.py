# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How a host gives files to other hosts: a daemon of rsync that reads one folder, for the addresses that it is told and one secret.

It runs as the lanes of the swarm do, as a user without any privilege; so it cannot change its root, and needs nothing that it could write.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rsync, _swarm_units
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

NAME = "rsync"
_GREETING = b"@RSYNCD:"
_START_SECONDS = 15
# Opens every file as (user id, group id); prints the first that it cannot.
_READ_AS = """
import json, os, sys
uid, gid, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
paths = [os.path.join(folder, path) for path in json.load(sys.stdin)]
os.setgroups([]), os.setgid(gid), os.setuid(uid)
for path in paths:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        print(json.dumps([path, error.strerror]))
        break
"""


def cannot(observed, expected, remedy):
    """That the host cannot give."""
    return unfit("rsync from this host", observed, expected, remedy)


def configuration(folder, address, port, allow, secrets, owner):
    """The text of rsyncd.conf(5).

    :param folder: the only one that is given from.
    :param allow: addresses that are let in.
    :param secrets: path of the file with the secret.
    :param owner: (user id, group id) that the daemon runs as.
    """
    lines = ["address = %s" % address, "port = %d" % port, "use chroot = no", "reverse lookup = no"]
    if owner[0] == 0:  # would become nobody, who may be unable to read
        lines += ["uid = 0", "gid = 0"]
    lines += ["[%s]" % _rsync.MODULE, "path = %s" % folder, "read only = yes", "list = no"]
    lines += ["auth users = %s" % _rsync.USER, "secrets file = %s" % secrets, "strict modes = yes"]
    lines += ["hosts allow = %s" % " ".join(allow), "hosts deny = *"]
    return "".join("%s\n" % line for line in lines)


class Daemon(object):
    """The daemon of one machine.

    :param state_dir: the folder with the machine's state.
    """

    def __init__(self, state_dir):
        self.folder = os.path.join(state_dir, "weights", "rsync")
        self.config = os.path.join(self.folder, "rsyncd.conf")
        self.secrets = os.path.join(self.folder, "rsyncd.secrets")
        self.units = _swarm_units.units("--config")

    def active(self):
        return self.units.active(NAME, self.config)

    def start(self, folder, files, address, port, allow, secret, seconds):
        """Give files; a daemon that already does just so is left alone.

        :param files: paths below ``folder`` that somebody will ask for.
        :param seconds: after which it ends whatever it does.
        :returns: whether it was started.
        :raises UnfitError: when it cannot give them.
        """
        program = shutil.which("rsync")
        if not program:
            raise cannot("no rsync on the host", "rsync, 3.1 or newer", "run host.yml first; it installs host_packages")
        owner = self.units.owner()
        folder = os.path.realpath(folder)
        _check_links(folder, files)
        _check_readable(folder, files, owner)
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        news = _swarm_units.write_file(self.secrets, os.fsencode("%s:%s\n" % (_rsync.USER, secret)), 0o600, owner)
        text = configuration(folder, address, port, allow, self.secrets, owner)
        news = _swarm_units.write_file(self.config, os.fsencode(text), 0o644, owner) or news
        if self.active():
            if not news:
                return False
            self.units.stop(NAME, self.config)
        _check_free(address, port)
        self.units.start(NAME, [program, "--daemon", "--no-detach", "--config", self.config], {}, [], seconds)
        self._await(address, port)
        return True

    def stop(self):
        """End it, whatever it does, and forget the secret; returns whether there was one."""
        there = self.active()
        self.units.stop(NAME, self.config)
        shutil.rmtree(self.folder, ignore_errors=True)
        return there

    def _await(self, address, port):
        """Wait until it answers.

        :raises UnfitError: when it does not; it is then ended.
        """
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            try:
                with socket.create_connection((address, port), timeout=1) as connection:
                    if connection.recv(len(_GREETING)) == _GREETING:
                        return
            except OSError:  # not yet
                pass
            time.sleep(0.1)
        self.stop()
        raise cannot(
            "no answer on %s port %d" % (address, port),
            "the rsync daemon that was started",
            "see journalctl -u flagos-kunlunxin-weights-rsync, then run weights.yml again",
        )


def _check_links(folder, files):
    """See that nothing is a link: a daemon that cannot change its root follows none (rsync 3.5; older ones did)."""
    for path in files:
        if os.path.realpath(os.path.join(folder, path)) != os.path.join(folder, path):
            raise cannot(
                "%s is a link" % os.path.join(folder, path),
                "files, for rsync gives nothing that a link points to",
                "replace it by the file; until then other hosts give",
            )


def _check_readable(folder, files, owner):
    """See that the daemon's user can read what it is to give."""
    if owner[0] == os.geteuid():
        return
    argv = [sys.executable, "-c", _READ_AS, str(owner[0]), str(owner[1]), folder]
    # In the root folder: another user may be unable to be where this runs.
    done = subprocess.run(
        argv, input=json.dumps(files), cwd="/", check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode:
        raise cannot(
            (done.stderr.strip().splitlines() or ["exit code %d" % done.returncode])[-1],
            "a process of the user %s" % _swarm_units.USER,
            "mend the cause, then run weights.yml again",
        )
    if done.stdout.strip():
        path, reason = json.loads(done.stdout)
        raise cannot(
            "%s: %s" % (path, reason),
            "files that the user %s can read" % _swarm_units.USER,
            "chmod -R a+rX %s, and a+x the folders above it" % folder,
        )


def _check_free(address, port):
    """See that the daemon will be able to listen: it would only say so in the journal."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            raise cannot(
                "%s port %d: %s" % (address, port, error.strerror),
                "a free port" if in_use else "an address of this host",
                "see what listens with ss -ltnp, or set weights_port" if in_use else "see weights_interfaces, then run weights.yml again",
            ) from error
