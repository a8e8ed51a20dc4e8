"""The programs that copy the tiny model with something changed; making it needs the serving image and is seen in the lab."""

from __future__ import annotations

import importlib.util
import json
import pathlib

import pytest

PROGRAM = pathlib.Path(__file__).parents[3] / "roles" / "lab" / "files" / "tiny_model" / "make.py"


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_tiny_model", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model(tmp_path, make):
    """A model of two tensors, in the format of safetensors."""
    folder = tmp_path / "model"
    folder.mkdir()
    name = f"model.layers.{make.LAYERS - 1}.mlp.shared_experts.down_proj.weight"
    header = json.dumps(
        {
            "other": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
            name: {"dtype": "BF16", "shape": [2], "data_offsets": [2, 6]},
        }
    ).encode()
    # 1.0 is 0x3f80 in bfloat16, -2.0 is 0xc000.
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f" + b"\x80\x3f\x00\xc0")
    (folder / "config.json").write_text('{"model_type": "deepseek_v3"}')
    return folder


def test_one_tensor_is_turned_and_nothing_else(make, model, tmp_path):
    assert make.main(["perturbed", str(model), str(tmp_path / "out")]) == 0
    before, after = (folder.joinpath("model.safetensors").read_bytes() for folder in (model, tmp_path / "out"))
    assert after == before[:-4] + b"\x80\xbf\x00\x40"
    assert (tmp_path / "out/config.json").read_bytes() == (model / "config.json").read_bytes()


def test_a_model_without_that_tensor_is_refused_and_leaves_nothing(make, model, tmp_path, capsys):
    header = b"{}"
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert make.main(["perturbed", str(model), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("tiny model: perturbed")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_quantized_copy_claims_int8_and_keeps_the_rest(make, model, tmp_path):
    assert make.main(["quantized", str(model), str(tmp_path / "out")]) == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["model_type"] == "deepseek_v3"
    assert config["quantization_config"]["format"] == "int-quantized"
    assert (tmp_path / "out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
