# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the host stage added to a host's boot line, and what was there before: the record that leads back."""

from __future__ import annotations

import json

PARAMETERS, MADE_FOLDER, HAD = "parameters", "made_folder", "had"


def path_of(state_dir):
    """Where the record lies."""
    return state_dir.rstrip("/") + "/host/boot_line.json"


def read(text):
    """The record: ``parameters`` that were added ever, ``made_folder``: whether GRUB's folder came with them, ``had``: those that one kernel
    had before, by kernel. A damaged one is an empty one.
    """
    try:
        record = json.loads(text or "{}")
        return {
            PARAMETERS: [str(one) for one in record.get(PARAMETERS, [])],
            MADE_FOLDER: bool(record.get(MADE_FOLDER)),
            HAD: {str(kernel): [str(one) for one in had] for kernel, had in record.get(HAD, {}).items()},
        }
    except (ValueError, TypeError, AttributeError):
        return {PARAMETERS: [], MADE_FOLDER: False, HAD: {}}


def render(record):
    """The text of a record; equal records give equal text."""
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def with_added(record, parameters, made_folder=False, had=None):
    """The record with ``parameters`` that are added now, and what was there of them; of what it knows already the first word stays."""
    new = [one for one in parameters if one not in record[PARAMETERS]]
    known = {kernel: list(found) for kernel, found in record[HAD].items()}
    for kernel, found in (had or {}).items():
        known[kernel] = known.get(kernel, []) + [one for one in found if one in new]
    return {
        PARAMETERS: record[PARAMETERS] + new,
        MADE_FOLDER: record[MADE_FOLDER] or made_folder,
        HAD: {kernel: found for kernel, found in sorted(known.items()) if found},
    }


def without(record, parameters):
    """The record once ``parameters`` are taken away again."""
    had = {kernel: [one for one in found if one not in parameters] for kernel, found in record[HAD].items()}
    return dict(
        record,
        **{
            PARAMETERS: [one for one in record[PARAMETERS] if one not in parameters],
            HAD: {kernel: found for kernel, found in had.items() if found},
        },
    )
