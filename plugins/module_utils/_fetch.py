# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Fill a folder of weights from a mirror: what is lacking arrives beside its place and takes it when size and hash are right."""

from __future__ import annotations

import concurrent.futures
import glob
import hashlib
import os
import threading
import time
from collections import namedtuple

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import read_blocks
from ansible_collections.flagos.kunlunxin.plugins.module_utils._mirror import BrokenError, RefusedError, read_into

# Small enough to stay in a core's own cache between network, hash and disk; as much is lost at most when a run is killed.
_BLOCK = 2**18
_LONGEST_PAUSE = 30  # seconds
_PAUSES_OF_A_QUESTION = (0.5, 2)  # seconds
_RUN_AGAIN = "run weights.yml again; what was received is kept"

Wanted = namedtuple("Wanted", ["path", "size", "sha256", "kept"])
Wanted.__doc__ = """A file that a folder lacks: its path below it, its size in bytes and its SHA-256 in hex, each ``None`` where nobody says it,
and how many bytes of it are there from a run that was broken off."""


class FetchError(Exception):
    """A file that cannot be had.

    :ivar observed: what was found, beginning with the file's path.
    :ivar expected: what should have been.
    :ivar remedy: what helps.
    :ivar for_all: whether it will be the same for every other file.
    """

    def __init__(self, path, observed, expected, remedy, for_all=False):
        self.observed = "%s: %s" % (path, observed)
        super(FetchError, self).__init__(self.observed)
        self.expected = expected
        self.remedy = remedy
        self.for_all = for_all


class _StoppedError(Exception):
    """Another file's failure is this one's too."""


def part_of(folder, path, sha256):
    """Where a file arrives. Its name is hidden, hence no weights, and has the hash, so that nobody continues another revision's."""
    parent, name = os.path.split(os.path.join(folder, path))
    return os.path.join(parent, ".%s.%spart" % (name, sha256[:16] + "." if sha256 else ""))


def lacking(folder, published):
    """The files that are not there or of another size, by path. None is read.

    A file whose hash nobody says is never continued: nothing would tell whether its halves belong together.

    :param published: as :func:`_published_list.parse` returns it.
    :raises FetchError: when a file would be written outside the folder.
    """
    found = []
    for path in sorted(published):
        size, sha256 = published[path].get("size"), published[path].get("sha256")
        _check_inside(folder, path)
        try:
            there = os.stat(os.path.join(folder, path)).st_size
        except OSError:
            there = None
        if there is None or size not in (None, there):
            found.append(Wanted(path, size, sha256, _kept(folder, path, size, sha256)))
    return found


def _check_inside(folder, path):
    """Whether a file's place is below the folder, wherever links in it lead."""
    if _is_name(path) and _weights.is_inside(path):
        root = os.path.realpath(folder)
        parent = os.path.realpath(os.path.dirname(os.path.join(folder, path)))
        if parent == os.path.normpath(os.path.join(root, os.path.dirname(path))):
            return
    raise FetchError(ascii(path)[1:-1], "a name outside the folder", "names below it, and no linked folder", "mend weights_published", True)


def _is_name(path):
    """Whether a file can have this name at all; a list in JSON can say others."""
    try:
        return b"\0" not in path.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _kept(folder, path, size, sha256):
    if not sha256:
        return 0
    try:
        kept = os.stat(part_of(folder, path, sha256)).st_size
    except OSError:
        return 0
    return kept if size is None or kept <= size else 0


def with_sizes(mirror, wanted, at_once):
    """The same files, with their sizes by the mirror where the list does not say them.

    :raises FetchError: when the mirror does not give one.
    """

    def ask(one):
        if one.size is not None:
            return one
        size = _size_of(mirror, one.path)
        return one._replace(size=size, kept=one.kept if size is None or one.kept <= size else 0)

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(ask, wanted))


def check_offered(mirror, one):
    """Whether the mirror has a file, of the size that is said of it. Costs one question and no download.

    :raises FetchError: when it has not.
    """
    _check_size(one, _size_of(mirror, one.path))


def _size_of(mirror, path):
    pauses = list(_PAUSES_OF_A_QUESTION)
    while True:
        try:
            return mirror.size_of(path)
        except RefusedError as error:
            raise _as_fetch_error(path, error) from error
        except BrokenError as error:
            if not pauses:
                raise _as_fetch_error(path, error) from error
        time.sleep(pauses.pop(0))


def _check_size(one, size):
    if None not in (one.size, size) and one.size != size:
        raise FetchError(
            one.path, "%d bytes on the mirror" % size, "%d bytes, as weights_published says" % one.size, "mend weights_mirror, or that list"
        )


def _as_fetch_error(path, error):
    if isinstance(error, RefusedError):
        return FetchError(path, error.observed, error.expected, error.remedy, error.for_all)
    return FetchError(path, error, "a connection", "see that the mirror is up and reached, then " + _RUN_AGAIN, True)


class _Part(object):
    """A file that arrives, and the hash of what is there of it."""

    def __init__(self, name):
        self.offset = 0
        self.digest = hashlib.sha256()
        self._stream = open(name, "ab", buffering=0)  # noqa: SIM115  closed by close
        if self._stream.tell():
            read_blocks(name, self.digest.update)
            self.offset = self._stream.tell()

    def begin_anew(self):
        self._stream.truncate(0)
        self.offset = 0
        self.digest = hashlib.sha256()

    def take(self, data):
        written = 0
        while written < len(data):
            written += self._stream.write(data[written:])
        self.digest.update(data)
        self.offset += len(data)

    def flush(self):
        os.fsync(self._stream.fileno())

    def close(self):
        self._stream.close()


class Fetcher(object):
    """Fetches files, several at once.

    :param mirror: a :class:`_mirror.Mirror`.
    :param folder: where they go.
    :param report: called with (bytes there of the wanted files, the path of one that arrives).
    :param retries: how often a connection is made again for a file after which nothing more of it came.
    :param pause: the first pause before that, in seconds; each further one is twice as long.
    :ivar received: how many bytes came, those of begun files that had to be begun anew included.
    """

    def __init__(self, mirror, folder, report, retries=5, pause=1.0):
        self._mirror = mirror
        self._folder = folder
        self._report = report
        self._retries = retries
        self._pause = pause
        self._there = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.received = 0

    def fetch(self, wanted, at_once):
        """Fetch files. What fails for every file ends all of it; what fails for one lets the others come.

        :param wanted: :class:`Wanted` files.
        :raises FetchError: naming the first that failed, and how many more did.
        """
        self._there = {one.path: one.kept for one in wanted}
        failed = []
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            running = [pool.submit(self._one, one) for one in sorted(wanted, key=lambda one: (-(one.size or 0), one.path))]
            for future in concurrent.futures.as_completed(running):
                try:
                    future.result()
                except _StoppedError:
                    continue
                except FetchError as error:
                    failed.append(error)
        if failed:
            first = next((error for error in failed if error.for_all), failed[0])
            if len(failed) > 1:
                first.observed += " (and %d more)" % (len(failed) - 1)
            raise first

    def _one(self, one):
        try:
            if self._stop.is_set():
                raise _StoppedError
            self._bring(one)
        except (BrokenError, RefusedError) as error:
            raise self._failed(_as_fetch_error(one.path, error)) from error
        except FetchError as error:
            raise self._failed(error) from error
        except OSError as error:
            problem = FetchError(one.path, error.strerror or error, "a folder that can be written", "mend it, then " + _RUN_AGAIN, True)
            raise self._failed(problem) from error

    def _failed(self, error):
        if error.for_all:
            self._stop.set()
        return error

    def _bring(self, one):
        """Have one file in its place."""
        place, name = os.path.join(self._folder, one.path), part_of(self._folder, one.path, one.sha256)
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        _forget_other_revisions(place, name)
        if not one.kept and os.path.lexists(name):
            os.unlink(name)
        part = _Part(name)
        try:
            continued = part.offset > 0
            self._complete(one, part)
            if continued and part.digest.hexdigest() != one.sha256:  # what was kept may be what is wrong
                part.begin_anew()
                self._complete(one, part)
            if one.sha256 not in (None, part.digest.hexdigest()):
                raise FetchError(
                    one.path,
                    "sha256 %s" % part.digest.hexdigest(),
                    "%s, as weights_published says" % one.sha256,
                    "mend weights_mirror, or that list; the file was removed",
                )
            part.flush()
        except (FetchError, RefusedError, BrokenError) as error:
            if isinstance(error, FetchError) or not part.offset:
                os.unlink(name)
            raise
        finally:
            part.close()
        os.chmod(name, 0o644)  # who sends it to the hosts is not who fetched it
        os.replace(name, place)

    def _complete(self, one, part):
        """Receive until all bytes are there, by as many connections as it takes."""
        furthest, failures = part.offset, 0
        while part.offset != one.size:
            try:
                self._receive(one, part)
                return
            except BrokenError as error:
                if part.offset > furthest:
                    furthest, failures = part.offset, 0
                failures += 1
                if failures > self._retries:
                    raise
                if self._stop.wait(max(error.wait, min(_LONGEST_PAUSE, self._pause * 2 ** (failures - 1)))):
                    raise _StoppedError from error
                if not one.sha256:
                    part.begin_anew()

    def _receive(self, one, part):
        """Receive by one connection, up to the end."""
        buffer = memoryview(bytearray(_BLOCK))
        response, offset, size = self._mirror.open(one.path, part.offset)
        with response:
            _check_size(one, size)
            if offset != part.offset:
                part.begin_anew()
            while True:
                count = read_into(response, buffer)
                if not count:
                    break
                part.take(buffer[:count])
                self._tell(one.path, part.offset, count)
                if self._stop.is_set():
                    raise _StoppedError
                if one.size is not None and part.offset > one.size:
                    _check_size(one, part.offset)
        size = size if one.size is None else one.size
        if size is not None and part.offset < size:
            raise BrokenError("the connection broke after %d of %d bytes" % (part.offset, size))

    def _tell(self, path, offset, count):
        with self._lock:
            self.received += count
            self._there[path] = offset
            self._report(sum(self._there.values()), path)


def _forget_other_revisions(place, name):
    """Take away what arrived of the same file for another revision."""
    parent, base = os.path.split(place)
    for other in glob.glob(os.path.join(glob.escape(parent), ".%s.%s.part" % (glob.escape(base), "[0-9a-f]" * 16))):
        if other != name:
            os.unlink(other)
