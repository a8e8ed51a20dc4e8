# SPDX-License-Identifier: MIT
"""SIMULATOR: gets onto a Debian or Ubuntu host, and off it again without leaving anything.

The host's own programs are set aside by dpkg-divert, so that a package that brings one of them later does not take its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import List

from . import call, programs, show, xre
from .host_files import launcher
from .places import ROOT_VARIABLE, Places
from .runner import REAL
from .state import locked
from .tools import rdma, xpu_smi
from .tree import File, put

COMMAND = "/usr/local/bin/p800-simulator"
UNIT_NAME = "p800-simulator.service"
UNIT = "/etc/systemd/system/" + UNIT_NAME
ENABLED = "/etc/systemd/system/sysinit.target.wants/" + UNIT_NAME
_COMMAND = """#!/bin/sh
# SIMULATOR of a P800 host, for tests only; p800-simulator --help
export {variable}="${{{variable}:-{root}}}"
export PYTHONPATH={library}
exec /usr/bin/python3 -m p800_simulator "$@"
"""
_UNIT = """# SIMULATOR of a P800 host, for tests only.
[Unit]
Description=SIMULATOR of a P800 host: serves /var/lib/p800-simulator/overlay
DefaultDependencies=no
After=local-fs.target boot-id.service
Before=sysinit.target

[Service]
Type=notify
NotifyAccess=all
ExecStart={command} watch
Restart=on-failure

[Install]
WantedBy=sysinit.target
"""


class HostError(RuntimeError):
    """The host is none that the simulator can be installed on; the text says why."""


def _paths() -> List[str]:
    return [program.path for program in (*programs.ALWAYS, *rdma.OFED_PROGRAMS)]


def install(places: Places, source: str) -> None:
    """:param source: the folder that the package is in."""
    target = os.path.join(places.library, "p800_simulator")
    if os.path.realpath(source) != os.path.realpath(places.library):
        shutil.rmtree(places.library, ignore_errors=True)
        shutil.copytree(os.path.join(source, "p800_simulator"), target, ignore=shutil.ignore_patterns("__pycache__"))
    command = _COMMAND.format(variable=ROOT_VARIABLE, root=places.root, library=places.library)
    put_with_folder(places, COMMAND, File(command, 0o755))
    tool = xpu_smi.PROGRAM
    os.makedirs(os.path.join(places.library, "bin"), exist_ok=True)
    put(os.path.join(places.library, "bin", "xpu-smi"), launcher(places, tool.name, tool.about))
    if not places.is_host:
        return
    if not shutil.which("dpkg-divert"):
        raise HostError("dpkg-divert is missing: the simulator is for Debian and Ubuntu")
    for path in _paths():
        _run("dpkg-divert", "--local", "--quiet", "--rename", "--divert", path + REAL, "--add", path)
    put_with_folder(places, UNIT, File(_UNIT.format(command=COMMAND), 0o644))
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "--quiet", UNIT_NAME)


def put_with_folder(places: Places, path: str, entry: File) -> None:
    place = places.path(path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    put(place, entry)


def remove(places: Places) -> None:
    if places.is_host and os.path.exists(UNIT):
        _run("systemctl", "disable", "--quiet", "--now", UNIT_NAME)
        for path in (UNIT, call.ADDRESS):
            if os.path.lexists(path):
                os.unlink(path)
        _run("systemctl", "daemon-reload")
    with locked(places):
        show.put(places, {})
        xre.remove(places)
        shutil.rmtree(places.folder)
    xre.remove(places)
    for path in _paths() if places.is_host else ():
        _run("dpkg-divert", "--local", "--quiet", "--rename", "--divert", path + REAL, "--remove", path)
    for path in (places.path(COMMAND), places.library, places.library + ".pyz", places.library + ".wiring.json"):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise HostError("%s: %s" % (" ".join(argv), done.stdout.decode("utf-8", "replace").strip()))
