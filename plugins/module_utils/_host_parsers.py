# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Pure parsers of what Linux says about a host: text in, plain data out, no file is opened here.

Sources of the formats: os-release(5), proc(5), ip-address(8), the kernel's Documentation/networking/proc_net_tcp.rst.
"""

from __future__ import annotations

import re
import socket
import struct

KIB = 1024
LISTEN = "0A"

SIZE_UNITS = {"": 1, "k": KIB, "m": KIB**2, "g": KIB**3, "t": KIB**4}


def parse_size(text):
    """Bytes of a size as Docker and mount write it: ``64g``, ``512M``, ``1024``. ValueError when it is none."""
    match = re.match(r"^(\d+)([kmgt]?)(?:i?b)?$", str(text).strip().lower())
    if not match:
        raise ValueError("not a size: %r" % (text,))
    return int(match.group(1)) * SIZE_UNITS[match.group(2)]


def format_size(count):
    """A byte count for people, exact when it is a whole number of units: ``64 GiB``, ``1.5 GiB``, ``12 bytes``."""
    for unit, factor in (("TiB", KIB**4), ("GiB", KIB**3), ("MiB", KIB**2), ("KiB", KIB)):
        if count >= factor:
            whole, rest = divmod(count, factor)
            return "%d %s" % (whole, unit) if rest == 0 else "%.1f %s" % (count / factor, unit)
    return "%d bytes" % count


def parse_os_release(text):
    """The assignments of os-release(5) as a dictionary, quotes taken off."""
    found = {}
    for line in (text or "").splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            found[key] = value.strip().strip("\"'")
    return found


def parse_meminfo(text):
    """The figures of /proc/meminfo in bytes, by name."""
    found = {}
    for line in (text or "").splitlines():
        match = re.match(r"^(\S+):\s+(\d+)( kB)?$", line.strip())
        if match:
            found[match.group(1)] = int(match.group(2)) * (KIB if match.group(3) else 1)
    return found


def parse_addresses(text):
    """The addresses of each interface, from ``ip -o address show``: ``{"eth0": ["10.0.0.1/24", ...]}``.

    The one-line form is read because the JSON of newer versions does not exist on the oldest hosts.
    """
    found = {}
    for line in (text or "").splitlines():
        match = re.match(r"^\d+:\s+(\S+)\s+inet6?\s+(\S+)", line)
        if match:
            address = match.group(2)
            found.setdefault(match.group(1).partition("@")[0], []).append(address)
    return found


def parse_listeners(text):
    """The listening sockets of /proc/net/tcp or tcp6: ``[{"address", "port", "inode"}]``."""
    found = []
    for line in (text or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTEN:
            continue
        match = re.match(r"((?:[0-9A-Fa-f]{8}){4}|[0-9A-Fa-f]{8}):([0-9A-Fa-f]{4})$", fields[1])
        if match:
            found.append({"address": _socket_address(match.group(1)), "port": int(match.group(2), 16), "inode": fields[9]})
    return found


def _socket_address(digits):
    """An address of /proc/net/tcp*: 32-bit words in the machine's own byte order, as hexadecimal digits."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    return socket.inet_ntop(socket.AF_INET6 if len(words) == 4 else socket.AF_INET, packed)


def parse_cgroup(text):
    """Who a process belongs to, from /proc/PID/cgroup: ``{"container": id or None, "unit": name or None}``.

    Docker's container id is the last run of 64 hexadecimal digits in the path, whichever cgroup driver and version.
    """
    container = unit = None
    for line in (text or "").splitlines():
        path = line.split(":", 2)[-1]
        identifiers = re.findall(r"[0-9a-f]{64}", path)
        if identifiers:
            container = identifiers[-1]
        units = re.findall(r"([^/]+\.service)(?:/|$)", path)
        if units:
            unit = units[-1]
    return {"container": container, "unit": unit}


def parse_environment(text):
    """The assignments of /proc/PID/environ or another list of them that zeros part: ``{name: value}``, quotes around values taken off."""
    found = {}
    for line in (text or "").split("\0"):
        name, separator, value = line.strip().partition("=")
        if separator and name and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found


def parse_shared_segments(text):
    """The segments of /proc/sysvipc/shm, each column by its name as a number; a line that is none is left out."""
    lines = [line.split() for line in (text or "").splitlines()]
    names = lines[0] if lines else []
    if not {"shmid", "size", "cpid", "nattch", "uid"} <= set(names):
        return []
    rows = [line for line in lines[1:] if len(line) == len(names) and all(re.match(r"-?[0-9]+$", field) for field in line)]
    return [{name: int(row[column]) for column, name in enumerate(names)} for row in rows]


def parse_swaps(text):
    """The swap areas of /proc/swaps, which counts in KiB and writes blanks of a path as octal numbers; lines that are none are left out."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) == 5 and words[2].isdigit() and words[3].isdigit():
            found.append({"path": _unescape(words[0]), "bytes": int(words[2]) * 1024, "used_bytes": int(words[3]) * 1024})
    return found


def parse_mounts(text):
    """The mounts of /proc/self/mounts, last one first, so that the first hit is what is visible.

    Each is ``{"source", "target", "type", "options": [...]}``; the octal escapes of blanks are undone.
    """
    found = []
    for line in (text or "").splitlines():
        fields = line.split()
        if len(fields) >= 4:
            source, target, kind, options = (_unescape(field) for field in fields[:4])
            found.append({"source": source, "target": target, "type": kind, "options": options.split(",")})
    return found[::-1]


def _unescape(field):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)


def parse_version(text):
    """The leading numbers of a version as a tuple that compares: ``20.10.24+dfsg1`` gives ``(20, 10, 24)``."""
    match = re.match(r"^\D*(\d+(?:\.\d+)*)", text or "")
    return tuple(int(number) for number in match.group(1).split(".")) if match else ()
