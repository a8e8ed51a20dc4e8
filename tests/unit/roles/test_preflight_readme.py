"""The role's README says of every check what its code says, and of every failure that is known what finds it, or why nothing can."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _pairs, _preflight, _profile
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import STAGES, Severity

README = Path(__file__).absolute().parents[3] / "roles" / "preflight" / "README.md"
PROFILES = {"profile": {"checks": [entry for name in _profile.names() for entry in _profile.load(name).checks]}}
OF_PROFILES = {entry["name"] for entry in PROFILES["profile"]["checks"]}
SCOPES, STATED = _preflight.scopes(PROFILES), _preflight.stated(PROFILES)
PLAN = re.compile(r"\Aplan\b")
REASON = re.compile(r"\bneeds the job: \w.{20,}|What .{10,} needs the job: ")


def rows(heading, columns):
    """The cells of the tables of so many columns below a heading, without their heads."""
    section = README.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]
    return [one for one in cells if len(one) == columns and one[0] not in ("check", "#")]


CHECKS = [([name.strip() for name in names.split(",")], severity, stage) for names, _what, severity, stage in rows("Checks", 4)]
FAILURES = rows("The failures of four P800 machines", 5)


def severity_of(name):
    """The worst that a check says; those of pairs, of files and of silent hosts are all errors."""
    return STATED[name].severity if name in STATED else Severity.ERROR


def test_every_check_is_described():
    described = {name for names, _severity, _stage in CHECKS for name in names}
    described |= {name for name in _preflight.SOURCES if name in README.read_text()}
    assert described == set(_preflight.names(PROFILES)) - OF_PROFILES


@pytest.mark.parametrize(("names", "severity", "stage"), CHECKS, ids=[", ".join(names) for names, _severity, _stage in CHECKS])
def test_severity_and_stages_are_those_of_the_checks(names, severity, stage):
    said = severity.split("; ")
    assert (said * len(names) if len(said) == 1 else said) == [severity_of(name) for name in names]
    established = {one for name in names if name in STATED for one in STATED[name].establishes}
    assert {one for one in STAGES if re.search(rf"\b{one}\b", stage)} == established


def test_the_failures_are_numbered_and_each_has_a_sentence():
    assert [row[0] for row in FAILURES] == [str(number) for number in range(1, 51)]
    assert all(len(row[1]) > 10 for row in FAILURES)
    assert len({row[1] for row in FAILURES}) == 50


@pytest.mark.parametrize("row", FAILURES, ids=[row[0] for row in FAILURES])
def test_a_failure_has_checks_that_there_are_or_a_reason(row):
    _number, _failure, scope, severity, finders = row
    named = [name for name in re.findall(r"`([^`]+)`", finders) if not name.startswith("preflight_")]
    assert set(named) <= SCOPES.keys()
    in_plan = ["inventory"] if PLAN.search(finders) else []
    found_before = bool(named or in_plan) and not finders.startswith("needs the job")
    assert found_before or REASON.search(finders)
    if named or in_plan:
        assert set(scope.split(", ")) == {*in_plan, *(SCOPES[name] for name in named)}
        worst = {str(severity_of(name)) for name in named} | ({"error"} if in_plan else set())
        assert set(severity.split(", ")) == worst
    else:
        assert (scope, severity) == ("container", "error")


def test_checks_of_pairs_are_described():
    section = README.read_text().split("## Pairs of hosts\n", 1)[1].split("\n## ", 1)[0]
    described = {name.strip() for line in section.splitlines() if line.startswith("| ") for name in line.split("|")[1].split(",")}
    assert described - {"check"} == set(_pairs.CHECKS)


def test_a_row_without_check_and_reason_would_be_seen():
    """The guard itself: what the table above may not say."""
    for finders in ("", "somebody", "needs the job", "needs the job: x", "`no such check`"):
        with pytest.raises(AssertionError):
            test_a_failure_has_checks_that_there_are_or_a_reason(["1", "x", "host", "error", finders])
