# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The SHA-256 of files, and the refusal of a file that has another one."""

from __future__ import annotations

import hashlib
import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import stamp
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

# Small enough to stay in a core's own cache between the read and the hash.
_BLOCK = 2**18


class ChangedError(Exception):
    """A file changed while it was read; the text is its path."""


def read_blocks(path, take, read=lambda count: None, block=_BLOCK, expected=None):
    """Read a file from its beginning to its end.

    :param take: called with a ``memoryview`` of each block; all but the last have ``block`` bytes. It is overwritten afterwards.
    :param read: called with each number of bytes read.
    :param expected: the :func:`stamp` that the file must have; without it, that it has when it is opened.
    :raises ChangedError: when the file is another than expected or changes while it is read.
    """
    buffer = memoryview(bytearray(block))
    with open(path, "rb", buffering=0) as stream:
        before = expected or stamp(os.fstat(stream.fileno()))
        held = block
        while held == block:
            held = _fill(stream, buffer)
            if held:
                take(buffer[:held])
                read(held)
        after = stamp(os.fstat(stream.fileno()))
    if before != after:
        raise ChangedError(path)


def _fill(stream, buffer):
    """Read until the buffer is full or the file ends; a network file system may give less at a time."""
    held = 0
    while held < len(buffer):
        count = stream.readinto(buffer[held:])
        if not count:
            break
        held += count
    return held


def sha256_of(path, read=lambda count: None):
    """The SHA-256 of a file's bytes, in hex.

    :param read: called with each number of bytes read.
    :raises ChangedError: when the file changes while it is read.
    """
    digest = hashlib.sha256()
    read_blocks(path, digest.update, read)
    return digest.hexdigest()


def check_sha256(subject, path, wanted, remedy):
    """Refuse a file with other bytes than it should have.

    :param subject: what the file is, for the finding.
    :param wanted: its SHA-256 in hex.
    :raises UnfitError: it is another, or somebody writes to it.
    """
    try:
        found = sha256_of(path)
    except ChangedError as error:
        observed = "%s changed while it was read" % path
        raise unfit(subject, observed, "a file that nobody writes to", "run again when it is whole") from error
    if found != wanted.lower():
        raise unfit(subject, "%s has sha256 %s" % (path, found), wanted, remedy)
