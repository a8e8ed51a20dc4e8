"""The simulator's command and its programs, on a made-up host below a temporary folder."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from p800_simulator import commands, live, programs, runner, show, wiring
from p800_simulator.places import ROOT_VARIABLE, Places
from p800_simulator.tools import bandwidth

KERNEL = "6.8.0-87-generic"
ETH1_CONFIG = "sys/bus/pci/devices/0000:15:00.0/config"


class Site:
    """The made-up host and what its programs said."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        self.overlay = root / "var/lib/p800-simulator/overlay"
        self.put("proc/sys/kernel/osrelease", KERNEL)
        self.boot("one")
        for rail in range(5):
            self.put(f"sys/class/net/eth{rail}/address", f"0c:42:a1:00:01:0{rail}")
            self.put(f"sys/class/net/eth{rail}/operstate", "up")

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text + "\n")

    def boot(self, name: str) -> None:
        self.put("proc/sys/kernel/random/boot_id", name)

    def __call__(self, line: str) -> tuple[int, str, str]:
        """The exit status and what it printed, of the simulator's command or of one of its programs."""
        name, *argv = line.split()
        self._capsys.readouterr()
        code = commands.main(argv) if name == "p800-simulator" else runner.run(name, argv)
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def done(self, line: str) -> str:
        code, out, error = self(line)
        assert (code, error) == (0, ""), line
        return out

    def loaded(self) -> list[str]:
        return [line.split()[0] for line in self.done("lsmod").splitlines()[1:] if "kunlun" in line.split()[0] or line.startswith("xdr")]

    def state(self) -> dict:
        return json.loads(self.done("p800-simulator show"))


@pytest.fixture
def site(tmp_path, monkeypatch, capsys, host) -> Site:
    if not host.has_nodes:
        pytest.skip("device nodes cannot be made here")
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "site"))
    made = Site(tmp_path / "site", capsys)
    made.done("p800-simulator init")
    return made


def test_without_a_host_every_program_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    assert runner.run("lsmod", []) == 70
    assert "p800-simulator init makes one" in capsys.readouterr().err


def test_calls_are_written_down(site):
    site("mlnx_qos -i eth1 --trust dscp")
    site("xpu-smi -r -i 0")
    entries = [json.loads(line) for line in (site.root / "var/lib/p800-simulator/commands.log").read_text().splitlines()]
    assert [(entry["program"], entry["argv"]) for entry in entries] == [
        ("mlnx_qos", ["-i", "eth1", "--trust", "dscp"]),
        ("xpu-smi", ["-r", "-i", "0"]),
    ]


def test_what_is_written_to_a_file_is_written_down_once(site):
    path = "/proc/irq/1000/smp_affinity_list"
    (site.overlay / path.lstrip("/")).write_text("7")
    site.done("p800-simulator render")
    site.done("p800-simulator render")
    entries = [json.loads(line) for line in (site.root / "var/lib/p800-simulator/commands.log").read_text().splitlines()]
    assert [(entry["program"], entry["argv"]) for entry in entries] == [("write", [path, "7"])]
    assert (site.overlay / path.lstrip("/")).read_text() == "7\n"
    site.boot("two")
    site.done("p800-simulator render")
    assert (site.overlay / path.lstrip("/")).read_text() == "0-207\n"


@pytest.mark.parametrize("option", ["-r", "-V"])
def test_what_would_reset_a_device_is_refused(site, option):
    site("p800-simulator ready")
    code, out, error = site(f"xpu-smi {option} -i 0")
    assert (code, out) == (2, "") and "REFUSED" in error


@pytest.mark.parametrize("name", sorted(programs.BY_NAME))
def test_a_program_says_that_it_is_a_simulator(site, name):
    assert "simulator" in site.done(f"{name} --help").lower()


def test_after_that_the_hosts_own_program_says_its_own(site):
    real = site.root / "usr/sbin/ethtool.p800-real"
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text('#!/bin/sh\nexec touch "$P800_SIMULATOR_ROOT/asked$1"\n')
    real.chmod(0o755)
    assert "SIMULATOR" in site.done("ethtool --help") and (site.root / "asked--help").exists()


# ---- the modules


def test_a_driver_from_installation_to_removal(site):
    site.done("p800-simulator ofed install")
    site.done("p800-simulator driver install --version 5.0.21.26")
    assert (site.root / f"lib/modules/{KERNEL}/extra/kunlun.ko").exists()
    assert site("modprobe kunlun")[2] == f"modprobe: FATAL: Module kunlun not found in directory /lib/modules/{KERNEL}\n"
    site.done("depmod -a")
    site.done("modprobe kunlun-peermem")
    assert site.loaded() == ["kunlun_peermem", "kunlun"]
    assert "5.0.21.26" in (site.overlay / "proc/kunlun/version").read_text()
    assert site("rmmod kunlun")[2] == "rmmod: ERROR: Module kunlun is in use by: kunlun_peermem\n"
    assert site("p800-simulator driver remove")[0] == 1
    site.done("rmmod kunlun_peermem")
    site.done("rmmod kunlun")
    assert site("rmmod kunlun")[2] == "rmmod: ERROR: Module kunlun is not currently loaded\n"
    site.done("p800-simulator driver remove")
    assert not (site.overlay / "proc/kunlun").exists() and not (site.root / "usr/local/xpu").is_symlink()
    assert site("modinfo kunlun")[0] == 1


def test_the_peer_memory_needs_ofed_first(site):
    site.done("p800-simulator driver install --version 5.0.21.26")
    site.done("depmod")
    assert site("modprobe kunlun_peermem")[0] == 1
    site.done("p800-simulator ofed install")
    site.done("p800-simulator driver install --version 5.0.21.26")
    site.done("depmod")
    site.done("p800-simulator ofed remove")
    code, _out, error = site("modprobe kunlun_peermem")
    assert code == 1 and "Unknown symbol in module" in error and "ib_register_peer_memory_client" in site("dmesg")[1]


def test_a_module_of_another_kernel_does_not_load(site):
    site.done(f"p800-simulator driver install --version 5.0.21.26 --kernel 5.15.0-88-generic --into {KERNEL}")
    site.done("depmod")
    assert site.done("modinfo -F vermagic kunlun").split()[0] == "5.15.0-88-generic"
    assert site("modprobe kunlun")[2] == "modprobe: ERROR: could not insert 'kunlun': Exec format error\n"
    file = f"{site.root}/lib/modules/{KERNEL}/extra/kunlun.ko"
    assert site(f"insmod {file}")[2] == f"insmod: ERROR: could not insert module {file}: Invalid module format\n"
    assert "version magic '5.15.0-88-generic" in site("dmesg")[1]


def test_a_newer_driver_runs_when_it_was_loaded_anew(site):
    site.done("p800-simulator ready --driver 5.0.21.26")
    site.done("p800-simulator driver install --version 5.0.21.43")
    assert "5.0.21.26" in (site.overlay / "proc/kunlun/version").read_text()
    assert site.done("modinfo -F version kunlun") == "5.0.21.43\n"
    site.done("rmmod xdr kunlun_peermem kunlun")
    site.done("modprobe kunlun")
    assert "5.0.21.43" in (site.overlay / "proc/kunlun/version").read_text()


def test_a_held_device_keeps_the_driver(site):
    site.done("p800-simulator ready")
    site.done("p800-simulator fault set node-held xpu=2 process=vllm")
    site.done("rmmod xdr kunlun_peermem")
    assert site("rmmod kunlun")[2] == "rmmod: ERROR: Module kunlun is in use\n"
    code, _out, error = site("p800-simulator driver install --version 5.0.21.43")
    assert code == 1 and "device busy: /dev/xpu2 by process 4000002 (vllm)" in error


def test_a_removed_file_is_a_removed_module(site):
    site.done("p800-simulator ready")
    (site.root / f"lib/modules/{KERNEL}/extra/xdr.ko").unlink()
    site.done("depmod")
    assert site("modinfo xdr")[0] == 1
    assert not (site.root / f"lib/modules/{KERNEL}/extra/xdr.ko").exists()


def test_modprobe_d(site):
    site.done("p800-simulator ready")
    site.done("rmmod xdr kunlun_peermem kunlun")
    site.put("etc/modprobe.d/kunlun.conf", 'options kunlun KLreg_RegistryDwords="RmDisableSMMU=1;C2CHighSpeed=1"\ninstall kunlun exit 7')
    assert site("modprobe kunlun")[0] == 7
    site.done("modprobe --ignore-install kunlun")
    assert (site.overlay / "proc/kunlun/params").read_text() == 'RegistryDwords: "RmDisableSMMU=1;C2CHighSpeed=1"\n'


def test_other_modules_are_the_hosts_own_affair(site):
    real = site.root / "usr/sbin/modprobe.p800-real"
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text('#!/bin/sh\necho "$@" > "$P800_SIMULATOR_ROOT/asked"\nexit 3\n')
    real.chmod(0o755)
    assert site("modprobe -v br_netfilter")[0] == 3
    assert (site.root / "asked").read_text() == "-v br_netfilter\n"


# ---- what is written


def test_settings_are_read_back_until_the_next_boot(site):
    site.done("p800-simulator ofed install")
    site.done("mlnx_qos -i eth1 --trust dscp --pfc 0,0,0,1,0,0,0,0")
    site.done("mlnx_qos -i eth1 --dscp2prio set,26,5")
    site.done("cma_roce_tos -d mlx5_0 -t 106")
    site.done("ethtool -G eth1 rx 8192 tx 4096")
    text = site.done("mlnx_qos -i eth1")
    assert "Priority trust state: dscp" in text and "\tenabled     0   0   0   1   0   0   0   0   \n" in text
    assert "\tprio:5 dscp:47,46,45,44,43,42,41,40,\n\tprio:5 dscp:26,\n" in text
    assert site.done("cma_roce_tos -d mlx5_0") == "106\n" and site.done("cma_roce_tos -d mlx5_1") == "0\n"
    assert "RX:\t\t8192" in site.done("ethtool -g eth1").split("Current")[1]
    site.boot("two")
    assert "Priority trust state: pcp" in site.done("mlnx_qos -i eth1") and site.done("cma_roce_tos -d mlx5_0") == "0\n"
    assert "RX:\t\t1024" in site.done("ethtool -g eth1").split("Current")[1]


def test_a_register_is_forgotten_by_a_boot_and_firmware_is_not(site):
    site.done("p800-simulator ofed install")
    register = "mlxreg -d 0000:15:00.0 --reg_name ROCE_ACCL"
    assert "adaptive_routing_forced_en                   | 0x00000000" in site.done(f"{register} --get --yes")
    site.done(f"{register} --set adaptive_routing_forced_en=0x1 --yes")
    site.done("mlxconfig -d 0000:15:00.0 -y set LINK_TYPE_P1=2")
    assert "adaptive_routing_forced_en                   | 0x00000001" in site.done(f"{register} --get --yes")
    site.boot("two")
    assert "adaptive_routing_forced_en                   | 0x00000000" in site.done(f"{register} --get --yes")
    types = [site.done(f"mlxconfig -d 0000:{bus}:00.0 query").partition("LINK_TYPE_P1")[2].split()[0] for bus in ("15", "35")]
    assert types == ["ETH(2)", "IB(1)"]


@pytest.mark.parametrize(
    "line",
    [
        "mlnx_qos -i eth1 --pfc 0,0,0,2,0,0,0,0",
        "mlnx_qos -i eth1 --trust both",
        "mlnx_qos -i eth1 --dscp2prio set,64,1",
        "mlnx_qos -i eth0 --trust dscp",
        "cma_roce_tos -d mlx5_0 -t 256",
        "cma_roce_tos -d mlx5_9",
        "ethtool -G eth1 rx 9000",
        "ethtool -G eth1 rx 1024",
        "ibv_devinfo -d mlx5_7",
        "mlxreg -d 0000:15:00.0 --reg_name ROCE_ACCL --set adaptive_routing=0x1 --yes",
        "mlxreg -d 0000:15:00.0 --reg_name ROCE_ACCL --set adaptive_routing_forced_en=yes --yes",
        "mlxreg -d 0000:01:00.0 --reg_name ROCE_ACCL --get --yes",
        "mlxconfig -d 0000:15:00.0 set LINK_TYPE_P1=2",
        "mlxconfig -d 0000:01:00.0 query",
    ],
)
def test_a_wrong_value_changes_nothing(site, line):
    site.done("p800-simulator ofed install")
    before = site.state()
    code, out, error = site(line)
    assert code != 0 and error and not out
    assert site.state() == before


def test_files_of_the_overlay_answer_as_the_kernels_do(site):
    site.done("p800-simulator ofed install")
    traffic_class = site.overlay / "sys/class/infiniband/mlx5_0/tc/1/traffic_class"
    assert traffic_class.read_text() == ""
    for written, read in (("106", "Global tclass=106\n"), ("-1\n", "")):
        traffic_class.write_text(written)
        site.done("p800-simulator render")
        assert traffic_class.read_text() == read
    (site.overlay / "sys/class/net/eth2/ecn/roce_np/cnp_dscp").write_text("46")
    site.done("p800-simulator fault set port-down nic=eth4")
    assert (site.overlay / "sys/class/net/eth2/ecn/roce_np/cnp_dscp").read_text() == "46\n"


def test_a_written_configuration_space_lasts_until_the_next_boot(site):
    config = site.overlay / ETH1_CONFIG
    fresh = config.read_bytes()
    assert fresh[0x69] >> 4 == 2, "read requests of 512 bytes"
    config.write_bytes(fresh[:0x69] + bytes([0x50 | fresh[0x69] & 0x0F]) + fresh[0x6A:])
    site.done("p800-simulator fault set acs-on")
    assert config.read_bytes()[0x69] >> 4 == 5
    site.boot("two")
    site.done("p800-simulator render")
    assert config.read_bytes() == fresh


def test_access_control_is_on_at_each_boot_and_a_fault_is_stronger_than_who_switches_it_off(site):
    def register():
        return bridge.read_bytes()[0x106:0x108]

    site.done("p800-simulator init --access-control")
    bridge = site.overlay / "sys/bus/pci/devices/0000:12:00.0/config"
    assert register() == b"\x1d\0"
    bridge.write_bytes(bridge.read_bytes()[:0x106] + b"\0\0" + bridge.read_bytes()[0x108:])
    site.done("p800-simulator render")
    assert register() == b"\0\0"
    site.done("p800-simulator fault set acs-on")
    assert register() == b"\x1d\0"
    site.done("p800-simulator fault clear")
    assert register() == b"\0\0"
    site.boot("two")
    site.done("p800-simulator reset")
    assert register() == b"\x1d\0"


def test_a_boot_loads_what_modules_load_d_names(site):
    site.done("p800-simulator ready")
    site.boot("two")
    assert site.loaded() == []
    site.put("etc/modules-load.d/kunlun.conf", "# these\nkunlun-peermem")
    site.boot("three")
    assert site.loaded() == ["kunlun_peermem", "kunlun"]


def test_firmware_needs_a_power_cycle(site):
    site.done("p800-simulator ready")
    site.done("p800-simulator firmware --pcie 2.16 --sbl 1.60")
    assert "SBL Version                       : 1.54" in site.done("xpu-smi -q -i 0")
    site.done("p800-simulator power-cycle")
    site.done("modprobe kunlun")
    assert "SBL Version                       : 1.60" in site.done("xpu-smi -q -i 0")


# ---- the host


def test_programs_of_ofed_are_there_with_it(site):
    program = site.root / "usr/bin/mlnx_qos"
    assert not program.exists()
    site.done("p800-simulator ofed install")
    assert "SIMULATOR" in program.read_text()
    assert site("ofed_uninstall.sh")[0] == 1 and program.exists()
    site.done("ofed_uninstall.sh --force")
    assert not program.exists() and site.state()["ofed"] is None


def test_a_host_with_fewer_xpus_and_another_vendor(site):
    site.done("p800-simulator init --devices 4 --vendor 2057 --wiring swapped")
    found = [path for path in (site.overlay / "sys/bus/pci/devices").iterdir() if (path / "device").read_text() == "0x3686\n"]
    assert len(found) == 4 and {(path / "vendor").read_text() for path in found} == {"0x2057\n"}


def test_a_wiring_of_a_file(site, tmp_path):
    given = dict(wiring.NAMED["pairs"], devices={"0": "A/12:00.0/13:00.0"})
    (tmp_path / "one.json").write_text(json.dumps(given))
    site.done(f"p800-simulator init --wiring {tmp_path}/one.json")
    assert site.state()["devices"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("init --wiring /no/such/file", "No such file"),
        ("init --devices 9", "the wiring has 8"),
        ("fault set no-such", "no-such is no fault"),
        ("fault set port-down nic", "expected KEY=VALUE"),
        ("fault set port-slow gbps=fast", "port-slow: ValueError"),
        ("fault clear port-down", "is not set"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(site, line, message):
    before = site.state()
    code, _out, error = site(f"p800-simulator {line}")
    assert code == 1 and message in error and error.count("\n") == 1
    assert site.state() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": {"1": "A/12:00.0/13:00.0"}}, "expected 0 to 0"),
        ({"devices": {"0": "E/12:00.0"}}, "KeyError"),
        ({"interfaces": {"eth1": "A/12:00.0/13:00.0"}}, "two functions are at 0000:13:00.0"),
        ({"interfaces": None}, "AttributeError"),
    ],
)
def test_what_is_no_wiring_is_refused(change, message):
    with pytest.raises(wiring.WiringError, match=message):
        wiring.parse({**wiring.NAMED["pairs"], **change})


def test_every_fault_is_listed(site):
    lines = site.done("p800-simulator fault list").splitlines()
    assert len(lines) == len(json.loads(site.done("p800-simulator fault list --json"))) > 40


def test_reset_is_as_after_init(site):
    before = site.state()
    site.done("p800-simulator ready")
    site.done("p800-simulator fault set noc-idle")
    site.done("p800-simulator reset")
    assert site.state() == before


def test_the_slower_side_tells_the_bandwidth(make_host, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    server, client = (make_host(tmp_path / name, number).ready() for number, name in enumerate("ab", 1))
    client.fault("bandwidth-low", nic="eth1")
    port = 18515 + id(tmp_path) % 1000
    said = {}
    thread = threading.Thread(
        target=lambda: said.update(server=server.says("ib_write_bw", "-d", "mlx5_0", "--report_gbits", "-p", str(port)))
    )
    thread.start()
    for _attempt in range(100):
        said["client"] = client.says("ib_write_bw", "-d", "mlx5_0", "--report_gbits", "-p", str(port), "127.0.0.1")
        if said["client"].code == 0:
            break
        thread.join(0.05)
    thread.join(10)
    for answer in said.values():
        assert answer.code == 0 and answer.out.splitlines()[-2].split()[3] == "120.00" and "no RDMA" in answer.out


def test_bandwidth_of_a_port_that_is_down(host):
    answer = host.ready().fault("port-down", nic="eth1").says("ib_write_bw", "-d", "mlx5_0", "10.1.1.2")
    assert answer.code == 1 and "state is Down" in answer.error


@pytest.mark.parametrize(
    ("argv", "peer"),
    [
        (["-d", "mlx5_0", "-x", "3", "-F", "--report_gbits"], ""),
        (["-d", "mlx5_0", "-F", "10.0.0.2"], "10.0.0.2"),
        (["-d", "mlx5_0", "-x", "3"], ""),
        (["--ib-dev=mlx5_0", "10.0.0.2"], "10.0.0.2"),
    ],
)
def test_client_or_server(argv, peer):
    assert bandwidth._peer(argv) == peer


def test_a_boot_line_counts_from_the_next_boot_on(site):
    """GRUB's settings are read by update-grub, and its grub.cfg by a boot."""

    def running():
        site.done("p800-simulator render")
        return (site.overlay / "proc/cmdline").read_text().split()[1:]

    site.done("p800-simulator init --boot-parameters a=1")
    assert running() == ["root=/dev/simulated", "ro", "a=1", "quiet"]
    site.put("etc/default/grub.d/90-ours.cfg", 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX iommu=pt"')
    site.boot("two")
    assert "iommu=pt" not in running(), "nobody called update-grub"
    assert site("update-grub")[0] == 0
    assert "ro a=1 iommu=pt quiet\n" in (site.root / "boot/grub/grub.cfg").read_text()
    assert "iommu=pt" not in running(), "the kernel still runs"
    site.boot("three")
    assert running() == ["root=/dev/simulated", "ro", "a=1", "iommu=pt", "quiet"]
    types = {path.read_text() for path in site.overlay.glob("sys/kernel/iommu_groups/*/type")}
    assert types == {"identity\n"}


def test_settings_that_no_shell_can_read_make_no_boot_line(site):
    site.put("etc/default/grub.d/90-ours.cfg", 'GRUB_CMDLINE_LINUX="')
    before = (site.root / "boot/grub/grub.cfg").read_text()
    code, _out, error = site("update-grub")
    assert code == 1 and "update-grub: " in error
    assert (site.root / "boot/grub/grub.cfg").read_text() == before


def test_a_module_that_is_removed_while_the_service_shows_the_host_stays_away(site):
    site.done("p800-simulator ready")
    places = Places(str(site.root))
    now = live.read(places)
    state = show.current(places, now)
    module = site.root / state.modules["kunlun"]["file"].lstrip("/")
    module.unlink()
    show.everything(places, state, now, again=False)
    assert not module.exists()
