"""Certificates of a swarm as the controller keeps them."""

from __future__ import annotations

import pytest


@pytest.fixture
def arguments(tmp_path):
    return {"folder": str(tmp_path / "cache" / "swarm" / "flagos"), "members": ["node1", "localhost"]}


@pytest.fixture
def content(tmp_path):
    return lambda: {path.name: path.read_text() for path in sorted((tmp_path / "cache").rglob("*")) if path.is_file()}


def test_check_mode_predicts_and_a_second_run_makes_nothing(run_module, arguments, content):
    predicted = run_module("weights_certificates", arguments, check=True)
    assert content() == {}
    made = run_module("weights_certificates", arguments)
    assert (predicted["changed"], predicted["actions"], predicted["diff"]) == (True, made["actions"], made["diff"])
    kept = content()
    again = run_module("weights_certificates", arguments)
    assert (again["changed"], again["authority"], again["members"], content()) == (False, made["authority"], made["members"], kept)
    assert made["actions"] == ["make the swarm's authority", "make the certificate of localhost", "make the certificate of node1"]
    assert made["authority"].startswith("-----BEGIN CERTIFICATE-----")


def test_in_check_mode_there_may_be_no_authority_yet(run_module, arguments):
    assert run_module("weights_certificates", arguments, check=True)["authority"] == ""


def test_only_their_owner_can_read_them_and_no_key_is_told(run_module, arguments, tmp_path):
    answer = run_module("weights_certificates", arguments)
    folder = tmp_path / "cache" / "swarm" / "flagos"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert "PRIVATE KEY" in (folder / "member-node1.key").read_text()
    assert "PRIVATE KEY" not in str(answer)


def test_a_further_member_leaves_the_others_as_they_are(run_module, arguments, content):
    run_module("weights_certificates", arguments)
    before = content()
    arguments["members"].append("node2")
    assert run_module("weights_certificates", arguments)["actions"] == ["make the certificate of node2"]
    assert before.items() <= content().items()


def test_a_key_that_others_could_read_is_made_anew(run_module, arguments, tmp_path):
    answer = run_module("weights_certificates", arguments)
    (tmp_path / "cache" / "swarm" / "flagos" / "member-node1.key").chmod(0o640)
    assert run_module("weights_certificates", arguments)["actions"] == ["make the certificate of node1"]
    (tmp_path / "cache" / "swarm" / "flagos" / "authority.key").chmod(0o644)
    again = run_module("weights_certificates", arguments)
    assert len(again["actions"]) == 3
    assert again["authority"] != answer["authority"]
    assert not run_module("weights_certificates", arguments)["changed"]


def test_no_name_of_a_host_leads_out_of_the_folder(run_module, arguments, tmp_path):
    answer = run_module("weights_certificates", {**arguments, "members": ["../../outside"]})
    assert answer["members"]["../../outside"]["key"] == f"{arguments['folder']}/member-..%2F..%2Foutside.key"
    assert not (tmp_path / "cache" / "outside.key").exists()


def test_a_python_without_the_library_is_one_clear_line(run_module, arguments, tmp_path, monkeypatch):
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')\n")
    monkeypatch.chdir(tmp_path)  # a module's own folder comes first
    assert run_module("weights_certificates", arguments)["msg"] == (
        "localhost: certificates of the swarm: the Python of this module has no library cryptography;"
        " expected one that has it, as the one that Ansible runs with; install cryptography there, or set weights_tls: false"
    )
