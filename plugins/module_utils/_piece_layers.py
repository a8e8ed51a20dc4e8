# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The layers of hash trees that were made while files were read, so that a torrent can be cut anew without reading them again.

They lie in ``layers/`` beside the source's cache, one file each, called by the merkle root in hex; the content is the layer of
:func:`_merkle.granularity`, one hash after another. A file that is a single piece of every torrent needs none.
"""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically

FOLDER = "layers"


class PieceLayers(object):
    """The layers beside a cache.

    :param cache: the path of the cache; nothing is made until something is kept.
    """

    def __init__(self, cache):
        self._folder = os.path.join(os.path.dirname(os.path.abspath(cache)), FOLDER)

    def has(self, root, size):
        """Whether all is there that a torrent needs to know of a file."""
        if not _needed(size):
            return True
        try:
            return os.stat(self.path(root)).st_size == _merkle.HASH * _merkle.count(size, _merkle.granularity(size))
        except OSError:
            return False

    def get(self, root, size):
        """The layer of a file as a list of hashes, or ``None`` where it is missing. Whether it belongs to the root is not looked at."""
        if not self.has(root, size):
            return None
        try:
            with open(self.path(root), "rb") as stream:
                return _merkle.split(stream.read())
        except (OSError, ValueError):
            return None

    def keep(self, root, size, layer):
        """Keep the layer of a file, unless it needs none.

        :param layer: as :func:`_hash_pool.hashes_of` gives it.
        """
        if _needed(size) and not self.has(root, size):
            write_atomically(self.path(root), layer, mode=0o600)

    def path(self, root):
        """Where the layer of a file is kept."""
        return os.path.join(self._folder, root)


def _needed(size):
    return _merkle.granularity(size) > _merkle.LEAF
