# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Accelerators are data: one YAML file each, read into types here.

A new accelerator is a new file in ``profiles/``. A file that does not fit the types is a defect of the collection, not of an
inventory, and raises ``ProfileError`` with the file and the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from . import _preflight_profile

FOLDER = Path(__file__).parent / "profiles"


class ProfileError(ValueError):
    """A profile that does not fit."""


class Fact(StrEnum):
    """What the plan knows of a host and a variable can be filled with.

    ``reordered_devices`` is known only of a host whose devices are taken in another order than they are counted in.
    """

    ADDRESS = "address"
    CONTROL_INTERFACE = "control_interface"
    NODE_ID = "node_id"
    RDMA_NICS = "rdma_nics"
    VISIBLE_DEVICES = "visible_devices"
    REORDERED_DEVICES = "reordered_devices"


class RankRule(StrEnum):
    """How the engine numbers the hosts of its workers. The host that runs the engine is always first.

    ``driver_then_node_id``: by Ray's node id, which the plan assigns. ``driver_then_address_text``: by address, compared as text.
    """

    NODE_ID = "driver_then_node_id"
    ADDRESS_TEXT = "driver_then_address_text"


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable: a literal, or a fact. Exactly one of the two is set.

    :ivar where: the variable is left out on hosts of which this fact is not known.
    :ivar reason: the source of a published value, or why we add it.
    """

    name: str
    value: str | None
    fact: Fact | None
    reason: str
    where: Fact | None = None


@dataclass(frozen=True, slots=True)
class Default:
    """A default with its source."""

    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One accelerator.

    :ivar device_node: path of a device with ``{index}`` in it.
    :ivar detection: how a host shows the accelerator: options of the module accelerator_info.
    :ivar rdma_nics: ``value`` is a tuple with one interface for each device, or ``None`` for the control interface.
    :ivar environment: the container's environment, the operator library's variables at its end.
    :ivar additions: variables of ours on top of that, each switchable.
    :ivar container: options of the container, as ``docker run`` knows them.
    :ivar host: what the host needs: ``limits``, ``kernel_parameters``, ``kernel_globals``.
    :ivar limits: seconds.
    :ivar checks: what preflight looks at besides its own checks, as :mod:`_preflight_profile` reads it.
    """

    name: str
    title: str
    devices_per_host: int
    device_node: str
    control_nodes: tuple[str, ...]
    detection: Mapping[str, Any]
    control_interface: Default
    rdma_nics: Default
    environment: tuple[Variable, ...]
    additions: tuple[Variable, ...]
    operator_library: str
    operator_library_variables: tuple[str, ...]
    rank_rule: RankRule
    before_start: str
    engine_arguments: Mapping[str, Any]
    model_name: str
    model_path: str
    container: Mapping[str, Any]
    host: Mapping[str, Any]
    limits: Mapping[str, int]
    verify: Mapping[str, Any]
    checks: tuple[Mapping[str, Any], ...]

    @property
    def has_topology(self) -> bool:
        """Whether the devices are on the PCI bus, so that they are near to one interface and far from another."""
        return bool(self.detection["pci_ids"])

    def node(self, index: int) -> str:
        """Path of a device."""
        return self.device_node.format(index=index)


def names() -> tuple[str, ...]:
    """The accelerators there are profiles for."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yml")))


@cache
def load(name: str) -> Profile:
    """The profile of an accelerator. :raises ProfileError: when its file does not fit."""
    return parse(name, (FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Profile:
    """A profile from the text of its file. :raises ProfileError: naming file and key."""
    try:
        return _profile(name, yaml.safe_load(text))
    except (KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ProfileError(f"profiles/{name}.yml: {type(error).__name__}: {error}") from error


def _profile(name: str, data: Mapping[str, Any]) -> Profile:
    devices, network, engine, library = data["devices"], data["network"], data["engine"], data["operator_library"]
    library_variables = _variables(library["environment"], "source")
    return Profile(
        name=name,
        title=data["title"],
        devices_per_host=devices["per_host"],
        device_node=devices["node"],
        control_nodes=tuple(devices["control_nodes"]),
        detection=data["detection"],
        control_interface=_default(network["control_interface"]),
        rdma_nics=_default(network["rdma_nics"]),
        environment=_variables(data["environment"], "source") + library_variables,
        additions=_variables(data["additions"], "reason"),
        operator_library=library["name"],
        operator_library_variables=tuple(variable.name for variable in library_variables),
        rank_rule=RankRule(engine["rank_rule"]),
        before_start=engine["before_start"],
        engine_arguments=engine["arguments"],
        model_name=data["model"]["name"],
        model_path=data["model"]["path"],
        container=data["container"],
        host=data["host"],
        limits=data["limits"],
        verify=data["verify"],
        checks=_checks(data["checks"]),
    )


def _checks(entries: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    for entry in entries:
        if problem := _preflight_profile.unfit(entry):
            raise ValueError(f"checks: {entry.get('name', entry)}: {problem}")
    return tuple(entries)


def _default(entry: Mapping[str, Any]) -> Default:
    if "from" in entry:
        return Default(None, entry["reason"])
    value = entry["value"]
    return Default(tuple(value) if isinstance(value, list) else value, entry["source"])


def _variables(entries: Mapping[str, Mapping[str, Any]], why: str) -> tuple[Variable, ...]:
    variables = []
    for name, entry in entries.items():
        fact = Fact(entry["from"]) if "from" in entry else None
        if (fact is None) == (entry.get("value") is None):
            raise ValueError(f"{name} takes either a value or from")
        where = Fact(entry["where"]) if "where" in entry else fact
        variables.append(Variable(name, entry.get("value"), fact, entry[why], where))
    return tuple(variables)
