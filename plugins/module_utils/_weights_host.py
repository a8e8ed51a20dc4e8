# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The weights of one host, held against the manifest of the source."""

from __future__ import annotations

import os
import shutil

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt, _weights, _weights_incoming
from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import StatCache

STAGE = "weights"


class HostWeights(object):
    """What a host holds of a manifest.

    :param path: what is served, see :func:`_weights.revision_folder`.
    :param manifest: as :func:`_weights.manifest_of` returns it.
    :param state_dir: the folder with the host's state.
    :ivar folder: where the files are or belong.
    :ivar absent: files that are not there, or not of the right size.
    :ivar unread: files of the right size whose bytes nobody has hashed since they were last written.
    :ivar wrong: files of the right size whose bytes are others.
    :ivar elsewhere: of the absent ones, those that another revision on this host holds, as {path: that file}.
    """

    def __init__(self, path, manifest, state_dir):
        self.path = path
        self.manifest = manifest
        self.state_dir = state_dir
        self.folder = _weights.revision_folder(path, manifest["root"])
        self._cache = StatCache(os.path.join(state_dir, STAGE + ".verified.json"))
        self._status = {}
        self.absent, self.unread, self.wrong = [], [], []
        self.elsewhere = {}

    def look(self, trust=True):
        """Sort the files by what is known of them, without reading any.

        :param trust: whether a file that was hashed before and has not been written to since counts as known.
        """
        self.absent, self.unread, self.wrong = [], [], []
        self.elsewhere = {}
        for path, entry in sorted(self.manifest["files"].items()):
            status = self._stat(path)
            if status is None or status.st_size != entry["size"]:
                self.absent.append(path)
                continue
            self._status[path] = status
            known = self._cache.get(self._full(path), status) if trust else None
            if known is None:
                self.unread.append(path)
            elif known != entry["sha256"]:
                self.wrong.append(path)
        self._find_elsewhere()

    def _find_elsewhere(self):
        """Equal bytes in another revision, known by hash: they are neither sent nor stored twice."""
        others = os.path.dirname(self.folder)
        if not self.absent or self.folder == self.path or not os.path.isdir(others):
            return
        held = {}
        for full, sha256 in self._cache.current(others + os.sep):
            held.setdefault(sha256, full)
        for path in self.absent:
            full = held.get(self.manifest["files"][path]["sha256"])
            if full and not full.startswith(self.folder + os.sep):
                self.elsewhere[path] = full

    def take_from_elsewhere(self):
        """Give the files of other revisions their names in this one too; a file that has two names is stored once."""
        for path, other in sorted(self.elsewhere.items()):
            target = self._full(path)
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            if os.path.lexists(target):
                os.unlink(target)
            os.link(other, target)
            # A link more is a change of the inode: whoever knew the file by its times has to learn the new ones.
            self._know(path)
            self._cache.put(other, os.stat(other), self.manifest["files"][path]["sha256"])
        self._cache.save()

    def take_arrived(self, proven):
        """Move to its place what arrived and was proven on the way; returns those files."""
        moved = _weights_incoming.settle(self.folder, [path for path in sorted(proven) if path in self.manifest["files"]])
        for path in moved:
            self._know(path)
        self._cache.save()
        return moved

    def _know(self, path):
        self._cache.put(self._full(path), os.stat(self._full(path)), self.manifest["files"][path]["sha256"])

    def complete(self):
        """The files that are known to be right."""
        return sorted(set(self.manifest["files"]) - set(self.absent) - set(self.unread) - set(self.wrong))

    def read(self, report, keep=True):
        """Hash the unread files, and sort them anew.

        :param report: called with (bytes read so far, a note).
        :param keep: whether to remember on disk what was read; not so in check mode.
        """

        def done(path, sha256):
            if sha256 != self.manifest["files"][path]["sha256"]:
                self.wrong.append(path)
            self._cache.put(self._full(path), self._status[path], sha256)
            if keep:
                self._cache.save()

        _weights.hash_files(self.folder, self.unread, done, report)
        self.unread = []
        self.wrong.sort()

    def missing_bytes(self):
        """What has still to come, in bytes; what a broken transfer left of a file counts as here, and so does an earlier revision's."""
        return self._lacking(_weights_incoming.arrived_bytes)

    def needed_bytes(self):
        """The room that this takes, in bytes; what a broken transfer was given counts as there."""
        return self._lacking(_weights_incoming.allocated_bytes)

    def _lacking(self, there):
        lacking = 0
        for path in self.absent:
            if path not in self.elsewhere:
                size, status = self.manifest["files"][path]["size"], self._stat(path)
                lacking += max(0, size - max(status.st_size if status else 0, there(self.folder, path, size)))
        return lacking

    def free_bytes(self):
        """Room on the file system that the files go to."""
        folder = self.folder
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def receipt(self):
        """The stage's receipt once every file is right."""
        return {
            "path": self.path,
            "revision": self.folder,
            "root": self.manifest["root"],
            "bytes": self.manifest["bytes"],
            "files": len(self.manifest["files"]),
        }

    def superfluous(self, keep):
        """Revisions to take away so that ``keep`` remain, this one counted; none for 0, which keeps all."""
        return _weights.other_revisions(self.path, self.manifest["root"])[keep - 1 :] if keep else []

    def pending(self, keep=0):
        """What is left to do once every file is right, in words.

        :param keep: how many revisions remain, see :meth:`superfluous`.
        """
        actions = []
        if self.folder != self.path and _weights.link_of(self.path) != self.folder:
            actions.append("link %s to %s" % (self.path, self.folder))
        if _receipt.read(self.state_dir, STAGE) != dict(self.receipt(), stage=STAGE):
            actions.append("write %s" % _receipt.path_of(self.state_dir, STAGE))
        return actions + ["remove %s" % folder for folder in self.superfluous(keep)]

    def settle(self, keep=0):
        """Serve these weights, write the receipt, and take away revisions that are too many; the files must be right."""
        if self.folder != self.path and _weights.link_of(self.path) != self.folder:
            _weights.switch(self.path, self.folder)
        _receipt.write(self.state_dir, STAGE, self.receipt())
        for folder in self.superfluous(keep):
            shutil.rmtree(folder)

    def _full(self, path):
        return os.path.join(self.folder, path)

    def _stat(self, path):
        try:
            return os.stat(self._full(path))
        except OSError:
            return None
