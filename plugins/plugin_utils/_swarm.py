# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Who takes part in the swarm, on which addresses and with how many lanes. A pure function of the plan and of what the hosts told.

A lane is one process on each host with a torrent of its own, for one process of libtorrent has one thread for the network. Lane *k* takes a
host's *k*-th interface, over and over, and the same one on every host: rails need not reach each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding

Data = Mapping[str, Any]

# A lane keeps about one core busy at 0.3 GB/s in and as much out (measured with libtorrent 2.0.11 on a core with SHA-NI), and its disk
# threads another; the host has other things to do.
CORES_OF_A_LANE = 4
# Less than this is not worth another process.
LEAST_OF_A_LANE = 2**30
# What takes less than this, in seconds, is told in no relation to its link: starting and ending are most of it.
LEAST_FLOOR = 10.0


class SwarmError(ValueError):
    """A host that cannot take part; the text is a finding."""


@dataclass(frozen=True, slots=True)
class LaneOf:
    """One host's part of one lane.

    :ivar listen: addresses with port that it is bound to.
    :ivar peers: addresses with port of the others.
    :ivar allow: addresses that may have anything.
    """

    listen: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)


def lane_count(told: Mapping[str, Data], manifest: Data, wanted: int, most: int) -> int:
    """How many lanes: what the smallest host can carry, unless the operator says it.

    :param told: facts of each host, as ``_swarm_facts.read`` returns them.
    :param wanted: the operator's number; 0 leaves it to the hosts.
    """
    files = sum(1 for entry in manifest["files"].values() if entry["size"])
    cores = min((facts["cores"] for facts in told.values()), default=1)
    fitting = wanted or min(cores // CORES_OF_A_LANE, manifest["bytes"] // LEAST_OF_A_LANE)
    return max(1, min(fitting, files, most))


CONTROLLER = "localhost"


def arrange(plan: Data, told: Mapping[str, Data], reached: Mapping[str, str], sources: Sequence[str], lanes: int) -> dict[str, Any]:
    """Everybody's part.

    :param told: facts of the hosts that take part, as ``_swarm_facts.read`` returns them.
    :param reached: the address by which the controller reaches each of them.
    :param sources: where the weights come from, ``CONTROLLER`` or hosts that take part.
    :returns: ``members`` and ``sources``, each by host: a list of :class:`LaneOf` as dicts, one for each lane. A source dials, so that a
        controller need not be reached by anybody.
    :raises SwarmError: when a host has no address on an interface that it should use, or a source takes no part.
    """
    for source in sources:
        if source != CONTROLLER and source not in told:
            raise SwarmError(
                str(
                    Finding(
                        source,
                        "source of the weights",
                        "not among the hosts of this run",
                        ", ".join(told),
                        "name one of them in weights_sources",
                    )
                )
            )
    interfaces = {host["name"]: host["swarm_interfaces"] for host in plan["hosts"]}
    port = plan["swarm"]["member_port"]
    members: dict[str, list[dict[str, Any]]] = {host: [] for host in told}
    offers: dict[str, list[dict[str, Any]]] = {source: [] for source in sources}
    # From which of its addresses a host's connections leave is its routes' matter.
    everybody = [address for facts in told.values() for address in [*facts["addresses"].values(), *_own_end(facts)]]
    for lane in range(lanes):
        own = {host: address_of(host, interfaces[host], told[host], lane) for host in told}
        for host, facts in told.items():
            others = [address for other, address in own.items() if other != host]
            login = facts["login"] or {}
            listen = list(dict.fromkeys([own[host], login.get("server") or reached[host]]))
            members[host].append(
                asdict(
                    LaneOf(
                        listen=_with_port(listen, port + lane),
                        peers=_with_port(others, port + lane),
                        allow=list(dict.fromkeys([*everybody, login.get("client") or "127.0.0.1"])),
                    )
                )
            )
        for source, parts in offers.items():
            if source == CONTROLLER:
                there, listen = [reached[host] for host in told], []
            else:
                there, listen = list(own.values()), _with_port([own[source]], plan["swarm"]["source_port"] + lane)
            parts.append(asdict(LaneOf(listen=listen, peers=_with_port(there, port + lane), allow=there)))
    return {"members": members, "sources": offers}


def address_of(host: str, interfaces: Sequence[str], facts: Data, lane: int = 0) -> str:
    """A host's address for a lane.

    :param interfaces: that the host may use.
    :param facts: the host's, as ``_swarm_facts.read`` returns them.
    :raises SwarmError: when the interface has none.
    """
    interface = interfaces[lane % len(interfaces)]
    address = facts["addresses"].get(interface)
    if address is None:
        raise SwarmError(
            str(
                Finding(
                    host,
                    "network for the weights",
                    f"no IPv4 address on {interface}",
                    f"one on each of {', '.join(interfaces)}",
                    "run rdma.yml, which prepares the rails, or set weights_interfaces to those that have one",
                )
            )
        )
    return str(address)


def _own_end(facts: Data) -> list[str]:
    """The address by which the controller reaches the host, as the host knows it."""
    return [facts["login"]["server"]] if facts["login"] else []


def _with_port(addresses: Sequence[str], port: int) -> list[str]:
    return [f"{address}:{port}" for address in addresses]


def summary(told: Mapping[str, Data], received: Mapping[str, Data], sent_by_source: int, size: int) -> str:
    """What the swarm did, in one line, against what the slowest link would have taken for one copy.

    :param told: facts of the hosts, as ``_swarm_facts.read`` returns them.
    :param received: what ``weights_swarm_wait`` returned of each host that received something.
    :param sent_by_source: bytes.
    :param size: of the weights, in bytes.
    """
    if not received:
        return "nothing had to be sent"
    seconds = max(one["seconds"] for one in received.values())
    most = max(one["bytes"] for one in received.values())
    line = f"{len(received)} hosts in {seconds:.0f} s, at most {_amount(most)} each; the source sent {sent_by_source / size:.2f} copies"
    rates = [sum(one["megabits"].values()) for one in told.values() if one["megabits"]]
    floor = most * 8 / (min(rates) * 1e6) if len(rates) == len(told) else 0.0
    if floor >= LEAST_FLOOR:
        line += f"; at {min(rates) / 1000:g} Gbit/s one copy takes {floor:.1f} s, so this took {seconds / floor:.2f} times as long"
    return line


def _amount(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
