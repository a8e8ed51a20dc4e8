"""What the controller makes of the hosts' answers."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.flagos.kunlunxin.plugins.action import preflight_report
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._preflight import Verdict

OPTIONS = {
    "plan": {"name": "lab", "topology": {"applies": False}, "model": {"path": "/models/m"}, "profile": {"checks": []}},
    "shm_size": "1g",
    "limits": {"memlock": "infinity", "nofile": 1024},
    "driver_version": "",
    "firmware": {},
    "rdma_rate": 0.0,
    "idle_memory": "1g",
    "clock_spread": 1.0,
    "weights_source": "",
    "weights_mirror": "",
    "weights_bytes": 0,
    "weights_root": "",
    "archive_copy": "",
    "image_archive": "",
    "image_reference": "lab/serve:1",
    "image_bytes": 0,
    "image_unpack_factor": 3.0,
    "registry_ca": "",
    "disk_margin": "2g",
    "clock_tolerance": 30.0,
}


@pytest.mark.parametrize(
    "message",
    [
        'Task failed: Data could not be sent to remote host "n". Make sure this host can be reached over ssh: ssh: connect to host n: Refused',
        "Failed to connect to the host via ssh: ssh: connect to host n: Refused",
    ],
)
def test_an_unreachable_host_is_told_in_the_words_of_ssh(message):
    lost = {"unreachable": True, "msg": message}
    expected = {"n": {"unreachable": "ssh: connect to host n: Refused"}}
    assert preflight_report.answers_of({"n": lost}, {}, {}) == expected
    assert preflight_report.answers_of({"n": {"host": {}}}, {"n": lost}, {}) == expected


def test_a_host_that_could_not_run_a_module_says_why():
    assert preflight_report.facts_of({"msg": "MODULE FAILURE", "module_stderr": "python3: not found"}, "host") == {
        "failed": "python3: not found"
    }
    assert preflight_report.facts_of({"msg": "Missing sudo password"}, "network") == {"failed": "Missing sudo password"}
    assert preflight_report.facts_of({}, "host") == {"failed": "no answer"}


def test_what_a_host_answered_is_its_facts_and_what_was_skipped_was_not_asked():
    found = preflight_report.answers_of({"n": {"changed": False, "host": {"a": 1}}}, {"n": {"network": {"b": 2}}}, {"n": {"skipped": True}})
    assert found == {"n": {"host": {"a": 1}, "network": {"b": 2}, "accelerator": None}}


def test_sizes_come_from_what_lies_on_the_controller(tmp_path):
    (tmp_path / "weights" / "sub").mkdir(parents=True)
    (tmp_path / "weights" / "sub" / "one").write_bytes(b"12345")
    (tmp_path / "image.tar").write_bytes(b"123")
    archive = str(tmp_path / "image.tar")
    needs = preflight_report.needs_of({**OPTIONS, "weights_source": str(tmp_path / "weights"), "image_archive": archive}, "host")
    assert (needs.weights_bytes, needs.image_bytes, needs.image_source, needs.shm_bytes) == (5, 3, archive, 1024**3)
    assert preflight_report.needs_of({**OPTIONS, "image_bytes": 9}, "host").image_bytes == 9


def test_a_clone_counts_as_its_files_and_a_snapshot_as_what_it_links_to(tmp_path):
    clone, snapshot = tmp_path / "clone", tmp_path / "snapshot"
    (clone / ".git" / "lfs").mkdir(parents=True)
    snapshot.mkdir()
    for path in (clone / "model.safetensors", clone / ".git" / "lfs" / "model", tmp_path / "blob"):
        path.write_bytes(b"1" * 1000)
    (snapshot / "model.safetensors").symlink_to("../blob")
    for source in (clone, snapshot):
        assert preflight_report.needs_of({**OPTIONS, "weights_source": str(source)}, "host").weights_bytes == 1000


def test_a_folder_that_is_no_source_of_weights_is_named(tmp_path):
    (tmp_path / "gone").symlink_to("nowhere")
    options = {**OPTIONS, "weights_source": str(tmp_path)}
    assert preflight_report.needs_of(options, "host").weights_bytes == 0
    (found,) = preflight_report.missing_sources(options)
    assert "weights_source" in str(found.finding)
    assert "gone" in str(found.finding)


@pytest.mark.parametrize(
    ("option", "variable"), [("weights_source", "weights_source"), ("image_archive", "image_archive"), ("registry_ca", "image_registry_ca")]
)
def test_a_missing_source_is_named(option, variable):
    found = preflight_report.missing_sources({**OPTIONS, option: "/nowhere/at/all"})
    assert [str(one.finding).split(": ")[:2] for one in found] == [["localhost", variable]]
    assert "/nowhere/at/all" in str(found[0].finding)
    assert found[0].fails_before("host")


def test_weights_that_a_mirror_has_are_to_do_and_count_with_the_size_that_their_list_says(tmp_path):
    (tmp_path / "begun" / "sub").mkdir(parents=True)
    (tmp_path / "begun" / "sub" / ".shard.part").write_bytes(b"1")
    for folder in (tmp_path / "nowhere", tmp_path / "begun"):
        options = {**OPTIONS, "weights_source": str(folder), "weights_mirror": "https://mirror/", "weights_bytes": 9}
        (found,) = preflight_report.missing_sources(options)
        assert str(found.finding) == (
            f"localhost: weights_source: nothing in {folder}; expected the weights; run weights.yml, which fetches them from weights_mirror"
        )
        assert (found.is_to_do("host"), found.fails_before("weights"), found.fails_before("serve")) == (True, False, True)
        assert preflight_report.needs_of(options, "host").weights_bytes == 9


def test_sources_that_are_there_are_no_finding(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    assert preflight_report.missing_sources({**OPTIONS, "weights_source": str(tmp_path), "registry_ca": str(tmp_path / "file")}) == []


def sources(before, **changes):
    """What the verdict says of the controller's files just before a stage."""
    verdict = Verdict()
    preflight_report.take_sources(verdict, {**OPTIONS, **changes}, before)
    return verdict


def test_the_controllers_files_are_missed_only_while_a_stage_will_take_them():
    gone = {"weights_source": "/nowhere/w", "image_archive": "/nowhere/i", "registry_ca": "/nowhere/c"}
    assert [one.check for one in sources("host", **gone).judgements] == ["weights_source", "image_archive", "image_registry_ca"]
    assert [one.check for one in sources("weights", **gone).judgements] == ["weights_source"]
    assert sources("serve", **gone).judgements == []


def test_the_controllers_files_pass_by_name(tmp_path):
    (tmp_path / "file").write_text("x")
    assert sources("host", weights_source=str(tmp_path)).passed == {"weights_source": ["localhost"]}


QUANTIZED = {
    "name": "quantization",
    "json": "/models/m/config.json",
    "key": "quantization_config",
    "severity": "error",
    "remedy": "use others",
    "stage": "weights",
}


@pytest.mark.parametrize(
    ("text", "found"), [('{"quantization_config": {}}', False), ('{"a": 1}', True), ("[1]", True), ("no JSON", False), (None, False)]
)
def test_weights_that_lack_what_the_profile_wants_are_refused_before_they_travel(tmp_path, text, found):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    (tmp_path / "model").write_text("x")
    plan = {**OPTIONS["plan"], "profile": {"checks": [QUANTIZED, {"name": "other", "file": "/x"}]}}
    verdict = sources("host", plan=plan, weights_source=str(tmp_path))
    assert [one.check for one in verdict.judgements] == (["quantization"] if found else [])
    assert sources("serve", plan=plan, weights_source=str(tmp_path)).judgements == []
    if found:
        assert verdict.judgements[0].fails_before("host")
        assert f"localhost: quantization: no quantization_config in {tmp_path}/config.json" in str(verdict.judgements[0].finding)


@pytest.mark.parametrize("change", [{"firmware": {"SBL": "new"}}, {"disk_margin": "much"}, {"limits": {"nofile": "many"}}])
def test_a_value_that_cannot_be_read_is_one_line(change):
    with pytest.raises(AnsibleActionFail, match=r"localhost: preflight: not a .*; mend the variable"):
        preflight_report.needs_of({**OPTIONS, **change}, "host")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Failed to connect to the host via ssh: ssh: connect to host a port 22: timed out", "ssh: connect to host a port 22: timed out"),
        (
            "Data could not be sent over ssh: mux_client_request_session: read from master failed: Broken pipe\r\nssh: timed out",
            "ssh: timed out",
        ),
        ("no words of ssh", "no words of ssh"),
        (
            "Failed to connect to the host via ssh: @@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nThe fingerprint for the"
            " ED25519 key sent by the remote host is\nSHA256:LqV5.\r\nOffending ED25519 key in /etc/known_hosts:1\r\n"
            "Host key verification failed.",
            "its host key is not the known one: SHA256:LqV5 was sent, and not the key in /etc/known_hosts:1",
        ),
    ],
)
def test_of_a_host_that_is_out_of_reach_ssh_is_quoted(message, words):
    assert preflight_report.words_of_ssh(message) == words
