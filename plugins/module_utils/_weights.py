# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""A folder of model weights and its manifest.

The manifest names every file of the folder with its size, its SHA-256 and the root of its hash tree in BitTorrent v2 (:mod:`_merkle`);
its **root**, one hash over paths, sizes and SHA-256, is the identity of the weights. The source makes the manifest, each host proves that it
holds the same.
"""

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import json
import os
import re
import struct
import threading

from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import ChangedError, sha256_of

INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
REVISIONS = ".revisions"
_REVISION = re.compile(r"[0-9a-f]{16}$")
# The format allows 100 MB of header (huggingface/safetensors, safetensors/src/tensor.rs); more is not a header but damage.
_LARGEST_HEADER = 100_000_000


class WeightsError(Exception):
    """Weights that are not what they should be.

    :ivar observed: what was found, beginning with the file's name where there is one.
    :ivar expected: what should have been there.
    """

    def __init__(self, observed, expected):
        super().__init__("%s (expected %s)" % (observed, expected))
        self.observed = observed
        self.expected = expected


def scan(folder):
    """The files of a folder, as ``{path below it: os.stat_result}``.

    Hidden files and folders are no weights (downloads leave ``.cache`` and ``.gitattributes``). A linked file stands for the file it
    points to, as in Hugging Face's cache; a linked folder is refused, for nobody could say what belongs to the weights.

    :raises WeightsError: when the folder cannot be read or holds a linked folder or a dangling link.
    """
    files = {}

    def fail(error):
        raise WeightsError("%s: %s" % (error.filename, error.strerror), "a readable folder of weights")

    for current, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(os.path.join(current, name)):
                raise WeightsError("%s: a linked folder" % os.path.join(current, name), "folders and files only")
        for name in names:
            if not name.startswith("."):
                path = os.path.join(current, name)
                try:
                    files[os.path.relpath(path, folder)] = os.stat(path)
                except OSError as error:
                    fail(error)
    if not files:
        raise WeightsError("%s: no files" % folder, "a folder of weights")
    return files


def manifest_of(entries):
    """The manifest of ``{path: {"size", "sha256", and "merkle_root" where it is known}}``.

    :returns: dict of ``root`` (the identity), ``bytes`` and ``files``. The merkle roots are no part of the identity: they follow from the
        bytes that the hashes name, and a manifest that was made without them stays the same.
    """
    files = {path: _entry(entries[path]) for path in sorted(entries)}
    lines = "".join("%s %d %s\n" % (entry["sha256"], entry["size"], path) for path, entry in files.items())
    return {
        "root": "sha256:" + hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest(),
        "bytes": sum(entry["size"] for entry in files.values()),
        "files": files,
    }


def _entry(entry):
    known = {"size": int(entry["size"]), "sha256": entry["sha256"]}
    return dict(known, merkle_root=entry["merkle_root"]) if "merkle_root" in entry else known


def is_inside(path):
    """Whether a manifest's path stays below its folder."""
    return bool(path) and not os.path.isabs(path) and os.path.normpath(path) == path and path.split("/")[0] not in ("..", ".")


def compare_sizes(files, published):
    """Hold the folder against a list without reading any file.

    :param files: as :func:`scan` returns them.
    :param published: as :func:`_published_list.parse` returns it; files it does not name are let pass.
    :raises WeightsError: naming the first file that is missing or of another size, and how many more there are.
    """
    problems = []
    for path in sorted(published):
        size = published[path].get("size")
        if path not in files:
            wanted = "the file" if size is None else "%d bytes" % size
            problems.append(("%s: missing" % path, wanted + ", as the manifest says"))
        elif size is not None and files[path].st_size != size:
            problems.append(("%s: %d bytes" % (path, files[path].st_size), "%d bytes, as the manifest says" % size))
    _raise_first(problems)


def compare_hashes(manifest, published):
    """Hold the bytes that were read against a list, by the hashes that both tell.

    :raises WeightsError: naming the first file whose hash differs, and how many more there are.
    """
    _raise_first(
        [
            ("%s: %s %s" % (path, name, manifest["files"][path][name]), "%s, as the manifest says" % published[path][name])
            for path in sorted(published)
            for name in ("sha256", "merkle_root")
            if name in published[path] and published[path][name] != manifest["files"][path].get(name, published[path][name])
        ]
    )


def compare_with_pinned(manifest, pinned):
    """Hold a manifest against the one the cluster is pinned to.

    :raises WeightsError: naming the first file that differs.
    """
    compare_hashes(manifest, {path: entry for path, entry in pinned["files"].items() if path in manifest["files"]})
    if manifest["root"] == pinned["root"]:
        return
    extra = sorted(set(manifest["files"]) - set(pinned["files"]))
    raise WeightsError("%s: a file more" % extra[0] if extra else "root %s" % manifest["root"], pinned["root"])


def _raise_first(problems):
    if problems:
        observed, expected = problems[0]
        more = " (and %d more)" % (len(problems) - 1) if len(problems) > 1 else ""
        raise WeightsError(observed + more, expected)


def hash_files(folder, paths, done, report, workers=None):
    """Read files and hash them, several at once.

    :param done: called with (path, sha256) for each file, from this thread.
    :param report: called with (bytes read so far, a note).
    :param workers: how many at once; as many as there are processors, at most eight, unless given.
    :raises WeightsError: when a file changes while it is read.
    """
    lock = threading.Lock()
    total = [0]

    def read(count):
        with lock:
            total[0] += count
            report(total[0], "hashing")

    with concurrent.futures.ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        running = {pool.submit(sha256_of, os.path.join(folder, path), read): path for path in paths}
        for future in concurrent.futures.as_completed(running):
            try:
                done(running[future], future.result())
            except ChangedError as error:
                raise WeightsError("%s: it changed while it was read" % error, "files that nobody writes to") from error


def check_config(folder, files, keys):
    """Whether the model's configuration has certain keys.

    :param files: as :func:`scan` returns them.
    :param keys: the keys; when there are none, the file is not looked at.
    :raises WeightsError: naming the first key that is missing.
    """
    if keys:
        document = _read_json(folder, files, CONFIG, "the model's configuration, with %s" % ", ".join(keys))
        _raise_first([("%s: no %s" % (CONFIG, key), "%s, as the accelerator's profile says" % key) for key in keys if key not in document])


def check_model(folder, files):
    """Whether a folder that holds safetensors is a whole model: configuration readable, every shard there and well formed.

    A folder without safetensors is not judged.

    :param files: as :func:`scan` returns them.
    :raises WeightsError: naming the first thing that is wrong.
    """
    shards = [path for path in sorted(files) if path.endswith(".safetensors")]
    if not shards and INDEX not in files:
        return
    _read_json(folder, files, CONFIG, "the model's configuration")
    tensors = {path: tensors_of(os.path.join(folder, path), path) for path in shards}
    if INDEX not in files:
        return
    weight_map = _read_json(folder, files, INDEX, "the index of the shards").get("weight_map")
    if not isinstance(weight_map, dict):
        raise WeightsError("%s: no weight_map" % INDEX, "the shard of every tensor")
    _raise_first([("%s: missing" % shard, "the shard, as %s says" % INDEX) for shard in sorted(set(weight_map.values()) - set(tensors))])
    _raise_first(
        [
            ("%s: no tensor %s" % (shard, tensor), "the tensor, as %s says" % INDEX)
            for tensor, shard in sorted(weight_map.items())
            if tensor not in tensors[shard]
        ]
    )


def tensors_of(path, name):
    """The names of the tensors of a safetensors file, by its header, whose offsets must fit the file exactly.

    https://huggingface.co/docs/safetensors describes the format: eight bytes of length, a JSON header, the data.

    :raises WeightsError: when the header is damaged or the file was cut.
    """
    expected = "a whole safetensors file"
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_LARGEST_HEADER, size - 8):
                raise ValueError("a header of %d bytes" % length)
            header = json.loads(stream.read(length).decode("utf-8"))
        header.pop("__metadata__", None)
        end = max([entry["data_offsets"][1] for entry in header.values()] or [0])
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise WeightsError("%s: %s" % (name, error), expected) from error
    if 8 + length + end != size:
        raise WeightsError("%s: %d bytes" % (name, size), "%d bytes, as its own header says" % (8 + length + end))
    return set(header)


def _read_json(folder, files, name, what):
    if name not in files:
        raise WeightsError("%s: missing" % name, what)
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            document = json.load(stream)
    except ValueError as error:
        raise WeightsError("%s: not JSON: %s" % (name, error), what) from error
    if not isinstance(document, dict):
        raise WeightsError("%s: not an object" % name, what)
    return document


def revision_folder(path, root):
    """Where the bytes of a manifest live on a host.

    ``path`` is what is served. As a rule it is a link to one of several revisions beside it, so that a switch is one rename. A real
    folder, brought by the operator, is its own and only revision.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        return path
    return os.path.join(path + REVISIONS, revision_name(root))


def revision_name(root):
    """The name of the folder that holds the bytes of a manifest."""
    return root.rpartition(":")[2][:16]


def other_revisions(path, root):
    """The revisions beside the one of a manifest, the newest first, as folders; none where the served path is a real folder."""
    parent = path + REVISIONS
    if not os.path.isdir(parent) or revision_folder(path, root) == path:
        return []
    names = [name for name in os.listdir(parent) if _REVISION.match(name) and name != revision_name(root)]
    folders = [os.path.join(parent, name) for name in names if not os.path.islink(os.path.join(parent, name))]
    return sorted(folders, key=lambda folder: (-os.stat(folder).st_mtime_ns, folder))


def link_of(path):
    """What ``path`` points to; empty when it is no link."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENOTDIR):
            return ""
        raise


def switch(path, folder):
    """Make ``path`` a link to ``folder``, in one step that a reader sees wholly or not at all."""
    temporary = path + ".switching"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(folder, temporary)
    os.rename(temporary, path)
