# SPDX-License-Identifier: MIT
"""SIMULATOR of a P800 host: installs itself on this host, which then shows XPUs. What it showed before is forgotten."""

from __future__ import annotations

import argparse
import subprocess
import sys

from . import commands, host
from .places import of_this_host


def main(source: str) -> int:
    """:param source: the folder that the package was unpacked in."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="All other options are those of p800-simulator init.")
    parser.add_argument("--ready", action="store_true", help="with OFED, driver and XDR, as p800-simulator ready")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[,KEY=VALUE...]", help="what is wrong with the host")
    arguments, rest = parser.parse_known_args()
    places = of_this_host()
    try:
        host.install(places, source)
    except host.HostError as error:
        print("p800-simulator: %s" % error, file=sys.stderr)
        return 1
    calls = [["init", *rest]]
    if arguments.ready:
        calls.append(["ready"])
    calls += [["fault", "set", *fault.split(",")] for fault in arguments.fault]
    code = next((failed for failed in map(commands.main, calls) if failed), 0)
    if code == 0 and places.is_host:
        code = subprocess.run(["systemctl", "restart", host.UNIT_NAME], check=False).returncode
    return code
