# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Receipts: what a stage left on a host, as one small JSON file a stage.

A receipt is a function of the outcome alone. It holds no time and no run, so that a run that changes nothing writes nothing.
"""

from __future__ import annotations

import json
import os
import tempfile

FOLDER = "receipts"


def path_of(state_dir, stage):
    """The file of one stage's receipt."""
    return os.path.join(state_dir, FOLDER, stage + ".json")


def read(state_dir, stage):
    """The receipt of a stage as a dict; empty when there is none or it cannot be read, which means "do the stage again"."""
    try:
        with open(path_of(state_dir, stage)) as stream:
            receipt = json.load(stream)
    except (OSError, ValueError):
        return {}
    return receipt if isinstance(receipt, dict) else {}


def render(stage, content):
    """The text of a receipt; equal content gives equal text."""
    return json.dumps(dict(content, stage=stage), indent=2, sort_keys=True) + "\n"


def write(state_dir, stage, content):
    """Write a receipt unless it already says the same.

    :returns: whether the file changed.
    """
    if read(state_dir, stage) == dict(content, stage=stage):
        return False
    write_atomically(path_of(state_dir, stage), render(stage, content))
    return True


def remove(state_dir, stage):
    """Take a receipt away, and the folders above it that hold nothing else: they were made for receipts."""
    os.unlink(path_of(state_dir, stage))
    for folder in (os.path.join(state_dir, FOLDER), state_dir):
        try:
            os.rmdir(folder)
        except OSError:
            return


def write_atomically(path, text, mode=0o644):
    """Put ``text``, or bytes, at ``path`` so that a reader, or a crash at any moment, meets the old file or the new one, never a part."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix="." + os.path.basename(path), dir=folder)
    try:
        with os.fdopen(handle, "wb" if isinstance(text, bytes) else "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder):
    """Make a rename durable: without this a power cut may bring back the old name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
