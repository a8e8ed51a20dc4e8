# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The facts of one host that serving depends on, read once through a HostTree; nothing is changed and nothing is judged."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import socket
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _processes, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import (
    parse_addresses,
    parse_listeners,
    parse_meminfo,
    parse_mounts,
    parse_os_release,
)
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_settings import SHM

TIMEX_BYTES = 512  # more than any architecture's struct timex
CLOCK_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
RESOLVERS = 16
DEFAULT_DATA_ROOT = "/var/lib/docker"


def system(tree):
    """Operating system, kernel, interpreter, and who the module runs as."""
    release = parse_os_release(tree.text("/etc/os-release") or tree.text("/usr/lib/os-release"))
    hostname = tree.line("/proc/sys/kernel/hostname") or ""
    return {
        "hostname": hostname,
        "hostname_address": _resolve(hostname)[1] if tree.is_live and hostname else None,
        "os": {key: release.get(key.upper(), "") for key in ("id", "id_like", "version_id", "pretty_name")},
        "kernel": tree.line("/proc/sys/kernel/osrelease") or "",
        "architecture": platform.machine(),
        "python": {"version": "%d.%d.%d" % sys.version_info[:3], "executable": sys.executable},
        "user_id": os.geteuid(),
        "init": tree.line("/proc/1/comm") or "",
    }


def memory(tree):
    """Main memory in bytes, as /proc/meminfo counts it: the whole machine's, cgroup limits not applied."""
    figures = parse_meminfo(tree.text("/proc/meminfo"))
    return {"total_bytes": figures.get("MemTotal", 0), "available_bytes": figures.get("MemAvailable", 0)}


def interfaces(tree):
    """Every network interface with its state, MTU, hardware address and addresses with prefix lengths."""
    addresses = parse_addresses(tree.command("ip", "-o", "address", "show"))
    found = {}
    for name in tree.names("/sys/class/net"):
        base = "/sys/class/net/" + name
        mtu = tree.line(base + "/mtu")
        if mtu is None:  # a plain file such as bonding_masters
            continue
        found[name] = {
            "state": tree.line(base + "/operstate") or "unknown",
            "mtu": int(mtu),
            "mac": tree.line(base + "/address") or "",
            "addresses": addresses.get(name, []),
        }
    return found


def devices(tree, paths):
    """Each device path with kind (``char``, ``block``, ``other``), numbers and mode; None where there is no such path."""
    found = {}
    for path in paths:
        try:
            status = os.stat(tree.path(path))
        except OSError:
            found[path] = None
            continue
        kind = "char" if stat.S_ISCHR(status.st_mode) else "block" if stat.S_ISBLK(status.st_mode) else "other"
        found[path] = {
            "kind": kind,
            "major": os.major(status.st_rdev),
            "minor": os.minor(status.st_rdev),
            "mode": "%04o" % stat.S_IMODE(status.st_mode),
        }
    return found


def _socket_owners(tree, inodes):
    """The process that holds each socket: ``{inode: pid}``, the lowest pid where several share one."""
    owners = {}
    for pid, _descriptor, target in _processes.descriptors(tree):
        match = re.match(r"^socket:\[(\d+)\]$", target)
        if match and match.group(1) in inodes:
            owners.setdefault(match.group(1), pid)
    return owners


def listeners(tree, containers):
    """Every listening TCP socket and who holds it: pid, program name, systemd unit, container.

    ``containers`` is ``{id: {"name", "labels"}}``. A socket whose owner is not visible has pid None.
    """
    sockets = parse_listeners(tree.text("/proc/net/tcp")) + parse_listeners(tree.text("/proc/net/tcp6"))
    owners = _socket_owners(tree, {item["inode"] for item in sockets})
    return [
        dict(_processes.describe(tree, owners.get(item["inode"]), containers), address=item["address"], port=item["port"])
        for item in sorted(sockets, key=lambda one: (one["port"], one["address"]))
    ]


def engine(tree, client=None):
    """The container engine: ``({"installed", "version", "data_root", "images", "runtimes", "error"}, {container id: ...})``.

    ``images`` are the ids of the images it has, ``runtimes`` as :func:`runtimes` tells them; ``error`` says why it does not answer. A
    captured tree has no engine to ask.
    """
    installed = any(tree.exists(path) for path in ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"))
    facts = {"installed": installed, "version": None, "data_root": DEFAULT_DATA_ROOT, "images": [], "runtimes": {}, "error": None}
    if client is None and not tree.is_live:
        return facts, {}
    client = client or EngineClient()
    try:
        facts["version"] = client.version()
        information = client.information()
        facts["data_root"] = information.get("DockerRootDir") or DEFAULT_DATA_ROOT
        facts["runtimes"] = runtimes(tree, information)
        facts["images"] = sorted(image["Id"] for image in client.get("/images/json"))
        facts["installed"] = True
        return facts, client.containers()
    except EngineError as error:
        facts["error"] = str(error)
        return facts, {}


def runtimes(tree, information):
    """The programs by which an engine starts containers: ``{name: {"path", "there", "default"}}``; one that it looks for itself is not told.

    :param information: what the engine tells of itself, with Runtimes and DefaultRuntime.
    """
    found = {name: one.get("path") or "" for name, one in (information.get("Runtimes") or {}).items()}
    return {
        name: {"path": path, "there": tree.exists(path), "default": name == information.get("DefaultRuntime")}
        for name, path in found.items()
        if path.startswith("/")
    }


def filesystems(tree, paths, counted=()):
    """For each path (it need not exist yet) its file system and the bytes free there.

    ``holds_bytes`` is what the path holds already, counted only for the paths in ``counted``: a walk has its price. So are
    ``revisions``, the bytes of each revision beside it, by folder name; None where the path is a folder or file of its own. Then
    ``served_revision`` is the name of the one that the path is a link to.
    """
    mounts = parse_mounts(tree.text("/proc/self/mounts"))
    found = {}
    for path in paths:
        existing = path
        while not tree.exists(existing):
            existing = os.path.dirname(existing)
        status = os.statvfs(tree.path(existing))
        found[path] = {
            "mount": _mount_of(existing, mounts),
            "device": os.stat(tree.path(existing)).st_dev,
            "size_bytes": status.f_blocks * status.f_frsize,
            "available_bytes": status.f_bavail * status.f_frsize,
            "holds_bytes": bytes_below(tree.path(path)) if path in counted else None,
            "revisions": _revisions(tree, path) if path in counted else None,
            "served_revision": os.path.basename(tree.link(path) or ""),
        }
    return found


def _revisions(tree, path):
    if tree.exists(path) and tree.link(path) is None:
        return None
    beside = path + _weights.REVISIONS
    return {name: bytes_below(tree.path(os.path.join(beside, name))) for name in tree.names(beside)}


def _mount_of(path, mounts):
    inside = [mount["target"] for mount in mounts if (path.rstrip("/") + "/").startswith(mount["target"].rstrip("/") + "/")]
    return max(inside, key=len) if inside else "/"


def bytes_below(path):
    """The bytes of a file, or of all files below a folder, as their sizes say; 0 where there is none.

    Weights are counted as the source's are: what is hidden is none, and a linked file stands for the file it points to.
    """
    total = _size(path) if os.path.isfile(path) else 0
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        total += sum(_size(os.path.join(folder, name)) for name in names if not name.startswith("."))
    return total


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:  # gone between the listing and the look, or a link to nothing
        return 0


def shm(tree):
    """The shared memory file system at /dev/shm: size and free bytes, both 0 where none is mounted."""
    if not any(mount["target"] == SHM for mount in parse_mounts(tree.text("/proc/self/mounts"))):
        return {"size_bytes": 0, "available_bytes": 0}
    status = os.statvfs(tree.path(SHM))
    return {"size_bytes": status.f_blocks * status.f_frsize, "available_bytes": status.f_bavail * status.f_frsize}


def clock_synchronised():
    """Whether the kernel believes its clock is steered (adjtimex(2) with no change asked); None where it cannot be asked."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != CLOCK_UNSYNCHRONISED


def resolved(names):
    """The first IPv4 address each name resolves to on this host, None where it does not.

    Several at a time, because a nameserver that is down costs seconds for each.
    """
    with ThreadPoolExecutor(max_workers=RESOLVERS) as pool:
        return dict(pool.map(_resolve, names))


def _resolve(name):
    try:
        return name, socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return name, None
