# SPDX-License-Identifier: MIT
"""SIMULATOR: update-grub, which writes the boot line of the next boot."""

from __future__ import annotations

import subprocess
from typing import Sequence

from .. import grub
from .base import Answer, Program, Session, refusal


def update_grub(session: Session, _argv: Sequence[str]) -> Answer:
    try:
        session.state.grub = grub.evaluated(session.places, session.machine.live.kernel)
    except (subprocess.CalledProcessError, ValueError) as error:
        return refusal("update-grub: %s" % error)
    session.changed = True
    return Answer(error="Generating grub configuration file ...\ndone\n")


PROGRAM = Program("update-grub", "/usr/sbin/update-grub", "Debian's update-grub, for the simulated boot", update_grub)
