# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a host's settings were before the stage ``host`` first changed them, and how they come back: pure functions.

The record is ``{"files": {path: {"before": text, "after": text}}, "parameters": {name: value}, "shm": bytes}``. Of each thing it holds the
value from before the first change, and of files that others write, too, the text that the stage left, so that the whole file comes back
where nobody has changed it since.
"""

from __future__ import annotations

import json

from ._host_settings import SHM, hosts_without_block

NOTHING = {"files": {}, "parameters": {}, "shm": None}


def parse(text):
    """The record of a file's text, None for no file; ValueError when it is none."""
    found = json.loads(text) if text is not None else NOTHING
    if not isinstance(found, dict) or set(found) != set(NOTHING):
        raise ValueError("not what the stage host writes")
    return found


def render(record):
    """The record as text; None, for no file, when there is nothing in it."""
    return None if record == NOTHING else json.dumps(record, indent=1, sort_keys=True) + "\n"


def noted(record, files, parameters, shm):
    """The record with what a run is about to change.

    :param files: text before and after by path, of the files that differ.
    :param parameters: values before by name, of the parameters that differ.
    :param shm: the size of /dev/shm before in bytes; None where it stays.
    """
    known = {path: dict(entry, after=files[path][1]) if path in files else entry for path, entry in record["files"].items()}
    fresh = {path: {"before": before, "after": after} for path, (before, after) in files.items() if path not in known}
    return {
        "files": dict(known, **fresh),
        "parameters": dict(parameters, **record["parameters"]),
        "shm": shm if record["shm"] is None else record["shm"],
    }


def fstab_back(now, entry):
    """fstab as it was; where others have changed it since, with its old line of /dev/shm only, or without one."""
    if now == entry["after"]:
        return entry["before"]
    old = [line for line in entry["before"].splitlines(True) if _is_shm(line)]
    kept = []
    for line in now.splitlines(True):
        kept += old[:1] if _is_shm(line) else [line]
    return "".join(kept)


def _is_shm(line):
    fields = line.split()
    return len(fields) >= 4 and not line.lstrip().startswith("#") and fields[1] == SHM


def hosts_back(now, entry, cluster):
    """The hosts file as it was; where others have changed it since, or nothing is noted, without the cluster's block only."""
    if entry is not None and now == entry["after"]:
        return entry["before"]
    return hosts_without_block(now, cluster)
