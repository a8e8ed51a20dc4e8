# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How a lane, or a daemon that gives files, is started and ended: as a transient unit of systemd on a host, or as a process of the
operator's on a controller.

A unit may read the machine and write the lane's two folders, nothing else, as a user of its own without any privilege. It outlives the run
that started it: a controller that is killed interrupts nothing.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time

from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_program import CANNOT_GO_ON

USER = "flagos-swarm"
END_SECONDS = 60  # what is received is written and noted before a lane ends


class UnitError(Exception):
    """A lane cannot be started; the text is the reason."""


def has_systemd():
    """Whether this is root on a machine that systemd runs (sd_booted(3))."""
    return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")


def units(program="swarm.pyz"):
    """What starts and ends lanes here.

    :param program: how the argument before the last, the configuration's path, ends on a lane's command line.
    """
    return SystemdUnits() if has_systemd() else Processes(program)


class SystemdUnits(object):
    """Lanes as transient units."""

    def owner(self):
        """(user id, group id) that lanes run as; the user is made where there is none."""
        try:
            entry = pwd.getpwnam(USER)
        except KeyError:
            _run(["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", USER])
            entry = pwd.getpwnam(USER)
        return entry.pw_uid, entry.pw_gid

    def active(self, name, config):
        return _answer(["systemctl", "is-active", self._unit(name)]) in ("active", "activating")

    def start(self, name, argv, environment, writable, seconds):
        """Start a lane.

        :param writable: folders that it may write below.
        :param seconds: after which it is ended whatever it does.
        """
        properties = {
            "User": USER,
            "Restart": "on-failure",
            "RestartSec": "1",
            "RestartPreventExitStatus": str(CANNOT_GO_ON),
            "RuntimeMaxSec": str(seconds),
            "TimeoutStopSec": str(END_SECONDS),
            "NoNewPrivileges": "yes",
            "CapabilityBoundingSet": "",
            "PrivateTmp": "yes",
            "PrivateDevices": "yes",
            "ProtectSystem": "strict",
            "ProtectHome": "read-only",
            "ReadWritePaths": " ".join('"%s"' % folder for folder in writable),
            "LimitNOFILE": "65536",
            "Nice": "5",
        }
        command = ["systemd-run", "--quiet", "--unit=" + self._unit(name), "--description=Weights for flagos.kunlunxin, %s" % name]
        command += ["--property=%s=%s" % item for item in properties.items()]
        command += ["--setenv=%s=%s" % item for item in environment.items()]
        _answer(["systemctl", "reset-failed", self._unit(name)])
        _run(command + argv)

    def stop(self, name, config):
        _answer(["systemctl", "stop", self._unit(name)])
        _answer(["systemctl", "reset-failed", self._unit(name)])

    @staticmethod
    def _unit(name):
        return "flagos-kunlunxin-weights-%s.service" % name


class Processes(object):
    """Lanes as processes of whoever runs this, in sessions of their own."""

    def __init__(self, program):
        self._program = os.fsencode(program)

    def owner(self):
        return os.geteuid(), os.getegid()

    def active(self, name, config):
        return self._pid(config) is not None

    def start(self, name, argv, environment, writable, seconds):
        log = os.path.splitext(argv[-1])[0] + ".log"
        with open(log, "ab") as stream:
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, env=dict(os.environ, **environment)
            )

    def stop(self, name, config):
        until, told = time.monotonic() + END_SECONDS, set()
        pid = self._pid(config)
        while pid:
            late = time.monotonic() > until
            if late or pid not in told:  # once each: a daemon has children
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(0.1)
            pid = self._pid(config)

    def _pid(self, config):
        """The process that carries the lane with this configuration; a zombie carries nothing."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open("/proc/%s/cmdline" % name, "rb") as stream:
                        arguments = stream.read().split(b"\0")
                except OSError:  # it ended meanwhile
                    continue
                if len(arguments) > 2 and arguments[-2] == os.fsencode(config) and arguments[-3].endswith(self._program):
                    return int(name)
        return None


def write_file(path, data, mode=0o644, owner=None):
    """Write what a unit reads unless it already says the same; returns whether it did not. Nobody can read it before its mode is right.

    :param data: bytes.
    :param owner: whose the file is, as (user id, group id); without one it is ours.
    """
    try:
        with open(path, "rb") as stream:
            if stream.read() == data:
                return False
    except OSError:
        pass
    temporary = path + ".new"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
        if owner:
            os.fchown(stream.fileno(), *owner)
        os.fchmod(stream.fileno(), mode)
    os.rename(temporary, path)
    return True


def command(program, config):
    """The command line of a lane."""
    return [sys.executable, program, config]


def _answer(argv):
    return subprocess.run(argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True).stdout.strip()


def _run(argv):
    done = subprocess.run(argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        raise UnitError("%s: %s" % (argv[0], " ".join(done.stdout.split())))
