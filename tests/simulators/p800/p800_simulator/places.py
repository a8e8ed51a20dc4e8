# SPDX-License-Identifier: MIT
"""SIMULATOR: where its files lie on a host."""

from __future__ import annotations

import os
from dataclasses import dataclass

ROOT_VARIABLE = "P800_SIMULATOR_ROOT"


@dataclass(frozen=True)
class Places:
    """Paths of a host.

    :ivar root: ``/`` on a host; a folder in tests of the simulator itself, in which nothing of the machine is touched.
    """

    root: str = "/"

    @property
    def is_host(self) -> bool:
        return os.path.realpath(self.root) == "/"

    def path(self, absolute: str) -> str:
        """Where a host's path is on this machine."""
        return os.path.join(self.root, absolute.lstrip("/"))

    @property
    def library(self) -> str:
        return self.path("/usr/local/lib/p800-simulator")

    @property
    def folder(self) -> str:
        return self.path("/var/lib/p800-simulator")

    @property
    def state(self) -> str:
        return os.path.join(self.folder, "state.json")

    @property
    def overlay(self) -> str:
        return os.path.join(self.folder, "overlay")

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "commands.log")

    @property
    def lock(self) -> str:
        return os.path.join(self.folder, "lock")


def of_this_host() -> Places:
    return Places(os.environ.get(ROOT_VARIABLE, "/"))
