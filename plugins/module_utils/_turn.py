# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Runs that must not do the same thing at once take turns."""

from __future__ import annotations

import contextlib
import fcntl
import os


@contextlib.contextmanager
def turn(path, mode=0o755):
    """Hold a file's lock, waiting for whoever has it; the kernel gives it back however the holder ends.

    :param path: the file; it and its folder are made, and stay.
    :param mode: of the folder, where it is made.
    """
    os.makedirs(os.path.dirname(path), mode=mode, exist_ok=True)
    with open(path, "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
