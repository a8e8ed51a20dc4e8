from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible_collections.flagos.kunlunxin.plugins.lookup.cluster_lock import read_lock
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import manifest_of

IMAGE = {"config_digest": "sha256:" + "a" * 64, "manifest_digest": "sha256:" + "b" * 64}
DRIVER = {"version": "5.0.21.26", "sha256": "e" * 64, "xdr": {"version": "1.1.0.6", "sha256": "f" * 64}}
WEIGHTS = manifest_of({"a": {"size": 1, "sha256": "c" * 64}})


def test_a_cluster_that_was_never_locked_is_pinned_to_nothing(tmp_path):
    assert read_lock(str(tmp_path / "none.yml")) == {"image": {}, "weights": {}}


def test_what_was_locked_is_read(tmp_path):
    path = tmp_path / "lock.yml"
    path.write_text(yaml.safe_dump({"image": IMAGE, "weights": WEIGHTS}))
    assert read_lock(str(path)) == {"image": IMAGE, "weights": WEIGHTS}
    path.write_text(yaml.safe_dump({"image": IMAGE}))
    assert read_lock(str(path)) == {"image": IMAGE, "weights": {}}


def test_a_driver_is_pinned_only_where_one_is_managed(tmp_path):
    path = tmp_path / "lock.yml"
    path.write_text(yaml.safe_dump({"image": IMAGE, "weights": WEIGHTS, "driver": DRIVER}))
    assert read_lock(str(path)) == {"image": IMAGE, "weights": WEIGHTS, "driver": DRIVER}
    path.write_text(yaml.safe_dump({"image": IMAGE, "weights": WEIGHTS, "driver": {}}))
    assert read_lock(str(path)) == {"image": IMAGE, "weights": WEIGHTS}


def test_a_lock_in_the_home_folder_pins(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "lock.yml").write_text(yaml.safe_dump({"image": IMAGE}))
    assert read_lock("~/lock.yml")["image"] == IMAGE


@pytest.mark.parametrize(
    "lock",
    [
        "[",
        "",
        "text",
        yaml.safe_dump({"image": {"config_digest": "latest"}}),
        yaml.safe_dump({"image": "x"}),
        yaml.safe_dump({"weights": {**WEIGHTS, "root": "sha256:" + "d" * 64}}),
        yaml.safe_dump({"weights": {"root": WEIGHTS["root"]}}),
        yaml.safe_dump({"driver": "5.0.21.26"}),
        yaml.safe_dump({"driver": {"version": "5.0.21.26"}}),
        yaml.safe_dump({"driver": {**DRIVER, "version": 5.37}}),
        yaml.safe_dump({"driver": {**DRIVER, "sha256": "abc"}}),
    ],
)
def test_a_file_that_is_no_lock_is_refused_in_one_line(tmp_path, lock):
    path = tmp_path / "lock.yml"
    path.write_text(lock)
    with pytest.raises(AnsibleLookupError) as refused:
        read_lock(str(path))
    assert str(refused.value).startswith(f"localhost: lock {path}: ")
    assert "\n" not in str(refused.value)
