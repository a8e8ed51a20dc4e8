# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What makes a request impossible, before anything is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath

from . import _ports
from ._profile import names
from ._resolve import Resolved
from ._spec import ClusterSpec, HostSpec
from ._values import Gravity, Problems
from ._wiring import DEVICES

# Arguments of the engine that the plan decides, with the variable to set instead.
_DECIDED = {
    "model": "weights_path",
    "served_model_name": "serve_model_name",
    "port": "serve_port",
    "tensor_parallel_size": "serve_tensor_parallel_size",
    "pipeline_parallel_size": "serve_pipeline_parallel_size",
    "data_parallel_size": "serve_pipeline_parallel_size",
    "distributed_executor_backend": "",
}


# What the serve program and Ray write in a container, or the profile mounts there.
_CONTAINERS_OWN = ("/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp")  # noqa: S108 - places that must not be covered


def accelerator(spec: ClusterSpec, problems: Problems) -> None:
    """The accelerator has a profile."""
    if spec.accelerator not in names() and "accelerator" not in problems.unreadable:
        close = get_close_matches(spec.accelerator, names(), n=1)
        remedy = f"set cluster_accelerator to {close[0] if close else 'one of them'}"
        problems.add(
            Gravity.NOTHING_TO_PLAN,
            "cluster",
            "cluster_accelerator",
            f"unknown accelerator '{spec.accelerator}'",
            f"one of {', '.join(names())}",
            remedy,
        )
        problems.unreadable.add("accelerator")


def hosts(spec: ClusterSpec, problems: Problems) -> None:
    """Every host once, every address once, no port used twice."""
    _once(spec.hosts, lambda host: host.name.lower(), "name", "a name of its own", "remove or rename one of the two", problems)
    addressed = [host for host in spec.hosts if host.address]
    _once(
        addressed,
        lambda host: host.address,
        "address",
        "an address of its own",
        "mend cluster_address or ansible_host of one of the two",
        problems,
    )
    _ports.check(spec, problems)


def _once(found: Iterable[HostSpec], key: Callable[[HostSpec], str], what: str, expected: str, remedy: str, problems: Problems) -> None:
    seen: dict[str, str] = {}
    for host in found:
        value = key(host)
        if value in seen:
            problems.add(Gravity.WHOLE_CLUSTER, host.name, what, f"duplicate {what} {value}, the same as {seen[value]}", expected, remedy)
        seen.setdefault(value, host.name)


def layout(spec: ClusterSpec, resolved: Resolved, problems: Problems) -> None:
    """Tensor times pipeline parallelism takes every device, and no tensor group straddles hosts half-way."""
    if problems.unreadable & {"devices_per_host", "tensor_parallel_size", "pipeline_parallel_size"}:
        return
    tensor, pipeline, devices = resolved.tensor_parallel_size, resolved.pipeline_parallel_size, resolved.devices
    check = "serve_tensor_parallel_size x serve_pipeline_parallel_size"
    remedy = f"make the product {resolved.world_size}, or leave both out for {devices} x {len(spec.hosts)}"
    if tensor * pipeline != resolved.world_size:
        expected = f"{len(spec.hosts)} hosts x {devices} devices = {resolved.world_size}"
        problems.add(Gravity.WHOLE_CLUSTER, "cluster", check, f"{tensor} x {pipeline} = {tensor * pipeline}", expected, remedy)
    elif devices % tensor and tensor % devices:
        expected = f"a divisor or a multiple of the {devices} devices of a host"
        problems.add(Gravity.WHOLE_CLUSTER, "cluster", "serve_tensor_parallel_size", tensor, expected, remedy)


def nics(resolved: Resolved, problems: Problems) -> None:
    """One interface for each device, where a list says which."""
    if problems.unreadable & {"devices_per_host", "rdma_nics"} or len(resolved.nics) == resolved.devices:
        return
    problems.add(
        Gravity.WHOLE_CLUSTER,
        "cluster",
        "cluster_rdma_nics",
        f"{len(resolved.nics)} entries ({','.join(resolved.nics)})",
        f"{resolved.devices}, one for each device of a host",
        "list one interface for each device, in the order of the devices",
    )


def visible_devices(spec: ClusterSpec, resolved: Resolved, problems: Problems) -> None:
    """A list of a host's devices has each that is used once, and no other."""
    for host in spec.hosts:
        given = host.visible_devices
        repeated = [str(number) for number, count in Counter(given).items() if count > 1]
        if repeated:
            observed, expected = f"{', '.join(repeated)} more than once ({_numbers(given)})", "every device once"
            problems.add(Gravity.ONE_HOST, host.name, DEVICES, observed, expected, f"mend {DEVICES}")
        elif given and "devices_per_host" not in problems.unreadable and len(given) != resolved.devices:
            observed, expected = f"{len(given)} devices ({_numbers(given)})", f"{resolved.devices}, which is what every host serves with"
            remedy = f"list {resolved.devices} devices, or set cluster_devices_per_host for all hosts"
            problems.add(Gravity.ONE_HOST, host.name, DEVICES, observed, expected, remedy)


def _numbers(given: Iterable[int]) -> str:
    return ",".join(map(str, given))


def mounts(spec: ClusterSpec, folder: str, model_path: str, problems: Problems) -> None:
    """No folder of the host covers what the container writes: it would be written on the host, and kept over restarts."""
    for mount in spec.mounts:
        covered = [path for path in (*_CONTAINERS_OWN, folder, model_path) if PurePosixPath(path).is_relative_to(mount.target)]
        if covered:
            problems.add(
                Gravity.ONE_VALUE,
                "cluster",
                "serve_mounts",
                f"{mount.target} would cover {', '.join(covered)} of the container",
                "a folder that the container does not use",
                "mount it below a folder of its own, such as /data",
            )


def engine_arguments(arguments: Mapping[str, object], problems: Problems) -> None:
    """The inventory leaves alone what the plan decides."""
    for name in arguments:
        bare = name.removeprefix("no_")
        if bare in _DECIDED:
            variable = _DECIDED[bare]
            remedy = f"set {variable} instead" if variable else "remove it: the hosts are joined by Ray"
            problems.add(
                Gravity.ONE_VALUE, "cluster", f"serve_engine_arguments.{name}", arguments[name], "left out: the plan decides it", remedy
            )
