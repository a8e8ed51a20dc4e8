"""What every part of the collection declares, looked for in all of them, so that a new part cannot forget it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).absolute().parents[2]
MODULES = sorted(path for path in (ROOT / "plugins" / "modules").glob("*.py") if path.name != "__init__.py")
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
PLUGIN_FILES = sorted((ROOT / "plugins").rglob("*.py"))


def documentation(module):
    """The module's DOCUMENTATION, read without importing it."""
    for statement in ast.parse(module.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "DOCUMENTATION":
            return yaml.safe_load(statement.value.value)
    raise AssertionError(f"{module.name} has no DOCUMENTATION")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_says_what_check_mode_diff_and_a_second_run_do(module):
    attributes = documentation(module)["attributes"]
    for name in ("check_mode", "diff_mode", "idempotent"):
        assert attributes[name]["support"] in ("full", "partial", "none", "N/A"), f"{module.stem}: {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_that_only_reads_is_called_info(module):
    states = (documentation(module).get("options") or {}).get("state", {}).get("choices", ())
    assert not {"get", "query"} & set(states)


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_describes_itself_and_its_variables(role):
    assert (role / "README.md").is_file()
    specification = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    assert specification["short_description"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) if (role / "defaults" / "main.yml").is_file() else {}
    undescribed = set(defaults or {}) - set(specification["options"])
    assert not undescribed, f"{role.name}: variables with a default that meta/argument_specs.yml does not name"


@pytest.mark.parametrize("file", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_ansible_loads_carries_the_dual_licence(file):
    content = file.read_text()
    assert not content or "# SPDX-License-Identifier: MIT OR GPL-3.0-or-later" in content.splitlines()[:3]


def test_the_group_of_modules_with_a_state_folder_is_complete():
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["state"]
    assert group == [module.stem for module in MODULES if "state_dir" in (documentation(module).get("options") or {})]


def test_versions_agree():
    collection = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert f'\nversion = "{collection}"\n' in (ROOT / "pyproject.toml").read_text()
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())["releases"]
    newest = max(releases, key=_numbers)
    fragments = list((ROOT / "changelogs" / "fragments").glob("*.yml"))
    assert collection == newest if not fragments else _numbers(collection) > _numbers(newest)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
