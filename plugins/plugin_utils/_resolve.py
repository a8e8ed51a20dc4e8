# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Request and profile together: every open question answered once."""

from __future__ import annotations

from dataclasses import dataclass

from ._profile import Profile
from ._spec import ClusterSpec


@dataclass(frozen=True, slots=True)
class Resolved:
    """The numbers and names that the rest of the plan is made of.

    :ivar nics: the interface of each device of a host, as inventory or profile say; the hosts' recorded wiring may say it better.
    """

    devices: int
    world_size: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    control_interface: str
    nics: tuple[str, ...]


def resolve(spec: ClusterSpec, profile: Profile) -> Resolved:
    """Inventory over profile. What does not fit together is kept as it is, for the checks to name."""
    devices = spec.devices_per_host or profile.devices_per_host
    interface = spec.control_interface or profile.control_interface.value
    world_size = devices * len(spec.hosts)
    tensor, pipeline = _layout(spec, devices, world_size)
    return Resolved(devices, world_size, tensor, pipeline, interface, _nics(spec, profile, devices, interface))


def _layout(spec: ClusterSpec, devices: int, world_size: int) -> tuple[int, int]:
    """Tensor parallelism inside a host and pipeline stages across hosts, unless the inventory says otherwise."""
    tensor, pipeline = spec.tensor_parallel_size, spec.pipeline_parallel_size
    if tensor is None:
        tensor = world_size // pipeline if pipeline and world_size % pipeline == 0 else devices
    if pipeline is None:
        pipeline = world_size // tensor if world_size % tensor == 0 else len(spec.hosts)
    return tensor, pipeline


def _nics(spec: ClusterSpec, profile: Profile, devices: int, interface: str) -> tuple[str, ...]:
    if spec.rdma_nics is not None:
        return spec.rdma_nics
    if profile.rdma_nics.value is None:
        return (interface,) * devices
    # The profile's list is that of a full host; fewer devices are its first ones.
    nics: tuple[str, ...] = profile.rdma_nics.value
    return nics[:devices]
