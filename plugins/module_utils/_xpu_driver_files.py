# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What an installer brought to a host, found by looking before and after, so that it can be taken away again to the last file.

The record lies in a folder of its own: ``before.json`` while installers run, so that one that is killed is not forgotten, then ``brought.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import tarfile
import time

from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically

# Where drivers and their tools are put, and how deep an installer adds to what is there; what is new is listed as a whole. None of them is
# where a distribution's packages put programs, so that one that is installed at the same time is not taken for the driver's.
PLACES = (
    ("/usr/local", 3),
    ("/usr/src", 1),
    ("/etc/depmod.d", 1),
    ("/etc/init.d", 1),
    ("/etc/ld.so.conf.d", 1),
    ("/etc/modprobe.d", 1),
    ("/etc/modules-load.d", 1),
    ("/etc/profile.d", 1),
    ("/etc/systemd/system", 2),
    ("/etc/udev/rules.d", 1),
)
MODULE_FOLDER_DEPTH = 12
BEFORE, BROUGHT = "before.json", "brought.json"
# An installer that was killed is run again soon; what came to a host much later came from elsewhere and must not be taken for its own.
BEFORE_COUNTS_SECONDS = 24 * 3600
NOTHING = {"paths": [], "packages": [], "replaced": None}


def places_of(kernel):
    """:data:`PLACES`, and the folder of the running kernel's modules: another kernel may be installed at the same time."""
    return (*PLACES, ("/lib/modules/%s" % kernel, MODULE_FOLDER_DEPTH))


def listing(places, root="/"):
    """Every path below the places, no deeper than each says; links are not followed."""
    found = set()
    for place, depth in places:
        top = os.path.join(root, place.lstrip("/"))
        for folder, names, files in os.walk(top):
            found.update(os.path.join(folder, name) for name in names + files)
            if folder[len(top) :].count("/") + 1 >= depth:
                del names[:]
    return found


def new_paths(before, places, root="/"):
    """The paths that are there now and were not before, those within new folders too, sorted."""
    found = set()
    for path in listing(places, root) - before:
        found.add(path)
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, names, files in os.walk(path):
                found.update(os.path.join(folder, name) for name in names + files)
    return sorted(found)


class Record(object):
    """What was brought to the host, in the ``folder``. ``root`` is where the places lie, another than ``/`` for a made-up host."""

    def __init__(self, folder, places, root="/"):
        self.folder, self._places, self._root = folder, places, root

    def read(self):
        """What was brought: ``{"paths", "packages", "replaced"}``; empty where nothing was."""
        return dict(NOTHING, **(_load(self._path(BROUGHT)) or {}))

    def begin(self):
        """Note what is there. What was noted before an installer that was killed still counts, for a day."""
        path = self._path(BEFORE)
        if _load(path) is None or time.time() - os.stat(path).st_mtime > BEFORE_COUNTS_SECONDS:
            write_atomically(path, json.dumps(sorted(listing(self._places, self._root))))

    def end(self, packages=(), replaced=None):
        """Add what came since :meth:`begin`; returns the whole record.

        :param packages: names of the distribution's packages that were not there before.
        :param replaced: the version of a driver that was there before ours and that nobody can bring back; the first one counts.
        """
        record = self.read()
        came = new_paths(set(_load(self._path(BEFORE)) or ()), self._places, self._root)
        kept = {path for path in record["paths"] if os.path.lexists(path)}
        record = {
            "paths": sorted(kept.union(came)),
            "packages": sorted(set(record["packages"]).union(packages)),
            "replaced": record["replaced"] or replaced,
        }
        write_atomically(self._path(BROUGHT), json.dumps(record, indent=1, sort_keys=True) + "\n")
        os.unlink(self._path(BEFORE))
        return record

    def keep(self, name, text):
        """Keep the text of a file that is about to be replaced; the first one counts."""
        if not os.path.exists(self._path(name)):
            write_atomically(self._path(name), text)

    def kept(self, name):
        """The text that was kept, None where none was."""
        try:
            with open(self._path(name), encoding="utf-8") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def _path(self, name):
        return os.path.join(self.folder, name)


def _load(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return None


def uninstaller(paths):
    """The uninstaller among the paths that were brought: a file below /usr/local/xpu* with that word in its name; None where there is none.

    Only that of an older generation, ``uninstall_rt.sh``, is documented, so the name is searched for and not known.
    """
    candidates = [path for path in paths if "uninstall" in posixpath.basename(path).lower() and "/usr/local/xpu" in path]
    return next((path for path in candidates if os.path.isfile(path) and not os.path.islink(path)), None)


def remove(paths):
    """Remove files and links, then folders that are empty: what others put into them stays."""
    for path in sorted(paths, reverse=True):
        if os.path.isdir(path) and not os.path.islink(path):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def unpack(archive, folder):
    """Unpack an archive whose members stay within the folder.

    :raises ValueError: it is no archive, or a member is neither file, folder nor link within, with the reason in one line.
    """
    try:
        with tarfile.open(archive) as stream:
            members = stream.getmembers()
            for member in members:
                _stay_within(member)
            stream.extractall(folder, members)  # noqa: S202  each member was looked at
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError("cannot be unpacked: %s" % (str(error).splitlines() or ["damaged"])[0]) from error


def _stay_within(member):
    names = [member.name]
    if member.issym():
        names.append(posixpath.join(posixpath.dirname(member.name), member.linkname))
    elif member.islnk():
        names.append(member.linkname)
    elif not (member.isfile() or member.isdir()):
        raise ValueError("holds %s, which is no file, folder or link" % member.name)
    for name in names:
        if posixpath.isabs(name) or posixpath.isabs(member.linkname) or posixpath.normpath(name).split("/")[0] == "..":
            raise ValueError("holds %s, which leads out of it" % member.name)


def folder_with(folder, names):
    """The folder at or below ``folder`` that has all the files of these names; None where none has."""
    for place, _folders, files in sorted(os.walk(folder)):
        if set(names) <= set(files):
            return place
    return None
