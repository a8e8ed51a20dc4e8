# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the lookups share: Ansible's variables in, the plan out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from jinja2 import UndefinedError

from . import _profile
from ._convert import plain, show
from ._inventory import GROUP, MISSING, Reader, VariableError, read
from ._plan import Plan, build_plan


def plan_of(variables: Mapping[str, Any]) -> Plan:
    """The plan of the inventory's group ``cluster``.

    :param variables: those a lookup is run with: ``groups`` and ``hostvars``.
    :raises PlanError: with every problem that was found.
    """
    hosts = variables["groups"].get(GROUP)
    reader = HostVariables(variables["hostvars"])
    spec, problems = read(hosts and [str(host) for host in hosts], reader, _lock_file(hosts, reader))
    profile = _profile.load(spec.accelerator) if spec.accelerator in _profile.names() else None
    return build_plan(spec, profile, problems)


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


def _lock_file(hosts: Any, reader: Reader) -> str:
    """Beside the inventory, or in the current folder when there is none on disk."""
    folder = reader.get(str(hosts[0]), "inventory_dir") if hosts else MISSING
    return str((Path.cwd() if folder is MISSING or folder is None else Path(str(folder))) / "cluster.lock.yml")
