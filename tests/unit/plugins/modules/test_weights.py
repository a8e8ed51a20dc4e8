"""The five modules that bring weights, in the order in which the role uses them, with this machine as controller and host."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil

import pytest


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub dir" / "shard").write_bytes(b"x" * 300_000)
    return folder


@pytest.fixture
def manifest_info(run_module, tmp_path, source):
    def ask(**more):
        return run_module("weights_manifest_info", {"source": str(source), "cache": str(tmp_path / "cache" / "w.json"), **more})

    return ask


@pytest.fixture
def place(tmp_path):
    return {"path": str(tmp_path / "models" / "m"), "state_dir": str(tmp_path / "state")}


@pytest.fixture
def push(source, tmp_path_factory):
    turns = tmp_path_factory.mktemp("turns")

    def arguments(held, **more):
        return {
            "source": str(source),
            "files": held["absent"],
            "damaged": held["wrong"],
            "destination": held["folder"],
            "turns": str(turns),
            "remote": {"host": "here"},
            **more,
        }

    return arguments


def tree(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_the_source_is_read_once(manifest_info, source):
    assert manifest_info(only_cached=True) == {**manifest_info(only_cached=True), "changed": False, "read_bytes": 300_002}
    first = manifest_info()
    again = manifest_info(only_cached=True)
    assert (first["read_bytes"], again["read_bytes"]) == (300_002, 0)
    assert first["manifest"] == again["manifest"]
    (source / "config.json").write_text('{"a": 1}')
    assert manifest_info(only_cached=True)["read_bytes"] == 8


def test_the_sources_faults_are_one_line_and_found_before_anything_is_read(manifest_info, source, tmp_path):
    pinned = manifest_info()["manifest"]
    (source / "sub dir" / "shard").write_bytes(b"x" * 299_999)
    answer = manifest_info(pinned=pinned, only_cached=True)
    assert answer["msg"] == (
        f"localhost: weights in {source}: sub dir/shard: 299999 bytes; expected 300000 bytes, as the manifest says; "
        "mend weights_source, or fetch the files again, or run lock.yml where these are the weights to pin"
    )
    (source / "sub dir" / "shard").unlink()
    assert "sub dir/shard: missing; expected 100000 bytes" in manifest_info(pinned=pinned, only_cached=True)["msg"]
    shutil.rmtree(source)
    assert f"{source}: No such file or directory; expected a readable folder" in manifest_info()["msg"]
    (tmp_path / "list").write_text("no list")
    source.mkdir()
    (source / "a").write_text("a")
    assert "a list that cannot be read" in manifest_info(published=str(tmp_path / "list"))["msg"]


def test_other_bytes_than_pinned_are_found_when_they_are_read(manifest_info, source):
    pinned = manifest_info()["manifest"]
    (source / "sub dir" / "shard").write_bytes(b"y" * 300_000)
    assert "manifest" not in manifest_info(pinned=pinned, only_cached=True)
    assert "sub dir/shard: sha256" in manifest_info(pinned=pinned)["msg"]


def test_what_the_accelerator_cannot_load_is_refused_before_anything_is_read(manifest_info, source):
    asked = {"expected_config": ["quantization_config"], "only_cached": True}
    assert manifest_info(**asked)["msg"] == (
        f"localhost: weights in {source}: config.json: no quantization_config; expected quantization_config, as the accelerator's profile says; "
        "mend weights_source, or fetch the files again"
    )
    (source / "config.json").write_text('{"quantization_config": {}}')
    assert "msg" not in manifest_info(**asked)


def test_what_hugging_face_publishes_is_compared(manifest_info, source, tmp_path):
    listing = tmp_path / "tree.json"
    listing.write_text(
        '[{"type": "file", "path": ".gitattributes", "size": 9, "oid": "1"}, {"type": "file", "path": "config.json", "size": 2, "oid": "1"},'
        ' {"type": "file", "path": "sub dir/shard", "size": 9, "lfs": {"oid": "%s", "size": 300000}}]' % ("0" * 64)
    )
    answer = manifest_info(published=str(listing))
    assert f"sub dir/shard: sha256 {hashlib.sha256(b'x' * 300_000).hexdigest()}; expected {'0' * 64}, as the manifest says" in answer["msg"]


def test_torrents_are_made_without_a_read_and_are_always_the_same(run_module, manifest_info, source, tmp_path):
    manifest = manifest_info()["manifest"]
    asked = {"manifest": manifest, "cache": str(tmp_path / "cache" / "w.json"), "lanes": 8}
    shutil.rmtree(source)
    before = tree(tmp_path)
    made = run_module("weights_torrents_info", asked)
    assert [(one["lane"], one["bytes"], one["files"]) for one in made["torrents"]] == [(0, 300_000, 1), (1, 2, 1)]
    assert (made["changed"], made["piece_length"]) == (False, 262144)
    name = manifest["root"].partition(":")[2][:16].encode()
    assert all(b"4:name16:" + name in base64.b64decode(one["torrent"]) for one in made["torrents"])
    assert run_module("weights_torrents_info", asked) == run_module("weights_torrents_info", asked, check=True) == made
    assert tree(tmp_path) == before


def test_torrents_of_what_was_not_read_here_are_refused_with_the_file_to_read(run_module, manifest_info, tmp_path):
    asked = {"manifest": manifest_info()["manifest"], "cache": str(tmp_path / "elsewhere" / "w.json")}
    assert run_module("weights_torrents_info", asked)["msg"] == (
        "localhost: torrents of the weights: sub dir/shard: the hashes of its pieces are missing; expected those kept when it was read; "
        "run weights.yml again, which reads that file"
    )


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_from_nothing_to_served_and_every_attribute_on_the_way(run_module, attributes_hold, manifest_info, place, push, tmp_path):
    manifest = manifest_info()["manifest"]
    held = run_module("weights_info", {**place, "manifest": manifest}, check=True)
    assert (held["absent"], held["missing_bytes"], held["settled"]) == (["config.json", "sub dir/shard"], 300_002, False)

    made = attributes_hold("rsync_push", push(held), lambda: os.path.exists(held["folder"]))
    assert made["sent"] == 2
    attributes_hold("weights", {**place, "manifest": manifest}, lambda: tree(tmp_path))

    held = run_module("weights_info", {**place, "manifest": manifest})
    assert (held["absent"], held["unread"], held["wrong"], held["settled"]) == ([], [], [], True)
    assert os.path.samefile(place["path"], held["folder"])


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_damage_is_named_and_repaired(run_module, manifest_info, place, push):
    manifest = manifest_info()["manifest"]
    folder = run_module("weights_info", {**place, "manifest": manifest})["folder"]
    run_module("rsync_push", push({"absent": sorted(manifest["files"]), "wrong": [], "folder": folder}))
    run_module("weights", {**place, "manifest": manifest})

    shard = os.path.join(folder, "sub dir", "shard")
    before = os.stat(shard)
    with open(shard, "r+b") as stream:
        stream.write(b"damage")
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))

    failed = run_module("weights", {**place, "manifest": manifest})
    assert failed["failed"]
    assert f"{os.uname().nodename}: weights in {folder}: sub dir/shard: wrong bytes; expected sha256" in failed["msg"]
    assert "\n" not in failed["msg"]

    held = run_module("weights_info", {**place, "manifest": manifest, "read": "unread"})
    assert held["wrong"] == ["sub dir/shard"]
    assert run_module("rsync_push", push(held))["sent"] == 1
    assert not run_module("weights", {**place, "manifest": manifest}).get("failed")


def test_a_disk_that_is_too_small_is_refused(run_module, place):
    manifest = {"root": "sha256:" + "a" * 64, "bytes": 10**18, "files": {"a": {"size": 10**18, "sha256": "a" * 64}}}
    answer = run_module("weights_info", {**place, "manifest": manifest})
    assert "disk for the weights" in answer["msg"]
    assert "expected 1020000000.0 GB; make room there" in answer["msg"]


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_a_host_that_does_not_answer_is_named(run_module, push):
    remote = {"host": "node9", "address": "root@node9.invalid", "shell": "ssh -o BatchMode=yes"}
    answer = run_module("rsync_push", push({"absent": ["config.json"], "wrong": [], "folder": "/models/x"}, remote=remote))
    assert answer["msg"].startswith("node9: rsync to /models/x: ")
    assert "\n" not in answer["msg"]


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_a_host_without_rsync_is_one_line_with_the_stage_that_brings_it(run_module, push, tmp_path):
    shell = tmp_path / "ssh"
    shell.write_text("#!/bin/sh\necho 'bash: line 1: rsync: command not found' >&2\nexit 127\n")
    shell.chmod(0o755)
    remote = {"host": "node1", "address": "root@node1", "shell": str(shell)}
    held = {"absent": ["config.json"], "wrong": [], "folder": "/models/x"}
    answer = run_module("rsync_push", push(held, remote=remote, turns=str(tmp_path / "turns")))
    assert answer["msg"] == (
        "node1: rsync to /models/x: no rsync on the host; expected rsync, 3.1 or newer; run host.yml first; it installs host_packages"
    )
