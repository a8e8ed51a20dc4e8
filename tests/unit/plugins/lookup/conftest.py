"""Inventories as Ansible reads them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible_collections.flagos.kunlunxin.plugins.plugin_utils._plan as anchor
import pytest
import yaml
from ansible.constants import config
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

COLLECTIONS = Path(anchor.__file__).parents[5]
Lookup = Callable[..., list[Any]]


@pytest.fixture
def ansible() -> Callable[..., Lookup]:
    """A lookup in a play of ``localhost`` on some inventory sources, with ``--limit`` and ``-e``."""

    def opened(*sources: object, limit: str | None = None, extra: dict[str, Any] | None = None) -> Lookup:
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[str(source) for source in sources])
        if limit:
            inventory.subset(limit)
        manager = VariableManager(loader=loader, inventory=inventory)
        manager._extra_vars = extra or {}
        hostvars = HostVars(inventory=inventory, variable_manager=manager, loader=loader)
        manager._hostvars = hostvars
        variables = {**manager.get_vars(), "hostvars": hostvars}

        def lookup(name: str, *terms: object, **options: object) -> list[Any]:
            # What Ansible's loader does, without its import hooks, which a plain pytest does not have.
            module = importlib.import_module(f"ansible_collections.flagos.kunlunxin.plugins.lookup.{name}")
            config.initialize_plugin_configuration_definitions("lookup", name, yaml.safe_load(module.DOCUMENTATION)["options"])
            plugin = module.LookupModule(loader=loader)
            plugin._load_name = name
            return plugin.run(list(terms), variables=variables, **options)

        return lookup

    return opened


@pytest.fixture
def template(tmp_path: Path) -> Callable[..., Any]:
    """A template in a real run of the program ``ansible``; its value, or the message of its failure."""

    def run(text: str, *arguments: object) -> Any:
        program = [sys.executable, "-m", "ansible.cli.adhoc", "localhost", "-m", "debug", "-a", json.dumps({"msg": text})]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(tmp_path / "ansible")}
        command = [*program, *map(str, arguments)]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert "=> " in result.stdout, result.stdout + result.stderr
        return json.JSONDecoder().raw_decode(result.stdout.partition("=> ")[2])[0]["msg"]

    return run
