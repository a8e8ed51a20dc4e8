# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""SHA-256, merkle root and kept layer of many files, each read once, by several processes at once.

Processes, because Python's lock is taken for every leaf of 16 KiB: threads would wait for each other. They are forked and speak over
pipes alone, which needs neither a module that can be imported again (an AnsiballZ module cannot) nor shared memory.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import multiprocessing
import multiprocessing.connection
import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import ChangedError, read_blocks

# Small enough to stay in a core's own cache, where the second hash finds it.
_BLOCK = 2**18
# With two threads each block costs a handover, so it is larger.
_BLOCK_OF_TWO = 2**22
_REPORT = 2**24  # bytes; a message costs as much as hashing 20 KiB
_MOST_WORKERS = 32

Hashes = collections.namedtuple("Hashes", ["sha256", "merkle_root", "layer"])
Hashes.__doc__ = """What one read of a file tells: its SHA-256 and BEP 52 root in hex, and the layer to keep, as bytes (:mod:`_merkle`)."""

_Job = collections.namedtuple("_Job", ["path", "stamp", "two_threads"])


def hashes_of(path, stamp, read=lambda count: None, two_threads=False):
    """Read a file once.

    :param stamp: what the file is taken for, as :func:`_stat_cache.stamp` gives it; its size comes first.
    :param read: called with each number of bytes read.
    :param two_threads: whether the two hashes are made at the same time.
    :raises ChangedError: when the file is another, or changes while it is read.
    """
    grain = _merkle.granularity(stamp[0])
    block = _BLOCK_OF_TWO if two_threads else _BLOCK
    step = min(grain, block)
    digest = hashlib.sha256()
    hashes = []

    def one_after_the_other(data):
        digest.update(data)
        hashes.extend(_merkle.fold(_merkle.leaves(data), _merkle.LEAF, step))

    if two_threads:
        with concurrent.futures.ThreadPoolExecutor(1) as beside:

            def at_once(data):
                flat = beside.submit(digest.update, data)
                hashes.extend(_merkle.fold(_merkle.leaves(data), _merkle.LEAF, step))
                flat.result()  # the block is overwritten next

            read_blocks(path, at_once, read, block, stamp)
    else:
        read_blocks(path, one_after_the_other, read, block, stamp)
    layer = _merkle.fold(hashes, step, grain)
    return Hashes(digest.hexdigest(), _merkle.root(layer, grain), b"".join(layer))


def hash_all(files, done, read, workers=None):
    """Read files and hash them, the largest first.

    A file that is so large that the others would be ready long before it is read by two threads.

    :param files: ``{path: stamp}``, as for :func:`hashes_of`.
    :param done: called with (path, :class:`Hashes`) for each file as it is ready.
    :param read: called with each number of bytes read.
    :param workers: how many processes; as many as there are processors for us, at most 32, unless given.
    :raises ChangedError: when a file is another, or changes while it is read.
    :raises OSError: when a file cannot be read, or a process was killed; it names the file.
    """
    workers = workers or min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    share = sum(stamp[0] for stamp in files.values()) / workers
    waiting = [_Job(path, files[path], files[path][0] > share) for path in sorted(files, key=lambda path: (files[path][0], path))]
    processes = []
    pipes = {}  # ours: the job that is done at its other end
    try:
        for _worker in range(min(workers, len(waiting))):
            ours = _start(processes, list(pipes))
            pipes[ours] = waiting.pop()
            ours.send(pipes[ours])
        while pipes:
            for pipe in multiprocessing.connection.wait(list(pipes)):
                answer = _answer(pipe, pipes[pipe].path)
                if isinstance(answer, int):
                    read(answer)
                    continue
                done(pipes[pipe].path, answer)
                if waiting:
                    pipes[pipe] = waiting.pop()
                    pipe.send(pipes[pipe])
                else:
                    del pipes[pipe]
                    pipe.close()
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _start(processes, others):
    """Start a process; returns our end of its pipe."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, others + [ours]), daemon=True)
    process.start()
    processes.append(process)
    theirs.close()
    return ours


def _answer(pipe, path):
    """The next thing that a process says: a number of bytes read, or :class:`Hashes`."""
    try:
        kind, content = pipe.recv()
    except EOFError:
        raise OSError(None, "the process that read it was killed", path) from None
    if kind == "changed":
        raise ChangedError(path)
    if kind == "failed":
        raise OSError(content[0], content[1], path)
    return Hashes(*content) if kind == "hashes" else content


def _work(pipe, inherited):
    """What a process does until its pipe is closed, as it is when the module ends in whatever way."""
    for other in inherited:
        other.close()  # else an end that we hold would keep the pipe of a sibling open
    try:
        while True:
            _do(pipe.recv(), pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _do(job, pipe):
    unsaid = [0]

    def read(count):
        unsaid[0] += count
        if unsaid[0] >= _REPORT:
            pipe.send(("read", unsaid[0]))
            unsaid[0] = 0

    try:
        answer = "hashes", tuple(hashes_of(job.path, job.stamp, read, job.two_threads))
    except ChangedError:
        answer = "changed", None
    except BrokenPipeError:
        raise
    except OSError as error:
        answer = "failed", (error.errno, error.strerror or str(error))
    pipe.send(("read", unsaid[0]))
    pipe.send(answer)
