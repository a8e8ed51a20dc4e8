"""A simulated P800 host on the lab's last host: the collection's modules see XPUs, installers work and fail as real ones do, and nothing is left."""

from __future__ import annotations

import importlib.util
import json
import subprocess

import pytest
from clone import BIN, ROOT, play

pytestmark = [pytest.mark.lab, pytest.mark.full]

HOST = "node4"
SIMULATORS = ROOT / "tests" / "simulators"
# Everything but what changes by itself.
LISTING = "find /usr /etc /lib /boot /var/lib /root -xdev -path /var/lib/docker -prune -o -print | sort; dpkg-divert --list | sort; ls -l /usr/sbin /usr/bin"


def simulate(*options: str) -> None:
    ended = play("tests/simulators/install.yml", "--limit", HOST, *options, capture=True)
    assert ended.status == 0, ended.output


@pytest.fixture(scope="module")
def host(lab):
    """A host with XPUs and no driver, and after the last case as it was."""
    before = lab.execute(HOST, LISTING)
    simulate()
    yield lambda line: lab.execute(HOST, line)
    ended = play("tests/simulators/remove.yml", "--limit", HOST, capture=True)
    assert ended.status == 0, ended.output
    assert lab.execute(HOST, LISTING) == before


@pytest.fixture(scope="module")
def files(host, lab, tmp_path_factory):
    """The vendor's stand-ins, in /root/vendor of the host while the cases run."""
    spec = importlib.util.spec_from_file_location("simulated_vendor_files", SIMULATORS / "xre" / "build.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    folder = tmp_path_factory.mktemp("vendor")
    for what, version in builder.VERSIONS.items():
        builder.build(folder, what, version)
    lab.docker("cp", str(folder), f"{HOST}:/root/vendor")
    host("cd /root/vendor && for file in *.tar.gz *.tgz; do tar -xzf $file; done")
    yield "/root/vendor"
    host("rm -r /root/vendor")


def facts(module: str, **options: object) -> dict:
    """What an info module tells of the simulated host, asked as an operator's inventory has it."""
    command = [
        BIN / "ansible", "p800-4", "-i", ROOT / "examples" / "p800", "-i", SIMULATORS / "inventory",
        "-m", f"flagos.kunlunxin.{module}", "-a", json.dumps({"overlay": "/var/lib/p800-simulator/overlay", **options}),
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.partition("=>")[2])


def accelerator() -> dict:
    detection = {"driver_module": "kunlun", "peer_module": "kunlun_peermem", "tool": "xpu-smi", "pci_ids": ["1d22:3686"]}
    return facts("accelerator_info", nodes=[f"/dev/xpu{number}" for number in range(8)], **detection)["accelerator"]


def test_the_example_is_planned_on_the_simulated_lab(host):
    ended = play("playbooks/validate.yml", "-i", str(SIMULATORS / "inventory"), inventory=ROOT / "examples" / "p800", capture=True)
    assert ended.status == 0 and "4 hosts x 8 kunlunxin devices, TP8 x PP4, head p800-1" in ended.output, ended.output


def test_a_bare_host_shows_xpus_and_no_driver(host):
    found = accelerator()
    assert len(found["devices"]) == 8 and found["driver"]["module"]["loaded"] is False and found["problems"] == []
    assert set(found["nodes"].values()) == {None}, "the lab's own nodes are hidden until a driver is there"
    assert facts("network_info")["network"]["interfaces"]["eth1"]["rdma"] == "mlx5_0"


def test_from_installers_to_a_driver(host, files):
    said = host(f"cd {files}; KERNELDIR=/nowhere bash xre-*.run -q 2>&1 || true")
    assert "Cannot find kunlun driver file" in said
    host(f"{files}/MLNX_OFED*/mlnxofedinstall --without-fw-update --add-kernel-support -k $(uname -r) --skip-distro-check --force")
    host(f"cd {files}; bash xre-*.run --silent --accept-license && xdr_copy*/build.sh && xdr_copy*/install.sh")
    found = accelerator()
    assert found["problems"] == [] and found["driver"]["version"] == "5.0.21.26" and found["driver"]["peer_module"]["loaded"]
    assert [device["index"] for device in found["devices"]] == [*range(8)]
    assert found["nodes"]["/dev/xpu7"]["major"] == 195
    assert found["driver"]["xdr"]["mapped"]


def test_packages_of_the_toolkit(host, files):
    host(f"dpkg --install {files}/*.deb && /usr/bin/xpu-container-runtime --version")
    host("dpkg --purge libxpu-container1 libxpu-container-tools xpu-container-toolkit")


def test_a_module_for_another_kernel(host, files):
    host(f"modprobe -r xdr kunlun_peermem kunlun; mkdir -p {files}/other/include/config")
    host(f"echo 5.15.0-88-generic > {files}/other/include/config/kernel.release")
    said = host(f"KERNELDIR={files}/other bash {files}/xre-*.run -q 2>&1 || true")
    assert "Invalid module format" in said
    assert accelerator()["driver"]["module"]["built_for"] == "5.15.0-88-generic"
    host(f"bash {files}/xre-*.run -q")


def test_pciutils_read_and_write_the_simulated_bus(host):
    assert host("lspci -n -d 1d22: | wc -l").strip() == "8"
    host("setpci -s 12:00.0 ECAP_ACS+06.w=001d")
    assert host("setpci -s 12:00.0 ECAP_ACS+06.w").strip() == "001d"
    kernel = facts("accelerator_info", pci_ids=["1d22:3686"])
    assert len(kernel["accelerator"]["devices"]) == 8


def test_a_running_simulator_answers_as_a_kernel(host):
    path = "/var/lib/p800-simulator/overlay/sys/class/infiniband/mlx5_0/tc/1/traffic_class"
    said = host(f"echo 106 > {path}; for i in $(seq 50); do grep -q Global {path} && break; sleep 0.1; done; cat {path}")
    assert said == "Global tclass=106\n"


def test_a_host_that_is_ready_with_a_fault(host):
    options = {"p800_simulator_ready": True, "p800_simulator_wiring": "swapped", "p800_simulator_faults": ["port-slow,nic=eth2"]}
    simulate("-e", json.dumps(options))
    rdma = facts("network_info")["network"]["rdma"]
    assert [rdma[f"mlx5_{number}"]["ports"]["1"]["rate_gbps"] for number in range(4)] == [100, 400, 400, 400]
    assert rdma["mlx5_0"]["ports"]["1"]["netdev"] == "eth2", "the first slot on the bus has the second rail's adapter"
