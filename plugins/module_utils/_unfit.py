# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The refusal of a module: this host cannot have what was asked."""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding


class UnfitError(Exception):
    """This host cannot have what was asked.

    :ivar finding: what was looked at on this host, observed, expected, and the remedy.
    """

    def __init__(self, check, observed, expected, remedy):
        self.finding = Finding(os.uname().nodename, check, observed, expected, remedy)
        super().__init__(str(self.finding))
