from __future__ import annotations

import contextlib
import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _published_list, _weights
from hypothesis import given
from hypothesis import strategies as st

sha256s = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0\n/", exclude_categories=["Cc"]), min_size=1).filter(
    lambda name: not name.startswith(".")
)
sizes = st.integers(min_value=0, max_value=2**60)
entries = st.fixed_dictionaries({"size": sizes, "sha256": sha256s}, optional={"merkle_root": sha256s | st.just("")})
files = st.dictionaries(names, entries, min_size=1)
ONE = "1" * 64

HUGGING_FACE = [
    {"type": "directory", "oid": "40", "size": 0, "path": "figures"},
    {"type": "file", "oid": "a6344aac8c09253b3b630fb776ae94478aa0275b", "size": 1519, "path": ".gitattributes"},
    {"type": "file", "oid": "9b1f4cd", "size": 1660, "path": "config.json"},
    {"type": "file", "oid": "f3e1", "size": 5, "path": "figures/a b.jpg", "xetHash": "7"},
    {
        "type": "file",
        "oid": "6b0c",
        "size": 5234139343,
        "lfs": {"oid": ONE, "size": 5234139343, "pointerSize": 135},
        "path": "model-00001-of-000163.safetensors",
    },
]

MODEL_SCOPE = {
    "Code": 200,
    "Data": {
        "Files": [
            {"Name": "figures", "Path": "figures", "Sha256": "", "Size": 0, "Type": "tree"},
            {"Name": ".gitattributes", "Path": ".gitattributes", "Sha256": "2" * 64, "Size": 1519, "Type": "blob"},
            {"Name": "config.json", "Path": "config.json", "Sha256": ONE, "Size": 1660, "Type": "blob"},
            {"Name": "old", "Path": "old", "Sha256": "", "Size": 3, "Type": "blob"},
        ]
    },
    "Success": True,
}


@given(files)
def test_our_own_manifest_is_a_publishers_list(files):
    manifest = _weights.manifest_of(files)
    assert _published_list.parse(json.dumps(manifest)) == manifest["files"]


@given(files)
def test_so_is_what_sha256sum_prints(files):
    text = "".join(f"{entry['sha256']}  {path}\n" for path, entry in files.items())
    assert _published_list.parse(text) == {path: {"sha256": entry["sha256"]} for path, entry in files.items()}


def test_hugging_faces_listing_has_hashes_of_large_files_and_sizes_of_all():
    assert _published_list.parse(json.dumps(HUGGING_FACE)) == {
        "config.json": {"size": 1660},
        "figures/a b.jpg": {"size": 5},
        "model-00001-of-000163.safetensors": {"size": 5234139343, "sha256": ONE},
    }


def test_model_scopes_listing_has_hashes_where_it_tells_them():
    assert _published_list.parse(json.dumps(MODEL_SCOPE)) == {"config.json": {"size": 1660, "sha256": ONE}, "old": {"size": 3}}


def test_a_file_without_a_published_hash_is_compared_by_size_alone(tmp_path):
    (tmp_path / "config.json").write_bytes(b" " * 1661)
    published = _published_list.parse(json.dumps(HUGGING_FACE[:3]))
    with pytest.raises(_weights.WeightsError, match=r"config.json: 1661 bytes"):
        _weights.compare_sizes(_weights.scan(str(tmp_path)), published)
    _weights.compare_hashes(_weights.manifest_of({"config.json": {"size": 1660, "sha256": "3" * 64}}), published)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "{",
        "[]",
        "[1]",
        '{"files": {}}',
        '{"files": {"a": {"size": 1}}}',
        '{"files": {"a": {"size": 1, "sha256": "' + ONE + '", "merkle_root": "short"}}}',
        '{"files": {".hidden": {"size": 1, "sha256": "' + ONE + '"}}}',
        '{"files": {"../a": {"size": 1, "sha256": "' + ONE + '"}}}',
        '[{"type": "file", "path": "a"}]',
        '[{"type": "file", "path": "a", "size": "1"}]',
        '[{"type": "file", "path": "/etc/passwd", "size": 1}]',
        '[{"type": "file", "path": "a", "size": 1, "lfs": {"oid": "abc", "size": 1}}]',
        '{"Code": 404, "Data": null}',
        '{"Data": {"Files": [{"Path": "a", "Size": -1, "Type": "blob"}]}}',
        "not a list",
        "0" * 64 + "  ../escape\n",
        "0" * 64 + "  /etc/passwd\n",
        "0" * 64 + "  a/../../b",
    ],
)
def test_other_lists_are_refused(text):
    with pytest.raises(_weights.WeightsError):
        _published_list.parse(text)


@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps)
)
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(_weights.WeightsError):
        assert all(_weights.is_inside(path) for path in _published_list.parse(text))
