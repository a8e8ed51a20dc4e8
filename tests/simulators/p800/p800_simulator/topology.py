# SPDX-License-Identifier: MIT
"""SIMULATOR: how far apart two functions are, in the words of ``topo -m`` (Corpama/envinit, docs/xccl-topology-rail-matching.md)."""

from __future__ import annotations

from typing import List, Tuple, Union

from .machine import Machine, Nic, Xpu
from .wiring import Place


def word(one: Place, other: Place) -> str:
    shared = 0
    for left, right in zip(one.path[:-1], other.path[:-1]):
        if left != right:
            break
        shared += 1
    if shared > 1:
        return "PIX" if max(len(one.path), len(other.path)) - shared <= 2 else "PXB"
    if shared == 1:
        return "PHB"
    return "NODE" if one.numa == other.numa else "SYS"


def matrix(machine: Machine) -> List[Tuple[str, Union[Xpu, Nic], List[str]]]:
    """A row for each XPU and each RDMA device: its name, itself, and its words to all of them."""
    things: List[Tuple[str, Union[Xpu, Nic]]] = [("XPU%d" % xpu.index, xpu) for xpu in machine.xpus]
    things += [(nic.rdma or "", nic) for nic in sorted(machine.rails, key=lambda nic: nic.function.address)]
    return [(name, thing, [_cell(machine, name, thing, other, that) for other, that in things]) for name, thing in things]


def _cell(machine: Machine, name: str, thing: Union[Xpu, Nic], other: str, that: Union[Xpu, Nic]) -> str:
    if name == other:
        return "X"
    told = machine.tool.words.get((name, other))
    if told:
        return told
    if isinstance(thing, Xpu) and isinstance(that, Xpu):
        linked = machine.xpu_links.get((thing.index, that.index))
        if linked:
            return linked
    return word(thing.function.place, that.function.place)
