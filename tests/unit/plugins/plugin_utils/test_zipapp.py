"""The packed program: the same bytes for the same sources, and it runs by itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _zipapp


def sources(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_it_holds_what_is_imported_and_nothing_else(tmp_path):
    sources(tmp_path, _a="from . import _b, _c as other\n", _b="from ._d import x\n", _c="", _d="x = 1\n", _e="")
    assert sorted(_zipapp.sources("_a", tmp_path)) == ["_a", "_b", "_c", "_d"]


def test_equal_sources_give_equal_bytes_and_a_change_another(tmp_path):
    sources(tmp_path, _a="def main():\n    return 0\n")
    first = _zipapp.build("_a", tmp_path)
    (tmp_path / "_a.py").touch()
    assert _zipapp.build("_a", tmp_path) == first
    (tmp_path / "_a.py").write_text("def main():\n    return 1\n")
    assert _zipapp.build("_a", tmp_path) != first


@pytest.mark.parametrize(("entry", "words"), [("_serve_program", "run DEPLOYMENT"), ("_rdma_program", "restore FOLDER")])
def test_a_program_runs_alone(tmp_path, entry, words):
    program = tmp_path / "program.pyz"
    program.write_bytes(_zipapp.build(entry))
    result = subprocess.run([sys.executable, "-I", str(program)], check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert words in result.stderr
