# SPDX-License-Identifier: MIT
"""SIMULATOR: the service's half of call.py: it forks, and the child becomes whoever called."""

from __future__ import annotations

import os
import socket
import sys

from .call import ADDRESS, INTEGER
from .runner import run

_LARGEST = 1 << 18  # bytes of arguments and environment


class Standby:
    """:ivar descriptor: is ready to be read when somebody calls."""

    def __init__(self) -> None:
        if os.path.lexists(ADDRESS):
            os.unlink(ADDRESS)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mask = os.umask(0o177)  # only root may have root run something
        try:
            self._server.bind(ADDRESS)
        finally:
            os.umask(mask)
        self._server.listen(256)
        self.descriptor = self._server.fileno()

    def take(self) -> None:
        """Let a child answer who calls."""
        connection, _address = self._server.accept()
        with connection:
            if os.fork():
                _bury()
                return
            try:
                connection.send(b"%d" % _answer(connection))
            except BaseException:  # nothing of the service's goes on in the child
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)


def _bury() -> None:
    """Take notice of children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(connection: socket.socket) -> int:
    """In the child: become the caller, and run what it asked for."""
    message, ancillary, _flags, _address = connection.recvmsg(_LARGEST, socket.CMSG_SPACE(3 * INTEGER))
    packed = ancillary[0][2]
    for place in (0, 1, 2):
        os.dup2(int.from_bytes(packed[place * INTEGER : (place + 1) * INTEGER], sys.byteorder), place)
    name, folder, count, *rest = os.fsdecode(message).split("\0")
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(dict(variable.split("=", 1) for variable in rest[int(count) :]))
    status = run(name, rest[: int(count)])
    sys.stdout.flush()
    sys.stderr.flush()
    return status
