# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What is wrong, where, and what to do about it: one record for the terminal, for JSON and for reports."""

from __future__ import annotations

import collections

_Fields = collections.namedtuple("_Fields", ["host", "check", "observed", "expected", "remedy"])


class Finding(_Fields):
    """One thing that is not as it must be.

    :ivar host: the host it was found on; ``localhost`` for what concerns the controller, the group's name for all hosts.
    :ivar check: what was looked at: a variable, a file, a port.
    :ivar observed: what is there.
    :ivar expected: what has to be there.
    :ivar remedy: what the operator can do, as an imperative.

    Every field is text in one line: runs of white space, newlines too, become one blank.
    """

    __slots__ = ()

    def __new__(cls, host: object, check: object, observed: object, expected: object, remedy: object) -> Finding:
        return super(Finding, cls).__new__(cls, *(" ".join(str(part).split()) for part in (host, check, observed, expected, remedy)))

    def __str__(self) -> str:
        return "{0.host}: {0.check}: {0.observed}; expected {0.expected}; {0.remedy}".format(self)

    def as_dict(self) -> dict[str, str]:
        """The record as plain data, with its line under ``text``."""
        return dict(self._asdict(), text=str(self))
