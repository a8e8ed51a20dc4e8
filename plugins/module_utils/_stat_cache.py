# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Facts about large files that cost a full read, kept until the file changes.

A file is taken for unchanged while its size, both its times and its inode are; that is what makes a run that changes nothing
cost seconds instead of a read of 700 GB. The change time is among them because no program can set it: a file that was
written to and given back its old modification time is read again. Decay on the disk is found by an explicit, full verification.
"""

from __future__ import annotations

import json
import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically


def stamp(status):
    """What a file must keep to be taken for unchanged: size, modification and change time in ns, inode.

    :param status: an ``os.stat_result``.
    """
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


class StatCache(object):
    """A JSON file of ``{key: [stamp, value]}``.

    :param path: where it is kept; a cache that cannot be read counts as empty.
    """

    def __init__(self, path):
        self._path = path
        self._changed = False
        try:
            with open(path) as stream:
                self._entries = json.load(stream)
        except (OSError, ValueError):
            self._entries = {}
        if not isinstance(self._entries, dict):
            self._entries = {}

    def get(self, key, status):
        """The value kept for ``key`` when the file is still as it was then, else ``None``."""
        entry = self._entries.get(key)
        return entry[1] if entry and entry[0] == stamp(status) else None

    def current(self, prefix):
        """What is kept of files that are still as they were then and whose key, a path, begins with ``prefix``, as (key, value)."""
        for key, (kept, value) in sorted(self._entries.items()):
            if key.startswith(prefix):
                try:
                    status = os.stat(key)
                except OSError:
                    continue
                if kept == stamp(status):
                    yield key, value

    def put(self, key, status, value):
        self._entries[key] = [stamp(status), value]
        self._changed = True

    def drop(self, key):
        """Forget what is kept for ``key``."""
        if self._entries.pop(key, None) is not None:
            self._changed = True

    def save(self):
        """Write the cache if anything in it changed."""
        if self._changed:
            write_atomically(os.path.abspath(self._path), json.dumps(self._entries), mode=0o600)
            self._changed = False
