# SPDX-License-Identifier: MIT
"""SIMULATOR: the whole overlay of a state; a pure function."""

from __future__ import annotations

from . import faults, render_driver, render_pci, render_rdma
from .live import Live
from .machine import Machine, healthy
from .state import State
from .tree import File, Tree


def machine_of(state: State, live: Live) -> Machine:
    """The machine with its faults."""
    machine = healthy(state, live)
    for name, parameters in sorted(state.faults.items()):
        faults.apply(machine, name, parameters)
    return machine


def overlay(state: State, live: Live, folder: str) -> Tree:
    """Every file of the overlay.

    :param folder: absolute path of the overlay on the host.
    """
    machine = machine_of(state, live)
    found = render_pci.render(machine, state.runtime.pci)
    found.update(render_rdma.render(machine))
    found.update(render_driver.render(machine, folder))
    found.update((path, File(content, 0o644)) for path, content in state.runtime.written.items() if path in found)
    return found
