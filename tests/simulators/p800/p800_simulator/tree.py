# SPDX-License-Identifier: MIT
"""SIMULATOR: files as data, and a folder made to hold exactly these."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Set, Union


@dataclass(frozen=True)
class File:
    """:ivar content: bytes as they are, text in UTF-8."""

    content: Union[str, bytes]
    mode: int = 0o444

    @property
    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.encode("utf-8")


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Node:
    """A character device."""

    major: int
    minor: int
    mode: int


@dataclass(frozen=True)
class Folder:
    """A folder that is there even without files."""


Entry = Union[File, Link, Node, Folder]
Tree = Dict[str, Entry]  # by path from the root, such as /proc/modules

# A path that the overlay hides from the host's own tree: a link that leads nowhere exists, but nothing can be read through it.
HIDDEN = Link("/p800-simulator/not-there")


def line(text: object, mode: int = 0o444) -> File:
    """A file of one line, as most of sysfs are."""
    return File("%s\n" % text, mode)


def relative(path: str, target: str) -> Link:
    """A link at ``path`` to another path of the tree, relative as those of sysfs are."""
    return Link(os.path.relpath(target, os.path.dirname(path)))


def write(root: str, wanted: Tree, seen: Optional[Mapping[str, bytes]] = None) -> None:
    """Make the folder hold what is wanted and nothing else. What is right already is left alone.

    :param seen: content of files that others write, as it was read. One that is being written since is left alone, too.
    """
    known = {path.strip("/"): content for path, content in (seen or {}).items()}
    folders = {""}
    for path, entry in wanted.items():
        parts = path.strip("/").split("/")
        above = parts if isinstance(entry, Folder) else parts[:-1]
        folders.update("/".join(above[: count + 1]) for count in range(len(above)))
    leaves = {path.strip("/"): entry for path, entry in wanted.items() if not isinstance(entry, Folder)}
    _remove_others(root, folders, leaves)
    for folder in sorted(folders):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    for path, entry in leaves.items():
        place = os.path.join(root, path)
        if path not in known or _still_has(place, known[path], entry):
            put(place, entry)


def _still_has(place: str, content: bytes, entry: Entry) -> bool:
    """Whether a file has what was read in it, and is not just being written: then it is empty for a moment."""
    try:
        with open(place, "rb") as stream:
            return stream.read() == content and bool(content or not getattr(entry, "data", b""))
    except OSError:
        return True


def put(place: str, entry: Entry) -> None:
    """One file, link or node; what is right already is left alone."""
    if not _is(place, entry):
        _make(place, entry)


def _remove_others(root: str, folders: Set[str], leaves: Mapping[str, Entry]) -> None:
    for folder, names, files in os.walk(root):
        here = os.path.relpath(folder, root)
        here = "" if here == "." else here
        for name in list(names):
            path = os.path.join(here, name)
            place = os.path.join(folder, name)
            if os.path.islink(place):
                if path not in leaves:
                    os.unlink(place)
            elif path not in folders:
                shutil.rmtree(place)
                names.remove(name)
        for name in files:
            path = os.path.join(here, name)
            if path not in leaves:
                os.unlink(os.path.join(folder, name))


def _is(place: str, entry: Entry) -> bool:
    try:
        status = os.lstat(place)
    except OSError:
        return False
    if isinstance(entry, Link):
        return stat.S_ISLNK(status.st_mode) and os.readlink(place) == entry.target
    if stat.S_IMODE(status.st_mode) != entry.mode if isinstance(entry, (File, Node)) else False:
        return False
    if isinstance(entry, Node):
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(entry.major, entry.minor)
    if isinstance(entry, File) and stat.S_ISREG(status.st_mode) and status.st_size == len(entry.data):
        with open(place, "rb") as stream:
            return stream.read() == entry.data
    return False


def _make(place: str, entry: Entry) -> None:
    """In one step, so that a reader sees either the old or the new."""
    part = place + ".p800-part"
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    if os.path.lexists(part):
        os.unlink(part)
    if isinstance(entry, Link):
        os.symlink(entry.target, part)
    elif isinstance(entry, Node):
        os.mknod(part, stat.S_IFCHR | entry.mode, os.makedev(entry.major, entry.minor))
        os.chmod(part, entry.mode)
    elif isinstance(entry, File):
        with open(part, "wb") as stream:
            stream.write(entry.data)
        os.chmod(part, entry.mode)
    os.replace(part, place)
