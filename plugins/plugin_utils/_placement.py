# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which worker of the engine runs where.

The engine numbers its workers by rules of its own. They are modelled here, not chosen: ``serve`` reads the real placement back
and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._profile import RankRule
from ._spec import HostSpec


@dataclass(frozen=True, slots=True)
class Rank:
    """One worker process.

    :ivar rank: global, from 0.
    :ivar device: path of the device, ``None`` where the accelerator has none.
    :ivar nic: the interface of that device's traffic.
    """

    rank: int
    local_rank: int
    host: str
    address: str
    device: str | None
    nic: str
    pipeline_rank: int
    tensor_rank: int


def node_ranks(hosts: Sequence[HostSpec], rule: RankRule) -> tuple[int, ...]:
    """The engine's number of each host, in the order of ``hosts``; the first host runs the engine and has number 0.

    Ray's node ids are assigned in the inventory's order, so that ``NODE_ID`` keeps it. vLLM's older executor compares
    addresses as text, where 10.0.0.9 comes after 10.0.0.10, and nothing but the addresses can change that.
    """
    order = list(range(len(hosts)))
    if rule is RankRule.ADDRESS_TEXT:
        order[1:] = sorted(order[1:], key=lambda index: hosts[index].address)
    numbers = [0] * len(hosts)
    for number, index in enumerate(order):
        numbers[index] = number
    return tuple(numbers)


def node_id(node_rank: int) -> str:
    """The id Ray is given for a host: 28 bytes in hexadecimal, in the order of the numbers. Ray cannot use the id zero."""
    return format(node_rank + 1, "056x")


def host_ranks(
    host: HostSpec, node_rank: int, devices: Sequence[str | None], nics: Sequence[str], tensor_parallel_size: int
) -> tuple[Rank, ...]:
    """The workers of one host. Within a host the engine gives worker i device i, and tensor ranks run fastest."""
    first = node_rank * len(devices)
    return tuple(
        Rank(first + local, local, host.name, host.address, device, nic, *divmod(first + local, tensor_parallel_size))
        for local, (device, nic) in enumerate(zip(devices, nics, strict=True))
    )
