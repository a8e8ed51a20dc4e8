# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The program that runs in every serving container, packed as a zipapp.

``run DEPLOYMENT``
    starts the container's own sshd and stays. On the first host it also coordinates the group.
``member``
    is called over ssh by the coordinator; it prints what runs in this container as JSON. With ``--renew`` a container
    that an engine has used ends itself; its unit starts a fresh one, which is the proof that nothing is left in it.
``reference REQUEST``
    answers questions by a single process of the image's engine, for the comparison with the distributed one.

It runs on the Python of whatever image serves, hence the oldest syntax of the collection.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time

from . import _serve_container, _serve_reference, _serve_ssh, _serve_state
from ._serve_coordinator import Coordinator, ServiceError

RUN_FOLDER = "/run/flagos-kunlunxin"
PID_FILE = RUN_FOLDER + "/program.pid"
SSHD = "/usr/sbin/sshd"
TICK_SECONDS = 1.0


class Stopped(BaseException):
    """The container was asked to stop. Not an Exception, so that no handler of errors takes it for one."""


def main(argv=None):
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["run"] and len(arguments) == 2:
        return run(arguments[1])
    if arguments[:1] == ["member"]:
        return member("--renew" in arguments)
    if arguments[:1] == ["reference"] and len(arguments) == 2:
        return _serve_reference.record(arguments[1])
    sys.stderr.write(__doc__)
    return 2


def run(path):
    """Serve until stopped (returns 0) or until the service has failed (returns 1)."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    with open(path) as stream:
        deployment = json.load(stream)
    state = _serve_state.StateFile(os.path.join(deployment["folder"], "state"), deployment["deployment"])
    coordinator = Coordinator(deployment, state) if deployment["head"] else None
    sshd = None
    try:
        sshd = start_sshd(deployment)
        if coordinator:
            coordinator.bring_up()
        state.enter(_serve_state.READY)
        while True:
            if sshd.poll() is not None:
                raise ServiceError("the container's sshd ended with status %s" % sshd.returncode)
            if coordinator:
                coordinator.check()
            time.sleep(TICK_SECONDS)
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if coordinator:
            coordinator.take_down()
        state.enter(_serve_state.STOPPED)
        return 0
    except ServiceError as failure:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        state.fail(str(failure), failure.log)
        sys.stderr.write("%s\n" % failure)
        if coordinator:
            coordinator.renew_others()
        return 1
    finally:
        if sshd and sshd.poll() is None:
            sshd.terminate()


def _stop(_number, _frame):
    raise Stopped()


def start_sshd(deployment):
    """Write what ssh and sshd read, start sshd, and return its process."""
    if not os.access(SSHD, os.X_OK):
        raise ServiceError("the image brings no sshd: %s is not there" % SSHD)
    folder = os.path.join(deployment["folder"], "ssh")
    home = os.path.join(pwd.getpwuid(0).pw_dir, ".ssh")
    for needed, mode in ((RUN_FOLDER, 0o755), ("/run/sshd", 0o755), (home, 0o700)):
        os.makedirs(needed, mode=mode, exist_ok=True)
    settings = RUN_FOLDER + "/sshd_config"
    port = deployment["ports"]["ssh"]
    _write(settings, _serve_ssh.server_settings(deployment["address"], port, folder, RUN_FOLDER + "/sshd.pid"))
    _write(os.path.join(home, "environment"), _serve_ssh.session_environment(dict(os.environ)))
    addresses = [peer["address"] for peer in deployment["peers"]]
    _write(os.path.join(home, "config"), _serve_ssh.client_settings(addresses, port, folder))
    _write(PID_FILE, "%d\n" % os.getpid())
    sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", settings], stdin=subprocess.DEVNULL)
    time.sleep(0.3)
    if sshd.poll() is not None:
        raise ServiceError(
            "the container's sshd does not start on %s:%d; its message is in the unit's journal" % (deployment["address"], port)
        )
    return sshd


def _write(path, text):
    with open(path, "w") as stream:
        stream.write(text)
    os.chmod(path, 0o600)


def member(renew):
    """Print ``{"left_over": [...], "placement": [...]}`` of this container; with ``renew`` end it if it was used."""
    with open(PID_FILE) as stream:
        program = int(stream.read())
    left = _serve_container.left_over(_serve_container.processes(), program)
    json.dump({"left_over": left, "placement": _serve_container.placement()}, sys.stdout)
    sys.stdout.flush()
    if renew and left:
        os.kill(program, signal.SIGTERM)
    return 0
