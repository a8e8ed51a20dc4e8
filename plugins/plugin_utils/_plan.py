# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The plan: the one place where a rank, a NIC list, a port or a document is decided.

A pure function of the request and the accelerator's profile: same input, same bytes. Everything else in the collection reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import _checks, _environment, _flagscale, _ports
from ._orders import Order, Orders, orders
from ._placement import Rank, host_ranks, node_ranks
from ._profile import Profile, RankRule
from ._resolve import Resolved, resolve
from ._spec import MOST_LANES, ClusterSpec
from ._values import Problems, Value
from ._wiring_record import Record


@dataclass(frozen=True, slots=True)
class Host:
    """One host's part.

    :ivar node_rank: the engine's number of the host.
    :ivar order: its devices and interfaces in the order of the local ranks.
    :ivar devices: paths of the devices in this order.
    :ivar environment: the container's environment, by name.
    """

    name: str
    address: str
    node_rank: int
    order: Order
    devices: tuple[str, ...]
    ranks: tuple[Rank, ...]
    environment: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs where, with what. :meth:`as_dict` is the form that playbooks see.

    :ivar hosts: in the inventory's order, the head first.
    :ivar rails: the rail of each local rank, where the hosts' wiring is recorded.
    :ivar notes: what an operator should know and nothing prevents.
    """

    spec: ClusterSpec
    profile: Profile
    resolved: Resolved
    hosts: tuple[Host, ...]
    ports: Mapping[str, int]
    rails: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def head(self) -> Host:
        return self.hosts[0]

    @property
    def folder(self) -> str:
        """The folder of the service, at the same path on the hosts and in the containers."""
        return f"{self.spec.state_dir}/serve"

    @property
    def model_name(self) -> str:
        return self.spec.model_name or self.profile.model_name

    @property
    def model_path(self) -> str:
        return self.spec.model_path or self.profile.model_path

    @property
    def before_start(self) -> str:
        return self.profile.before_start if self.spec.before_start is None else self.spec.before_start

    @property
    def shm_size(self) -> str:
        return self.spec.shm_size or str(self.profile.container["shm_size"])

    def ranks(self) -> list[Rank]:
        """Every rank once, in order."""
        return [rank for host in sorted(self.hosts, key=lambda host: host.node_rank) for rank in host.ranks]

    def rank_environment(self, host: Host, rank: Rank) -> tuple[Value, ...]:
        """What a launcher or probe gives to one process: its container's environment and what is the rank's own."""
        return host.environment + _environment.of_rank(
            rank, host.node_rank, self.resolved.world_size, self.head.address, self.spec.master_port, self._nic(host, rank)
        )

    def _nic(self, host: Host, rank: Rank) -> Value:
        known = _environment.nics_known(self.spec, host.order)
        if host.order.reasons:
            return Value("NIC", rank.nic, known.origin, host.order.reasons[rank.local_rank])
        return Value("NIC", rank.nic, known.origin, f"{known.reason or self.profile.rdma_nics.reason}: entry {rank.local_rank}")

    def engine_arguments(self) -> dict[str, Any]:
        """All arguments of ``vllm serve`` but the port, in the form that survives FlagScale."""
        decided = {
            "model": self.model_path,
            "served_model_name": self.model_name,
            "host": self.head.address,
            "tensor_parallel_size": self.resolved.tensor_parallel_size,
            "pipeline_parallel_size": self.resolved.pipeline_parallel_size,
            "distributed_executor_backend": "ray",
        }
        given = self.spec.engine_arguments
        # --x and --no-x are one argument to an operator, and the inventory's wins.
        opposites = {name.removeprefix("no_") if name.startswith("no_") else f"no_{name}" for name in given}
        profile = {name: value for name, value in self.profile.engine_arguments.items() if name not in opposites}
        return _flagscale.engine_arguments({**decided, **profile, **given})

    def documents(self) -> dict[str, str]:
        """FlagScale's documents by their path below ``folder``/documents."""
        head = {value.name: value.value for value in self.head.environment}
        library = {name: head[name] for name in self.profile.operator_library_variables if name in head}
        return _flagscale.documents(
            self.model_name, self.folder, self.ports, self.engine_arguments(), library, self.before_start, self.hostfile()
        )

    def hostfile(self) -> str:
        order = sorted(self.hosts, key=lambda host: host.node_rank)
        return _flagscale.hostfile((host.address, self.resolved.devices) for host in order)

    def container(self) -> dict[str, Any]:
        """Options of every container, as ``docker run`` knows them; all but the devices, which are each host's own."""
        options = {name: value for name, value in self.profile.container.items() if name != "shm_options"}
        return {
            **options,
            "shm_size": self.shm_size,
            "tmpfs": {"/dev/shm": f"{self.profile.container['shm_options']},size={self.shm_size}"},  # noqa: S108 - a mount point
            "mounts": [asdict(mount) for mount in self.spec.mounts],
        }

    def _profile_checks(self) -> list[dict[str, Any]]:
        """The profile's checks, where paths may name the folder of the weights."""
        return [
            {key: value.replace("{model_path}", self.model_path) if key in ("file", "json") else value for key, value in entry.items()}
            for entry in self.profile.checks
        ]

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data; its shape is documented with the lookup ``plan``."""
        spec, profile, resolved = self.spec, self.profile, self.resolved
        head = {value.name: value.value for value in self.head.environment}
        documents = self.documents()
        return {
            "name": spec.name,
            "accelerator": profile.name,
            "state_dir": spec.state_dir,
            "lock_file": spec.lock_file,
            "topology": self._topology(),
            "cache_dir": spec.cache_dir,
            "lease": {"ttl_seconds": spec.lease_ttl_seconds, "break": spec.lease_break},
            "manage_kernel_globals": spec.manage_kernel_globals,
            "facts_overlay": spec.facts_overlay,
            "control_interface": resolved.control_interface,
            "policy_routing": spec.policy_routing,
            "profile": {
                "name": profile.name,
                "title": profile.title,
                "rank_rule": str(profile.rank_rule),
                "detection": dict(profile.detection),
                "host": {"shm_size": self.shm_size, **profile.host},
                "checks": self._profile_checks(),
            },
            "head": {"name": self.head.name, "address": self.head.address},
            "hosts": [self._host(host) for host in self.hosts],
            "ranks": [_rank(rank) for rank in self.ranks()],
            "ports": dict(self.ports),
            "layout": {
                "tensor_parallel_size": resolved.tensor_parallel_size,
                "pipeline_parallel_size": resolved.pipeline_parallel_size,
                "world_size": resolved.world_size,
            },
            "swarm": {"member_port": spec.weights_port, "source_port": spec.weights_port + MOST_LANES, "most_lanes": MOST_LANES},
            "container": self.container(),
            "before_start": self.before_start,
            "model": {"name": self.model_name, "path": self.model_path},
            "engine_arguments": self.engine_arguments(),
            "hostfile": documents[_flagscale.HOSTFILE],
            "documents": documents,
            "limits": {
                "ready_seconds": spec.ready_seconds or profile.limits["ready_seconds"],
                "probe_seconds": spec.probe_seconds or profile.limits["probe_seconds"],
            },
            "operator_library": {
                "name": profile.operator_library,
                "variables": {name: head[name] for name in profile.operator_library_variables if name in head},
            },
            "verify": dict(profile.verify),
            "notes": list(self.notes),
        }

    def _topology(self) -> dict[str, Any]:
        """
        ``applies``: the accelerator has one; ``named``: interfaces that the inventory or the profile names, which are to be recorded.
        """
        rails = [choice.interface for host in self.spec.hosts for choice in host.rails]
        return {
            "applies": self.profile.has_topology,
            "file": self.spec.topology_file,
            "recorded": bool(self.rails),
            "rails": list(self.rails),
            "named": list(dict.fromkeys([self.resolved.control_interface, *self.resolved.nics, *rails])),
        }

    def _host(self, host: Host) -> dict[str, Any]:
        return {
            "name": host.name,
            "address": host.address,
            "node_rank": host.node_rank,
            "slots": self.resolved.devices,
            "devices": list(host.devices),
            "device_nodes": [*map(self.profile.node, sorted(host.order.devices)), *self.profile.control_nodes],
            "nics": list(host.order.nics),
            "swarm_interfaces": list(self.spec.weights_interfaces or dict.fromkeys(host.order.nics)),
            "distances": list(host.order.distances),
            "ranks": [rank.rank for rank in host.ranks],
            "environment": {value.name: value.value for value in host.environment},
        }


def _rank(rank: Rank) -> dict[str, Any]:
    return {
        "rank": rank.rank,
        "local_rank": rank.local_rank,
        "host": rank.host,
        "address": rank.address,
        "device": rank.device,
        "nic": rank.nic,
        "pipeline_rank": rank.pipeline_rank,
        "tensor_rank": rank.tensor_rank,
    }


def build_plan(spec: ClusterSpec, profile: Profile | None, problems: Problems | None = None, record: Record | None = None) -> Plan:
    """The plan of a cluster.

    :param profile: of ``spec.accelerator``; ``None`` when there is none, which is a problem like the others.
    :param problems: what was found wrong before, while the request was read.
    :param record: how the hosts are wired; ``None`` where nobody has recorded it.
    :raises PlanError: with every problem, the worst first.
    """
    problems = problems or Problems()
    _checks.accelerator(spec, problems)
    _checks.hosts(spec, problems)
    _checks.engine_arguments(spec.engine_arguments, problems)
    if profile is None or not spec.hosts:
        problems.raise_any()
        raise ValueError("a request without hosts or profile passed every check")
    resolved = resolve(spec, profile)
    numbers = node_ranks(spec.hosts, profile.rank_rule)
    _checks.layout(spec, resolved, problems)
    if spec.rdma_nics is not None or record is None:
        _checks.nics(resolved, problems)
    _checks.visible_devices(spec, resolved, problems)
    _checks.mounts(spec, spec.state_dir, spec.model_path or profile.model_path, problems)
    _environment.check(spec, profile, resolved.devices, numbers, problems)
    problems.raise_any()
    found = orders(spec, profile, resolved, record, problems)
    problems.raise_any()
    if found is None:
        raise ValueError("hosts without an order passed every check")
    hosts = _hosts(spec, profile, resolved, numbers, found)
    return Plan(spec, profile, resolved, hosts, _ports.ports(spec), found.rails, _notes(hosts, profile) + found.notes)


def _hosts(spec: ClusterSpec, profile: Profile, resolved: Resolved, numbers: tuple[int, ...], found: Orders) -> tuple[Host, ...]:
    additions = _environment.wanted_additions(spec, profile)
    hosts = []
    for host, number in zip(spec.hosts, numbers, strict=True):
        order = found.hosts[host.name]
        devices = tuple(map(profile.node, order.devices))
        facts = _environment.facts_of(spec, resolved.control_interface, host, number, order)
        ranks = host_ranks(host, number, devices, order.nics, resolved.tensor_parallel_size)
        environment = _environment.container(host, facts, profile, additions)
        hosts.append(Host(host.name, host.address, number, order, devices, ranks, environment))
    return tuple(hosts)


def _notes(hosts: tuple[Host, ...], profile: Profile) -> tuple[str, ...]:
    if [host.node_rank for host in hosts] == list(range(len(hosts))):
        return ()
    order = ", ".join(host.name for host in sorted(hosts, key=lambda host: host.node_rank))
    if profile.rank_rule is RankRule.ADDRESS_TEXT:
        return (f"the engine numbers the hosts after the first by address as text, not in the inventory's order: {order}",)
    return (f"the engine numbers the hosts {order}",)
