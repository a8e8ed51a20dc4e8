"""Inventories as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._lookup import plan_of
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._plan import Plan
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import PlanError

Make = Callable[..., dict[str, Any]]


def variables(addresses: list[str], own: dict[str, dict[str, Any]] | None = None, **cluster: Any) -> dict[str, Any]:
    """What a lookup is given: host1, host2, ... with these addresses, the cluster's variables, and those of single hosts."""
    hosts = {f"host{number}": {"ansible_host": address, **cluster} for number, address in enumerate(addresses, 1)}
    for name, extra in (own or {}).items():
        hosts[name].update(extra)
    return {"groups": {"cluster": list(hosts)}, "hostvars": hosts}


@pytest.fixture
def p800() -> Callable[..., dict[str, Any]]:
    """Variables of N hosts with eight XPUs."""

    def make(hosts: int = 4, own: dict[str, dict[str, Any]] | None = None, **cluster: Any) -> dict[str, Any]:
        addresses = [f"10.0.0.{10 + number}" for number in range(1, hosts + 1)]
        return variables(addresses, own, **{"cluster_accelerator": "kunlunxin", **cluster})

    return make


@pytest.fixture
def plan() -> Callable[[dict[str, Any]], Plan]:
    return plan_of


@pytest.fixture
def refusal() -> Callable[[dict[str, Any]], list[str]]:
    """The lines with which an inventory is refused."""

    def lines(given: dict[str, Any]) -> list[str]:
        with pytest.raises(PlanError) as refused:
            plan_of(given)
        return [str(finding) for finding in refused.value.findings]

    return lines
