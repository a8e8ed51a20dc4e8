"""Every variable of the plan is documented, with its default, and nothing else is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.lookup import plan
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._inventory import GROUP_VARIABLE, OF_A_HOST, SETTINGS
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._lookup import plan_of
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._spec import ClusterSpec

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "variables.md"
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE))
READ = {setting.variable for setting in SETTINGS} | {*OF_A_HOST, "ansible_port", GROUP_VARIABLE}
DEFAULT_OF = {field.name: field.default for field in dataclasses.fields(ClusterSpec)}


def test_the_page_lists_what_is_read():
    assert set(ROWS) == READ


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.variable for setting in SETTINGS])
def test_defaults_are_the_real_ones(setting):
    default = DEFAULT_OF[setting.field]
    if isinstance(default, bool | int | str) and setting.field not in ("lock_file", "topology_file"):
        assert ROWS[setting.variable].strip("`").lower() == str(default).lower()


def test_the_lookup_names_what_is_read():
    assert set(re.findall(r"C\(((?:cluster|serve|weights|ansible)_\w+)\)", plan.DOCUMENTATION)) - {"ansible_host"} == READ


def test_no_roles_variable_is_taken_for_a_misspelt_one():
    specs = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    names = {name for spec in specs for entry in spec["argument_specs"].values() for name in entry.get("options") or {}}
    assert len(names) > 20
    hosts = {"host1": {"ansible_host": "10.0.0.1", "cluster_accelerator": "cpu"} | dict.fromkeys(names - READ, "")}
    assert plan_of({"groups": {"cluster": ["host1"]}, "hostvars": hosts}).head.name == "host1"
