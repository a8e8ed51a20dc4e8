"""What differs from cluster.lock.yml is refused in one line, and nothing is changed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest
import yaml
from clone import play

pytestmark = [pytest.mark.lab, pytest.mark.full]


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def options(tmp_path, source):
    """The lab's own image, weights of a few bytes, and a lock of them."""
    variables = {
        "weights_source": str(source),
        "weights_path": "/models/pinned",
        "cluster_lock_file": str(tmp_path / "cluster.lock.yml"),
        "cluster_state_dir": "/var/lib/flagos-kunlunxin-pinned",
    }
    given = ("--extra-vars", json.dumps(variables))
    locked = play("playbooks/lock.yml", *given, capture=True)
    assert locked.status == 0, locked.output
    return given


def refused(options, **variables):
    ended = play("playbooks/distribute.yml", *options, "--extra-vars", json.dumps(variables), capture=True)
    assert ended.status != 0, ended.output
    # The image, which is the pinned one, may come to the hosts beside.
    assert [change for change in ended.changes if change[0] != "image"] == [], ended.output
    return ended.output


def test_the_lock_says_what_the_inventory_names(options, source, tmp_path):
    assert play("playbooks/lock.yml", *options, capture=True).changed == 0
    lock = yaml.safe_load((tmp_path / "cluster.lock.yml").read_text())
    digest = hashlib.sha256(b"{}").hexdigest()  # the root, too: the file is a single leaf
    assert lock["image"]["name"].startswith("registry.lab:5443/")
    assert lock["weights"]["files"] == {"config.json": {"size": 2, "sha256": digest, "merkle_root": digest}}


def test_another_digest_than_the_pinned_one(options):
    """It may be the digest of an index that leads to the pinned image, so the registry is asked; this one knows no such digest."""
    output = refused(options, image_reference="registry.lab:5443/flagos/serve-cpu@sha256:" + "0" * 64)
    assert "image registry: registry.lab:5443: it answered 404 Not Found; expected the manifest of" in output


def archive_of_an_image(path):
    """Write an archive of an image without layers, as docker save makes it; returns the image's identity."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": None, "Layers": []}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in ((f"{digest}.json", config), ("manifest.json", manifest)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return digest


def test_an_archive_of_another_image_than_the_pinned_one(options, tmp_path):
    archive = tmp_path / "image.tar"
    digest = archive_of_an_image(archive)
    ended = play("site.yml", *options, "--extra-vars", json.dumps({"image_archive": str(archive)}), capture=True)
    assert ended.status != 0, ended.output
    (line,) = ended.fatal
    assert all(word in line for word in ("image identity", str(archive), f"sha256:{digest}", "expected", "as cluster.lock.yml says")), line
    assert ended.changed == 0, ended.output


def test_weights_of_another_size_than_the_pinned_ones(options, source):
    (source / "config.json").write_text("{ }")
    assert "config.json: 3 bytes; expected 2 bytes, as the manifest says" in refused(options)


def test_weights_with_other_bytes_than_the_pinned_ones(options, source):
    (source / "config.json").write_text("[]")
    output = refused(options)
    assert f"config.json: sha256 {hashlib.sha256(b'[]').hexdigest()}" in output
    assert "run lock.yml where these are the weights to pin" in output


def test_a_lock_that_was_edited_by_hand(options, tmp_path):
    path = tmp_path / "cluster.lock.yml"
    path.write_text(path.read_text().replace("size: 2", "size: 3"))
    assert "the root of the weights does not belong to the files" in refused(options)
