# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Reads the request for a cluster from an inventory's variables, all problems at once.

Only the group and its hosts' variables are read, never the hosts of a play: ``--limit`` and an unreachable host change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from . import _convert
from ._spec import LOCK_FILE, MOST_DEVICES, SWARM_PORTS, TOPOLOGY_FILE, ClusterSpec, HostSpec
from ._values import Gravity, Problems

GROUP = "cluster"
GROUP_VARIABLE = "cluster_group"  # names another group, such as one of several replicas
MISSING = object()


class Reader(Protocol):
    """The inventory's variables."""

    def names(self, host: str) -> Iterable[str]:
        """The variables that a host has."""

    def get(self, host: str, variable: str) -> Any:
        """A host's variable in Python's own types, or ``MISSING``. :raises VariableError: when it has one that cannot be had."""


class VariableError(Exception):
    """A variable that is set and cannot be evaluated, such as a template of an undefined variable."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """A variable that is the same for the whole cluster.

    :ivar field: the field of ``ClusterSpec`` that it fills.
    """

    variable: str
    field: str
    convert: Callable[[Any], Any]


SETTINGS = (
    _Setting("cluster_accelerator", "accelerator", _convert.name),
    _Setting("cluster_name", "name", _convert.name),
    _Setting("cluster_state_dir", "state_dir", _convert.path),
    _Setting("cluster_lock_file", "lock_file", _convert.file_name),
    _Setting("cluster_topology_file", "topology_file", _convert.file_name),
    _Setting("cluster_cache_dir", "cache_dir", _convert.file_name),
    _Setting("cluster_lease_ttl", "lease_ttl_seconds", _convert.whole(60, 7 * 86400)),
    _Setting("cluster_lease_break", "lease_break", _convert.switch),
    _Setting("cluster_manage_kernel_globals", "manage_kernel_globals", _convert.switch),
    _Setting("cluster_facts_overlay", "facts_overlay", _convert.path),
    _Setting("cluster_devices_per_host", "devices_per_host", _convert.whole(1, MOST_DEVICES)),
    _Setting("cluster_control_interface", "control_interface", _convert.interface),
    _Setting("cluster_rdma_nics", "rdma_nics", _convert.interfaces),
    _Setting("cluster_policy_routing", "policy_routing", _convert.switch),
    _Setting("cluster_environment_additions", "additions", _convert.additions),
    _Setting("cluster_ssh_port", "ssh_port", _convert.whole(1, 65535)),
    _Setting("cluster_master_port", "master_port", _convert.whole(1, 65535)),
    _Setting("serve_port", "api_port", _convert.whole(1, 65535)),
    _Setting("serve_tensor_parallel_size", "tensor_parallel_size", _convert.whole(1, 65536)),
    _Setting("serve_pipeline_parallel_size", "pipeline_parallel_size", _convert.whole(1, 65536)),
    _Setting("serve_model_name", "model_name", _convert.name),
    _Setting("weights_path", "model_path", _convert.path),
    _Setting("weights_port", "weights_port", _convert.whole(1024, 65536 - SWARM_PORTS)),
    _Setting("weights_interfaces", "weights_interfaces", _convert.interfaces),
    _Setting("serve_engine_arguments", "engine_arguments", _convert.engine_arguments),
    _Setting("serve_shm_size", "shm_size", _convert.size),
    _Setting("serve_mounts", "mounts", _convert.mounts),
    _Setting("serve_before_start", "before_start", _convert.command),
    _Setting("serve_ready_seconds", "ready_seconds", _convert.whole(1, 86400)),
    _Setting("serve_probe_seconds", "probe_seconds", _convert.whole(1, 3600)),
)
OF_A_HOST = ("cluster_address", "cluster_environment", "cluster_rails", "cluster_visible_devices")

_OURS = ("cluster_", "serve_")
# Closer than any two variables of the collection are to each other.
_MISSPELT = 0.9


def read(hosts: Sequence[str] | None, reader: Reader, folder: Path, group: str = GROUP) -> tuple[ClusterSpec, Problems]:
    """The request, and what is wrong with the words it is written in.

    :param hosts: the group's hosts in the inventory's order, ``None`` when there is no such group.
    :param reader: gives the hosts' variables.
    :param group: the name of the group.
    :param folder: where the files of the cluster are whose place no variable tells.
    """
    problems = Problems()
    if not hosts:
        _no_hosts(hosts, group, problems)
        problems.unreadable.add("accelerator")
        return ClusterSpec(accelerator="", hosts=()), problems
    fields: dict[str, Any] = {"accelerator": "", "lock_file": str(folder / LOCK_FILE), "topology_file": str(folder / TOPOLOGY_FILE)}
    for setting in SETTINGS:
        value = _setting(setting, hosts, reader, problems)
        if value is not MISSING:
            fields[setting.field] = value
    _check_misspelt(hosts, reader, problems)
    if not fields["accelerator"] and "accelerator" not in problems.unreadable:
        problems.add(Gravity.NOTHING_TO_PLAN, GROUP, "cluster_accelerator", "not set", "the name of a profile", "set cluster_accelerator")
        problems.unreadable.add("accelerator")
    return ClusterSpec(hosts=tuple(_host(host, reader, problems) for host in hosts), **fields), problems


def _no_hosts(hosts: Sequence[str] | None, group: str, problems: Problems) -> None:
    observed = "no such group in the inventory" if hosts is None else "the group has no hosts"
    problems.add(
        Gravity.NOTHING_TO_PLAN,
        "localhost",
        f"group {group}",
        observed,
        "the hosts that serve together",
        f"list them under {group} and give the inventory by -i",
    )


def _setting(setting: _Setting, hosts: Sequence[str], reader: Reader, problems: Problems) -> Any:
    """The cluster's value, which is the first host's; every host must have the same."""
    values = [_read(host, setting.variable, setting.convert, reader) for host in hosts]
    first = values[0]
    differing = [(host, value) for host, value in zip(hosts, values, strict=True) if value != first]
    if differing:
        host, value = differing[0]
        others = f" and {len(differing) - 1} more hosts" if len(differing) > 1 else ""
        problems.add(
            Gravity.WHOLE_CLUSTER,
            host,
            setting.variable,
            f"{_shown(value)}{others}",
            f"{_shown(first)} as on {hosts[0]}",
            f"set it once, for the group {GROUP}",
        )
    if isinstance(first, _Unfit):
        gravity = Gravity.NOTHING_TO_PLAN if setting.field == "accelerator" else Gravity.ONE_VALUE
        where = hosts[0] if differing else GROUP
        problems.add(gravity, where, setting.variable, first.observed, first.expected, f"mend {setting.variable}")
        problems.unreadable.add(setting.field)
        return MISSING
    return first


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A value that could not be read, in words."""

    observed: str
    expected: str


def _read(host: str, variable: str, convert: Callable[[Any], Any], reader: Reader) -> Any:
    """The converted value, ``MISSING``, or ``_Unfit``."""
    try:
        found = reader.get(host, variable)
    except VariableError as error:
        return _Unfit(f"cannot be evaluated: {error}", "a template of variables that are defined")
    if found is MISSING:
        return MISSING
    try:
        return convert(found)
    except _convert.UnfitError as error:
        return _Unfit(error.observed or _convert.show(found), error.expected)


def _shown(value: Any) -> str:
    if value is MISSING:
        return "not set"
    return value.observed if isinstance(value, _Unfit) else _convert.show(value)


def _check_misspelt(hosts: Sequence[str], reader: Reader, problems: Problems) -> None:
    """A variable with almost the name of one of ours would be ignored without a word."""
    known = [setting.variable for setting in SETTINGS] + list(OF_A_HOST)
    meant: dict[str, str] = {}
    for host in hosts:
        for name in reader.names(host):
            if name.startswith(_OURS) and name not in known:
                if name not in meant:
                    meant[name] = next(iter(get_close_matches(name, known, n=1, cutoff=_MISSPELT)), "")
                if meant[name]:
                    problems.add(Gravity.ONE_VALUE, host, name, "unknown variable", meant[name], "rename it")


def _host(host: str, reader: Reader, problems: Problems) -> HostSpec:
    _check_name(host, problems)
    address, variable = _address(host, reader, problems)
    return HostSpec(
        host,
        address,
        variable,
        environment=_own(host, "cluster_environment", _convert.environment, reader, problems, {}),
        ssh_port=_own(host, "ansible_port", _convert.whole(1, 65535), reader, problems, 22),
        rails=_own(host, "cluster_rails", _convert.rails, reader, problems, ()),
        visible_devices=_own(host, "cluster_visible_devices", _convert.devices, reader, problems, ()),
    )


def _check_name(host: str, problems: Problems) -> None:
    try:
        _convert.name(host)
    except _convert.UnfitError as error:
        problems.add(Gravity.ONE_HOST, host, "name in the inventory", _convert.show(host), error.expected, "rename the host")


def _own(host: str, variable: str, convert: Callable[[Any], Any], reader: Reader, problems: Problems, default: Any) -> Any:
    """A variable that each host may have for itself."""
    value = _read(host, variable, convert, reader)
    if isinstance(value, _Unfit):
        problems.add(Gravity.ONE_VALUE, host, variable, value.observed, value.expected, f"mend {variable}")
        return default
    return default if value is MISSING else value


def _address(host: str, reader: Reader, problems: Problems) -> tuple[str, str]:
    """The host's address and the variable it came from; an empty address when there is none that can be used."""
    values = {variable: _read(host, variable, _convert.address, reader) for variable in ("cluster_address", "ansible_host")}
    variable = next((name for name, value in values.items() if value is not MISSING), "cluster_address")
    value, remedy = values[variable], f"{'mend' if variable == 'cluster_address' else 'set'} cluster_address"
    if value is MISSING:
        value = _Unfit("not set, and neither is ansible_host", "the IPv4 address on which the hosts reach each other")
        remedy = "set cluster_address"
    if isinstance(value, _Unfit):
        problems.add(Gravity.ONE_HOST, host, variable, value.observed, value.expected, remedy)
        return "", variable
    return value, variable
