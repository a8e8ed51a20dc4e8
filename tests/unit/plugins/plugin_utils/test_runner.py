"""The Python entry: ansible-runner's events become ours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import runner


def listen(*raw):
    events = []
    listener = runner._Listener(events.append)
    for event in raw:
        assert listener(event) is False, "ansible-runner must keep no file of an event"
    return listener, events


STAGE = {"event": "playbook_on_play_start", "stdout": "[2/7 image] Bring the image", "event_data": {"name": "Bring the image"}}


def test_a_stage_is_named_as_the_callback_names_it():
    events = listen(STAGE)[1]
    assert events == [runner.Event("stage", "image")]


def test_a_stage_without_the_callback_is_named_by_its_play():
    events = listen({**STAGE, "stdout": "PLAY [Bring the image] ****"})[1]
    assert events[0].stage == "Bring the image"


def test_progress_reaches_the_caller():
    record = {"done": 1, "total": 2, "unit": "bytes", "note": ""}
    data = {"task": "Pull", "host": "node1", "res": {"progress": record}}
    events = listen(STAGE, {"event": "runner_on_async_poll", "event_data": data})[1]
    assert events[1] == runner.Event("progress", "image", "Pull", "node1", progress=record)


@pytest.mark.parametrize("kind", ["runner_on_failed", "runner_on_unreachable"])
def test_a_failure_is_one_line_with_stage_host_and_task(kind):
    listener, events = listen(STAGE, {"event": kind, "event_data": {"task": "Pull", "host": "node1", "res": {"msg": "no\n  space"}}})
    assert listener.failures == [runner.Failure("node1", "image", "Pull", "no | space")]
    assert events[1].kind == "failure"


def test_an_ignored_failure_is_a_result():
    listener, events = listen({"event": "runner_on_failed", "event_data": {"ignore_errors": True, "res": {"msg": "no"}}})
    assert (listener.failures, events[0].kind) == ([], "result")


def test_a_secret_failure_stays_censored():
    listener = listen({"event": "runner_on_failed", "event_data": {"host": "node1", "res": {"censored": "hidden by no_log"}}})[0]
    assert listener.failures[0].message == "hidden by no_log"


def test_counts_take_ansibles_summary():
    summary = {"ok": 5, "failures": 1, "unreachable": 0, "changed": 2, "skipped": 0, "rescued": 0, "ignored": 0}
    assert runner._counts(summary) == runner.HostCounts(ok=5, failed=1, changed=2)


def test_a_result_knows_whether_anything_changed():
    hosts = {"node1": runner.HostCounts(changed=1), "node2": runner.HostCounts(changed=2)}
    assert runner.Result("successful", 0, 1.0, {}, hosts, ()).changed == 3


FINE = runner.Result("successful", 0, 1.0, {}, {}, ())
FAILED = dataclasses.replace(FINE, status="failed", rc=2)


@pytest.mark.parametrize(
    ("result", "report", "code"),
    [
        (FINE, {"ok": True, "exit_code": 0}, 0),
        (FINE, {"ok": True, "exit_code": 1}, 1),
        (FAILED, {"ok": False, "exit_code": 2}, 2),
        (FAILED, {}, 2),  # it ended before the hosts were judged
        (FAILED, {"ok": True, "exit_code": 0}, 2),  # it failed after they were
    ],
)
def test_preflight_has_a_code_whatever_came_of_the_run(result, report, code):
    found = runner.Preflight(result, report)
    assert (found.exit_code, found.ok) == (code, code < 2)


@pytest.mark.parametrize("report", [{"ok": True, "exit_code": 1, "checks": []}, None], ids=["judged", "ended before"])
def test_preflight_hands_on_what_the_role_wrote(monkeypatch, tmp_path, report, capsys):
    asked = {}

    def run(playbook, *, extra_vars, **options):
        asked.update(options, playbook=playbook, **extra_vars)
        if report:
            Path(extra_vars["preflight_report_file"]).write_text(json.dumps(report))
        return FINE if report else FAILED

    monkeypatch.setattr(runner, "run_playbook", run)
    found = runner.preflight(inventory=tmp_path, before="serve", extra_vars={"x": 1}, limit="node1")
    assert found.report == (report or {})
    assert [asked[name] for name in ("playbook", "preflight_before", "x", "limit")] == ["preflight", "serve", 1, "node1"]
    assert not Path(asked["preflight_report_file"]).exists()
    assert runner.main(["preflight", "--inventory", str(tmp_path)]) == (1 if report else 2)
    assert json.loads(capsys.readouterr().out)["exit_code"] == (1 if report else 2)


def test_a_missing_inventory_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"observed no .*/nowhere"):
        runner.run_playbook("site", inventory=tmp_path / "nowhere")
