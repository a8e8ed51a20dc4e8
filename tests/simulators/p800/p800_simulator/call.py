# SPDX-License-Identifier: MIT
"""SIMULATOR: how a simulated program is called: by the simulator's service, which has everything loaded already (standby.py).

A real adapter's tools are small programs in C. Ours are Python: to load them takes far longer than to answer, and a host is asked for dozens
of answers at a time. So the caller hands its arguments, environment and open files to the service. Where that is not there, as early in a
boot, or does not listen to this user, the program loads and runs by itself.

Imports only what every Python has loaded, and ``_socket``, because ``socket`` alone takes as long as all the rest.
"""

from __future__ import annotations

import _socket
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import List, Optional

ADDRESS = "/run/p800-simulator.sock"
INTEGER = 4  # bytes of a descriptor in a message, as the kernel has them
FAILED = 70  # exit status of a simulator that cannot answer
# Those that wait for each other: they must not hold the lock meanwhile, and end with whoever called them.
ALONE = ("ib_write_bw",)


def run(name: str, argv: List[str]) -> int:
    """Run a simulated program; returns its exit status."""
    status = None if name in ALONE else _ask(name, argv)
    if status is not None:
        return status
    from .runner import run as run_here

    return run_here(name, argv)


def _ask(name: str, argv: List[str]) -> Optional[int]:
    """Have the service run it; None where it cannot, and has done nothing."""
    words = [name, os.getcwd(), str(len(argv)), *argv, *("%s=%s" % pair for pair in os.environ.items())]
    descriptors = b"".join(number.to_bytes(INTEGER, sys.byteorder) for number in (0, 1, 2))
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        connection.connect(ADDRESS)
        connection.sendmsg([os.fsencode("\0".join(words))], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    except OSError:
        return None
    answer = connection.recv(INTEGER)
    return int(answer) if answer else FAILED
