# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Weights by doubling: in each round everybody who has all of them gives to one who does not. A pure function of the plan and of what
the hosts told.

So N hosts and the controller take ceil(log2(N + 1)) times as long as one copy, where the controller alone would take N times as long.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ._swarm import address_of

Data = Mapping[str, Any]

CONTROLLER = ""  # among those that give; no host is called so


def rounds(holders: Sequence[str], lacking: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Who gives to whom: every round a list of (giver, taker). There are as few rounds as can be.

    :param holders: those that have everything, in the order in which they are asked.
    :param lacking: those that do not, in the order in which they are served.
    :raises ValueError: when somebody lacks something and nobody has it.
    """
    givers, waiting, made = list(holders), list(lacking), []
    if waiting and not givers:
        raise ValueError("nobody has what {} lack".format(", ".join(waiting)))
    while waiting:
        pairs = list(zip(givers, waiting))  # noqa: B905 - those that are left over wait or rest
        made.append(pairs)
        givers += [taker for _giver, taker in pairs]
        waiting = waiting[len(pairs) :]
    return made


def arrange(plan: Data, held: Mapping[str, Data], took: Collection[str] = (), silent: Collection[str] = ()) -> list[dict[str, Any]]:
    """The rounds that are left, with the addresses by which hosts reach each other.

    :param held: what ``weights_info`` returned of each host that takes part.
    :param took: hosts that lacked something then and have everything now.
    :param silent: hosts that cannot give.
    :returns: of each round ``sends``, the hosts that the controller sends to; ``serves``, by giver, with ``address``, ``port`` and
        ``allow``, the addresses let in; and ``pulls``, by taker, with the ``giver``, its ``address`` and ``port``, and the taker's ``own_address``.
    :raises SwarmError: when a host that has to give or take has no address for it.
    """
    interfaces = {host["name"]: host["swarm_interfaces"] for host in plan["hosts"]}
    port = plan["swarm"]["member_port"]
    hosts = [host for host in interfaces if host in held]
    lacking = [host for host in hosts if host not in took and lacks(held[host])]
    holders = [CONTROLLER, *(host for host in hosts if host not in lacking and host not in silent)]

    def address(host: str) -> str:
        return address_of(host, interfaces[host], held[host]["swarm"])

    made = []
    for pairs in rounds(holders, lacking):
        between = [(giver, taker) for giver, taker in pairs if giver != CONTROLLER]
        made.append(
            {
                "sends": [taker for giver, taker in pairs if giver == CONTROLLER],
                "serves": {giver: {"address": address(giver), "port": port, "allow": [address(taker)]} for giver, taker in between},
                "pulls": {
                    taker: {"giver": giver, "address": address(giver), "port": port, "own_address": address(taker)}
                    for giver, taker in between
                },
            }
        )
    return made


def lacks(held: Data) -> bool:
    """Whether a host has to be sent anything, by what ``weights_info`` returned of it."""
    return bool(set(held["absent"]) - set(held["elsewhere"]) or held["wrong"])
