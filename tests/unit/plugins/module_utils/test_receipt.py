from __future__ import annotations

import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt as receipt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
contents = st.dictionaries(st.text(), json_values)


@given(contents)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_and_not_written_twice(tmp_path, content):
    receipt.write(str(tmp_path), "image", content)
    assert receipt.read(str(tmp_path), "image") == {**content, "stage": "image"}
    assert receipt.write(str(tmp_path), "image", content) is False


@pytest.mark.parametrize("damage", ["", "{", "[1]", "null"])
def test_a_damaged_receipt_counts_as_none_and_is_mended(tmp_path, damage):
    receipt.write(str(tmp_path), "image", {"a": 1})
    path = tmp_path / "receipts" / "image.json"
    path.write_text(damage)
    assert receipt.read(str(tmp_path), "image") == {}
    assert receipt.write(str(tmp_path), "image", {"a": 1}) is True
    assert json.loads(path.read_text()) == {"a": 1, "stage": "image"}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text("old")

    def refuse(*_paths):
        raise OSError("no")

    monkeypatch.setattr(receipt.os, "rename", refuse)
    with pytest.raises(OSError, match="no"):
        receipt.write_atomically(str(path), "new")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("x.json", "old")]
