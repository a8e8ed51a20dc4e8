from __future__ import annotations

import contextlib
import hashlib
import json
import struct

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights as weights
from hypothesis import given
from hypothesis import strategies as st

sha256s = st.binary(min_size=32, max_size=32).map(bytes.hex)
paths = st.text(st.characters(codec="utf-8", exclude_characters="\0\n/", exclude_categories=["Cc"]), min_size=1).filter(
    lambda name: not name.startswith(".")
)
entries = st.fixed_dictionaries({"size": st.integers(min_value=0, max_value=2**60), "sha256": sha256s}, optional={"merkle_root": sha256s})
manifests = st.dictionaries(paths, entries, min_size=1)


def safetensors(tensors, cut=0):
    header, offset = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + b"".join(tensors.values())
    return whole[: len(whole) - cut]


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["DeepseekV3ForCausalLM"]}')
    (folder / "one.safetensors").write_bytes(safetensors({"a": b"1234", "b": b"5"}))
    (folder / "two.safetensors").write_bytes(safetensors({"c": b"67"}))
    (folder / weights.INDEX).write_text(
        json.dumps({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}})
    )
    return folder


def judge(folder):
    weights.check_model(str(folder), weights.scan(str(folder)))


def test_a_whole_model_passes(model):
    judge(model)


def test_a_folder_without_safetensors_is_not_judged(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    judge(tmp_path)


def _remove(name):
    return lambda folder: (folder / name).unlink()


def _write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "observed"),
    [
        (_remove("config.json"), "config.json: missing"),
        (_write("config.json", b"{"), "config.json: not JSON"),
        (_write("config.json", b"[]"), "config.json: not an object"),
        (_remove("two.safetensors"), "two.safetensors: missing"),
        (_write("two.safetensors", safetensors({"d": b"67"})), "two.safetensors: no tensor c"),
        (_write("two.safetensors", safetensors({"c": b"67"}, cut=1)), "two.safetensors: 69 bytes"),
        (_write("two.safetensors", safetensors({"c": b"67"}) + b"x"), "two.safetensors: 71 bytes"),
        (_write("two.safetensors", b"short"), "two.safetensors: "),
        (_write("two.safetensors", struct.pack("<Q", 2**60) + b"{}"), "two.safetensors: a header of"),
        (_write("two.safetensors", struct.pack("<Q", 2) + b"[]"), "two.safetensors: "),
        (_write(weights.INDEX, b"{}"), weights.INDEX + ": no weight_map"),
    ],
)
def test_what_is_missing_or_damaged_is_named(model, damage, observed):
    damage(model)
    with pytest.raises(weights.WeightsError) as refused:
        judge(model)
    assert refused.value.observed.startswith(observed)


@given(st.binary(max_size=200))
def test_no_header_makes_the_parser_fail_in_any_other_way(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("header") / "x"
    path.write_bytes(content)
    with contextlib.suppress(weights.WeightsError):
        weights.tensors_of(str(path), "x")


def test_scan_leaves_out_what_is_hidden_and_follows_links_to_files(tmp_path):
    (tmp_path / "blob").write_bytes(b"12345")
    folder = tmp_path / "model"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache" / "x").write_text("x")
    (folder / ".gitattributes").write_text("x")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "shard").symlink_to(tmp_path / "blob")
    assert {path: status.st_size for path, status in weights.scan(str(folder)).items()} == {"deep/er/shard": 5}


@pytest.mark.parametrize("kind", ["missing", "empty", "dangling", "linked folder"])
def test_scan_refuses_what_nobody_could_send(tmp_path, kind):
    folder = tmp_path / "model"
    if kind != "missing":
        folder.mkdir()
    if kind == "dangling":
        (folder / "x").symlink_to("nowhere")
    if kind == "linked folder":
        (folder / "x").symlink_to(tmp_path)
    with pytest.raises(weights.WeightsError):
        weights.scan(str(folder))


@given(manifests)
def test_the_root_is_a_function_of_the_files_alone(files):
    backwards = {path: dict(reversed(files[path].items())) for path in reversed(list(files))}
    assert weights.manifest_of(files) == weights.manifest_of(backwards)


@given(manifests)
def test_the_root_is_that_of_the_manifest_from_before_merkle_roots(files):
    before = {path: {"size": entry["size"], "sha256": entry["sha256"]} for path, entry in files.items()}
    assert weights.manifest_of(files)["root"] == weights.manifest_of(before)["root"]
    weights.compare_with_pinned(weights.manifest_of(files), weights.manifest_of(before))


@given(manifests, st.data())
def test_any_difference_changes_the_root(files, data):
    path = data.draw(st.sampled_from(sorted(files)))
    other = dict(files)
    change = data.draw(st.sampled_from(["remove", "size", "sha256"]))
    if change == "remove":
        del other[path]
    elif change == "size":
        other[path] = {**files[path], "size": files[path]["size"] + 1}
    else:
        other[path] = {**files[path], "sha256": "0" * 63 + ("1" if files[path]["sha256"][-1] == "0" else "0")}
    assert weights.manifest_of(files)["root"] != weights.manifest_of(other)["root"]


def test_sizes_are_compared_without_reading(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    files = weights.scan(str(tmp_path))
    weights.compare_sizes(files, {"a": {"size": 2, "sha256": "?"}})
    with pytest.raises(weights.WeightsError, match=r"a: 2 bytes \(expected 3 bytes"):
        weights.compare_sizes(files, {"a": {"size": 3, "sha256": "?"}})
    with pytest.raises(weights.WeightsError, match=r"b: missing \(and 1 more\)"):
        weights.compare_sizes(files, {"b": {"sha256": "?"}, "c": {"size": 3, "sha256": "?"}})


def test_what_differs_from_the_lock_is_named():
    one = {"size": 1, "sha256": "1" * 64}
    two = {"size": 1, "sha256": "2" * 64}
    pinned = weights.manifest_of({"a": one, "b": one})
    weights.compare_with_pinned(pinned, pinned)
    for files, named in (({"a": one, "b": two}, "b: sha256 222"), ({"a": one, "b": one, "c": one}, "c: a file more")):
        with pytest.raises(weights.WeightsError, match=named):
            weights.compare_with_pinned(weights.manifest_of(files), pinned)


def test_a_merkle_root_that_is_told_must_be_right():
    manifest = weights.manifest_of({"a": {"size": 1, "sha256": "1" * 64, "merkle_root": "1" * 64}})
    pinned = weights.manifest_of({"a": {"size": 1, "sha256": "1" * 64, "merkle_root": "2" * 64}})
    with pytest.raises(weights.WeightsError, match=r"a: merkle_root 111.* \(expected 222"):
        weights.compare_with_pinned(manifest, pinned)


def test_what_the_accelerator_wants_in_the_configuration_must_be_there(model):
    files = weights.scan(str(model))
    weights.check_config(str(model), files, [])
    weights.check_config(str(model), files, ["architectures"])
    with pytest.raises(weights.WeightsError, match=r"config.json: no quantization_config \(expected quantization_config, as the acc"):
        weights.check_config(str(model), files, ["architectures", "quantization_config"])
    (model / "config.json").unlink()
    with pytest.raises(weights.WeightsError, match=r"config.json: missing \(expected the model's configuration, with quantization_config"):
        weights.check_config(str(model), weights.scan(str(model)), ["quantization_config"])


def test_files_are_hashed_and_the_bytes_counted(tmp_path):
    content = {"a": b"", "b": b"x" * 5_000_000, "c": b"y"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    found, counts = {}, []
    weights.hash_files(str(tmp_path), sorted(content), found.__setitem__, lambda done, note: counts.append(done), workers=2)
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    assert counts[-1] == 5_000_001


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)

    def report(_done, _note):
        path.write_bytes(b"y" * 10)

    with pytest.raises(weights.WeightsError, match="a: it changed while it was read"):
        weights.hash_files(str(tmp_path), ["a"], lambda name, digest: None, report)


def test_a_switch_replaces_a_link_in_one_step_even_after_a_broken_one(tmp_path):
    served = tmp_path / "model"
    (tmp_path / "model.switching").symlink_to("left over")
    for folder in ("one", "two"):
        weights.switch(str(served), str(tmp_path / folder))
        assert weights.link_of(str(served)) == str(tmp_path / folder)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model"]


def test_a_folder_of_the_operator_is_its_own_revision(tmp_path):
    served = tmp_path / "model"
    root = "sha256:" + "ab" * 32
    assert weights.revision_folder(str(served), root) == str(tmp_path / "model.revisions" / ("ab" * 8))
    served.mkdir()
    assert weights.revision_folder(str(served), root) == str(served)
