# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Why something was not done, before it is known or said for which host."""

from __future__ import annotations

from ..module_utils._finding import Finding


class Refused(Exception):
    """Something stands in the way; the fields are those of a ``Finding`` without its host."""

    def __init__(self, check: str, observed: str, expected: str, remedy: str) -> None:
        super().__init__(check, observed, expected, remedy)

    def finding(self, host: str) -> Finding:
        """The record for a host. Text that came from outside cannot steer a terminal."""
        return Finding(host, *(printable(str(part)) for part in self.args))


def printable(text: str) -> str:
    """The text without what is no letter, sign or white space."""
    return "".join(letter for letter in text if letter.isprintable() or letter.isspace())
