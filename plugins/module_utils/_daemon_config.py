# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Docker's daemon.json: merged with what is wanted, and what the difference asks of a running daemon."""

from __future__ import annotations

import json

NOTHING = "nothing"
RELOAD = "reload"
RESTART = "restart"

# What SIGHUP makes dockerd read again: https://docs.docker.com/reference/cli/dockerd/#configuration-reload-behavior
RELOADABLE = frozenset(
    (
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    )
)


def parse_config(text):
    """The options in the text of daemon.json; none when it is absent or empty. ValueError when it is no JSON object."""
    document = json.loads(text) if text and text.strip() else {}
    if not isinstance(document, dict):
        raise ValueError("the top level is no JSON object")
    return document


def merge(present, wanted):
    """``present`` with ``wanted`` in it: objects are merged, lists get what they lack, other values are replaced."""
    merged = dict(present)
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = merged[key] + [item for item in value if item not in merged[key]]
        else:
            merged[key] = value
    return merged


def differing(before, after):
    """The names of the options that two documents give another value, sorted."""
    return sorted(key for key in set(before) | set(after) if before.get(key) != after.get(key))


def needs(before, after):
    """What the daemon needs to take the options ``after`` instead of ``before``: NOTHING, RELOAD or RESTART."""
    names = differing(before, after)
    if not names:
        return NOTHING
    return RELOAD if RELOADABLE.issuperset(names) else RESTART


def render(options):
    """The text of daemon.json, the same for equal options."""
    return json.dumps(options, indent=2, sort_keys=True) + "\n"
