# SPDX-License-Identifier: MIT
"""SIMULATOR: what every simulated program is given and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

from ..machine import Machine, Nic
from ..places import Places
from ..render import machine_of
from ..state import State


@dataclass
class Session:
    """:ivar changed: set by a program that wrote to ``state``, which is then kept and shown."""

    places: Places
    state: State
    machine: Machine
    changed: bool = False

    def nic(self, name: str) -> Optional[Nic]:
        """The interface of this name, if it is one of the simulated bus."""
        return next((nic for nic in self.machine.nics if nic.name == name), None)

    def read_back(self) -> None:
        """The machine as it is after what was changed: a fault may be stronger."""
        self.machine = machine_of(self.state, self.machine.live)

    def rdma(self, name: str) -> Optional[Nic]:
        return next((nic for nic in self.machine.rails if nic.rdma == name), None)


@dataclass(frozen=True)
class Answer:
    """
    :ivar real: arguments for the host's own program of this name, which is to do the rest; its output comes after ``out``.
    """

    out: str = ""
    error: str = ""
    code: int = 0
    real: Optional[Tuple[str, ...]] = None


def delegate(argv: Sequence[str]) -> Answer:
    return Answer(real=tuple(argv))


def refusal(text: str, code: int = 1) -> Answer:
    return Answer(error=text + "\n", code=code)


@dataclass(frozen=True)
class Program:
    """
    :ivar path: where it lies on the host.
    :ivar about: one line for --help.
    :ivar answer: what it does.
    :ivar reads_addresses: whether its answer depends on the interfaces' addresses.
    :ivar before: what it does outside of the lock, before; an answer ends it.
    """

    name: str
    path: str
    about: str
    answer: Callable[[Session, Sequence[str]], Answer]
    reads_addresses: bool = False
    before: Optional[Callable[[Places, Sequence[str]], Optional[Answer]]] = None


def option(argv: Sequence[str], *names: str) -> Optional[str]:
    """The value of ``-i eth1``, ``--interface eth1`` or ``--interface=eth1``; None where it is not there."""
    for position, word in enumerate(argv):
        if word in names and position + 1 < len(argv):
            return argv[position + 1]
        for name in names:
            if name.startswith("--") and word.startswith(name + "="):
                return word[len(name) + 1 :]
    return None
