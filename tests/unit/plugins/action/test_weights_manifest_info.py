"""What the controller answers without a process of its own is what the module answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible_collections.flagos.kunlunxin.plugins.plugin_utils._swarm as anchor
import pytest

COLLECTIONS = Path(anchor.__file__).parents[5]
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - {name: Known, flagos.kunlunxin.weights_manifest_info: &known {source: SOURCE, cache: CACHE, only_cached: true}, register: before}
    - {name: Read, flagos.kunlunxin.weights_manifest_info: {source: SOURCE, cache: CACHE}, register: read, async: 60, poll: 1}
    - {name: Known now, flagos.kunlunxin.weights_manifest_info: *known, register: after}
    # The next two have to fail, and how they fail is what the case looks at. No program becomes another user by /bin/false.
    - {name: As another user, flagos.kunlunxin.weights_manifest_info: *known, become: true, become_user: nobody, register: other,
       vars: {ansible_become_exe: /bin/false}, ignore_errors: true}
    - {name: None there, flagos.kunlunxin.weights_manifest_info: {source: SOURCE/none, cache: CACHE, only_cached: true}, register: absent,
       ignore_errors: true}
    - {name: Keep, ansible.builtin.copy: {dest: RESULT, content: "{{ [before, read, after, other, absent] | to_json }}"}}
"""


@pytest.fixture
def answers(tmp_path):
    source = tmp_path / "weights"
    source.mkdir()
    (source / "config.json").write_text("{}")
    (source / "part.bin").write_bytes(os.urandom(100_000))
    result = tmp_path / "result.json"
    text = PLAYBOOK.replace("SOURCE", str(source)).replace("CACHE", str(tmp_path / "cache.json")).replace("RESULT", str(result))
    (tmp_path / "play.yml").write_text(text)
    variables = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_NOCOLOR": "1"}
    command = [sys.executable, "-m", "ansible.cli.playbook", "--inventory", "localhost,", "--connection", "local"]
    done = subprocess.run(
        [*command, "--extra-vars", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml")],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.exists(), done.stdout + done.stderr
    return json.loads(result.read_text())


def test_what_is_known_is_answered_as_the_module_does(answers):
    before, read, after, other, absent = answers
    assert "manifest" not in before
    assert (before["read_bytes"], read["read_bytes"], after["read_bytes"]) == (100_002, 100_002, 0)
    assert after["manifest"] == read["manifest"]
    assert not after["changed"]
    assert other["failed"], "another user's view is not this one's: the module is asked, by a way that leads nowhere"
    assert absent["msg"].startswith("localhost: weights in ")
    assert "No such file or directory" in absent["msg"]
