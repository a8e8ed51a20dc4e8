"""The line every failure ends with."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.filter.finding import FilterModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from hypothesis import given
from hypothesis import strategies as st

finding = FilterModule().filters()["finding"]
PARTS = {"check": "port 8000", "observed": "in use by nginx", "expected": "free", "remedy": "stop nginx or set serve_port"}
LINE = "node1: port 8000: in use by nginx; expected free; stop nginx or set serve_port"


def test_line_from_host_and_parts():
    assert finding("node1", **PARTS) == LINE


def test_line_from_a_record_with_other_keys():
    assert finding({"host": "node1", "evidence": "ss -ltn", **PARTS}) == LINE


@pytest.mark.parametrize("missing", sorted(PARTS))
def test_missing_part_is_named(missing):
    parts = {name: value for name, value in PARTS.items() if name != missing}
    with pytest.raises(AnsibleFilterError, match=missing):
        finding("node1", **parts)


def test_unknown_part_is_named():
    with pytest.raises(AnsibleFilterError, match="severity"):
        finding("node1", severity="high", **PARTS)


@given(st.lists(st.text(), min_size=5, max_size=5))
def test_always_one_line(parts):
    assert len(str(Finding(*parts)).splitlines()) <= 1


def test_record_carries_its_line():
    assert Finding("node1", **PARTS).as_dict() == {"host": "node1", "text": LINE, **PARTS}
