# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a module would change, decided before anything is changed.

A module first turns what it observed into a list of changes, then either shows them (check mode) or makes them,
in order. So check mode, diff and the real run cannot disagree: they read the same list.
"""

from __future__ import annotations

import os
import tempfile
from collections import namedtuple

Change = namedtuple("Change", "action subject before after make")
Change.__doc__ = """One change: ``action`` in words, ``subject`` with its text ``before`` and ``after`` for the diff,
and ``make(module)``, which makes it."""


def read_text(path):
    """The text of a file, None when there is none. Other errors (OSError, UnicodeDecodeError) are the caller's."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def file_change(path, before, after, mode=0o644, secret=False):
    """A list with the change of a file from text ``before`` (None: absent) to ``after``; empty when nothing differs.

    A file that exists with another mode than a ``secret`` one must have is a change too. Text of a secret file is
    not shown.
    """
    same_mode = not secret or before is None or os.stat(path).st_mode & 0o777 == mode
    if before == after and same_mode:
        return []
    hidden = "(not shown, mode %04o)\n" % mode
    return [
        Change(
            action="write %s" % path,
            subject=path,
            before=("(another content or mode)\n" if before is not None else "") if secret else before or "",
            after=hidden if secret else after,
            make=lambda module: write_text(module, path, after, mode),
        )
    ]


def removal(path, before):
    """A list with the change that takes a file with text ``before`` away, which something else may do meanwhile; empty for None."""
    return (
        [] if before is None else [Change("remove %s" % path, path, before, "", lambda module: os.path.lexists(path) and os.unlink(path))]
    )


def command_change(argv, subject, before, after):
    """A list with the change that a command makes to ``subject``."""
    return [Change(" ".join(argv), subject, before, after, lambda module: module.run_command(argv, check_rc=True))]


def write_text(module, path, text, mode):
    """Replace a file as a whole; in place where it is a mount point, as /etc/hosts is in a container."""
    path = os.path.realpath(path)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    if not os.path.exists(path):  # atomic_move keeps the mode of what is there, and a secret is never readable by others
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
    module.atomic_move(temporary, path, unsafe_writes=True)
    os.chmod(path, mode)


def settle(module, changes):
    """Make the changes unless in check mode; returns ``changed``, ``actions`` and ``diff`` for exit_json."""
    if not module.check_mode:
        for change in changes:
            change.make(module)
    return {
        "changed": bool(changes),
        "actions": [change.action for change in changes],
        "diff": [
            {"before_header": change.subject, "after_header": change.subject, "before": change.before, "after": change.after}
            for change in changes
        ],
    }
