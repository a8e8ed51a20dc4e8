"""The rounds as the role runs them, on hosts that are addresses of the loopback interface with folders of their own."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights
from local_site import WEIGHTS_COMPARED, LocalSite, fill, needs_clone

HOSTS = [f"node{number}" for number in range(1, 6)]
CONTENT = {"config.json": b"{}", "sub dir/shard": b"x" * 200_000}

pytestmark = [
    needs_clone,
    pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed"),
]

PLAY = [
    {
        "hosts": "cluster",
        "gather_facts": False,
        "vars": {"base": "{{ playbook_dir }}/{{ inventory_hostname }}"},
        "tasks": [
            *WEIGHTS_COMPARED,
            {
                "ansible.builtin.copy": {"dest": "{{ seen.folder }}/sub dir/shard", "content": "{{ 'y' * 200000 }}", "mode": "0644"},
                "when": "decays | default('') == inventory_hostname",
            },
            {
                "ansible.builtin.set_fact": {
                    "__weights_held": "{{ seen | combine({'swarm': {'addresses': {'xgbe0': address}, 'kind': kind}}, recursive=true) }}",
                },
                "vars": {
                    "address": "{{ '192.0.2.77' if no_address | default('') == inventory_hostname else own_address }}",
                    "kind": "{{ 'cp38-x86_64' if inventory_hostname == 'node4' else 'cp311-x86_64' }}",
                },
            },
            {
                "ansible.builtin.include_role": {
                    "name": "flagos.kunlunxin.weights",
                    "tasks_from": "transport_{{ transport | default('rsync_tree') }}",
                },
                # What the role would take from the inventory's plan and from the tasks before: here a host's folders are its own.
                "vars": {
                    "_weights_plan": {
                        "hosts": [{"name": name, "swarm_interfaces": ["xgbe0"]} for name in HOSTS],
                        "swarm": {"member_port": "{{ member_port }}"},
                        "model": {"path": "{{ base }}/m"},
                        "state_dir": "{{ base }}/state",
                        "cache_dir": "{{ playbook_dir }}/cache",
                    },
                    "_weights_manifest": "{{ source.manifest }}",
                },
            },
        ],
    }
]


class Site(LocalSite):
    """Five hosts and the source of what they lack."""

    def __init__(self, folder):
        fill(folder / "source", CONTENT)
        with socket.socket() as probe:
            probe.bind(("127.0.0.11", 0))
            port = probe.getsockname()[1]
        hosts = {name: {"own_address": f"127.0.0.1{number}"} for number, name in enumerate(HOSTS, 1)}
        super().__init__(folder, hosts, {"member_port": port, "weights_source": str(folder / "source")}, PLAY)

    def begin(self, host, content):
        """Let a host have something already."""
        entries = {name: {"size": len(held), "sha256": hashlib.sha256(held).hexdigest()} for name, held in CONTENT.items()}
        revision = self.folder / host / "m.revisions" / _weights.revision_name(_weights.manifest_of(entries)["root"])
        fill(revision, content)

    def run(self, *options):
        """(text, {host: summary}, [(task, host) that a file came by]) of a run."""
        ended, document = self.play(*options)
        brought = [
            (entry["task"]["name"], host)
            for play in document["plays"]
            for entry in play["tasks"]
            for host, result in entry["hosts"].items()
            if result.get("changed")
        ]
        return ended.stdout, document["stats"], brought

    def served(self, host):
        (revision,) = (self.folder / host / "m.revisions").iterdir()
        return {name: (revision / name).read_bytes() for name in CONTENT if (revision / name).exists()}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


FROM_CONTROLLER = "flagos.kunlunxin.weights : Wait for what the controller sends"
FROM_HOST = "flagos.kunlunxin.weights : Take the weights from another host"
WAYS = [(FROM_CONTROLLER, "node1"), (FROM_CONTROLLER, "node2"), (FROM_HOST, "node3"), (FROM_CONTROLLER, "node4"), (FROM_HOST, "node5")]


@pytest.mark.full
def test_every_host_gets_all_of_it_and_check_mode_tells_who_from_whom(site):
    # By way of the swarm, which no libtorrent for one host's Python keeps from coming about.
    _text, _stats, predicted = site.run("--check", "--extra-vars", "transport=swarm")
    assert sorted(predicted) == sorted(WAYS)
    assert not any((site.folder / host).exists() for host in HOSTS)
    text, stats, brought = site.run("-vvv", "--extra-vars", "transport=swarm")
    assert "node4 (Python 3.8 on x86_64): libtorrent: no wheel for it; expected Python 3.9 to 3.13 on x86_64 or aarch64; " in text
    assert not any(one["failures"] for one in stats.values()), text
    assert sorted(brought) == sorted(WAYS)
    assert all(site.served(host) == CONTENT for host in HOSTS)
    # Nobody gives any more, and nothing is left of how they knew each other.
    assert not [path for host in HOSTS for path in (site.folder / host / "state").rglob("rsyncd*")]


@pytest.mark.full
def test_who_fails_drops_out_with_the_reason_what_is_damaged_does_not_spread_and_the_others_finish(site):
    site.begin("node1", {"config.json/in the way": b""})
    site.begin("node2", CONTENT)  # damaged after it was proven
    site.begin("node3", CONTENT)  # cannot give, for it has no such address
    text, stats, _brought = site.run("--extra-vars", json.dumps({"decays": "node2", "no_address": "node3"}))
    assert {host for host, one in stats.items() if one["failures"]} == {"node1", "node4"}, text
    assert "node1: rsync to " in text
    assert "sub dir/shard: wrong bytes; expected sha256 " in text
    assert "192.0.2.77 port " in text
    assert site.served("node5") == CONTENT
    # What was received is kept, and the next run has only the rest to do.
    assert site.served("node4").keys() == CONTENT.keys()
