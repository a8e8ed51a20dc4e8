"""Modules run as they are on a host: a process of their own that reads arguments and prints one JSON document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible
import pytest

ROOT = Path(__file__).absolute().parents[4]


def _collections_path():
    """The folder that holds ansible_collections: the clone's link, or the tree that ansible-test works in."""
    linked = ROOT / "collections"
    return linked if linked.is_dir() else ROOT.parents[2]


@pytest.fixture
def run_module(tmp_path_factory):
    """``run_module(name, arguments, check=False)`` returns the module's answer."""

    def run(name, arguments, check=False):
        given = tmp_path_factory.mktemp("call") / "arguments.json"
        given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}}))
        ended = subprocess.run(
            [sys.executable, "-m", f"ansible_collections.flagos.kunlunxin.plugins.modules.{name}", str(given)],
            # ansible-test brings an Ansible of its own, which holds only what modules may import.
            env={**os.environ, "PYTHONPATH": f"{_collections_path()}{os.pathsep}{Path(ansible.__file__).parents[1]}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout, ended.stderr
        return json.loads(ended.stdout)

    return run


@pytest.fixture
def attributes_hold(run_module):
    """Proves what the module's attributes declare: check mode predicts and touches nothing, a second run changes nothing."""

    def prove(name, arguments, untouched):
        before = untouched()
        predicted = run_module(name, arguments, check=True)
        assert untouched() == before, "check mode changed something"
        made = run_module(name, arguments)
        again = run_module(name, arguments)
        assert (predicted["changed"], made["changed"], again["changed"]) == (True, True, False)
        assert predicted["diff"] == made["diff"]
        assert predicted["diff"]["before"] != predicted["diff"]["after"]
        assert again["diff"]["before"] == again["diff"]["after"]
        return made

    return prove
