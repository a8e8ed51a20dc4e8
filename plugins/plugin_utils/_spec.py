# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What an operator asks for, as types. ``None`` means that the inventory does not say and the profile decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MASTER_PORT = 29500
MOST_DEVICES = 16  # of one host
# Lanes of the swarm that a host may have; each takes a port where weights arrive, and one more where they come from.
MOST_LANES = 16
SWARM_PORTS = 2 * MOST_LANES
LOCK_FILE = "cluster.lock.yml"
TOPOLOGY_FILE = "cluster.topology.json"


@dataclass(frozen=True, slots=True)
class RailChoice:
    """An interface that the inventory says is a rail.

    :ivar interface: its name, or its hardware address: interface names have no colons.
    :ivar rail: the rail's id, the same on every host; ``None`` where the subnet tells.
    """

    interface: str
    rail: str | None = None


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host of the cluster.

    :ivar address: IPv4 address on which the hosts reach each other.
    :ivar address_variable: the inventory's variable that gave the address.
    :ivar environment: variables that the inventory sets (text) or removes (``None``) in the container.
    :ivar ssh_port: port of the host's own sshd; containers share the host's network and must leave it alone.
    :ivar rails: its interfaces that are rails; empty where the facts decide.
    :ivar visible_devices: numbers of its devices in the order of the local ranks; empty where the facts decide.
    """

    name: str
    address: str
    address_variable: str = "cluster_address"
    environment: Mapping[str, str | None] = field(default_factory=dict)
    ssh_port: int = 22
    rails: tuple[RailChoice, ...] = ()
    visible_devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host that the container sees."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """The whole request. The order of ``hosts`` is the inventory's; the first one is the head.

    :ivar additions: ``True`` for all of our additions to the environment, otherwise the names of those wanted.
    :ivar engine_arguments: arguments over the profile's; ``None`` removes one.
    """

    accelerator: str
    hosts: tuple[HostSpec, ...]
    name: str = "flagos"
    state_dir: str = "/var/lib/flagos-kunlunxin"
    lock_file: str = LOCK_FILE
    topology_file: str = TOPOLOGY_FILE
    cache_dir: str = "~/.cache/flagos-kunlunxin"
    lease_ttl_seconds: int = 100800  # longer than a stage may take: weights_time_limit and image_time_limit
    lease_break: bool = False
    manage_kernel_globals: bool = False
    facts_overlay: str | None = None
    devices_per_host: int | None = None
    control_interface: str | None = None
    rdma_nics: tuple[str, ...] | None = None
    policy_routing: bool = True
    additions: bool | frozenset[str] = True
    ssh_port: int = 2222
    master_port: int = MASTER_PORT
    api_port: int = 8000
    weights_port: int = 6900
    weights_interfaces: tuple[str, ...] | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    model_name: str | None = None
    model_path: str | None = None
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)
    shm_size: str | None = None
    mounts: tuple[Mount, ...] = ()
    before_start: str | None = None
    ready_seconds: int | None = None
    probe_seconds: int | None = None
