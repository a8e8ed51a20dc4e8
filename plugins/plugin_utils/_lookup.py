# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the lookups share: Ansible's variables in, the plan out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from jinja2 import UndefinedError

from . import _profile, _wiring_record
from ._convert import plain, show
from ._inventory import GROUP, GROUP_VARIABLE, MISSING, Reader, VariableError, read
from ._plan import Plan, build_plan


def plan_of(variables: Mapping[str, Any], by_record: bool = True) -> Plan:
    """The plan of the inventory's group ``cluster``, or of the one that ``cluster_group`` names.

    :param variables: those a lookup is run with: ``groups``, ``hostvars`` and the task's own.
    :param by_record: whether the recorded wiring of the hosts counts. Who records it anew must not depend on what was recorded.
    :raises PlanError: with every problem that was found.
    """
    group = str(variables.get(GROUP_VARIABLE, GROUP))
    hosts = variables["groups"].get(group)
    reader = HostVariables(variables["hostvars"])
    spec, problems = read(hosts and [str(host) for host in hosts], reader, _folder(hosts, reader), group)
    profile = _profile.load(spec.accelerator) if spec.accelerator in _profile.names() else None
    record = _wiring_record.read(spec.topology_file, problems) if by_record and profile and profile.has_topology else None
    return build_plan(spec, profile, problems, record)


class HostVariables:
    """Ansible's ``hostvars``, of which only what is asked for is templated."""

    def __init__(self, hostvars: Mapping[str, Mapping[str, Any]]) -> None:
        self._hostvars = hostvars
        self._seen: dict[str, Mapping[str, Any]] = {}

    def _of(self, host: str) -> Mapping[str, Any]:
        if host not in self._seen:
            self._seen[host] = self._hostvars[host]
        return self._seen[host]

    def names(self, host: str) -> Iterable[str]:
        return iter(self._of(host))

    def get(self, host: str, variable: str) -> Any:
        if variable not in self._of(host):
            return MISSING
        # Ansible 2.19 evaluates late, when a value is looked at; 2.18 leaves a template that it cannot evaluate as it is.
        try:
            value = plain(self._of(host)[variable])
        except (AnsibleError, UndefinedError) as error:
            raise VariableError(str(error)) from None
        if _is_template(value):
            raise VariableError(f"{show(value)} uses a variable that is not defined")
        return value


def _is_template(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_template, value.values()))
    if isinstance(value, list):
        return any(map(_is_template, value))
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _folder(hosts: Any, reader: Reader) -> Path:
    """The inventory's, or the current one when there is no inventory on disk."""
    folder = reader.get(str(hosts[0]), "inventory_dir") if hosts else MISSING
    return Path.cwd() if folder is MISSING or folder is None else Path(str(folder))
