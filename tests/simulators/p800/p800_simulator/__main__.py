# SPDX-License-Identifier: MIT
"""SIMULATOR: python3 -m p800_simulator COMMAND."""

from __future__ import annotations

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())
