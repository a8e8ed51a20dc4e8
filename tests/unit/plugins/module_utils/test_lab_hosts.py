"""What is said to Docker so that the lab's hosts are there."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_hosts as lab_hosts

LAB = {"root": "/lab", "prefix": "10.91", "rails": 4, "devices": 2, "shm_size": "64m"}
HOST = {"name": "node1", "number": 11, "image": "lab/host:1", "memory": "6g"}
SPEC = lab_hosts.creation(LAB, HOST)[1]


def verbs(state, present, **changes):
    return [command[0] for command in lab_hosts.host_commands(LAB, dict(HOST, **changes), present, state)]


CREATED = ["create", "network", "network", "network", "network", "start"]


@pytest.mark.parametrize(
    ("state", "is_state", "expected"),
    [
        ("present", None, CREATED),
        ("present", "running", []),
        ("present", "exited", ["start"]),
        ("present", "created", ["rm", *CREATED]),
        ("fresh", None, ["volume", *CREATED]),
        ("fresh", "running", ["rm", "volume", *CREATED]),
        ("absent", None, []),
        ("absent", "running", ["rm", "volume"]),
    ],
)
def test_each_state_from_each_state(state, is_state, expected):
    assert verbs(state, {"node1": (is_state, SPEC)} if is_state else {}) == expected


@pytest.mark.parametrize("changes", [{"image": "lab/host:2"}, {"memory": "1g"}, {"number": 12}])
def test_a_host_made_otherwise_is_made_anew_and_keeps_its_volume(changes):
    assert verbs("present", {"node1": ("running", SPEC)}, **changes) == ["rm", *CREATED]


def test_a_host_has_an_address_in_each_network_and_all_devices():
    (create, *connects), _spec = lab_hosts.creation(LAB, HOST)
    assert create[create.index("--ip") + 1] == "10.91.0.11"
    assert [(command[3], command[4]) for command in connects] == [(f"10.91.{rail}.11", f"rail{rail}") for rail in (1, 2, 3, 4)]
    devices = [create[index + 1] for index, word in enumerate(create) if word == "--device"]
    assert devices == ["/lab/dev/xpu0:/dev/xpu0", "/lab/dev/xpu1:/dev/xpu1", "/lab/dev/xpuctrl:/dev/xpuctrl"]


def test_only_missing_networks_are_made_and_only_rails_are_internal():
    commands = lab_hosts.network_commands(LAB, ["bridge", "rail2"])
    assert [command[-1] for command in commands] == ["control", "rail1", "rail3", "rail4"]
    assert ["--internal" in command for command in commands] == [False, True, True, True]


def test_what_docker_lists_is_read():
    text = "node1\trunning\tabc\nnode2\texited\t\n"
    assert lab_hosts.parse_present(text) == {"node1": ("running", "abc"), "node2": ("exited", "")}
