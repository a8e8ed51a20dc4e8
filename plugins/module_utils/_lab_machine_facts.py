# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a machine that is to carry the lab is like: read with the standard library alone, because `make demo` asks before it installs anything."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import platform
import subprocess

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_machine
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_meminfo, parse_os_release

# In a folder that the lab made, and only there: nothing else is ever taken for the lab's and removed.
MARKER = ".flagos-kunlunxin-lab"


def read(path):
    """The text of a file, or ``""`` when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def output(*command):
    """What a read-only command prints, or ``""`` where it is not installed."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
    except OSError:
        return ""


def namespaces_refused():
    """Why the machine lets nobody make the lab's namespaces, or ``""``."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    try:
        tried = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        return str(error)
    return tried.stdout.decode().strip() or "refused" if tried.returncode else ""


def has_overlay():
    """Whether the kernel has overlay, built in, loaded or as a module that Docker will load."""
    module = "/lib/modules/%s/kernel/fs/overlayfs" % platform.release()
    return "\toverlay\n" in read("/proc/filesystems") or os.path.isdir(module)


def available_disks(paths):
    """Bytes available to root on each file system that has, or will have, one of the paths: ``{"path and path": bytes}``."""
    disks = {}
    for path in paths:
        there = path
        while not os.path.exists(there):
            there = os.path.dirname(there)
        disks.setdefault(os.stat(there).st_dev, (os.statvfs(there), []))[1].append(path)
    return {" and ".join(names): status.f_bavail * status.f_frsize for status, names in disks.values()}


def is_running(pid_file):
    """Whether the lab's supervisor holds its lock."""
    try:
        with open(pid_file, encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def present_lab(root):
    """What is there of the lab, from the configuration that the role wrote."""
    config = json.loads(read(os.path.join(root, "etc", "labd.json")) or "{}")
    running = bool(config) and is_running(os.path.join(config["run"], "labd.pid"))
    return {"running": running, "prefix": config.get("prefix"), "link": config.get("link")}


def foreign(folders):
    """Those of the folders that hold something and were not made by the lab."""
    return [path for path in folders if os.path.isdir(path) and os.listdir(path) and not os.path.exists(os.path.join(path, MARKER))]


def read_machine(root, cache, sources=""):
    """The facts that :func:`_lab_machine.findings` judges.

    :param root: the lab's folder.
    :param cache: the folder of its cache.
    :param sources: text of apt's sources for the hosts; empty for the distribution's own entries on the machine.
    """
    system = parse_os_release(read("/etc/os-release"))
    files = glob.glob("/etc/apt/sources.list") + glob.glob("/etc/apt/sources.list.d/*.sources")
    return {
        "uid": os.geteuid(),
        "system": system,
        "architecture": platform.machine(),
        "namespaces": namespaces_refused(),
        "tun": os.path.exists("/dev/net/tun"),
        "overlay": has_overlay(),
        "memory": parse_meminfo(read("/proc/meminfo"))["MemAvailable"],
        "disks": available_disks([root, cache]),
        "foreign": foreign([root, cache]),
        "routes": output("ip", "-4", "route", "show", "table", "all"),
        "sources": sources or _lab_machine.distribution_sources({path: read(path) for path in files}, system.get("ID")),
        "lab": present_lab(root),
    }
