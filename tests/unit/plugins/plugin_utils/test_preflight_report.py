"""What preflight found, for people and for programs."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _preflight_report as report
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import STAGES, Judgement, Severity
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._preflight import Verdict
from hypothesis import given
from hypothesis import strategies as st


def fault(host="node1", check="clock", observed="late", stage=None, severity=Severity.ERROR):
    return Judgement(check, Finding(host, check, observed, "in time", "set it"), stage, severity, "/proc/clock")


WARNING = fault(check="link", observed="slow", severity=Severity.WARNING)
TO_DO = fault(check="shm", observed="small", stage="host")


def verdict(*judgements, **more):
    return Verdict(list(judgements), **more)


def test_the_same_fault_on_many_hosts_is_one_line():
    assert report.fold([fault("a"), fault("b", observed="early"), fault("c")]) == [
        "a, c: clock: late; expected in time; set it",
        "b: clock: early; expected in time; set it",
    ]


def test_a_thousand_hosts_are_counted():
    (line,) = report.fold(fault(f"n{number}") for number in range(1000))
    assert line == "n0, n1, n2, n3, n4, n5 and 994 more: clock: late; expected in time; set it"


def test_faults_that_differ_in_the_numbers_of_processes_are_one():
    lines = report.fold([fault("a", observed="python (pid 12)"), fault("b", observed="python (pid 345)")])
    assert lines == ["a, b: clock: python (pid differs); expected in time; set it"]
    assert report.fold([fault("a", observed="python (pid 12)")]) == ["a: clock: python (pid 12); expected in time; set it"]


@pytest.mark.parametrize(
    ("judgements", "code"),
    [([], 0), ([WARNING], 1), ([TO_DO], 1), ([TO_DO, WARNING], 1), ([fault()], 2), ([WARNING, fault(), TO_DO], 2)],
)
def test_the_code_says_how_bad_it_is(judgements, code):
    document = report.document(verdict(*judgements), "host")
    assert (document["exit_code"], document["ok"]) == (code, code < 2)


def test_what_was_to_do_fails_once_its_stage_is_over():
    assert report.document(verdict(TO_DO), "host")["checks"][0]["status"] == "to do"
    late = report.document(verdict(TO_DO), "rdma")
    assert (late["checks"][0]["status"], late["exit_code"]) == ("error", 2)


def test_a_warning_never_fails():
    mended = fault(severity=Severity.WARNING, stage="rdma")
    assert [report.document(verdict(mended), before)["exit_code"] for before in STAGES] == [1] * len(STAGES)
    assert not any(mended.fails_before(before) for before in STAGES)


def test_a_record_has_all_that_is_known():
    (record,) = report.document(verdict(fault()), "host")["checks"]
    assert record == {
        "check": "clock",
        "host": "node1",
        "observed": "late",
        "expected": "in time",
        "remedy": "set it",
        "severity": "error",
        "stage": None,
        "evidence": "/proc/clock",
        "status": "error",
        "text": "node1: clock: late; expected in time; set it",
    }


def test_what_passed_what_was_not_read_and_what_is_not_here_are_three_things():
    found = verdict(passed={"disk": ["a", "b"]}, unread={("GID", "no RDMA"): ["a", "b"]}, not_here=("open files",))
    document = report.document(found, "host")
    assert document["passed"] == [{"check": "disk", "count": 2, "hosts": ["a", "b"]}]
    assert document["not_read"] == [{"check": "GID", "why": "no RDMA", "hosts": ["a", "b"]}]
    assert document["not_in_the_lab"] == ["open files"]
    assert (document["checks"], document["exit_code"]) == ([], 0)


def test_the_table_begins_with_the_worst():
    found = verdict(TO_DO, WARNING, fault("node2"), fault("node3"), passed={"reachable": ["node1", "node2", "node3"], "disk": ["node1"]})
    assert report.table(found, "host") == [
        "before host, 3 hosts: 1 error, 1 warning, 1 to do, 2 checks passed",
        "  ERROR    node2, node3  clock: late; expected in time",
        "                         -> set it",
        "  warning  node1         link: slow; expected in time",
        "                         -> set it",
        "  to do    node1         shm: small; expected in time",
        "                         -> set it",
    ]


def test_a_check_that_found_something_anywhere_is_not_counted_as_passed():
    found = verdict(fault("node2"), passed={"clock": ["node1"], "reachable": ["node1", "node2"]}, not_here=("disk", "shm"))
    assert report.table(found, "host")[0] == "before host, 2 hosts: 1 error, 1 check passed, 2 not in the lab (disk, shm)"


@given(
    st.lists(
        st.builds(fault, st.text("ab1, ", max_size=30), st.text(max_size=30), st.text(max_size=300), st.sampled_from([None, *STAGES])),
        max_size=8,
    )
)
def test_no_line_of_a_table_is_wider_than_a_terminal_unless_a_word_is(judgements):
    for line in report.table(verdict(*judgements), "serve"):
        longest = max(map(len, line.split()), default=0)
        assert len(line) <= report.WIDTH or longest > report.WIDTH // 4 or line.startswith("before")


def test_what_the_hosts_are_and_what_they_say_of_each_other_is_one_result():
    hosts = report.document(verdict(WARNING, passed={"clock": ["node1"]}), "serve")
    pairs = report.document(verdict(fault(check="rail"), passed={"pairs": ["node1"]}), "serve")
    document = report.joined(hosts, pairs)
    assert (document["ok"], document["exit_code"], document["before"]) == (False, 2, "serve")
    assert [one["check"] for one in document["checks"]] == ["rail", "link"], "the worst first"
    assert [one["check"] for one in document["passed"]] == ["clock", "pairs"]
    assert document.keys() == hosts.keys()


def test_a_report_is_written_whole_or_refused_in_one_line(tmp_path):
    path = tmp_path / "new" / "report.json"
    report.write(str(path), {"ok": True})
    report.write(str(path), {"ok": False})
    assert json.loads(path.read_text()) == {"ok": False}
    assert [one.name for one in path.parent.iterdir()] == ["report.json"]
    with pytest.raises(
        AnsibleActionFail, match=r"localhost: preflight_report_file: .*; expected a file that can be written; mend the path"
    ):
        report.write("/proc/none/report.json", {})
