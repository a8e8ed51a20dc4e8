# SPDX-License-Identifier: MIT
"""SIMULATOR: which programs there are, and which of them a host has at the moment."""

from __future__ import annotations

from typing import List

from .machine import Machine
from .tools import bandwidth, grub, kmod, pci, rdma, xpu_smi
from .tools.base import Program

ALWAYS = (*kmod.PROGRAMS, *rdma.PROGRAMS, *pci.PROGRAMS, bandwidth.PROGRAM, grub.PROGRAM)
BY_NAME = {program.name: program for program in (*ALWAYS, *rdma.OFED_PROGRAMS, xpu_smi.PROGRAM)}
SAYS_IT_ITSELF = xpu_smi.PROGRAM  # its help has the form of the real one's, and the word simulator in it


def of(machine: Machine) -> List[Program]:
    """The programs of a host, apart from xpu-smi, which the driver's installer brings."""
    return [*ALWAYS, *(rdma.OFED_PROGRAMS if machine.ofed else ())]
