# SPDX-License-Identifier: MIT
"""SIMULATOR: what it takes from the real host it runs on: kernel, modules, addresses of the interfaces."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Tuple

from .places import Places


@dataclass(frozen=True)
class Live:
    """:ivar addresses: IPv4 addresses by interface, as the kernel lists them.
    :ivar macs: hardware addresses by interface; only interfaces that are there have one.
    :ivar up: names of the interfaces with a link.
    :ivar clock: seconds of a clock that only rises, for what counts.
    """

    kernel: str
    boot_id: str
    hostname: str
    modules: str = ""
    cmdline: str = ""
    addresses: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    up: Tuple[str, ...] = ()
    clock: int = 0


def read(places: Places, with_addresses: bool = True) -> Live:
    """Of a host, from /proc, /sys and ``ip``. Below another root only its files are read.

    :param with_addresses: without them a program is started less.
    """
    net = places.path("/sys/class/net")
    names = sorted(os.listdir(net)) if os.path.isdir(net) else []
    return Live(
        kernel=_text(places, "/proc/sys/kernel/osrelease") or os.uname().release,
        boot_id=_text(places, "/proc/sys/kernel/random/boot_id"),
        hostname=_text(places, "/proc/sys/kernel/hostname"),
        modules=_text(places, "/proc/modules"),
        cmdline=_text(places, "/proc/cmdline"),
        addresses=parse_addresses(_addresses()) if places.is_host and with_addresses else {},
        macs={name: _text(places, "/sys/class/net/%s/address" % name) for name in names},
        up=tuple(name for name in names if _text(places, "/sys/class/net/%s/operstate" % name) == "up"),
        clock=int(time.monotonic()),
    )


def _text(places: Places, path: str) -> str:
    try:
        with open(places.path(path), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _addresses() -> str:
    done = subprocess.run(["ip", "-o", "-4", "address", "show"], stdout=subprocess.PIPE, check=False)
    return done.stdout.decode("utf-8", "replace")


def parse_addresses(text: str) -> Dict[str, Tuple[str, ...]]:
    """``2: eth1    inet 10.0.1.11/24 scope global eth1`` says eth1 has 10.0.1.11."""
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        match = re.match(r"\d+: +([^\s@]+)(?:@\S+)? +inet +([0-9.]+)", line)
        if match:
            found.setdefault(match.group(1), []).append(match.group(2))
    return {name: tuple(addresses) for name, addresses in found.items()}
