# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The refusal of a module: a host cannot have what was asked."""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding


class UnfitError(Exception):
    """A host cannot have what was asked, or must not.

    :ivar finding: the host, what was looked at there, observed, expected, and the remedy.
    """

    def __init__(self, host, check, observed, expected, remedy):
        self.finding = Finding(host, check, observed, expected, remedy)
        super().__init__(str(self.finding))


def unfit(check, observed, expected, remedy):
    """The refusal of the host that this runs on."""
    return UnfitError(os.uname().nodename, check, observed, expected, remedy)
