"""An OCI runtime for guests: it asks runc for no more than the machine can give, and keeps what is the whole machine's out of reach.

Docker's `--privileged` asks for every capability and sets limits to infinity, which runc refuses where the machine itself
may not. This drops such capabilities from each container's specification, lowers each limit to the machine's hard limit, writes what it
changed to a log, and becomes runc. On a machine with full capabilities it changes nothing of that.

All containers share the machine's kernel, and systemd sets kernel parameters at each boot of a host (fs.file-max, fs.protected_*).
So of /proc/sys only `net`, which each network namespace has for itself, can be written in a container.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import resource
import sys
from collections.abc import Callable

# Beside the lab's other logs where the program is the lab's own, in the system's where it stands in for a host's runc.
LOG = (
    next(folder for folder in (pathlib.Path(__file__).parents[1] / "log", pathlib.Path("/var/log")) if folder.is_dir()) / "runc-capbnd.log"
)
RUNC = next(path for path in map(pathlib.Path, ("/usr/sbin/runc.distrib", "/usr/sbin/runc", "/usr/bin/runc")) if path.exists())
NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN
NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON
BPF CHECKPOINT_RESTORE
"""  # linux/capability.h, in the order of their bits
CAPABILITIES = [f"CAP_{name}" for name in NAMES.split()]


def possible_capabilities(status: str) -> set[str]:
    """The capabilities of a bounding set, from the text of /proc/self/status."""
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd"))
    return {name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1}


def hard_limit(kind: str) -> int:
    limit = resource.getrlimit(getattr(resource, kind))[1]
    return 2**64 - 1 if limit == resource.RLIM_INFINITY else limit


def lower(process: dict, possible: set[str], limit_of=hard_limit) -> list[str]:
    """Lowers an OCI process to what is possible, in place. Returns what it changed, in words."""
    changes = []
    for kind, wanted in (process.get("capabilities") or {}).items():
        if wanted:
            process["capabilities"][kind] = [name for name in wanted if name in possible]
            if kind == "bounding":
                changes += [name for name in wanted if name not in possible]
    if "CAP_SYS_RESOURCE" not in possible:
        for limit in process.get("rlimits") or []:
            most = limit_of(limit["type"])
            for bound in ("hard", "soft"):
                if limit[bound] > most:
                    changes.append(f"{limit['type']}.{bound} {limit[bound]}->{most}")
                    limit[bound] = most
    return changes


def keep_from_writing(container: dict, paths: list[str]) -> None:
    """Makes paths read-only in an OCI container, in place, unless a folder above them is."""
    read_only = container.setdefault("linux", {}).setdefault("readonlyPaths", [])
    read_only += [path for path in paths if not any(pathlib.PurePath(path).is_relative_to(above) for above in read_only)]


def rewrite(path: pathlib.Path, change: Callable[[dict], list[str]]) -> None:
    """Passes a specification through ``change`` and logs what that says."""
    document = json.loads(path.read_text(encoding="utf-8"))
    changes = change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    if changes:
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{path} {' '.join(changes)}\n")


def main(arguments: list[str]) -> None:
    possible = possible_capabilities(pathlib.Path("/proc/self/status").read_text(encoding="ascii"))
    the_machines = sorted(str(folder) for folder in pathlib.Path("/proc/sys").iterdir() if folder.name != "net")

    def lower_container(container: dict) -> list[str]:
        keep_from_writing(container, the_machines)
        return lower(container.get("process") or {}, possible)

    for option, value in itertools.pairwise(arguments):
        if option in ("--bundle", "-b"):
            rewrite(pathlib.Path(value, "config.json"), lower_container)
        elif option in ("--process", "-p"):
            rewrite(pathlib.Path(value), lambda process: lower(process, possible))
    os.execv(RUNC, ["runc", *arguments])  # noqa: S606  # who called has to be the parent of runc itself


if __name__ == "__main__":
    main(sys.argv[1:])
