# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a host was before the host stage first changed it, and how its files get back to it: pure functions of texts.

What was changed by others since then is theirs: only our own part is taken out of a file.
"""

from __future__ import annotations

import json

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_settings import BLOCK_MARKS, SHM

FILES, PARAMETERS, SHM_BYTES = "files", "parameters", "shm_bytes"


def path_of(state_dir):
    """Where the record lies."""
    return state_dir.rstrip("/") + "/host/before.json"


def read(text):
    """The record: ``files`` and ``parameters`` by name, ``shm_bytes``. A damaged one is an empty one: then only our own part is taken out."""
    try:
        record = json.loads(text or "{}")
        return {
            FILES: {str(name): str(content) for name, content in record.get(FILES, {}).items()},
            PARAMETERS: {str(name): str(value) for name, value in record.get(PARAMETERS, {}).items()},
            SHM_BYTES: None if record.get(SHM_BYTES) is None else int(record[SHM_BYTES]),
        }
    except (ValueError, TypeError, AttributeError):
        return {FILES: {}, PARAMETERS: {}, SHM_BYTES: None}


def render(record):
    """The text of a record; equal records give equal text."""
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def first_known(record, observed):
    """The record with what is observed now of things that it does not know yet: the first word stays."""
    return {
        FILES: dict(observed[FILES], **record[FILES]),
        PARAMETERS: dict(observed[PARAMETERS], **record[PARAMETERS]),
        SHM_BYTES: observed[SHM_BYTES] if record[SHM_BYTES] is None else record[SHM_BYTES],
    }


def fstab(text, before):
    """fstab with the line of /dev/shm that was there ``before``, or without one; ``before`` is None where we changed nothing."""
    if before is None:
        return text
    earlier = [line for line in before.splitlines() if _mounts_shm(line)]
    lines = []
    for line in text.splitlines():
        if _mounts_shm(line):
            lines += earlier
            earlier = []
        else:
            lines.append(line)
    return "".join(line + "\n" for line in lines)


def _mounts_shm(line):
    fields = line.split()
    return len(fields) > 1 and not line.lstrip().startswith("#") and fields[1] == SHM


def hosts(text, before, cluster):
    """The hosts file without the cluster's block, and with the lines of ``before`` that lost names to it."""
    begin, end = (mark % cluster for mark in BLOCK_MARKS)
    kept, block, inside = [], [], False
    for line in text.splitlines():
        inside = inside or line == begin
        (block if inside else kept).append(line)
        inside = inside and line != end
    if not block or end not in block:  # a mark whose partner is missing bounds nothing
        kept = [line for line in text.splitlines() if line not in (begin, end)]
    names = {name for line in block for name in line.partition("#")[0].split()[1:]}
    for position, line in enumerate((before or "").splitlines()):
        words = line.partition("#")[0].split()
        if line in kept or not names & set(words[1:]):
            continue
        shorter = [other for other in kept if other.partition("#")[0].split()[:1] == words[:1]]
        if shorter and set(shorter[0].partition("#")[0].split()) < set(words):
            kept[kept.index(shorter[0])] = line
        else:
            kept.insert(min(position, len(kept)), line)
    return "".join(line + "\n" for line in kept)


def parameters_of(text):
    """The kernel parameters in the text of a file of sysctl.d: ``{name: value}``."""
    pairs = [line.partition("=") for line in (text or "").splitlines() if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _sign, value in pairs}
