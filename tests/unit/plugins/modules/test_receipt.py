from __future__ import annotations

import pytest


def test_attributes(attributes_hold, tmp_path):
    arguments = {"state_dir": str(tmp_path / "state"), "stage": "host", "content": {"shm_size": "64g"}}
    made = attributes_hold("receipt", arguments, (tmp_path / "state").exists)
    assert made["path"] == str(tmp_path / "state" / "receipts" / "host.json")


def test_a_receipt_goes_with_what_was_made_for_it(attributes_hold, run_module, tmp_path):
    folder = tmp_path / "state"
    for stage in ("host", "rdma"):
        run_module("receipt", {"state_dir": str(folder), "stage": stage, "content": {}})
    attributes_hold("receipt", {"state_dir": str(folder), "stage": "rdma", "state": "absent"}, (folder / "receipts" / "rdma.json").exists)
    assert [path.name for path in (folder / "receipts").iterdir()] == ["host.json"]
    run_module("receipt", {"state_dir": str(folder), "stage": "host", "state": "absent"})
    assert not folder.exists()


@pytest.mark.parametrize("stage", ["", "../escape", "Host", "a b", "a\n"])
def test_a_stage_is_a_plain_name(run_module, tmp_path, stage):
    answer = run_module("receipt", {"state_dir": str(tmp_path), "stage": stage, "content": {}})
    assert answer["failed"]
    assert "no stage's name" in answer["msg"]
