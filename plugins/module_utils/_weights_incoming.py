# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The folder in which weights arrive, inside the folder they are for.

What is served, or once was complete, never sees half a file: a lane of the swarm writes below ``.incoming`` (hidden, hence no weights), where
complete files are links to where they are. When all of it is proven, what arrived is moved to its place by renames.
"""

from __future__ import annotations

import os
import shutil
import stat

NAME = ".incoming"


def folder_of(folder):
    """Where the files for ``folder`` arrive."""
    return os.path.join(folder, NAME)


def arrived_bytes(folder, path, size):
    """How much of a file has arrived, in bytes, at most its size; 0 where it has not begun to."""
    arrived, end, place = 0, 0, os.path.join(folder_of(folder), path)
    if _allocated(place):
        with open(place, "rb") as stream:
            try:
                while end < size:
                    begin = os.lseek(stream.fileno(), end, os.SEEK_DATA)
                    end = os.lseek(stream.fileno(), begin, os.SEEK_HOLE)
                    arrived += end - begin
            except OSError:  # no data after this
                pass
    return min(size, arrived)


def allocated_bytes(folder, path, size):
    """How much room a file has where it arrives, in bytes, at most its size: a lane takes all of it before the first byte."""
    return min(size, _allocated(os.path.join(folder_of(folder), path)))


def _allocated(place):
    try:
        status = os.lstat(place)
    except OSError:
        return 0
    # A link stands for a file that is complete elsewhere; on some file systems it has blocks of its own.
    return status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else 0


def prepare(folder, complete, damaged, owner):
    """Make the folder ready for a lane.

    :param complete: paths of files that are whole and stay where they are.
    :param damaged: paths of files that are there and not right; they are repaired where the others arrive.
    :param owner: (user id, group id) that the lane runs as.
    """
    incoming = folder_of(folder)
    os.makedirs(incoming, mode=0o755, exist_ok=True)
    links = {os.path.join(incoming, path): os.path.join(folder, path) for path in complete}
    _remove_other_links(incoming, links)
    for path in damaged:
        target = os.path.join(incoming, path)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        # The copy that has begun to arrive knows more than the damaged one.
        if arrived_bytes(folder, path, 1):
            os.unlink(os.path.join(folder, path))
        else:
            os.replace(os.path.join(folder, path), target)
    for link, target in links.items():
        if os.path.islink(link):  # a lane that runs may be reading through it
            continue
        os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(target, link)
    for current, _folders, names in os.walk(incoming):
        os.chown(current, *owner)
        for name in names:
            path = os.path.join(current, name)
            if not os.path.islink(path):
                os.chown(path, *owner)


def _remove_other_links(incoming, links):
    """Links of an earlier run to files that are no longer complete: a lane would write through them to where it may not."""
    for current, folders, names in os.walk(incoming):
        for name in folders + names:
            path = os.path.join(current, name)
            if os.path.islink(path) and links.get(path) != os.readlink(path):
                os.unlink(path)


def settle(folder, proven):
    """Move what arrived to its place.

    :param proven: paths of files whose bytes were proven as they arrived.
    :returns: those that were moved.
    """
    incoming, moved = folder_of(folder), []
    real = os.path.realpath(incoming)
    for path in proven:
        source, target = os.path.join(incoming, path), os.path.join(folder, path)
        # A lane has few rights and we have all: a link that it may have left is not followed, be it a file or a folder.
        if os.path.lexists(source) and os.path.realpath(source) == os.path.join(real, path):
            os.chown(source, os.geteuid(), os.getegid())
            os.chmod(source, 0o644)
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            os.replace(source, target)
            moved.append(path)
    return moved


def clear(folder):
    """Take the folder away, with links and halves that nothing needs any more."""
    shutil.rmtree(folder_of(folder), ignore_errors=True)
