# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The folder in which weights arrive, inside the folder they are for.

What is served, or once was complete, never sees half a file: a lane of the swarm writes below ``.incoming`` (hidden, hence no weights), where
complete files are links to where they are. When all of it is proven, what arrived is moved to its place by renames.
"""

from __future__ import annotations

import os
import shutil

NAME = ".incoming"


def folder_of(folder):
    """Where the files for ``folder`` arrive."""
    return os.path.join(folder, NAME)


def arrived_bytes(folder, path, size):
    """How much room a file takes that has begun to arrive, in bytes, at most its size; 0 where it has not."""
    try:
        status = os.lstat(os.path.join(folder_of(folder), path))
    except OSError:
        return 0
    return min(size, status.st_blocks * 512)


def prepare(folder, complete, damaged, owner):
    """Make the folder ready for a lane.

    :param complete: paths of files that are whole and stay where they are.
    :param damaged: paths of files that are there and not right; they are repaired where the others arrive.
    :param owner: (user id, group id) that the lane runs as.
    """
    incoming = folder_of(folder)
    os.makedirs(incoming, mode=0o755, exist_ok=True)
    for path in damaged:
        target = os.path.join(incoming, path)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        # The copy that has begun to arrive knows more than the damaged one.
        if arrived_bytes(folder, path, 1):
            os.unlink(os.path.join(folder, path))
        else:
            os.replace(os.path.join(folder, path), target)
    for path in complete:
        target = os.path.join(incoming, path)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(os.path.join(folder, path), target)
    for current, _folders, names in os.walk(incoming):
        os.chown(current, *owner)
        for name in names:
            path = os.path.join(current, name)
            if not os.path.islink(path):
                os.chown(path, *owner)


def settle(folder, proven):
    """Move what arrived to its place.

    :param proven: paths of files whose bytes were proven as they arrived.
    :returns: those that were moved.
    """
    incoming, moved = folder_of(folder), []
    for path in proven:
        source, target = os.path.join(incoming, path), os.path.join(folder, path)
        if os.path.lexists(source) and not os.path.islink(source):
            os.chown(source, os.geteuid(), os.getegid())
            os.chmod(source, 0o644)
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            os.replace(source, target)
            moved.append(path)
    return moved


def clear(folder):
    """Take the folder away, with links and halves that nothing needs any more."""
    shutil.rmtree(folder_of(folder), ignore_errors=True)
