# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""A host as the reading modules see it: a tree of files and the answers of a few commands.

In life the tree is ``/``. In a unit test it is a captured tree, in which the answer of a command lies
in ``.commands/`` under the command line with its slashes turned into underscores. Nothing here writes.

Where a host's kernel shows less than there is, as that of a container or of a virtual machine may, an overlay adds the rest: a folder
laid out like ``/`` whose files are taken before the host's own.
"""

from __future__ import annotations

import os
import subprocess

COMMAND_SECONDS = 20
# As the documentation fragment host_tree has them.
HOST_TREE_ARGUMENTS = {"root": {"type": "path", "default": "/"}, "overlay": {"type": "path"}}


def host_tree(params):
    """The tree that the options of a module ask for."""
    return HostTree(params["root"], params["overlay"])


class HostTree:
    """Read-only access to the files below ``root``; what is missing or unreadable reads as ``None``.

    :param overlay: a folder on the machine that reads, whose files come before those below ``root``; None for none.
    """

    def __init__(self, root="/", overlay=None):
        self.root = root
        self.is_live = os.path.realpath(root) == "/"
        self._roots = [root] if overlay is None else [overlay, root]

    def path(self, path):
        """Where the host's ``path`` (absolute) lies on the machine that reads it."""
        places = self._places(path)
        return next((place for place in places if os.path.lexists(place)), places[-1])

    def _places(self, path):
        name = path.lstrip("/").replace("\0", "?")  # a damaged file may name what no file can be called
        return [os.path.join(root, name) for root in self._roots]

    def text(self, path):
        """The content of a text file, undecodable bytes replaced; None when it cannot be read."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError:
            return None

    def content(self, path):
        """The bytes of a file, such as a device's configuration space; None when it cannot be read."""
        try:
            with open(self.path(path), "rb") as stream:
                return stream.read()
        except OSError:
            return None

    def line(self, path):
        """The content of a one-line file such as those of /proc and /sys, without its line end."""
        text = self.text(path)
        return None if text is None else text.strip()

    def names(self, path):
        """The names in a directory, sorted; empty when there is none. Those of an overlay come on top of the host's own."""
        found = set()
        for place in self._places(path):
            try:
                found.update(os.listdir(place))
            except OSError:
                continue
        return sorted(found)

    def link(self, path):
        """Where a symbolic link points; None when it is none or is gone, as those of processes often are."""
        try:
            return os.readlink(self.path(path))
        except OSError:
            return None

    def exists(self, path):
        """Whether the path exists, links followed."""
        return os.path.exists(self.path(path))

    def command(self, *argv):
        """The standard output of a read-only command, or None when it is missing, fails or hangs."""
        if not self.is_live:
            return self.text("/.commands/" + " ".join(argv).replace("/", "_"))
        environment = dict(os.environ, LC_ALL="C", PATH="/usr/sbin:/usr/bin:/sbin:/bin")
        try:
            done = subprocess.run(  # pylint: disable=subprocess-run-check
                list(argv),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_SECONDS,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
