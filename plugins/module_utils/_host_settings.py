# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a host's own files should say for serving: pure functions from the text that is there to the text that should be."""

from __future__ import annotations

import re

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_mounts, parse_size

SHM = "/dev/shm"  # noqa: S108  the mount point, not a temporary file
UNLIMITED = "infinity"
# The lines around the block of a cluster in the hosts file.
BLOCK_MARKS = ("# BEGIN flagos.kunlunxin cluster %s", "# END flagos.kunlunxin cluster %s")
HEADER = "# Written by the host stage of flagos.kunlunxin; changes made here are lost.\n"

# name in limits.d, in systemd and in /proc/PID/limits
LIMIT_NAMES = {
    "memlock": ("memlock", "DefaultLimitMEMLOCK", "Max locked memory"),
    "nofile": ("nofile", "DefaultLimitNOFILE", "Max open files"),
}


# shared memory ------------------------------------------------------------------------------------------------


def shm_mount_size(mounts_text):
    """The size of the tmpfs at /dev/shm in bytes from /proc/self/mounts; None when not mounted, 0 when it has the default size."""
    for mount in parse_mounts(mounts_text):
        if mount["target"] == SHM:
            sizes = [option[5:] for option in mount["options"] if option.startswith("size=")]
            return parse_size(sizes[-1]) if sizes and "%" not in sizes[-1] else 0
    return None


def fstab_with_shm(text, size, memory):
    """fstab with an entry that gives /dev/shm at least ``size`` bytes; other lines and other options stay as they are.

    :param memory: bytes of the host's memory, of which an entry may ask a share.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines):
        fields = line.split()
        if len(fields) >= 4 and not line.lstrip().startswith("#") and fields[1] == SHM:
            options = fields[3].split(",")
            if _tmpfs_size(options, memory) >= size:
                return text
            fields[3] = ",".join([option for option in options if not option.startswith("size=")] + ["size=%d" % size])
            lines[number] = "\t".join(fields)
            return "\n".join(lines) + "\n"
    return "\n".join([*lines, "tmpfs\t/dev/shm\ttmpfs\trw,nosuid,nodev,size=%d\t0\t0" % size]) + "\n"


def _tmpfs_size(options, memory):
    """The bytes that a tmpfs has by its options: half of the memory where they do not say; 0 where they are not understood."""
    text = ([option[5:] for option in options if option.startswith("size=")] or ["50%"])[-1]
    share = re.match(r"^(\d+)%$", text)
    try:
        return memory * int(share.group(1)) // 100 if share else parse_size(text)
    except ValueError:
        return 0


def shm_default_suffices(live, wanted, memory, fstab_text):
    """Whether /dev/shm has its kernel default (half of ``memory``), unmanaged, and that is enough: then it is left alone."""
    managed = any(len(line.split()) > 1 and line.split()[1] == SHM for line in fstab_text.splitlines() if not line.lstrip().startswith("#"))
    return not managed and live >= wanted and live * 2 >= memory * 99 // 100


# resource limits ----------------------------------------------------------------------------------------------


def hard_limits(text):
    """The hard limits of /proc/PID/limits for the names this collection sets: number, or ``infinity``."""
    found = {}
    for name, (_login, _service, title) in LIMIT_NAMES.items():
        match = re.search(r"^%s\s+\S+\s+(\S+)" % re.escape(title), text or "", re.MULTILINE)
        if match:
            found[name] = UNLIMITED if match.group(1) == "unlimited" else int(match.group(1))
    return found


def may_raise_limits(status_text):
    """Whether a process, by its /proc/PID/status, may raise hard limits: CAP_SYS_RESOURCE is in its bounding set."""
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)", status_text or "", re.MULTILINE)
    return bool(match) and bool(int(match.group(1), 16) >> 24 & 1)


def attainable(wanted, hard, may_raise, most_files):
    """The limits that can be had, because a limit above a ceiling would close the host's logins.

    :param hard: the ceilings of a host that may not raise them.
    :param most_files: the kernel's own ceiling of nofile (fs.nr_open), which binds every process.
    """
    ceilings = {} if may_raise else dict(hard)
    ceilings["nofile"] = _lower(ceilings.get("nofile", UNLIMITED), most_files)
    return {name: _lower(value, ceilings.get(name, UNLIMITED)) for name, value in wanted.items()}


def _lower(left, right):
    if UNLIMITED in (left, right):
        return right if left == UNLIMITED else left
    return min(left, right)


def ceiling(name, value, most_files):
    """Why a limit stops at ``value``, in words."""
    if name == "nofile" and value == most_files:
        return "the kernel refuses a login with more (fs.nr_open)"
    return "this host may not raise its hard limits (no CAP_SYS_RESOURCE)"


def limits_conf(limits):
    """The limits.d file for logins: every user, and root, whom the asterisk leaves out. memlock counts in KiB there."""
    lines = [HEADER]
    for name in sorted(limits):
        value = limits[name]
        shown = "unlimited" if value == UNLIMITED else value // 1024 if name == "memlock" else value
        lines += ["%s - %s %s\n" % (who, LIMIT_NAMES[name][0], shown) for who in ("*", "root")]
    return "".join(lines)


def systemd_conf(limits):
    """The drop-in for services: systemd does not read limits.d."""
    return HEADER + "[Manager]\n" + "".join("%s=%s\n" % (LIMIT_NAMES[name][1], limits[name]) for name in sorted(limits))


def parse_limit(text):
    """A limit as the plan writes it: ``infinity``, ``unlimited`` or a count that may carry a unit. ValueError otherwise."""
    return UNLIMITED if str(text) in (UNLIMITED, "unlimited", "-1") else parse_size(text)


# kernel parameters --------------------------------------------------------------------------------------------


def parameter_path(name):
    """The file of a kernel parameter: ``net.ipv4.tcp_rmem`` is /proc/sys/net/ipv4/tcp_rmem.

    A name with a dot inside one component (an interface such as eth0.100) is written with slashes, as sysctl(8) has it.
    """
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))


def same_parameter(left, right):
    """Whether two values are the same for the kernel, which separates numbers by tabs."""
    return str(left).split() == str(right).split()


def sysctl_conf(parameters):
    """The sysctl.d file that sets the parameters again at boot."""
    return HEADER + "".join("%s = %s\n" % (name, " ".join(str(parameters[name]).split())) for name in sorted(parameters))


# names --------------------------------------------------------------------------------------------------------


def hosts_block(cluster, addresses, own_name, own_host):
    """The lines that name the cluster's hosts: ``addresses`` maps inventory name to address, in inventory order.

    The host's own system name is an alias of its cluster address, for programs that look themselves up.
    """
    begin, end = (mark % cluster for mark in BLOCK_MARKS)
    lines = [begin]
    for name, address in addresses.items():
        names = [name]
        if name == own_host and own_name and own_name != name:
            names.append(own_name)
        lines.append("%s\t%s" % (address, " ".join(names)))
    return "\n".join([*lines, end]) + "\n"


def hosts_with_block(text, block):
    """The hosts file with the block in it: in the place of an earlier one of the same cluster, else before everything.

    A line outside that gives one of the block's names another address loses that name, as resolvers may answer with any
    line's address: distributions write the host's own name beside 127.0.1.1. A mark whose partner is missing bounds
    nothing: it goes, and the lines behind it count as outside.
    """
    begin, end = block.splitlines()[0], block.splitlines()[-1]
    addresses = {name: fields[0] for fields in map(str.split, block.splitlines()[1:-1]) for name in fields[1:]}
    lines = text.splitlines(True)
    marks = [line.rstrip("\n") for line in lines]
    last = marks.index(end) if end in marks else 0
    first = max((number for number, mark in enumerate(marks[:last]) if mark == begin), default=None)
    before, after = ([], lines) if first is None else (lines[:first], lines[last + 1 :])
    outside = ["".join(line for line in part if line.rstrip("\n") not in (begin, end)) for part in (before, after)]
    return _without(addresses, outside[0]) + block + _without(addresses, outside[1])


def _without(addresses, text):
    """The lines of a hosts file without names that ``addresses`` puts elsewhere; a line left without a name goes."""
    kept = []
    for line in text.splitlines(True):
        entry, comment, remark = line.partition("#")
        fields = entry.split()
        names = [name for name in fields[1:] if addresses.get(name, fields[0]) == fields[0]]
        if names == fields[1:]:
            kept.append(line)
        elif names:
            kept.append("%s\t%s" % (fields[0], " ".join(names)) + (" #" + remark if comment else "\n"))
    return "".join(kept)
