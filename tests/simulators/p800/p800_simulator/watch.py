# SPDX-License-Identifier: MIT
"""SIMULATOR: keeps the overlay as a kernel would: what is written to a file is read back in the kernel's form, GIDs follow the addresses.

One process that waits for a write to one of the overlay's writable files or another state (inotify), for a change of an address or a
link (netlink), for who calls a simulated program (standby.py), and, while a fault counts, for a second of time. What it writes itself wakes
it once more, when there is nothing to do.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
from typing import Set

from . import live, render, show, tree
from .places import Places
from .standby import Standby
from .state import StateError, locked

IN_CLOSE_WRITE, IN_MOVED_TO = 0x8, 0x80
RTMGRP_LINK, RTMGRP_IPV4_IFADDR = 0x1, 0x10
COUNTING = "counters-rising"


def serve(places: Places) -> None:
    """Until it is ended. Says by sd_notify(3) when the overlay is that of this boot."""
    network = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    network.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR))
    files = _Files()
    counting = _refresh(places, files)
    standby = Standby()
    _notify()
    while True:
        sources = [network.fileno(), files.descriptor, standby.descriptor]
        ready, _writable, _failed = select.select(sources, [], [], 1.0 if counting else None)
        if standby.descriptor in ready:
            standby.take()
            if len(ready) == 1:
                continue
        if network.fileno() in ready:
            network.recv(65536)
        if files.descriptor in ready:
            os.read(files.descriptor, 65536)
        counting = _refresh(places, files)


def _refresh(places: Places, files: "_Files") -> bool:
    """Show what is there now; says whether time alone changes it."""
    try:
        with locked(places):
            now = live.read(places)
            state = show.current(places, now)
            # Who removes a module's file does so while this goes on, and it must not come back.
            show.everything(places, state, now, again=False)
            files.watch({places.folder}, IN_MOVED_TO)
            files.watch(_writable_folders(places, render.overlay(state, now, places.overlay)), IN_CLOSE_WRITE)
            return COUNTING in state.faults
    except StateError:  # no host was made yet, or it is being taken away
        return False


def _writable_folders(places: Places, shown: tree.Tree) -> Set[str]:
    return {os.path.dirname(places.overlay + path) for path, entry in shown.items() if isinstance(entry, tree.File) and entry.mode & 0o200}


class _Files:
    """The folders whose files are watched for writes."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._library.inotify_init()

    def watch(self, folders: Set[str], events: int) -> None:
        """A folder that is watched already stays so; one that was made anew is another."""
        for folder in sorted(folders):
            self._library.inotify_add_watch(self.descriptor, folder.encode(), events)


def _notify() -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
