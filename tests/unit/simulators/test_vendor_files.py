"""The stand-ins for the vendor's files: the same bytes each time, and refusals before anything is touched."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "simulators" / "xre" / "build.py"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("simulated_vendor_files", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(installer: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **variables}
    command = ["bash", str(installer), *arguments]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("what", "version", "names"),
    [
        ("xre", "5.0.21.26", ["xre-Linux-x86_64-5.0.21.26.run"]),
        ("xdr", "1.1.0.6", ["xdr_copy-x86_64_1.1.0.6.tar.gz"]),
        ("firmware", "2.15_1.48", ["update_fw_p800_2.15_1.48.tar.gz"]),
        ("ofed", "24.01-0.3.3.1", ["MLNX_OFED_LINUX-24.01-0.3.3.1-debian12-x86_64.tgz"]),
        (
            "toolkit",
            "1.0.13-1",
            [
                "libxpu-container1_1.0.5-1_amd64.deb",
                "libxpu-container-tools_1.0.5-1_amd64.deb",
                "xpu-container-toolkit_1.0.13-1_amd64.deb",
            ],
        ),
    ],
)
def test_the_same_version_is_the_same_bytes(builder, tmp_path, what, version, names):
    paths = builder.build(tmp_path, what, version)
    assert [path.name for path in paths] == names
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in builder.build(tmp_path, what, version)] == first


@pytest.mark.parametrize("what", ["xdr", "firmware", "ofed"])
def test_archives_hold_labelled_programs(builder, what):
    for content in builder.BUILDERS[what](builder.VERSIONS[what]).values():
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = archive.getmembers()
            assert members and all(member.mode == 0o755 and member.mtime == 0 for member in members)
            assert all(b"SIMULATOR" in archive.extractfile(member).read() for member in members)


def test_a_package_is_one_for_dpkg(builder, tmp_path):
    builder.build(tmp_path, "toolkit", "1.0.13-1")
    content = (tmp_path / "xpu-container-toolkit_1.0.13-1_amd64.deb").read_bytes()
    assert content.startswith(b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n")
    start = content.index(b"data.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(content[start + 60 :])) as archive:
        assert "./usr/bin/xpu-container-runtime" in archive.getnames()


@pytest.fixture
def installer(builder, tmp_path) -> Path:
    return builder.build(tmp_path, "xre", "5.0.21.26")[0]


@pytest.mark.parametrize("arguments", [(), ("--silent",)])
def test_the_licence_has_to_be_accepted(installer, arguments):
    done = call(installer, *arguments)
    assert done.returncode == 1 and "stands for a licence" in done.stdout
    assert done.stderr == "ERROR: the licence was not accepted; --silent --accept-license or -q accepts it\n"


def test_an_unknown_option_is_refused(installer):
    done = call(installer, "--purge")
    assert done.returncode == 1 and "unknown option --purge" in done.stderr


def test_a_damaged_installer_says_so(installer):
    installer.write_bytes(installer.read_bytes()[:-40])
    assert "the installer is damaged" in call(installer, "-q").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the installer asks for root first")
@pytest.mark.parametrize("arguments", [("-q",), ("--silent", "--accept-license")])
def test_without_headers_there_is_no_driver_file(installer, tmp_path, arguments):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/p800-simulator").write_text("#!/bin/sh\necho asked > $0.asked\n")
    (tmp_path / "bin/p800-simulator").chmod(0o755)
    done = call(installer, *arguments, PATH=f"{tmp_path}/bin:{os.environ['PATH']}", KERNELDIR="/nowhere")
    assert done.returncode == 1 and "Cannot find kunlun driver file (KERNELDIR=/nowhere has no kernel headers)" in done.stderr
    assert not (tmp_path / "bin/p800-simulator.asked").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="the installer asks for root first")
def test_a_host_without_simulator_is_left_alone(installer):
    done = call(installer, "-q", PATH="/usr/bin:/bin")
    assert done.returncode == 1 and "no P800 on this host" in done.stderr


def test_weights_say_that_they_are_quantized(tmp_path):
    source, target = tmp_path / "tiny", tmp_path / "int8"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "deepseek_v3"}')
    (source / "model.safetensors").write_bytes(b"weights")
    for _time in range(2):
        subprocess.run([sys.executable, SOURCE.parents[1] / "weights.py", source, target], check=True)
        made = json.loads((target / "config.json").read_text())
        assert made["model_type"] == "deepseek_v3" and made["quantization_config"]["quant_method"] == "compressed-tensors"
        assert (target / "model.safetensors").read_bytes() == b"weights"
    changed = (target / "config.json").stat().st_mtime_ns
    subprocess.run([sys.executable, SOURCE.parents[1] / "weights.py", source, target], check=True)
    assert (target / "config.json").stat().st_mtime_ns == changed
