# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a publisher says of the files of a model: path, and size and SHA-256 as far as the list tells them."""

from __future__ import annotations

import json
import re

from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import WeightsError, is_inside, manifest_of

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_EXPECTED = "a manifest of ours as JSON, a listing of Hugging Face or ModelScope as JSON, or the output of sha256sum"


def of(options):
    """The list that a module was given, as :func:`parse` returns it; empty where it was given none.

    :param options: the module's options; ``published`` is a file, ``published_text`` what is in one.
    :raises WeightsError: when the file cannot be read, and as :func:`parse`.
    """
    path = options["published"]
    if not path:
        return parse(options["published_text"]) if options["published_text"] else {}
    try:
        with open(path, encoding="utf-8") as stream:
            return parse(stream.read())
    except OSError as error:
        raise WeightsError("%s: %s" % (path, error.strerror), "the publisher's list of files") from error


def parse(text):
    """A publisher's list as ``{path: {"size", "sha256", "merkle_root", each where it is told}}``.

    It is a manifest of ours, what :func:`_hugging_face` or :func:`_model_scope` describes, or the lines of ``sha256sum``. Hidden files are
    no weights, so what a list says of them (``.gitattributes``) is left out.

    :raises WeightsError: when it is none of them, or names a file outside the folder.
    """
    try:
        files = _of_json(json.loads(text)) if text.lstrip()[:1] in ("{", "[") else _of_lines(text)
        for entry in files.values():
            _check(entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError("a list that cannot be read: %s" % error, _EXPECTED) from error
    for path in files:
        if not is_inside(path):
            raise WeightsError("%s: a name outside the folder" % path, _EXPECTED)
    files = {path: entry for path, entry in files.items() if not any(part.startswith(".") for part in path.split("/"))}
    if not files:
        raise WeightsError("an empty list", _EXPECTED)
    return files


def _of_json(document):
    if isinstance(document, list):
        return _hugging_face(document)
    return _model_scope(document["Data"]["Files"]) if "Data" in document else manifest_of(document["files"])["files"]


def _hugging_face(entries):
    """What ``https://huggingface.co/api/models/OWNER/NAME/tree/REVISION?recursive=true`` answers: an array of ``path``, ``size``, ``type``
    (``file`` or ``directory``) and, for what is kept in LFS, ``lfs`` with the SHA-256 as its ``oid`` (huggingface.js, ApiIndexTreeEntry).
    Other files have only git's id, which is no SHA-256 of the bytes: their size is all that the list tells."""
    files = {}
    for entry in entries:
        if entry["type"] == "file":
            files[entry["path"]] = {"size": entry["size"]}
            if entry.get("lfs"):
                files[entry["path"]].update(size=entry["lfs"]["size"], sha256=entry["lfs"]["oid"])
    return files


def _model_scope(entries):
    """What ``https://modelscope.cn/api/v1/models/OWNER/NAME/repo/files?Revision=REVISION&Recursive=true`` answers below ``Data.Files``:
    ``Path``, ``Size``, ``Sha256`` and ``Type`` (``blob`` or ``tree``), as modelscope/hub/api.py (``get_model_files``) and
    modelscope/hub/file_download.py read it."""
    files = {}
    for entry in entries:
        if entry["Type"] != "tree":
            files[entry["Path"]] = {"size": entry["Size"]}
            if entry.get("Sha256"):
                files[entry["Path"]]["sha256"] = entry["Sha256"]
    return files


def _of_lines(text):
    files = {}
    for line in text.splitlines():
        if line.strip():
            sha256, blank, path = line.partition(" ")
            if not _SHA256.match(sha256) or not blank:
                raise ValueError("line %r" % line[:80])
            path = path[1:]  # a blank for text, an asterisk for binary
            files[path[2:] if path.startswith("./") else path] = {"sha256": sha256}
    return files


def _check(entry):
    if not isinstance(entry.get("size", 0), int) or entry.get("size", 0) < 0:
        raise ValueError("a size of %r" % (entry["size"],))
    for name in ("sha256", "merkle_root"):
        empty = name == "merkle_root" and entry.get(name) == ""
        if name in entry and not empty and not _SHA256.match(entry[name]):
            raise ValueError("a %s of %r" % (name, entry[name]))
