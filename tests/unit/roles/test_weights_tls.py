"""The swarm with certificates as the role runs it, on hosts that are addresses of the loopback interface with folders of their own."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_wheels
from local_site import WEIGHTS_COMPARED, LocalSite, fill, needs_clone

HOSTS = {"node1": "127.0.0.41", "node2": "127.0.0.42"}
CONTENT = {"config.json": b"{}", "sub dir/shard": b"x" * 200_000}

pytestmark = [
    needs_clone,
    pytest.mark.skipif(os.path.isdir("/run/systemd/system") and not os.geteuid(), reason="here lanes would be units of systemd"),
]

PLAY = [
    {
        "hosts": "cluster",
        "gather_facts": False,
        "vars": {"base": "{{ playbook_dir }}/{{ inventory_hostname }}"},
        "tasks": [
            *WEIGHTS_COMPARED,
            {
                "ansible.builtin.set_fact": {
                    "__weights_held": "{{ seen | combine({'swarm': {'addresses': {'xgbe0': ansible_host}, 'kind': kind}}, recursive=true) }}",
                },
            },
            {
                "ansible.builtin.include_role": {"name": "flagos.kunlunxin.weights", "tasks_from": "transport_{{ transport }}"},
                # What the role would take from the inventory's plan and from the tasks before: here a host's folders are its own.
                "vars": {
                    "_weights_plan": {
                        "name": "flagos",
                        "hosts": [{"name": name, "swarm_interfaces": ["xgbe0"]} for name in HOSTS],
                        "swarm": {
                            "member_port": "{{ member_port | int }}",
                            "source_port": "{{ member_port | int + 16 }}",
                            "most_lanes": 16,
                        },
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
    """Two hosts and the source of what they lack."""

    def __init__(self, folder):
        fill(folder / "source", CONTENT)
        with socket.socket() as probe:
            probe.bind((HOSTS["node1"], 0))
            port = probe.getsockname()[1]
        variables = {"weights_source": str(folder / "source"), "kind": _swarm_wheels.kind_of_this(), "transport": "swarm"}
        variables |= {"member_port": min(port, 65_000), "weights_tls": True, "weights_patience": 30}
        super().__init__(folder, {name: {"ansible_host": address} for name, address in HOSTS.items()}, variables, PLAY)

    def run(self, *options):
        """(text, {host: summary}) of a run."""
        ended, document = self.play(*options)
        return ended.stdout + ended.stderr, document["stats"]

    def keys(self):
        """A line of each private key that the controller keeps, by its file."""
        return {path: path.read_text().splitlines()[1] for path in (self.folder / "cache" / "swarm" / "flagos").glob("*.key")}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def engine(site):
    """libtorrent's wheel, as the role fetches it."""
    try:
        _swarm_wheels.fetch(sys.executable, str(site.folder / "cache" / "engine"), *_swarm_wheels.kind_of_this().split("-"))
    except _swarm_wheels.WheelError as error:
        pytest.skip(str(error))


@pytest.mark.full
def test_every_host_gets_all_of_it_and_no_key_is_told_or_left_anywhere(site, engine):
    text, stats = site.run("--check")
    assert not any(one["failures"] for one in stats.values()), text
    assert not site.keys()
    text, stats = site.run("-vvvv")
    assert not any(one["failures"] for one in stats.values()), text
    for host in HOSTS:
        (revision,) = (site.folder / host / "m.revisions").iterdir()
        assert {name: (revision / name).read_bytes() for name in CONTENT} == CONTENT
    assert '"key": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"' in text  # the lanes were handed theirs
    keys = site.keys()
    assert {path.name for path in keys} == {"authority.key", "member-localhost.key", "member-node1.key", "member-node2.key"}
    for path, line in keys.items():
        assert line not in text
        assert [file for file in site.folder.rglob("*") if file.is_file() and line.encode() in file.read_bytes()] == [path]
    text, stats = site.run()
    assert not any(one["failures"] or one["changed"] for one in stats.values()), text
    assert site.keys() == keys


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"transport": "rsync_tree"},
            "localhost: weights_tls: weights_transport: rsync_tree, which sends in plain between hosts; expected swarm; ",
        ),
        (
            {"kind": "cp38-x86_64"},
            "node1 (Python 3.8 on x86_64), node2 (Python 3.8 on x86_64): weights_tls: no libtorrent for it, and without it ",
        ),
    ],
    ids=["asked for", "no libtorrent"],
)
def test_a_transport_that_does_not_encrypt_is_refused(site, given, line):
    text, stats = site.run("--extra-vars", json.dumps(given))
    assert line in text
    assert any(one["failures"] for one in stats.values())
