"""The lock file that playbooks/lock.yml writes is the one that the lookup cluster_lock reads, with a driver and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.filter.core import FilterModule
from ansible_collections.flagos.kunlunxin.plugins.lookup.cluster_lock import read_lock
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import manifest_of
from jinja2 import Environment, FileSystemLoader

TEMPLATES = Path(__file__).absolute().parents[3] / "playbooks" / "templates"
IMAGE = {"name": "registry.example:5000/serve", "config_digest": "sha256:" + "a" * 64, "manifest_digest": "", "bytes": 7}
WEIGHTS = manifest_of(
    {
        "a b": {"size": 1, "sha256": "c" * 64, "merkle_root": "d" * 64},
        "empty": {"size": 0, "sha256": "e" * 64, "merkle_root": ""},
        "before merkle roots": {"size": 1, "sha256": "f" * 64},
    }
)
DRIVER = {
    "version": "5.37",
    "sha256": "1" * 64,
    "xdr": {"version": "1.10", "sha256": "2" * 64},
    "firmware": {"versions": {"SBL": "1.50"}, "sha256": "3" * 64},
    "toolkit": {"xpu-container-toolkit_1.0.13-1_amd64.deb": "4" * 64},
}


@pytest.mark.parametrize("driver", [{}, {name: DRIVER[name] for name in ("version", "sha256")}, DRIVER])
def test_what_is_written_is_read_back(tmp_path, driver):
    environment = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    environment.filters.update(FilterModule().filters())
    text = environment.get_template("cluster.lock.yml.j2").render(_lock_image=IMAGE, _lock_weights=WEIGHTS, _lock_driver=driver)
    path = tmp_path / "cluster.lock.yml"
    path.write_text(text)
    assert read_lock(str(path)) == {"image": IMAGE, "weights": WEIGHTS, **({"driver": driver} if driver else {})}
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
