"""What the accelerator's profile wants in the weights' configuration is asked of the source, before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 trusts every text

    def trust_as_template(text):
        return text


ROOT = Path(__file__).absolute().parents[3]
TEMPLATE = yaml.safe_load((ROOT / "roles" / "weights" / "vars" / "main.yml").read_text())["_weights_expected_config"]
P800 = json.loads((ROOT / "tests" / "unit" / "plugins" / "lookup" / "golden" / "p800.json").read_text())


@pytest.mark.parametrize(("checks", "keys"), [(P800["profile"]["checks"], ["quantization_config"]), ([], [])], ids=["P800", "none"])
def test_the_keys_are_those_of_the_profiles_checks(checks, keys):
    plan = {"profile": {"checks": checks}, "model": P800["model"]}
    templar = Templar(DataLoader(), variables={"_weights_plan": plan})
    assert templar.template(trust_as_template(TEMPLATE)) == keys


@pytest.mark.parametrize("tasks", ["preflight", "manifest"])
def test_both_looks_at_the_source_ask(tasks):
    asked = [
        task["flagos.kunlunxin.weights_manifest_info"]
        for task in yaml.safe_load((ROOT / "roles" / "weights" / "tasks" / f"{tasks}.yml").read_text())
        if "flagos.kunlunxin.weights_manifest_info" in task
    ]
    assert [task["expected_config"] for task in asked] == ["{{ _weights_expected_config }}"]
