"""The role's README names every check, and every failure that is known has something that finds it."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _preflight, _profile

README = Path(__file__).absolute().parents[3] / "roles" / "preflight" / "README.md"
OF_PROFILES = {entry["name"] for name in _profile.names() for entry in _profile.load(name).checks}
CHECKS = {*_preflight.names({"profile": {}}), *OF_PROFILES}
# What finds a failure that no check of this role can read.
OTHERS = ("plan", "probes", "bandwidth test", "stage serve", "stage rdma", "stage weights")


def rows(heading):
    """The cells of the tables below a heading."""
    section = README.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]


def test_every_check_is_described():
    described = {name.strip() for row in rows("Checks") for name in row[0].split(",")} - {"check"}
    described |= {name for name in _preflight.SOURCES if name in README.read_text()}
    assert described == CHECKS - OF_PROFILES


def test_every_failure_has_what_finds_it():
    failures = rows("The failures of four P800 machines")[1:]
    assert [row[0] for row in failures] == [str(number) for number in range(1, 51)]
    for number, _failure, finders in failures:
        named = {name for name in CHECKS if re.search(rf"(?<![\w']){re.escape(name)}(?![\w'])", finders)}
        assert named or any(other in finders for other in OTHERS), number
