# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Ports. All containers share their host's network, so every port is the host's."""

from __future__ import annotations

from ._spec import SWARM_PORTS, ClusterSpec
from ._values import Gravity, Problems

# ray, doc/source/ray-core/configure.rst: fixed ports of a head, and the range that workers listen on. The port of the head's
# control store is not here: FlagScale picks a free one at each start.
RAY = (
    (8265, 8265, "Ray's dashboard"),
    (10001, 10001, "Ray's client server"),
    (10002, 19999, "Ray's workers"),
    (52365, 52365, "Ray's agent"),
)

_VARIABLES = {"api": "serve_port", "container_ssh": "cluster_ssh_port", "master": "cluster_master_port"}
_FIELDS = {"api": "api_port", "container_ssh": "ssh_port", "master": "master_port"}


def ports(spec: ClusterSpec) -> dict[str, int]:
    """The ports that the cluster uses, by purpose: ``container_ssh`` on every host, the others on the head."""
    return {"api": spec.api_port, "container_ssh": spec.ssh_port, "master": spec.master_port}


def check(spec: ClusterSpec, problems: Problems) -> None:
    """Ports that clash with each other, with the hosts' own sshd or with Ray's."""
    taken: dict[int, str] = {}
    for host in spec.hosts:
        taken.setdefault(host.ssh_port, f"{host.name}'s own sshd (ansible_port)")
    for purpose, port in ports(spec).items():
        if _FIELDS[purpose] in problems.unreadable:
            continue
        user = taken.get(port) or next((user for low, high, user in RAY if low <= port <= high), None)
        if user:
            variable = _VARIABLES[purpose]
            problems.add(
                Gravity.WHOLE_CLUSTER, "cluster", variable, f"{port}, the port of {user}", "a port of its own", f"choose another {variable}"
            )
        taken.setdefault(port, _VARIABLES[purpose])
    _check_swarm(spec, taken, problems)


def _check_swarm(spec: ClusterSpec, taken: dict[int, str], problems: Problems) -> None:
    """The lanes' ports must be free of all others: a service may be up while the next weights arrive."""
    if "weights_port" in problems.unreadable:
        return
    last = spec.weights_port + SWARM_PORTS - 1
    clash = next((port for port in sorted(taken) if spec.weights_port <= port <= last), None)
    ray = next(((low, user) for low, high, user in RAY if low <= last and spec.weights_port <= high), None)
    if clash is not None or ray is not None:
        user = taken[clash] if clash is not None else ray[1] if ray else ""
        problems.add(
            Gravity.WHOLE_CLUSTER,
            "cluster",
            "weights_port",
            f"{spec.weights_port} to {last}, among them the port of {user}",
            f"{SWARM_PORTS} ports of its own",
            "choose another weights_port",
        )
