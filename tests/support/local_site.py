"""A site whose hosts are folders of this machine, for playing a role's own tasks where there is no lab.

site = LocalSite(tmp_path, {"node1": {"ansible_host": "127.0.0.41"}}, {"transport": "swarm"}, PLAY)
ended, document = site.play("--check")       # what it printed, and what ansible.posix.json says of it
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).absolute().parents[2]
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"

needs_clone = pytest.mark.skipif(not (PLAYBOOK.exists() and (ROOT / "collections").is_dir()), reason="needs a clone that set-up made")

# What comes before a transport of the role weights: ``source.manifest``, and ``seen``, what a host whose folders are below ``base`` has of it.
WEIGHTS_COMPARED: list[dict[str, Any]] = [
    {
        "flagos.kunlunxin.weights_manifest_info": {"source": "{{ weights_source }}", "cache": "{{ playbook_dir }}/cache/weights.json"},
        "run_once": True,
        "register": "source",
    },
    {
        "flagos.kunlunxin.weights_info": {
            "path": "{{ base }}/m",
            "manifest": "{{ source.manifest }}",
            "state_dir": "{{ base }}/state",
            "read": "unread",
        },
        "register": "seen",
    },
]


def fill(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write files by their paths below a folder."""
    for name, held in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(held)


class LocalSite:
    """Hosts of the group ``cluster``, and a play for them.

    :param hosts: variables of each host.
    :param variables: of all of them.
    """

    def __init__(
        self, folder: Path, hosts: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Any], play: Sequence[Mapping[str, Any]]
    ) -> None:
        self.folder = folder
        common = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable, **variables}
        inventory = {"all": {"children": {"cluster": {"hosts": {name: dict(own) for name, own in hosts.items()}, "vars": common}}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        (folder / "play.yml").write_text(yaml.safe_dump(play, sort_keys=False))

    def play(self, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """Play it; how it ended, and the callback's document."""
        ended = subprocess.run(
            [str(PLAYBOOK), "-i", str(self.folder / "hosts.yml"), str(self.folder / "play.yml"), *options],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_NOCOLOR": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "{\n" in ended.stdout, ended.stderr
        return ended, json.JSONDecoder().raw_decode(ended.stdout[ended.stdout.index("{\n") :])[0]
