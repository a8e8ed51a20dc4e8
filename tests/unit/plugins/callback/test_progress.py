"""The callback's words and figures: what a transfer's rate and time left are, and what a run leaves as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types

import pytest
from ansible_collections.flagos.kunlunxin.plugins.callback import progress
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (1000, "bytes", "1.0 kB"),
        (3_200_000_000, "bytes", "3.2 GB"),
        (999_600_000, "bytes", "1.0 GB"),
        (7e17, "bytes", "700000 TB"),
        (3, "layers", "3 layers"),
        (95, "seconds", "1 min 35 s"),
    ],
)
def test_amounts_read_like_people_write_them(value, unit, expected):
    assert progress.amount(value, unit) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min")],
)
def test_times_read_like_people_write_them(seconds, expected):
    assert progress.clock(seconds) == expected


@given(st.floats(min_value=0, max_value=1e15))
def test_an_amount_never_shows_more_than_three_digits_below_a_thousand_terabytes(value):
    assert re.fullmatch(r"\d(\.\d)? \w+|\d{2,3} \w+|1000 \w+", progress.amount(value))


def meter(*samples, **record):
    built = progress.Meter()
    for at, done in samples:
        built.add(at, {"done": done, **record})
    return built


def test_rate_and_time_left_come_from_the_reports():
    measured = meter((0, 0), (10, 400), total=1000)
    assert measured.rate == 40
    assert measured.seconds_left == 15
    assert str(measured) == "40%, 400 B of 1.0 kB, 40 B/s, 15 s left"


def test_only_the_last_half_minute_makes_the_rate():
    measured = meter((0, 0), (100, 100), (125, 1100), (130, 1300), total=10_000)
    assert measured.rate == 40


def test_a_new_attempt_forgets_the_old_rate():
    measured = meter((0, 0), (10, 400), (12, 5), total=1000)
    assert measured.rate is None
    assert measured.seconds_left is None


def test_a_wait_says_its_limit_and_no_rate():
    assert str(meter((0, 0), (5, 30), total=600, unit="seconds", note="3 of 4 hosts")) == "30 s of at most 10 min 00 s, 3 of 4 hosts"


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e12)), min_size=1, max_size=30), st.one_of(st.none(), st.floats(1, 1e12)))
def test_any_reports_can_be_shown(samples, total):
    measured = meter(*sorted(samples), total=total)
    assert str(measured)
    assert measured.fraction is None or 0 <= measured.fraction <= 1
    assert measured.rate is None or measured.rate >= 0


def test_the_slowest_host_is_the_one_shown():
    fast, slow = meter((0, 90), total=100), meter((0, 10), total=100)
    assert progress.slowest({"node1": fast, "node2": slow})[0] == "node2"
    assert progress.slowest({}) is None


def test_a_running_task_says_how_many_hosts_are_through():
    run = progress.TaskRun("image", "image", "Pull", 100.0)
    run.waiting |= {"node1", "node2", "node3"}
    run.result("node1", "changed", 130.0)
    run.meters["node2"] = meter((100, 0), (130, 300), total=900)
    assert run.running_line(140.0) == "image : Pull | 1 of 3 hosts | node2: 33%, 300 B of 900 B, 10 B/s, 1 min 00 s left | 40 s"


def test_a_transfer_says_what_all_hosts_have_together_and_who_is_last():
    run = progress.TaskRun("weights", "weights", "Receive", 100.0)
    run.waiting |= {"node1", "node2", "node3"}
    run.meters = {"node1": meter((100, 0), (130, 900), total=900), "node2": meter((100, 0), (130, 300), total=900)}
    assert run.running_line(140.0).endswith("10 B/s, 1 min 00 s left | in all 1.2 kB of 1.8 kB, 40 B/s | 40 s")
    run.result("node1", "changed", 141.0)
    assert " | in all 1.2 kB of 1.8 kB, 10 B/s | " in run.running_line(142.0)
    run.meters["node3"] = meter((100, 3), total=8, unit="layers")
    assert "in all" not in run.running_line(143.0)


def test_hosts_that_give_to_each_other_are_told_how_often_the_source_gave_the_whole():
    run = progress.TaskRun("weights", "weights", "Receive", 100.0)
    run.waiting |= {"node1", "node2"}
    for host, from_source in (("node1", 300), ("node2", 150)):
        run.meters[host] = progress.Meter()
        run.meters[host].add(100, {"done": 600, "total": 1000, "from_source": from_source})
    assert " | in all 1.2 kB of 2.0 kB, 0.45 copies from the source | " in run.running_line(101.0)
    run.result("node1", "changed", 102.0)
    assert " | in all 1.6 kB of 2.0 kB, 0.45 copies from the source | " in run.running_line(103.0)


def test_one_host_alone_is_not_told_twice():
    run = progress.TaskRun("weights", "weights", "Receive", 100.0)
    run.waiting |= {"node1"}
    run.meters["node1"] = meter((100, 0), (130, 300), total=900)
    assert "in all" not in run.running_line(140.0)


def test_a_finished_task_names_the_hosts_that_changed_when_not_all_did():
    run = progress.TaskRun("host", "host", "Settle", 0.0)
    for host in ("node2", "node1"):
        run.result(host, "changed", 1.0)
    run.result("node3", "ok", 2.0)
    assert run.finished_line() == "  host : Settle .. ok=1 changed=2 (node1, node2) 2.0 s"


def record_of(*diffs):
    """The record of a task that gave these diffs, each as (host, diff)."""
    run = progress.TaskRun("host", "host", "Settle", 0.0, "flagos.kunlunxin.host_settings")
    for host, shown in diffs:
        run.diff(host, shown)
    return run.record()


def test_a_task_without_a_diff_names_its_action_and_no_digest():
    record = record_of()
    assert record["action"] == "flagos.kunlunxin.host_settings"
    assert "diffs" not in record


def test_the_digest_tells_equal_diffs_from_others_whatever_the_order_of_their_keys():
    digests = record_of(
        ("node1", {"before": "a", "after": "b"}), ("node2", {"after": "b", "before": "a"}), ("node3", {"before": "a", "after": "c"})
    )["diffs"]
    assert digests["node1"] == digests["node2"] != digests["node3"]
    assert all(re.fullmatch(r"[0-9a-f]{12}", digest) for digest in digests.values())


def test_a_loop_has_a_digest_of_the_diffs_of_all_its_items():
    first, second = {"after": "b"}, {"after": "c"}
    assert record_of(("node1", first), ("node1", second))["diffs"] != record_of(("node1", first))["diffs"]


def result_of(result, loop=None, ignore_unreachable=False):
    """A result of node1 as Ansible hands it to a callback."""
    task = types.SimpleNamespace(loop=loop, ignore_unreachable=ignore_unreachable, action="x", _uuid="1")
    host = types.SimpleNamespace(get_name=lambda: "node1")
    return types.SimpleNamespace(_result=result, result=result, _task=task, task=task, _host=host, host=host)


@pytest.fixture
def callback(monkeypatch):
    """A callback within a task; what it shows is in ``shown``."""
    made = progress.CallbackModule()
    made._task = progress.TaskRun("host", "host", "Settle", 0.0)
    made.shown = []
    monkeypatch.setattr(progress.DefaultCallback, "v2_on_file_diff", lambda self, result: None)
    monkeypatch.setattr(made, "_fatal", lambda result, outcome, message: made.shown.append((outcome, message)))
    return made


@pytest.mark.parametrize(
    ("result", "loop"),
    [
        ({"diff": {"after": "b"}}, None),
        ({"diff": {"after": "b"}}, ["one item's own result"]),
        ({"results": [{"diff": {"after": "b"}}, {"changed": False}]}, ["an item", "another"]),
        ({"diff": {"after": "b"}, "results": ["a package manager's words"]}, None),
    ],
)
def test_a_diff_is_taken_from_a_result_an_item_or_a_whole_loop(result, loop, callback):
    callback.v2_on_file_diff(result_of(result, loop))
    assert callback._task.record()["diffs"] == record_of(("node1", {"after": "b"}))["diffs"]


def test_an_empty_diff_is_none(callback):
    callback.v2_on_file_diff(result_of({"diff": []}))
    assert "diffs" not in callback._task.record()


@pytest.mark.parametrize(("ignored", "shown"), [(False, [("UNREACHABLE", "No route")]), (True, [])])
def test_an_unreachable_host_is_told_unless_a_later_task_judges_it(ignored, shown, callback):
    callback.v2_runner_on_unreachable(result_of({"msg": "No route"}, ignore_unreachable=ignored))
    assert callback.shown == shown
    assert callback._task.record()["unreachable"] == 1


PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Write
      lineinfile: {path: "{{ playbook_dir }}/written", line: "{{ line }}"}
    - name: Say
      debug: {msg: said}
"""


@pytest.fixture
def run(tmp_path):
    """Plays a playbook in a real run of Ansible with the callback; returns the tasks of its timings."""
    (tmp_path / "host.yml").write_text(PLAYBOOK)
    (tmp_path / "written").write_text("before\n")

    def play(*options):
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": os.path.dirname(progress.__file__),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_STDOUT_CALLBACK": "progress",
            "FLAGOS_KUNLUNXIN_TIMINGS": str(tmp_path / "timings.json"),
        }
        command = [sys.executable, "-m", "ansible.cli.playbook", "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}"]
        ended = subprocess.run(
            [*command, str(tmp_path / "host.yml"), *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads((tmp_path / "timings.json").read_text())["tasks"]

    return play


def test_the_timings_of_real_runs_tell_whether_one_predicted_the_other(run):
    predicted, made, without = run("--diff", "--check", "-e", "line=a"), run("--diff", "-e", "line=a"), run("-e", "line=b")
    assert [task["action"] for task in made] == ["ansible.builtin.lineinfile", "ansible.builtin.debug"]
    assert predicted[0]["diffs"] == made[0]["diffs"]
    assert set(made[0]["diffs"]) == {"localhost"}
    assert "diffs" not in made[1]
    assert without[0]["changed"] == 1
    assert "diffs" not in without[0]


def test_a_long_line_is_cut_to_the_terminal(monkeypatch):
    written = []
    monkeypatch.setattr(progress.os, "write", lambda descriptor, text: written.append((descriptor, text.decode())))
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: progress.os.terminal_size((20, 24)))
    line = progress.StatusLine(lambda: "")
    line._descriptor = 1
    line._write("x" * 50)
    assert written == [(1, "\r\x1b[K" + "x" * 18 + "…\r")]


@pytest.mark.parametrize(("action", "drawn"), [("ansible.builtin.pause", False), ("pause", False), ("ansible.builtin.debug", True)])
def test_nothing_is_drawn_over_what_an_operator_types(callback, action, drawn):
    callback._task.action = action
    written = []
    line = progress.StatusLine(callback._status_text)
    line._write = written.append
    turns = iter((False, True))
    line._stop = type("Once", (), {"wait": lambda self, seconds: next(turns)})()
    line._run()
    assert bool(written) is drawn


class _Options(dict):
    def __call__(self, name):
        return self[name]


def test_timings_are_whole_json_with_the_parts_of_the_run(tmp_path, monkeypatch):
    target = tmp_path / "deep" / "timings.json"
    callback = progress.CallbackModule()
    monkeypatch.setattr(callback, "get_option", _Options(timings_file=str(target)))
    now = iter(range(100, 200, 5))
    monkeypatch.setattr(callback, "_clock", lambda: next(now))
    callback._stages = {"host": {"seconds": 0.0, "tasks": 1, "changed": 0, "failed": 0, "resumed": 90}}
    callback._stage = "host"
    callback._finish_stage()
    record = json.loads(target.read_text())
    assert record["parts"] == {"host": 10}
    assert [file.name for file in target.parent.iterdir()] == ["timings.json"]


@pytest.mark.parametrize(
    "message",
    [
        "Task failed: Error while resolving value: The lookup plugin 'a.b.plan' failed: node1: nic: 2; expected 8\nnode2: nic: 3",
        "An unhandled exception occurred while running the lookup plugin 'a.b.plan'. Error was a <class 'E'>, original message: "
        "node1: nic: 2; expected 8\nnode2: nic: 3",
        "node1: nic: 2; expected 8\n\n node2: nic: 3\n",
    ],
)
def test_a_failure_is_told_in_its_own_words(message):
    assert progress.own_words(message) == ["node1: nic: 2; expected 8", "node2: nic: 3"]


def test_a_unit_is_named_once():
    meter = progress.Meter()
    meter.add(0.0, {"done": 2, "total": 7, "unit": "parts", "note": "bytecode"})
    assert str(meter) == "29%, 2 of 7 parts, bytecode"
