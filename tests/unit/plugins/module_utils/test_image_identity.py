from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_identity as identity
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "ab" * 32


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.lab:5443/flagos/serve:1.0", ("registry.lab:5443", "flagos/serve", "1.0", "")),
        ("localhost/serve", ("localhost", "serve", "latest", "")),
        ("10.0.0.1:5000/a__b/c-d.e:T_g.1@" + DIGEST, ("10.0.0.1:5000", "a__b/c-d.e", "T_g.1", DIGEST)),
        ("[fd00::1]:5000/serve@" + DIGEST, ("[fd00::1]:5000", "serve", "", DIGEST)),
    ],
)
def test_references(text, parts):
    assert tuple(identity.parse_reference(text)) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "serve",
        "serve:1",
        "flagos/serve:1",
        "r.io/",
        "r.io/UPPER",
        "r.io/a:",
        "r.io/a@",
        "r.io/a@sha256:12",
        "r.io/a:b:c",
        "r.io/a b",
        "r.io//a",
        "http://r.io/a",
    ],
)
def test_what_is_no_full_reference_is_refused(text):
    with pytest.raises(identity.IdentityError):
        identity.parse_reference(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        reference = identity.parse_reference(text)
    except identity.IdentityError:
        return
    assert text.startswith(reference.name)


def manifest(config=DIGEST, sizes=(10, 5)):
    return json.dumps({"config": {"digest": config}, "layers": [{"size": size} for size in sizes]}).encode()


def test_a_manifest_names_its_configuration_and_what_travels():
    content = manifest()
    assert identity.identity_of_manifest(content) == {"config_digest": DIGEST, "manifest_digest": "sha256:" + sha256(content), "bytes": 15}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"config": {}}', b'{"config": {"digest": "x"}, "layers": 3}', b"\xff"])
def test_other_documents_are_no_manifest(content):
    with pytest.raises(identity.IdentityError):
        identity.identity_of_manifest(content)


def test_the_manifest_of_this_architecture_is_chosen():
    index = {"manifests": [{"digest": name, "platform": {"os": "linux", "architecture": name}} for name in ("amd64", "arm64")]}
    assert identity.choose_manifest(index, "arm64") == "arm64"
    with pytest.raises(identity.IdentityError, match=r"linux/amd64, linux/arm64 only .*linux/riscv64"):
        identity.choose_manifest(index, "riscv64")


def archive_of(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


CONFIG = json.dumps({"os": "linux", "rootfs": {"diff_ids": ["sha256:" + "1" * 64]}}).encode()
OLDER = {
    "layer/layer.tar": b"x" * 3_000_000,
    sha256(CONFIG) + ".json": CONFIG,
    "manifest.json": json.dumps([{"Config": sha256(CONFIG) + ".json", "Layers": ["layer/layer.tar"]}]).encode(),
}
NEWER = {
    "blobs/sha256/" + sha256(CONFIG): CONFIG,
    "index.json": json.dumps({"manifests": [{"digest": DIGEST}]}).encode(),
    "manifest.json": json.dumps([{"Config": "blobs/sha256/" + sha256(CONFIG)}]).encode(),
}


@pytest.mark.parametrize(("files", "manifest_digest"), [(OLDER, ""), (NEWER, DIGEST)])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_both_forms_of_archive_have_the_identity_of_their_configuration(tmp_path, files, manifest_digest, mode):
    path = tmp_path / "image.tar"
    archive_of(path, files, mode)
    assert identity.identity_of_archive(str(path)) == {
        "config_digest": "sha256:" + sha256(CONFIG),
        "manifest_digest": manifest_digest,
        "bytes": sum(map(len, files.values())),
    }


@pytest.mark.parametrize(
    ("change", "observed"),
    [
        ({"manifest.json": b"[]"}, "0 images"),
        ({"manifest.json": b"{"}, "not readable"),
        ({"manifest.json": b'[{"Config": "other"}]'}, "no configuration"),
        ({"manifest.json": b"[{}]"}, "no configuration"),
        ({sha256(CONFIG) + ".json": CONFIG + b" "}, "a configuration whose hash is"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, change, observed):
    path = tmp_path / "image.tar"
    archive_of(path, {**OLDER, **change})
    with pytest.raises(identity.IdentityError) as refused:
        identity.identity_of_archive(str(path))
    assert refused.value.observed.startswith(observed)


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\x1f\x8b\x08 cut short"])
def test_another_file_is_no_archive(tmp_path, content):
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(identity.IdentityError):
        identity.identity_of_archive(str(path))


@pytest.mark.parametrize("mode", ["gz", "xz", "bz2"])
def test_a_compressed_archive_with_a_damaged_middle_is_refused(tmp_path, mode):
    path = tmp_path / "image.tar"
    archive_of(path, {**OLDER, "layer/layer.tar": bytes(random.Random(1).choices(b"abcdefgh", k=300_000))}, "w:" + mode)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = b"\xff" * 4000
    path.write_bytes(content)
    with pytest.raises(identity.IdentityError):
        identity.identity_of_archive(str(path))


def test_an_unknown_digest_cannot_differ():
    known = {"config_digest": "a", "manifest_digest": "b"}
    assert identity.difference(known, known) is None
    assert identity.difference({}, known) is None
    assert identity.difference(known, {"config_digest": "a", "manifest_digest": ""}) is None
    assert identity.difference(known, {"manifest_digest": "c"}) == ("manifest digest c", "b")
    assert identity.difference(known, {"config_digest": "c", "manifest_digest": "b"}) == ("config digest c", "a")
