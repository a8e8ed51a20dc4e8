"""What a machine looks like from outside, taken before and after, to show that something left nothing behind.

    python tests/support/machine.py take FILE
    python tests/support/machine.py compare FILE     prints what differs now, ends with 1 when something does

A snapshot is a mapping of subjects (processes, mounts, links, ...) to sets of lines. What changes on any machine by
itself (counters, logs, package lists) is left out by name, in one place, below.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import stat
import subprocess
import sys

Snapshot = dict[str, list[str]]

FOLDERS = (
    "/etc",
    "/opt",
    "/run",
    "/root/.ansible",
    "/root/.cache",
    "/root/.docker",
    "/root/.ssh",
    "/srv",
    "/tmp",
    "/usr/local",
    "/var/cache",
    "/var/lib",
    "/var/log",
)
# Written by the machine's own services, by package managers, or by whoever looks (temporary files, caches of interpreters).
CHANGING_FILES = re.compile(
    r"^/(etc/(mtab|ld\.so\.cache)|run/(systemd|udev|user|log|lock|utmp|xtables\.lock|sudo)|root/\.ansible/(tmp|galaxy_cache|roles|collections)"
    r"|root/\.cache/(pip|uv)|tmp/(ansible|bash|pytest)[^/]*"
    r"|var/cache/(apt|debconf|man|ldconfig)|var/lib/(apt|dpkg|systemd|dhcp|NetworkManager|chrony|ucf|logrotate|private)"
    r"|var/log/(alternatives\.log|apt|auth\.log|chrony|dpkg\.log|journal|kern\.log|syslog|unattended-upgrades|user\.log|[bw]tmp))"
    r"(/|$|\.)|/__pycache__(/|$)"
)
CHANGING_SYSCTLS = re.compile(
    r"^(fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota)|kernel\.(random\.|ns_last_pid|pty\.nr|tainted|sched_domain)"
    r"|net\.netfilter\.nf_conntrack_count|vm\.(stat|numa)|user\.|debug\.)"
)


def output(*command: str) -> list[str]:
    """The lines a command prints; none where it is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines()


def own_family() -> set[int]:
    """This process and those that started it."""
    family, pid = set(), os.getpid()
    while pid > 1:
        family.add(pid)
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return family


def processes() -> list[str]:
    """Every process but the kernel's and our own family: pid, start time and command line."""
    family, found = own_family(), []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in family:
            continue
        try:
            started = (entry / "stat").read_text().rpartition(")")[2].split()[19]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it ended meanwhile
        if command:
            found.append(f"{entry.name} {started} {command}")
    return found


def namespaces() -> list[str]:
    """The network, mount and PID namespaces that some process is in."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir():
        for kind in ("net", "mnt", "pid"):
            try:
                found.add(str((entry / "ns" / kind).readlink()))
            except OSError:
                continue
    return list(found)


def mounts() -> list[str]:
    return [" ".join(line.split()[3:5]) for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]


def files() -> list[str]:
    """Names and modes everywhere, size and time of change as well below /etc."""
    found = []
    for top in FOLDERS:
        for folder, subfolders, names in os.walk(top):
            subfolders[:] = [name for name in subfolders if not CHANGING_FILES.search(f"{folder}/{name}")]
            for path in (f"{folder}/{name}" for name in (*subfolders, *names)):
                if CHANGING_FILES.search(path):
                    continue
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                line = f"{stat.filemode(status.st_mode)} {path}"
                if path.startswith("/etc/") and stat.S_ISREG(status.st_mode):
                    line += f" {status.st_size} {status.st_mtime_ns}"
                found.append(line)
    return found


def cgroups() -> list[str]:
    return [folder for folder, _folders, _files in os.walk("/sys/fs/cgroup")]


def sysctls() -> list[str]:
    return [line for line in output("sysctl", "-a") if not CHANGING_SYSCTLS.match(line)]


def take() -> Snapshot:
    """The machine as it is now."""
    subjects = {
        "processes": processes(),
        "namespaces": namespaces(),
        "mounts": mounts(),
        "links": [line.split(":")[1].strip() for line in output("ip", "-o", "link")],
        "addresses": [" ".join(line.split()[1:4]) for line in output("ip", "-o", "address")],
        "routes": output("ip", "route", "show", "table", "all"),
        "rules": output("ip", "rule"),
        "nftables": output("nft", "list", "ruleset"),
        "iptables": [line for line in output("iptables-save") if not line.startswith("#")],
        "sysctls": sysctls(),
        "cgroups": cgroups(),
        "files": files(),
        "users": output("getent", "passwd") + output("getent", "group"),
        "packages": output("dpkg-query", "-W"),
    }
    return {subject: sorted(set(lines)) for subject, lines in subjects.items()}


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What came (+) and what went (-), one line each; a process that ended by itself is no difference."""
    found = []
    for subject, lines in before.items():
        was, is_now = set(lines), set(after[subject])
        found += [f"{subject}: + {line}" for line in sorted(is_now - was)]
        if subject not in ("processes", "namespaces"):
            found += [f"{subject}: - {line}" for line in sorted(was - is_now)]
    return found


def main(arguments: list[str]) -> int:
    action, path = arguments[0], pathlib.Path(arguments[1])
    if action == "take":
        path.write_text(json.dumps(take()))
        return 0
    found = differences(json.loads(path.read_text()), take())
    print("\n".join(found) or "nothing differs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
