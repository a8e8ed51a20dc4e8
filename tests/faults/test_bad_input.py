"""Inputs that are wrong on the hosts or beside them: one line with what, where, observed, expected and remedy, and nothing changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess

import pytest
from clone import evaluate, play
from finding import says

pytestmark = pytest.mark.lab


def refused(**variables) -> str:
    """Play the whole site with these variables; returns the one line that says why not."""
    ended = play("site.yml", "--extra-vars", json.dumps(variables), capture=True)
    assert ended.status != 0, ended.output
    assert ended.changed == 0, ended.output
    assert len(set(ended.fatal)) == 1, ended.output
    return ended.fatal[0]


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
    says(
        refused(weights_source="/nowhere/weights"),
        "localhost",
        check="weights in /nowhere/weights",
        observed="/nowhere/weights: No such file or directory",
        expected="a readable folder of weights",
        remedy="mend weights_source",
    )


def test_a_weights_file_is_missing(damaged):
    folder, published, largest = damaged
    largest.unlink()
    says(
        refused(weights_source=str(folder), weights_published=str(published)),
        "localhost",
        check=f"weights in {folder}",
        observed=f"{largest.relative_to(folder)}: missing",
        expected="the file, as the manifest says",
        remedy="fetch the files again",
    )


def test_a_weights_file_holds_other_bytes(damaged):
    folder, published, largest = damaged
    content = bytearray(largest.read_bytes())
    before = hashlib.sha256(content).hexdigest()
    content[-1] ^= 1
    largest.write_bytes(content)
    says(
        refused(weights_source=str(folder), weights_published=str(published)),
        "localhost",
        check=f"weights in {folder}",
        observed=f"{largest.relative_to(folder)}: sha256 {hashlib.sha256(content).hexdigest()}",
        expected=f"{before}, as the manifest says",
        remedy="fetch the files again",
    )


def test_a_weights_file_has_another_size_than_the_lock_says(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    variables = {"weights_source": str(folder), "cluster_lock_file": str(tmp_path / "cluster.lock.yml")}
    locked = play("playbooks/lock.yml", "--extra-vars", json.dumps(variables), capture=True)
    assert locked.status == 0, locked.output
    (folder / "config.json").write_text("{ }")
    says(
        refused(**variables),
        "localhost",
        check=f"weights in {folder}",
        observed="config.json: 3 bytes",
        expected="2 bytes, as the manifest says",
        remedy="or run lock.yml where these are the weights to pin",
    )


def test_an_archive_that_is_none(tmp_path):
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"\0" * 10240)
    says(
        refused(image_archive=str(archive), image_reference=""),
        check="image archive",
        observed=f"{archive}: no manifest.json",
        expected="a tar archive of one image, as docker save makes it",
        remedy="fetch the archive again",
    )


def test_a_missing_archive():
    says(
        refused(image_archive="/nowhere/image.tar", image_reference=""),
        check="image archive",
        observed="/nowhere/image.tar: No such file or directory",
        expected="the archive that image_archive names",
        remedy="mend image_archive",
    )


def test_a_registry_with_an_unknown_authority(tmp_path):
    certificate = tmp_path / "other.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=another authority"]
    subprocess.run([*command, "-keyout", tmp_path / "other.key", "-out", certificate], check=True, capture_output=True)
    says(
        refused(image_registry_ca=str(certificate)),
        "node1",
        check="registry registry.lab:5443",
        observed="unknown ca: ",
        expected="a login over TLS",
        remedy="give image_registry_ca",
    )


@pytest.mark.parametrize(
    ("state", "password", "observed", "remedy"),
    [
        ("missing", "", "no password was given", "give image_registry_username and image_registry_password"),
        ("wrong", "canary-77", "to user puller", "mend image_registry_username and image_registry_password"),
    ],
)
def test_a_registry_password(state, password, observed, remedy):
    line = refused(image_registry_password=password)
    says(
        line,
        "node1",
        check="registry registry.lab:5443",
        observed=(f"{state} password: ", observed),
        expected="a login over TLS",
        remedy=remedy,
    )
    assert "canary" not in line


def test_a_port_that_another_program_holds(lab):
    pid = lab.execute("node1", "setsid python3 -m http.server 8123 >/dev/null 2>&1 </dev/null & echo $!").strip()
    try:
        says(
            refused(serve_port=8123),
            "node1",
            check="port in use",
            observed=("8123 (api)", f"python3 (pid {pid}"),
            expected="free",
            remedy="stop it, or choose another serve_port",
        )
    finally:
        lab.execute("node1", f"kill {pid}")


def test_too_little_disk():
    says(refused(preflight_disk_margin="100t"), "node1", check="disk", observed="free on", expected=" for ", remedy="make room")


def test_too_little_disk_for_an_image_that_only_its_registry_has():
    """Its size is asked of the registry; a state folder of its own makes the hosts forget that they hold it."""
    line = refused(image_unpack_factor=1e6, cluster_state_dir="/var/lib/flagos-kunlunxin-elsewhere")
    says(line, "node1", check="disk", observed="free on", expected="for image", remedy="make room")


@pytest.mark.parametrize("reference", ["registry.lab:5443/no/such:1", "registry.lab:5443/No Such"])
def test_an_image_that_its_registry_lacks(reference):
    says(
        refused(image_reference=reference),
        "node1",
        check="registry registry.lab:5443",
        observed="not found: ",
        expected=f"the manifest of {reference}",
        remedy="mend image_reference, or push the image",
    )


def test_an_unreachable_host_harms_no_other(lab):
    with lab.cut("node4"):
        line = refused(ansible_timeout=5)
    # It is the only one that may be called faulty, and once its cable is back nothing else has to be mended.
    finding = says(line, check="reachable", expected="a login over ssh", remedy="bring the host up or mend its address")
    assert finding.where == "node4"
    ended = play("site.yml", capture=True)
    assert ended.status == 0, ended.output
