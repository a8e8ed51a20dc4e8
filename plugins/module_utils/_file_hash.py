# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The SHA-256 of files, and the refusal of a file that has another one."""

from __future__ import annotations

import hashlib
import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import stamp
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

_BLOCK = 2**22


class ChangedError(Exception):
    """A file changed while it was read; the text is its path."""


def sha256_of(path, read=lambda count: None):
    """The SHA-256 of a file's bytes, in hex.

    :param read: called with each number of bytes read.
    :raises ChangedError: when the file changes while it is read.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    with open(path, "rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        while True:
            count = stream.readinto(buffer)
            if not count:
                break
            digest.update(buffer[:count])
            read(count)
        after = os.fstat(stream.fileno())
    if stamp(before) != stamp(after):
        raise ChangedError(path)
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
