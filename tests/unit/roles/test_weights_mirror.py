"""The first hop as the role plays it, with this machine as controller and as a host of its own."""

from __future__ import annotations

import hashlib
import json

import pytest
from local_site import LocalSite, needs_clone

CONTENT = {"config.json": b"{}", "sub dir/shard": b"x" * 200_000}

pytestmark = needs_clone

PLAY = [
    {
        "hosts": "cluster",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {"name": "flagos.kunlunxin.weights", "tasks_from": "{{ part }}", "public": True},
                # What the role would take from the inventory's plan.
                "vars": {
                    "_weights_plan": {
                        "hosts": [],
                        "model": {"path": "{{ playbook_dir }}/m"},
                        "state_dir": "{{ playbook_dir }}/state",
                        "cache_dir": "{{ playbook_dir }}/cache",
                    },
                    "_weights_pinned": {},
                    "_weights_expected_config": [],
                },
            },
            {"ansible.builtin.debug": {"msg": "root {{ _weights_manifest.root }}"}, "when": "not _weights_unfetched"},
        ],
    }
]


@pytest.fixture
def server(mirror_server):
    server = mirror_server()
    server.files = dict(CONTENT)
    server.token = "canary-77"
    return server


@pytest.fixture
def play(server, tmp_path):
    """Plays a part of the role; returns (how it ended, what it printed)."""
    site = LocalSite(tmp_path, {"node1": {}, "node2": {}}, {}, PLAY)
    listing = [
        {"type": "file", "path": path, "size": len(content), "lfs": {"size": len(content), "oid": hashlib.sha256(content).hexdigest()}}
        for path, content in CONTENT.items()
    ]
    (tmp_path / "list.json").write_text(json.dumps(listing))

    def run(part, *options, **variables):
        given = {
            "part": part,
            "weights_mirror": server.url,
            "weights_mirror_token": server.token,
            "weights_published": f"{tmp_path}/list.json",
        }
        (tmp_path / "variables.json").write_text(json.dumps({**given, **variables}))
        ended, document = site.play("-vvv", "-e", f"@{tmp_path}/variables.json", *options)
        assert "canary" not in ended.stdout + ended.stderr
        assert ended.returncode == 0, ended.stdout
        return sum(one["changed"] for one in document["stats"].values()), ended.stdout

    return run


def held(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TO_COME = "weights: runs after 2 files, 195.31 KB, were fetched from "


@pytest.mark.full
def test_preflight_and_check_mode_say_what_is_to_be_fetched(play, tmp_path):
    source = tmp_path / "source"
    for part, check, predicted in (("preflight", [], 0), ("main", ["--check"], 1)):
        changed, text = play(part, *check, weights_source=str(source))
        assert (changed, TO_COME in text, source.exists()) == (predicted, True, False)


def test_it_is_fetched_once(play, tmp_path):
    source = tmp_path / "source"
    changed, text = play("manifest", weights_source=str(source))
    assert (changed, held(source)) == (1, CONTENT)
    assert "weights: 2 files, 195.31 KB, fetched from " in text
    assert "root sha256:" in text
    assert TO_COME not in text
    changed, text = play("manifest", weights_source=str(source))
    assert (changed, " fetched from " in text, "root sha256:" in text) == (0, False, True)


@pytest.mark.full
def test_a_host_that_has_the_first_source_fetches_by_the_controllers_list(play, tmp_path):
    folder = tmp_path / "disk"
    changed, text = play("manifest", weights_sources=[{"host": "node2", "path": str(folder)}])
    assert (changed, held(folder), "root sha256:" in text) == (1, CONTENT, True)
