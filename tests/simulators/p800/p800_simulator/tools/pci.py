# SPDX-License-Identifier: MIT
"""SIMULATOR: setpci and lspci are pciutils' own, pointed at the simulated bus. What setpci writes is read back by all."""

from __future__ import annotations

from typing import Sequence

from .base import Answer, Program, Session, delegate


def on_simulated_bus(session: Session, argv: Sequence[str]) -> Answer:
    folder = session.places.overlay + "/sys/bus/pci"
    return delegate(["-A", "linux-sysfs", "-O", "sysfs.path=" + folder, *argv])


PROGRAMS = (
    Program("setpci", "/usr/bin/setpci", "pciutils' setpci on the simulated bus", on_simulated_bus),
    Program("lspci", "/usr/bin/lspci", "pciutils' lspci on the simulated bus", on_simulated_bus),
)
