"""Inputs that are wrong on the hosts or beside them: one line with what, where, observed, expected and remedy, and nothing changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess

import pytest
from clone import evaluate, play

pytestmark = pytest.mark.lab


def refused(**variables) -> str:
    """Play the whole site with these variables; returns the one line that says why not."""
    ended = play("site.yml", "--extra-vars", json.dumps(variables), capture=True)
    assert ended.status != 0, ended.output
    assert ended.changed == 0, ended.output
    assert len(set(ended.fatal)) == 1, ended.output
    return ended.fatal[0]


def says(line: str, *words: str) -> None:
    missing = [word for word in (*words, "expected") if word not in line]
    assert not missing, f"{missing} not in: {line}"


@pytest.fixture(scope="module")
def model():
    """The folder of the lab's model."""
    return evaluate("weights_source", host="node1")


@pytest.fixture
def damaged(model, tmp_path):
    """A copy of the model's folder with the publisher's list of it, to be damaged."""
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    published = tmp_path / "SHA256SUMS"
    published.write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files))
    return folder, published, max(files, key=lambda path: path.stat().st_size)


def test_a_missing_weights_folder():
    says(refused(weights_source="/nowhere/weights"), "/nowhere/weights", "a readable folder of weights")


def test_a_weights_file_is_missing(damaged):
    folder, published, largest = damaged
    largest.unlink()
    says(refused(weights_source=str(folder), weights_published=str(published)), largest.name, "missing")


def test_a_weights_file_holds_other_bytes(damaged):
    folder, published, largest = damaged
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    says(refused(weights_source=str(folder), weights_published=str(published)), largest.name)


def test_an_archive_that_is_none(tmp_path):
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"\0" * 10240)
    says(refused(image_archive=str(archive), image_reference=""), str(archive))


def test_a_missing_archive():
    says(refused(image_archive="/nowhere/image.tar", image_reference=""), "/nowhere/image.tar")


def test_a_registry_with_an_unknown_authority(tmp_path):
    certificate = tmp_path / "other.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=another authority"]
    subprocess.run([*command, "-keyout", tmp_path / "other.key", "-out", certificate], check=True, capture_output=True)
    says(refused(image_registry_ca=str(certificate)), "registry registry.lab:5443", "unknown ca")


@pytest.mark.parametrize(("state", "password"), [("missing", ""), ("wrong", "canary-77")])
def test_a_registry_password(state, password):
    line = refused(image_registry_password=password)
    says(line, "registry registry.lab:5443", f"{state} password")
    assert "canary" not in line


def test_a_port_that_another_program_holds(lab):
    pid = lab.execute("node1", "setsid python3 -m http.server 8123 >/dev/null 2>&1 </dev/null & echo $!").strip()
    try:
        says(refused(serve_port=8123), "node1", "port in use", "8123 (api)", f"python3 (pid {pid}")
    finally:
        lab.execute("node1", f"kill {pid}")


def test_too_little_disk():
    says(refused(preflight_disk_margin="100t"), "node1", "disk", "free on")


def test_an_unreachable_host_harms_no_other(lab):
    with lab.cut("node4"):
        ended = play("site.yml", "--extra-vars", json.dumps({"ansible_timeout": 5}), capture=True)
    assert ended.status != 0
    assert ended.changed == 0, ended.output
    lines = [line for line in ended.fatal if "node4" in line]
    assert lines, ended.output
    assert not [line for line in ended.fatal if "node4" not in line], "only the host that is cut off may be called faulty"
