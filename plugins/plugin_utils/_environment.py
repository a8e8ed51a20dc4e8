# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The environment of each host's container, and of each rank, every value with its origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ._orders import Order
from ._placement import Rank, node_id
from ._profile import Fact, Profile, Variable
from ._spec import MASTER_PORT, ClusterSpec, HostSpec
from ._values import Gravity, Origin, Problems, Value
from ._wiring import DEVICES

# What only launchers and probes take, one process at a time; in a container's environment it would be wrong for all ranks but one.
OF_A_RANK = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NIC")

_DEVICES = (Fact.VISIBLE_DEVICES, Fact.REORDERED_DEVICES)
_OF_A_HOST = (Fact.ADDRESS, Fact.NODE_ID, *_DEVICES)
_LISTS = (Fact.RDMA_NICS, *_DEVICES)


@dataclass(frozen=True, slots=True)
class Known:
    """A fact of the plan as text, and where it comes from.

    :ivar reason: empty when the profile's variable has the better one.
    """

    text: str
    origin: Origin
    reason: str = ""


Facts = Mapping[Fact, Known]


def _known(text: str, given: object, variable: str) -> Known:
    return Known(text, Origin.PROFILE) if given is None else Known(text, Origin.INVENTORY, variable)


def facts_of(spec: ClusterSpec, control_interface: str, host: HostSpec, node_rank: int, order: Order) -> dict[Fact, Known]:
    """The facts of one host."""
    return {
        Fact.ADDRESS: Known(host.address, Origin.INVENTORY, host.address_variable),
        Fact.NODE_ID: Known(node_id(node_rank), Origin.TOPOLOGY, f"host number {node_rank} in the inventory's order"),
        Fact.CONTROL_INTERFACE: _known(control_interface, spec.control_interface, "cluster_control_interface"),
        Fact.RDMA_NICS: nics_known(spec, order),
        **_devices_known(spec, host, order),
    }


def nics_known(spec: ClusterSpec, order: Order) -> Known:
    """The interfaces of a host's devices, with commas."""
    text = ",".join(order.nics)
    if spec.rdma_nics is None and order.distances:
        return Known(text, Origin.TOPOLOGY, f"the devices' distances to them on the PCI bus are {','.join(order.distances)}")
    return _known(text, spec.rdma_nics, "cluster_rdma_nics")


def _devices_known(spec: ClusterSpec, host: HostSpec, order: Order) -> dict[Fact, Known]:
    text = ",".join(map(str, order.devices))
    if host.visible_devices:
        known = Known(text, Origin.INVENTORY, DEVICES)
    elif order.is_natural:
        known = _known(text, spec.devices_per_host, "cluster_devices_per_host")
    else:
        known = Known(text, Origin.TOPOLOGY, "this host's devices in the order of the rails, which is the same on all hosts")
    if order.is_natural:
        return {Fact.VISIBLE_DEVICES: known}
    return {Fact.VISIBLE_DEVICES: known, Fact.REORDERED_DEVICES: known}


def container(host: HostSpec, facts: Facts, profile: Profile, additions: Iterable[Variable]) -> tuple[Value, ...]:
    """The environment of one host's container, by name."""
    values = {variable.name: _value(variable, facts) for variable in profile.environment}
    values.update((variable.name, _addition(variable, facts)) for variable in additions if variable.where in (None, *facts))
    for name, text in host.environment.items():
        if text is None:
            values.pop(name, None)
        else:
            values[name] = Value(name, text, Origin.INVENTORY, "cluster_environment")
    return tuple(values[name] for name in sorted(values))


def wanted_additions(spec: ClusterSpec, profile: Profile) -> tuple[Variable, ...]:
    """Those of the profile's additions that the inventory leaves switched on."""
    if isinstance(spec.additions, bool):
        return profile.additions if spec.additions else ()
    return tuple(variable for variable in profile.additions if variable.name in spec.additions)


def of_rank(rank: Rank, node_rank: int, world_size: int, head: str, master_port: int, nic: Value) -> tuple[Value, ...]:
    """What one process gets besides its container's environment."""

    def topology(name: str, value: object, reason: str) -> Value:
        return Value(name, str(value), Origin.TOPOLOGY, reason)

    given = master_port != MASTER_PORT
    return (
        topology("RANK", rank.rank, f"device {rank.local_rank} of host number {node_rank}"),
        topology("LOCAL_RANK", rank.local_rank, "the engine gives its workers on a host the devices in order"),
        topology("NODE_RANK", node_rank, "the engine's number of the host"),
        topology("WORLD_SIZE", world_size, "all devices of all hosts"),
        topology("MASTER_ADDR", head, "the address of the inventory's first host"),
        Value(
            "MASTER_PORT",
            str(master_port),
            Origin.INVENTORY if given else Origin.OURS,
            "cluster_master_port" if given else "PyTorch's default",
        ),
        nic,
    )


def _value(variable: Variable, facts: Facts) -> Value:
    if variable.fact is None:
        return Value(variable.name, variable.value or "", Origin.PROFILE, variable.reason)
    known = facts[variable.fact]
    return Value(variable.name, known.text, known.origin, known.reason or variable.reason)


def _addition(variable: Variable, facts: Facts) -> Value:
    text = variable.value or "" if variable.fact is None else facts[variable.fact].text
    return Value(variable.name, text, Origin.OURS, variable.reason)


def check(spec: ClusterSpec, profile: Profile, devices: int, node_numbers: Sequence[int], problems: Problems) -> None:
    """What the inventory may not do to the environment."""
    _check_additions(spec, profile, problems)
    known = {variable.name: variable for variable in profile.environment + profile.additions}
    first = spec.hosts[0]
    for host, number in zip(spec.hosts, node_numbers, strict=True):
        for name, text in host.environment.items():
            if name in OF_A_RANK:
                expected = "left out: it belongs to one rank, never to a container"
                _refuse(problems, host, name, _shown(text), expected, "remove it; rank_env gives it")
            elif name in known:
                _check_known(known[name], host, number, text, devices, problems)
        if host.environment != first.environment:
            _check_equal(known, host, first, problems)


def _check_additions(spec: ClusterSpec, profile: Profile, problems: Problems) -> None:
    if isinstance(spec.additions, bool):
        return
    names = {variable.name for variable in profile.additions}
    for unknown in sorted(spec.additions - names):
        expected = f"some of {', '.join(sorted(names))}"
        problems.add(
            Gravity.ONE_VALUE, "cluster", "cluster_environment_additions", unknown, expected, "remove it, or set it in cluster_environment"
        )


def _check_known(variable: Variable, host: HostSpec, number: int, text: str | None, devices: int, problems: Problems) -> None:
    """A variable that the plan fills from what it knows may not say something else."""
    if variable.fact is Fact.ADDRESS and host.address and text not in (None, host.address):
        expected = f"{host.address}, the host's {host.address_variable}"
        _refuse(problems, host, variable.name, _shown(text), expected, "set cluster_address instead")
    elif variable.fact is Fact.NODE_ID and text != node_id(number):
        _refuse(problems, host, variable.name, _shown(text), "the plan's own value: the engine numbers the hosts by it", "remove it")
    elif variable.fact in _DEVICES and host.visible_devices and text not in (None, ",".join(map(str, host.visible_devices))):
        expected = f"{','.join(map(str, host.visible_devices))}, the host's {DEVICES}"
        _refuse(problems, host, variable.name, _shown(text), expected, f"remove it: {DEVICES} fills it")
    elif variable.fact in _LISTS and text is not None and "devices_per_host" not in problems.unreadable:
        entries = len(text.split(","))
        if entries != devices:
            _refuse(problems, host, variable.name, f"{entries} entries ({text})", f"{devices}, one for each device", "mend the list")


def _check_equal(known: Mapping[str, Variable], host: HostSpec, first: HostSpec, problems: Problems) -> None:
    """Collectives need the same settings on all hosts; only what describes one host may differ."""
    for name, variable in known.items():
        here, there = (_shown(item.environment[name]) if name in item.environment else "the default" for item in (host, first))
        if here != there and variable.fact not in _OF_A_HOST:
            _refuse(problems, host, name, here, f"{there} as on {first.name}", "set it once, for the group cluster")


def _shown(text: str | None) -> str:
    return "removed (null)" if text is None else text or "empty"


def _refuse(problems: Problems, host: HostSpec, name: str, observed: str, expected: str, remedy: str) -> None:
    problems.add(Gravity.ONE_HOST, host.name, f"cluster_environment.{name}", observed, expected, remedy)
