# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The folder that weights come from, each file of it read once."""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _hash_pool, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import ChangedError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._piece_layers import PieceLayers
from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import StatCache, stamp


class WeightsSource(object):
    """What is known of the files of a folder.

    :param folder: the folder.
    :param cache: the file that keeps what was read; the layers of the hash trees are kept beside it.
    :ivar files: the files, as :func:`_weights.scan` returns them.
    :ivar unread: the paths of those that nobody has read since they were last written, or of whom something was not kept.
    :raises WeightsError: as :func:`_weights.scan`.
    """

    def __init__(self, folder, cache):
        self.folder = os.path.realpath(folder)
        self.files = _weights.scan(self.folder)
        self._cache = StatCache(cache)
        self._layers = PieceLayers(cache)
        self._known = {path: self._kept(path) for path in self.files}
        self.unread = [path for path in sorted(self.files) if self._known[path] is None]

    def unread_bytes(self):
        """How many bytes :meth:`read` will read."""
        return sum(self.files[path].st_size for path in self.unread)

    def read(self, report):
        """Read what nobody has read, and keep what it is.

        :param report: called with (bytes read so far, a note).
        :raises WeightsError: when a file changes while it is read, or cannot be read.
        """
        total = [0]

        def read(count):
            total[0] += count
            report(total[0], "hashing")

        full = {self._full(path): path for path in self.unread}

        def done(name, hashes):
            path = full[name]
            self._known[path] = {"sha256": hashes.sha256, "merkle_root": hashes.merkle_root}
            self._layers.keep(hashes.merkle_root, self.files[path].st_size, hashes.layer)
            self._cache.put(name, self.files[path], self._known[path])
            self._cache.save()  # each time, so that a run that is killed has lost what it was reading at most

        try:
            _hash_pool.hash_all({name: stamp(self.files[path]) for name, path in full.items()}, done, read)
        except ChangedError as error:
            raise _weights.WeightsError("%s: it changed while it was read" % full[str(error)], "files that nobody writes to") from error
        except OSError as error:
            raise _weights.WeightsError("%s: %s" % (full.get(error.filename, error.filename), error.strerror), "a readable file") from error
        self.unread = []

    def manifest(self):
        """The manifest; every file must have been read."""
        return _weights.manifest_of({path: dict(self._known[path], size=self.files[path].st_size) for path in self.files})

    def _kept(self, path):
        """What is known of a file, or ``None``. A cache from before merkle roots has the SHA-256 alone, as text."""
        value = self._cache.get(self._full(path), self.files[path])
        if not isinstance(value, dict) or set(value) != {"sha256", "merkle_root"}:
            return None
        return value if self._layers.has(value["merkle_root"], self.files[path].st_size) else None

    def _full(self, path):
        return os.path.join(self.folder, path)
