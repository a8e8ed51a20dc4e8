"""The checks of preflight on made-up clusters: a sound one passes, and each fault is named once."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _preflight as preflight
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024**3
PLAN = {
    "name": "lab",
    "control_interface": "eth0",
    "manage_kernel_globals": True,
    "head": {"name": "node1"},
    "model": {"path": "/models/m"},
    "ports": {"api": 8000, "container_ssh": 2222},
    "hosts": [{"name": f"node{k}", "address": f"10.0.0.{k}", "nics": ["eth1", "eth1", "eth2"]} for k in (1, 2, 3)],
}
THIS, OTHER, ROOT = "a" * 16, "b" * 16, "sha256:" + "a" * 64
NEEDS = preflight.Needs(
    shm_bytes=GIB, weights_bytes=20 * GIB, weights_root=ROOT, image_source="lab/serve:1", image_bytes=10 * GIB, disk_margin_bytes=GIB
)


def sound(number):
    """The facts of host number ``number``, which lacks nothing."""
    return {
        "system": {"hostname": f"metal{number}", "user_id": 0, "init": "systemd", "python": {"version": "3.8.10"}},
        "shm": {"size_bytes": GIB},
        "interfaces": {
            "lo": {"addresses": ["127.0.0.1/8"]},
            "eth0": {"addresses": [f"10.0.0.{number}/24"]},
            "eth1": {"addresses": []},
            "eth2": {"addresses": []},
        },
        "listeners": [],
        "devices": {"/dev/xpu0": {"kind": "char"}},
        "engine": {"installed": True, "version": "20.10.24", "data_root": "/var/lib/docker", "images": ["sha256:a"]},
        "image_receipt": {"image_id": "sha256:a", "reference": "lab/serve:1"},
        "registry": {"address": "lab:5443", "state": "ok", "detail": "", "image_bytes": None},
        "filesystems": {
            "/models/m": {
                "device": 1,
                "mount": "/models",
                "available_bytes": GIB,
                "holds_bytes": 20 * GIB,
                "revisions": {THIS: 20 * GIB},
                "served_revision": THIS,
            },
            "/var/lib/docker": {"device": 2, "mount": "/", "available_bytes": GIB, "holds_bytes": None},
        },
        "clock": {"asked_at": 100.0, "time": 101.0, "synchronised": True},
        "resolved": {f"node{k}": f"10.0.0.{k}" for k in (1, 2, 3)},
    }


def judged(changes=None, before="host", plan=None, needs=NEEDS, **hosts):
    """The lines that fail just before a stage, node2's facts changed by ``changes`` (path with slashes: value)."""
    facts = {f"node{k}": sound(k) for k in (1, 2, 3)}
    for path, value in (changes or {}).items():
        *parents, last = path.split(">")
        place = facts["node2"]
        for parent in parents:
            place = place[parent]
        place[last] = value
    facts.update(hosts)
    found = preflight.judge(plan or PLAN, facts, needs, asked_until=105.0)
    return preflight.fold(one for one in found if one.fails_before(before))


def listener(**more):
    return {"port": 2222, "address": "0.0.0.0", "pid": 77, "process": "nginx", "unit": "nginx.service", "container": None, **more}


OURS = {"name": "flagos-kunlunxin-serve", "labels": {preflight.LABEL: "lab"}}
OTHERS = {"name": "shop", "labels": {}}


def test_a_sound_cluster_passes_every_gate():
    assert judged(before="verify") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"system>user_id": 1000}, "account: user id 1000; expected root"),
        ({"system>python": {"version": "3.6.9"}}, "python: 3.6.9; expected 3.8 or newer"),
        ({"system>init": "tini"}, "process 1 is tini; expected systemd"),
        ({"interfaces>eth0": {"addresses": ["10.0.0.7/24"]}}, "control address: eth0 has 10.0.0.7; expected eth0 with 10.0.0.2"),
        ({"interfaces>eth0": {"addresses": []}}, "eth0 has no address"),
        (
            {"interfaces": {"bond0": {"addresses": ["10.0.0.2/24"]}, "eth1": {"addresses": []}, "eth2": {"addresses": []}}},
            "set cluster_control_interface to bond0",
        ),
        (
            {"interfaces": {"eth0": {"addresses": ["10.0.0.2/24"]}, "eth2": {"addresses": []}}},
            "rail interfaces: no eth1; expected eth1, eth2",
        ),
        ({"devices>/dev/xpu0": None}, "no /dev/xpu0"),
        ({"devices>/dev/xpu0": {"kind": "other"}}, "/dev/xpu0 is no device"),
        ({"listeners": [listener()]}, "port in use: 2222 (container_ssh) by nginx (pid 77, nginx.service); expected free"),
        ({"listeners": [listener(container=OTHERS)]}, "by nginx (pid 77, container shop)"),
        ({"listeners": [listener(pid=None)]}, "by a process that is not visible"),
        ({"engine>version": "19.03.5"}, "container engine version: 19.03.5; expected 20.10 or newer"),
        ({"registry>state": "unknown_ca"}, "registry lab:5443: unknown ca:"),
        ({"registry>state": "wrong_password"}, "registry lab:5443: wrong password:"),
        ({"clock>time": 50.0}, "at least 50 s behind the controller"),
        ({"clock>time": 200.0}, "at least 95 s ahead of the controller"),
    ],
)
def test_what_no_stage_mends_fails_at_once_on_its_host(changes, words):
    lines = judged(changes)
    assert len(lines) == 1
    assert lines[0].startswith("node2: ")
    assert words in lines[0]


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"shm>size_bytes": GIB // 16}, "rdma", "/dev/shm: 64 MiB; expected 1 GiB"),
        ({"resolved>node1": "127.0.1.1"}, "rdma", "host names: node1 not at their address"),
        ({"clock>synchronised": False}, "rdma", "clock: not synchronised"),
        ({"engine>version": None}, "image", "container engine: installed, does not answer"),
        ({"engine>version": None, "engine>installed": False}, "image", "container engine: none"),
    ],
)
def test_what_a_stage_prepares_fails_only_after_it(changes, stage, words):
    assert judged(changes, before=preflight.STAGES[preflight.STAGES.index(stage) - 1]) == []
    assert words in judged(changes, before=stage)[0]


def test_a_port_that_our_container_holds_is_no_conflict():
    assert judged({"listeners": [listener(container=OURS)]}) == []
    other_cluster = dict(OURS, labels={preflight.LABEL: "another"})
    assert len(judged({"listeners": [listener(container=other_cluster)]})) == 1


def test_only_the_head_needs_the_ports_of_the_head():
    assert judged({"listeners": [listener(port=8000)]}) == []
    head = dict(sound(1), listeners=[listener(port=8000)])
    assert "8000 (api)" in judged(node1=head)[0]


def test_a_port_on_two_addresses_is_named_once():
    assert len(judged({"listeners": [listener(), listener(address="::")]})) == 1


FRESH = {"filesystems>/models/m>holds_bytes": 0, "filesystems>/models/m>revisions": {}, "image_receipt": {}}


def disk(**changes):
    """The lines about a host that has neither image nor weights yet, with this much room and these devices."""
    paths = {"models": "filesystems>/models/m>available_bytes", "docker": "filesystems>/var/lib/docker>available_bytes"}
    paths["docker_device"] = "filesystems>/var/lib/docker>device"
    return judged({**FRESH, **{paths[name]: value for name, value in changes.items()}})


def test_room_for_what_is_still_to_come():
    assert disk(models=21 * GIB, docker=11 * GIB) == []
    assert "disk: 20 GiB free on /models; expected 21 GiB for weights" in disk(models=20 * GIB, docker=11 * GIB)[0]
    assert "disk: 10 GiB free on /; expected 11 GiB for image" in disk(models=21 * GIB, docker=10 * GIB)[0]


def test_an_image_of_a_registry_is_taken_for_a_multiple_of_its_size_there():
    needs = dataclasses.replace(NEEDS, image_bytes=0, image_unpack_factor=2.5)
    fresh = {**FRESH, "registry>image_bytes": 4 * GIB, "filesystems>/models/m>available_bytes": 21 * GIB}
    assert judged({**fresh, "filesystems>/var/lib/docker>available_bytes": 11 * GIB}, needs=needs) == []
    (line,) = judged({**fresh, "filesystems>/var/lib/docker>available_bytes": 11 * GIB - 1}, needs=needs)
    assert "expected 11 GiB for image" in line


def test_an_image_that_its_registry_lacks_is_missed_only_where_no_engine_holds_it():
    registry = {"address": "lab:5443", "state": "not_found", "detail": "it answered 404 Not Found", "image_bytes": None}
    assert judged({"registry": registry}) == []
    roomy = {"image_receipt": {}, "filesystems>/var/lib/docker>available_bytes": 99 * GIB}
    (line,) = judged({"registry": registry, **roomy})
    assert "registry lab:5443: not found: it answered 404 Not Found; expected the manifest of lab/serve:1; mend image_reference" in line


def test_one_disk_for_both_needs_room_for_both():
    assert "expected 31 GiB for weights and image" in disk(models=30 * GIB, docker=30 * GIB, docker_device=1)[0]
    assert disk(models=31 * GIB, docker=31 * GIB, docker_device=1) == []


def test_two_full_disks_are_one_line():
    lines = disk(models=0, docker=0)
    assert len(lines) == 1
    assert "disk: 0 bytes free on /models, 0 bytes free on /; expected 21 GiB for weights, 11 GiB for image" in lines[0]


def test_what_is_there_needs_no_room():
    full = {"filesystems>/models/m>available_bytes": GIB - 1}
    assert judged() == []
    assert "expected 1 GiB for weights" in judged(full)[0]


@pytest.mark.parametrize("root", [ROOT, ""], ids=["root known", "root unknown"])
@pytest.mark.parametrize(
    ("revisions", "served", "needed"),
    [
        ({THIS: 17 * GIB}, "", {"": 4, ROOT: 4}),  # a broken transfer
        ({THIS: 17 * GIB, OTHER: 20 * GIB}, OTHER, {"": 4, ROOT: 4}),  # the same beside what is served
        ({OTHER: 20 * GIB}, OTHER, {"": 21, ROOT: 21}),  # a second revision of equal size
        ({THIS: 20 * GIB}, THIS, {"": 21, ROOT: 1}),  # all there, if only one knew
        ({THIS: 17 * GIB, OTHER: 19 * GIB}, "", {"": 2, ROOT: 4}),
        (None, "", {"": 16, ROOT: 16}),  # a folder that the operator brought
    ],
)
def test_what_counts_is_what_lies_where_the_weights_will(root, revisions, served, needed):
    needs = dataclasses.replace(NEEDS, weights_root=root)
    held = 5 * GIB if revisions is None else revisions.get(served, 0)
    place = {"device": 1, "mount": "/models", "revisions": revisions, "served_revision": served, "holds_bytes": held}

    def lines(available):
        host = sound(2)
        host["filesystems"]["/models/m"] = {**place, "available_bytes": available}
        found = preflight.judge(PLAN, {"node2": host}, needs, asked_until=105.0)
        return preflight.fold(one for one in found if one.finding.check == "disk")

    assert lines(needed[root] * GIB) == []
    (line,) = lines(needed[root] * GIB - 1)
    assert f"expected {needed[root]} GiB for weights" in line
    assert ("run weights.yml" in line) == (not root and held == NEEDS.weights_bytes)


def test_a_sent_archive_needs_room_until_it_is_loaded():
    needs = dataclasses.replace(NEEDS, image_source="/in/serve.tar", archive_copy="/state/image/serve.tar", archive_bytes=6 * GIB)
    copy = {"device": 2, "mount": "/", "available_bytes": 0, "holds_bytes": 2 * GIB}
    changes = {"filesystems>/state/image/serve.tar": copy, "filesystems>/var/lib/docker>available_bytes": 14 * GIB}
    copies = {f"node{k}": {**sound(k), "image_receipt": {"image_id": "sha256:a", "archive": "/in/serve.tar"}} for k in (1, 3)}
    for host in copies.values():
        host["filesystems"]["/state/image/serve.tar"] = {**copy, "holds_bytes": 0, "available_bytes": GIB}
    assert "expected 15 GiB for image and the image's archive" in judged(changes, needs=needs, **copies)[0]
    copy["available_bytes"] = changes["filesystems>/var/lib/docker>available_bytes"] = 15 * GIB
    assert judged(changes, needs=needs, **copies) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"image_receipt": {}},
        {"engine>images": []},
        {"image_receipt": {"image_id": "sha256:a", "reference": "lab/serve:0"}},
    ],
)
def test_an_image_counts_only_where_receipt_and_engine_agree(changes):
    assert "expected 11 GiB for image" in judged(changes)[0]
    roomy = {**changes, "filesystems>/var/lib/docker>available_bytes": 99 * GIB}
    assert judged(roomy, before="image") == []
    assert "image: not in the engine; expected lab/serve:1" in judged(roomy, before="weights")[0]


def test_weights_are_to_do_until_they_are_there():
    part = {
        "filesystems>/models/m>holds_bytes": 5 * GIB,
        "filesystems>/models/m>revisions": None,
        "filesystems>/models/m>available_bytes": 99 * GIB,
    }
    assert judged(part, before="weights") == []
    assert "weights: 5 GiB in /models/m; expected 20 GiB or more" in judged(part, before="serve")[0]


def test_an_unreachable_host_is_one_line_and_others_are_still_judged():
    lines = judged({"devices>/dev/xpu0": None}, node3={"unreachable": "Connection timed out"})
    assert [line.split(":")[0] for line in lines] == ["node2", "node3"]
    assert "Connection timed out" in lines[1]


def test_a_host_without_python_is_one_line():
    assert "python3: not found" in judged(node3={"broken": "python3:\n not found"})[0]


def test_hosts_that_share_a_system_name():
    twin = sound(3)
    twin["system"]["hostname"] = "metal1"
    assert len(judged(node3=twin)) == 2


def test_a_host_left_out_is_not_judged():
    facts = {"node1": sound(1)}
    assert preflight.judge(PLAN, facts, NEEDS, asked_until=105.0) == []


def test_the_machines_clock_is_not_ours_to_steer():
    plan = dict(PLAN, manage_kernel_globals=False)
    assert judged({"clock>synchronised": False}, before="verify", plan=plan) == []


def test_one_fault_of_many_hosts_is_one_line():
    broken = [dict(sound(k), devices={"/dev/xpu0": None}) for k in (1, 2, 3)]
    lines = judged(node1=broken[0], node2=broken[1], node3=broken[2])
    assert len(lines) == 1
    assert lines[0].startswith("node1, node2, node3: device nodes")


@given(asked=st.floats(0, 1e6), offset=st.floats(-1e3, 1e3), there=st.floats(0, 20), back=st.floats(0, 20))
def test_a_clock_is_never_blamed_for_the_way_to_the_host(asked, offset, there, back):
    facts = copy.deepcopy(sound(1))
    facts["clock"] = {"asked_at": asked, "time": asked + there + offset, "synchronised": True}
    found = preflight.judge(PLAN, {"node1": facts}, NEEDS, asked_until=asked + there + back)
    if abs(offset) < NEEDS.clock_tolerance_seconds:
        assert found == []
    if abs(offset) > NEEDS.clock_tolerance_seconds + 40:
        assert len(found) == 1
