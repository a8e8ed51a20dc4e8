"""The module xpu_driver on a made-up host, whose installers and kernel are functions below: check mode, the real run and the second one agree."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _changes, _xpu_driver_host, _xpu_driver_modules
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError
from ansible_collections.flagos.kunlunxin.plugins.modules import xpu_driver

CAPTURES = Path(__file__).absolute().parents[1] / "module_utils" / "captures" / "xpu-smi"
SUMMARY, QUERY = ((CAPTURES / f"{name}.txt").read_text() for name in ("summary", "q"))
KERNEL, OTHER_KERNEL = "6.8.0-87-generic", "6.8.0-90-generic"
VERSION, OLDER = "5.0.21.26", "5.0.21.21"
VC, VD = "B00100300110112", "B00100300110312"
ADDRESSES = ("0000:52:00.0", "0000:55:00.0")
TOOL = "/usr/local/bin/xpu-smi"
CONF = "etc/modprobe.d/kunlun.conf"
INSTALLER_CONF = 'options kunlun KLreg_RegistryDwords="RmDisableSMMU=1;"\n'
OPTIONS = yaml.safe_load(xpu_driver.DOCUMENTATION)["options"]


class Host:
    """Files below a folder, and the module that runs on it.

    :ivar numbers: part number by PCI address, as the cards have it.
    :ivar brings: what the XRE installer brings; None: it fails.
    """

    def __init__(self, captured, tmp_path):
        self.captured, self.root = captured, captured.root
        self.tmpdir, self.check_mode = str(tmp_path / "tmp"), False
        os.makedirs(self.tmpdir)
        self.numbers, self.brings, self.with_uninstaller = dict.fromkeys(ADDRESSES, VC), VERSION, False
        self.firmware = {"SBL": "1.54"}
        self.commands, self.warnings = [], []
        for address in ADDRESSES:
            captured.pci(f"pci0000:50/0000:50:01.0/{address}", "1d22", "3686")
        captured.files(
            {
                "/proc/sys/kernel/osrelease": KERNEL + "\n",
                "/proc/modules": "ib_core 1 0 - Live 0x0\n",
                f"/usr/src/linux-headers-{KERNEL}/Makefile": "",
                f"/usr/src/linux-headers-{KERNEL}/include/generated/utsrelease.h": f'#define UTS_RELEASE "{KERNEL}"\n',
                f"/lib/modules/{KERNEL}/modules.dep": "",
                "/etc/modprobe.d/other.conf": "",
                "/etc/modules-load.d/other.conf": "",
                "/usr/local/bin/other": "",
            }
        )
        self.sent = tmp_path / "sent"
        self.sent.mkdir()
        self.params = {name: option.get("default") for name, option in OPTIONS.items()}
        self.params.update(version=VERSION, xre=self.file("xre.run", b"#!/bin/bash\n"), state_dir=str(self.root / "var/lib/state"))
        self.params["nodes"] = ["/dev/xpu0", "/dev/xpu1"]

    def file(self, name, content, **more):
        """A file that was sent to the host, as the options name one."""
        (self.sent / name).write_bytes(content)
        return {"file": str(self.sent / name), "sha256": hashlib.sha256(content).hexdigest(), **more}

    def archive(self, name, members, **more):
        """An archive with empty files of these names."""
        with tarfile.open(self.sent / name, "w:gz") as stream:
            for member in members:
                stream.addfile(tarfile.TarInfo(member))
        return {"file": str(self.sent / name), "sha256": hashlib.sha256((self.sent / name).read_bytes()).hexdigest(), **more}

    # what the module asks of Ansible ----------------------------------------------------------------------------

    def get_bin_path(self, name):
        return f"/usr/bin/{name}" if name in ("dpkg", "depmod", "update-initramfs") else None

    def atomic_move(self, source, target, unsafe_writes):
        shutil.move(source, target)

    def run_command(self, argv, environ_update=None, cwd=None, check_rc=False):
        self.commands.append([*(f"{name}={value}" for name, value in (environ_update or {}).items()), *argv])
        code, output = getattr(self, "_" + os.path.basename(argv[0]).replace("-", "_").replace(".", "_"))(argv)
        assert not (check_rc and code), argv
        return code, output, ""

    # what the programs do ---------------------------------------------------------------------------------------

    def _bash(self, argv):
        if argv[1].endswith("auto_update.sh"):
            return 0, ""
        if "uninstall" in argv[1]:
            shutil.rmtree(self.root / f"usr/local/xpu-{VERSION}")
            return 0, ""
        if self.brings is None:
            return 3, "building\nERROR: make failed in KERNELDIR\ncleaning up\n"
        base = f"/usr/local/xpu-{self.brings}"
        self.captured.files({f"{base}/bin/xpu-smi": "", f"{base}/so/libxpurt.so": "", f"/lib/modules/{KERNEL}/extra/kunlun.ko": ""})
        if self.with_uninstaller:
            self.captured.files({f"{base}/bin/uninstall_rt.sh": ""})
        for path, target in (("usr/local/xpu", base), (TOOL.lstrip("/"), f"{base}/bin/xpu-smi")):
            if os.path.lexists(self.root / path):
                os.unlink(self.root / path)
            os.symlink(str(self.root) + target, self.root / path)
        self.captured.files({f"/{CONF}": INSTALLER_CONF})
        self.captured.answer("modinfo -F vermagic kunlun", f"{KERNEL} SMP mod_unload\n")
        self.captured.answer("modinfo -F version kunlun", self.brings + "\n")
        return 0, ""

    def _modprobe(self, argv):
        modules = self.root / "proc/modules"
        if argv[1] not in modules.read_text():
            modules.write_text(f"{argv[1]} 1 0 - Live 0x0\n" + modules.read_text())
        if argv[1] == "kunlun":
            version = (self.root / ".commands/modinfo -F version kunlun").read_text().strip()
            self.captured.files({"/proc/kunlun/version": f"KLRM version: KUNLUN UNIX Open Kernel Module for x86_64 {version}  Release\n"})
            self.captured.files({"/dev/xpu0": "", "/dev/xpu1": ""})
            self.tell()
        return 0, ""

    def tell(self):
        """The tool answers, as the cards are now."""
        head, block = QUERY.split("XPU 00000000:01:00.0\n")
        texts = []
        for address, number in self.numbers.items():
            text = block.replace("00000000:01:00.0", f"0000{address}").replace("B00100300110211", number)
            text = text.replace("e6b7cf36b37c", address.replace(":", "")[:12]).replace("02K0MA0258D0007R", address)
            texts.append(f"XPU 0000{address}\n" + text.replace(": 1.54\n", f": {self.firmware['SBL']}\n"))
        self.captured.answer(TOOL, SUMMARY)
        self.captured.answer(f"{TOOL} -q", head.replace(": 2\n", f": {len(texts)}\n") + "".join(texts))

    def _rmmod(self, argv):
        modules = self.root / "proc/modules"
        lines = modules.read_text().splitlines(keepends=True)
        assert any(line.split()[0] == argv[1] for line in lines)
        if argv[1] == "kunlun":
            assert "kunlun_peermem" not in modules.read_text(), "in use by its peer"
            shutil.rmtree(self.root / "proc/kunlun")
            for options in ("", " -q"):  # without a driver the tool fails
                (self.root / f".commands/{TOOL.replace('/', '_')}{options}").unlink()
        modules.write_text("".join(line for line in lines if line.split()[0] != argv[1]))
        return 0, ""

    def _build_sh(self, argv):
        return 0, ""

    def _install_sh(self, argv):
        self.captured.files({f"/lib/modules/{KERNEL}/extra/xdr.ko": "", "/proc/xdr/version": "XDR version: 1.1.0.6\n"})
        return 0, ""

    def _depmod(self, argv):
        return 0, ""

    _update_initramfs = _depmod

    def _dpkg(self, argv):
        for path in argv[2:]:
            name, version = os.path.basename(path).split("_")[:2] if argv[1] == "--install" else (path, "")
            told = f"installed {version}" if version else "not-installed "
            self.captured.answer(f"dpkg-query -W -f=${{db:Status-Status}} ${{Version}} {name}", told)
        return 0, ""

    # runs -------------------------------------------------------------------------------------------------------

    def warn(self, text):
        self.warnings.append(text)

    def run(self, check=False, **params):
        self.params.update(params)
        self.check_mode = check
        host = _xpu_driver_host.DriverHost(self, self.captured.tree, {}, str(self.root))
        result = xpu_driver.settled(self, host)
        self.warnings = host.notes
        return result

    def files(self):
        """Every path of the host but the kernel's, and what commands answer."""
        kept = {}
        for folder, names, files in os.walk(self.root):
            names[:] = [
                name for name in names if os.path.join(folder, name) not in (f"{self.root}/{top}" for top in ("proc", ".commands", "dev"))
            ]
            kept.update((os.path.join(folder, name), None) for name in names)
            kept.update((path, os.path.islink(path) or Path(path).read_text()) for path in (os.path.join(folder, name) for name in files))
        return kept

    def loaded(self):
        return [line.split()[0] for line in (self.root / "proc/modules").read_text().splitlines()]

    def refused(self, **params):
        """Runs, in both modes, and is refused before anything is changed."""
        before = self.files()
        told = []
        for check in (True, False):
            self.commands.clear()
            with pytest.raises(UnfitError) as refused:
                self.run(check=check, **params)
            told.append(
                (refused.value.finding.check, refused.value.finding.observed, refused.value.finding.expected, refused.value.finding.remedy)
            )
            assert self.commands == []
            assert self.files() == before
        assert told[0] == told[1]
        return told[0]


@pytest.fixture
def host(captured, tmp_path, monkeypatch):
    monkeypatch.setattr(_xpu_driver_modules, "READY_SECONDS", 0)
    monkeypatch.setattr(_xpu_driver_modules, "READY_PAUSE", 0)
    return Host(captured, tmp_path)


def actions(result):
    return [action.rsplit("/", 1)[-1] if action.startswith("write") else action for action in result["actions"]]


def test_the_module_declares_what_these_tests_prove():
    attributes = yaml.safe_load(xpu_driver.DOCUMENTATION)["attributes"]
    assert {attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")} == {"full"}


@pytest.mark.parametrize("number", [VC, VD])
def test_a_bare_host_gets_the_driver_as_check_mode_said_and_a_second_run_changes_nothing(host, number):
    host.numbers = dict.fromkeys(ADDRESSES, number)
    before = host.files()
    predicted = host.run(check=True)
    assert (host.files(), host.commands) == (before, [])
    made = host.run()
    assert {**predicted, "part_number": number} == made
    assert made["changed"]
    assert made["needed"] == [host.params["xre"]["file"]]
    assert host.loaded() == ["kunlun_peermem", "kunlun", "ib_core"]
    assert (host.root / "etc/modules-load.d/flagos-kunlunxin-driver.conf").read_text().splitlines()[1:] == ["kunlun", "kunlun_peermem"]
    installed = host.files()
    host.commands.clear()
    again = host.run()
    assert (again["changed"], again["actions"], again["diff"], again["needed"]) == (False, [], [], [])
    assert (host.files(), host.commands) == (installed, [])


def test_the_installer_gets_the_headers_and_asks_nothing(host):
    host.run()
    headers = host.root / f"usr/src/linux-headers-{KERNEL}"
    assert host.commands[0] == [f"KERNELDIR={headers}", "bash", host.params["xre"]["file"], "--silent", "--accept-license"]


def test_cards_that_take_defaults_keep_what_the_installer_set(host):
    host.run()
    assert (host.root / CONF).read_text() == INSTALLER_CONF
    assert ["rmmod", "kunlun"] not in host.commands


def test_cards_that_need_options_get_them_and_the_module_is_loaded_with_them(host):
    host.numbers = dict.fromkeys(ADDRESSES, VD)
    host.run()
    assert (host.root / CONF).read_text().splitlines()[1:] == [
        'options kunlun KLreg_RegistryDwords="RmDisableSMMU=1;C2CHighSpeed=1"',
        "install kunlun /sbin/modprobe --ignore-install kunlun && /sbin/modprobe kunlun-peermem",
    ]
    modprobes = [command for command in host.commands if command[0] in ("modprobe", "rmmod")]
    order = [["modprobe", "kunlun"], ["modprobe", "kunlun_peermem"], ["rmmod", "kunlun_peermem"], ["rmmod", "kunlun"]]
    assert modprobes == [*order, *order[:2]]


def test_a_part_number_that_the_operator_names_is_predicted_and_held_against_the_cards(host):
    host.numbers = dict.fromkeys(ADDRESSES, VD)
    predicted = host.run(check=True, part_number=VD)
    assert any("C2CHighSpeed=1" in action for action in predicted["actions"])
    assert host.run()["actions"] == predicted["actions"]
    assert host.refused(part_number=VC)[:3] == ("XPU part numbers", VD, VC)


def test_cards_that_turn_out_to_be_others_than_the_operator_named_are_refused(host):
    host.numbers = dict.fromkeys(ADDRESSES, VD)
    with pytest.raises(UnfitError) as refused:
        host.run(part_number=VC)
    assert (refused.value.finding.check, refused.value.finding.observed, refused.value.finding.expected) == ("XPU part numbers", VD, VC)


def test_a_run_that_was_killed_before_the_modules_were_loaded_anew_is_made_good(host):
    host.numbers = dict.fromkeys(ADDRESSES, VD)
    host.run()
    host.captured.files({"/run/flagos-kunlunxin/driver-reload-pending": ""})
    host.commands.clear()
    assert host.run()["changed"]
    assert [command[0] for command in host.commands] == ["rmmod", "rmmod", "modprobe", "modprobe"]
    assert not host.run()["changed"]


@pytest.mark.parametrize("damage", ["unloaded", "peer unloaded", "options", "not at boot", "receipt"])
def test_each_damage_is_repaired_without_the_file(host, damage):
    host.numbers = dict.fromkeys(ADDRESSES, VD)
    host.run()
    sound, loaded = host.files(), host.loaded()
    if damage == "options":
        (host.root / CONF).write_text(INSTALLER_CONF)
    elif damage == "not at boot":
        (host.root / "etc/modules-load.d/flagos-kunlunxin-driver.conf").unlink()
    elif damage == "receipt":
        (host.root / "var/lib/state/receipts/driver.json").unlink()
    else:
        for name in ("kunlun_peermem", "kunlun")[: 2 if damage == "unloaded" else 1]:
            host._rmmod(["rmmod", name])
    os.unlink(host.params["xre"]["file"])
    result = host.run()
    assert result["changed"]
    assert result["needed"] == []
    assert (host.files(), sorted(host.loaded())) == (sound, sorted(loaded))


# judged before anything is changed ------------------------------------------------------------------------------


def test_a_file_that_is_not_there(host):
    os.unlink(host.params["xre"]["file"])
    with pytest.raises(UnfitError, match="XRE: no file"):
        host.run()
    assert host.run(check=True)["needed"] == [host.params["xre"]["file"]]


def test_a_file_with_another_hash(host):
    right = host.params["xre"]["sha256"]
    check, observed, expected, remedy = host.refused(xre={**host.params["xre"], "sha256": "0" * 64})
    assert (check, expected) == ("XRE", "0" * 64)
    assert right in observed
    assert remedy


def test_a_file_that_will_be_sent_anew_does_not_hinder_the_prediction(host):
    wrong = {**host.params["xre"], "sha256": "0" * 64}
    assert host.run(check=True, xre=wrong, folder=str(host.sent))["needed"] == [wrong["file"]]
    with pytest.raises(UnfitError, match=r"XRE: .* has sha256"):
        host.run()


def test_headers_that_are_missing(host):
    shutil.rmtree(host.root / f"usr/src/linux-headers-{KERNEL}")
    assert host.refused() == (
        "kernel headers",
        f"no Makefile in /usr/src/linux-headers-{KERNEL} or /lib/modules/{KERNEL}/build",
        f"those of the running kernel {KERNEL}",
        f"install the package linux-headers-{KERNEL}",
    )


def test_headers_that_an_overlay_hides(host, tmp_path):
    host.captured.tree = HostTree(str(host.root), str(tmp_path / "overlay"))
    (tmp_path / "overlay/usr/src").mkdir(parents=True)
    (tmp_path / f"overlay/usr/src/linux-headers-{KERNEL}").symlink_to("/nowhere")
    assert host.refused()[0] == "kernel headers"


def test_headers_of_another_kernel(host):
    host.captured.files(
        {"/opt/headers/Makefile": "", "/opt/headers/include/generated/utsrelease.h": f'#define UTS_RELEASE "{OTHER_KERNEL}"\n'}
    )
    assert host.refused(kernel_headers="/opt/headers")[1] == f"/opt/headers is for {OTHER_KERNEL}"


def test_nothing_to_build_peer_memory_against(host):
    (host.root / "proc/modules").write_text("")
    check, observed, _expected, remedy = host.refused()
    assert (check, observed) == ("peer memory", "neither ofed_info nor rdma-ndd nor the module ib_core")
    assert "driver_peer_memory: false" in remedy
    host.run(peer_memory=False)
    assert host.loaded() == ["kunlun"]


@pytest.mark.parametrize(
    ("numbers", "observed"),
    [
        ((VC, VD), f"{VC} at 0000:52:00.0, {VD} at 0000:55:00.0"),
        (("B00100300110211",) * 2, "B00100300110211"),
    ],
)
def test_part_numbers_that_are_mixed_or_unknown(host, numbers, observed):
    """Before the driver nobody can tell them: then the host stays with the driver and without options."""
    host.numbers = dict(zip(ADDRESSES, numbers, strict=True))
    with pytest.raises(UnfitError) as refused:
        host.run()
    assert (refused.value.finding.check, refused.value.finding.observed) == ("XPU part numbers", observed)
    assert (host.root / CONF).read_text() == INSTALLER_CONF
    assert host.refused()[1] == observed
    assert host.refused(version="5.0.21.38")[1] == observed


def test_a_card_that_tells_no_part_number(host):
    host.run()
    host.numbers = dict.fromkeys(ADDRESSES[:1], VC)
    host.tell()
    assert host.refused()[1] == "none told for 0000:55:00.0"


def hold(host, path, pid=4711, name="python3", cgroup="0::/system.slice/serve.service"):
    host.captured.files({f"/proc/{pid}/comm": name + "\n", f"/proc/{pid}/cgroup": cgroup + "\n"})
    host.captured.link(f"/proc/{pid}/fd/7", path)


def test_an_upgrade_while_a_process_holds_a_device_names_it(host):
    host.brings = OLDER
    host.run(version=OLDER)
    hold(host, "/dev/xpu1")
    host.brings = VERSION
    assert host.refused(version=VERSION)[:2] == ("devices in use", "python3 (pid 4711, unit serve.service) holds /dev/xpu1")
    shutil.rmtree(host.root / "proc/4711")
    host.commands.clear()
    assert host.run()["changed"]
    assert [command[-1] if "=" not in command[0] else "install" for command in host.commands] == [
        "kunlun_peermem",
        "kunlun",
        "install",
        "kunlun",
        "kunlun_peermem",
    ]
    assert "5.0.21.26" in (host.root / "proc/kunlun/version").read_text()
    assert not host.run()["changed"]


def test_a_process_that_holds_a_device_is_no_matter_when_nothing_is_unloaded(host):
    host.run()
    hold(host, "/dev/xpu1")
    assert not host.run()["changed"]


# read back ------------------------------------------------------------------------------------------------------


def test_a_module_of_another_kernel_is_installed_again(host):
    host.run()
    host.captured.answer("modinfo -F vermagic kunlun", f"{OTHER_KERNEL} SMP\n")
    result = host.run()
    assert f"driver built for {OTHER_KERNEL}, but {KERNEL} runs\n" in [entry["before"] for entry in result["diff"]]
    assert not host.run()["changed"]


def test_a_file_that_brings_another_version_than_it_was_said_to(host):
    host.brings = OLDER
    with pytest.raises(UnfitError, match=r"driver read back: 5\.0\.21\.21") as refused:
        host.run()
    assert "as /proc/kunlun/version tells it" in refused.value.finding.remedy


def test_an_installer_that_fails_leaves_the_old_driver_loaded_and_its_words(host):
    host.brings = OLDER
    host.run(version=OLDER)
    host.brings = None
    with pytest.raises(UnfitError) as refused:
        host.run(version=VERSION)
    assert (refused.value.finding.check, refused.value.finding.observed) == (
        "XRE installer",
        "it ended with 3: ERROR: make failed in KERNELDIR",
    )
    assert host.loaded()[:2] == ["kunlun_peermem", "kunlun"]
    assert "cleaning up" in (host.root / "var/lib/state/driver/install.log").read_text()


def test_a_driver_that_is_there_already_is_loaded_and_not_installed(host):
    host._bash(["bash", "by hand"])
    os.unlink(host.params["xre"]["file"])
    assert host.run()["needed"] == []
    assert host.run(state="absent")["changed"]
    assert (host.root / f"usr/local/xpu-{VERSION}/bin/xpu-smi").exists()
    assert host.loaded() == ["kunlun_peermem", "kunlun", "ib_core"]


# XDR, toolkit, firmware -----------------------------------------------------------------------------------------


def test_direct_rdma_is_built_and_loaded_last(host):
    host.params["xdr"] = host.archive("xdr.tar.gz", ["xdr/build.sh", "xdr/install.sh"], version="1.1.0.6")
    host.run()
    assert host.loaded()[:3] == ["xdr", "kunlun_peermem", "kunlun"]
    built = [command for command in host.commands if command[-1].endswith("build.sh")]
    assert [command[0] for command in built] == [f"KERNELDIR={host.root}/usr/src/linux-headers-{KERNEL}"]
    assert not host.run()["changed"]


def test_an_archive_that_is_another(host):
    host.params["xdr"] = host.archive("xdr.tar.gz", ["readme"], version="1.1.0.6")
    with pytest.raises(UnfitError, match=r"XDR: .* has no such file"):
        host.run()


def test_packages_are_installed_by_the_version_of_their_name(host):
    names = ["libxpu-container1_1.0.5-1_amd64.deb", "xpu-container-toolkit_1.0.13-1_amd64.deb"]
    host.params["toolkit"] = [host.file(name, b"deb") for name in names]
    assert host.run()["needed"] == [str(host.sent / name) for name in ["xre.run", *names]]
    assert ["dpkg", "--install", *(str(host.sent / name) for name in names)] in host.commands
    assert not host.run()["changed"]
    assert host.refused(toolkit=[host.file("toolkit.deb", b"deb")])[:2] == ("container toolkit", "toolkit.deb")


def test_firmware_is_never_flashed_unasked(host):
    host.params["firmware"] = host.archive("firmware.tar.gz", ["auto_update.sh"], versions={"SBL": "1.60"})
    host.run()
    host.commands.clear()
    result = host.run()
    assert (result["changed"], result["power_cycle"], host.commands) == (False, False, [])
    (note,) = host.warnings
    assert "SBL 1.54 at 0000:52:00.0 0000:55:00.0; expected SBL 1.60; set driver_firmware_update: true" in note


def test_firmware_that_is_asked_for_is_flashed_once_and_the_power_cycle_is_the_operators(host):
    host.run()
    host.params["firmware"] = host.archive("firmware.tar.gz", ["fw/auto_update.sh"], versions={"SBL": "1.60"})
    hold(host, "/dev/xpu0")
    assert host.refused(firmware_update=True)[0] == "devices in use"
    shutil.rmtree(host.root / "proc/4711")
    host.commands.clear()
    predicted, made = host.run(check=True), host.run()
    assert predicted == made
    assert made["changed"]
    assert made["power_cycle"]
    assert [command[0] for command in host.commands] == ["bash"]
    again = host.run()
    assert (again["changed"], again["power_cycle"]) == (False, True)
    assert "cut the host's power" in host.warnings[0]
    host.firmware = {"SBL": "1.60"}
    host.tell()
    assert (host.run()["power_cycle"], host.warnings) == (False, [])


# taken away -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_uninstaller", [False, True])
@pytest.mark.parametrize("number", [VC, VD])
def test_the_host_is_put_back(host, number, with_uninstaller):
    before = host.files()
    host.numbers, host.with_uninstaller = dict.fromkeys(ADDRESSES, number), with_uninstaller
    host.params["xdr"] = host.archive("xdr.tar.gz", ["xdr/build.sh", "xdr/install.sh"], version="1.1.0.6")
    host.params["toolkit"] = [host.file("xpu-container-toolkit_1.0.13-1_amd64.deb", b"deb")]
    host.run()
    installed = host.files()
    hold(host, "/dev/xpu0")
    assert host.refused(state="absent")[0] == "devices in use"
    shutil.rmtree(host.root / "proc/4711")
    predicted = host.run(check=True)
    assert host.files() == installed
    host.commands.clear()
    assert host.run()["actions"] == predicted["actions"]
    assert host.loaded() == ["ib_core"]
    assert any(command[-1].endswith("/bin/uninstall_rt.sh") for command in host.commands) == with_uninstaller
    assert ["dpkg", "--purge", "xpu-container-toolkit"] in host.commands
    left = {path: content for path, content in host.files().items() if path not in before}
    assert set(left) <= {
        str(host.root / path) for path in ("var", "var/lib", "var/lib/state", "var/lib/state/receipts", "run", "run/flagos-kunlunxin")
    }
    assert {path: content for path, content in host.files().items() if path in before} == before
    assert not host.run()["changed"]


def test_an_upgrade_is_put_back_as_well(host):
    before = host.files()
    host.brings = OLDER
    host.run(version=OLDER)
    host.brings = VERSION
    host.run(version=VERSION)
    host.run(state="absent")
    assert {path: content for path, content in host.files().items() if path in before} == before
    assert not (host.root / f"usr/local/xpu-{OLDER}").exists()


def test_a_driver_that_was_there_before_ours_is_told_to_be_gone(host):
    host.brings = OLDER
    host._bash(["bash", "by hand"])
    host._modprobe(["modprobe", "kunlun"])
    host.brings = VERSION
    host.run()
    host.run(state="absent")
    assert host.warnings == ["driver 5.0.21.21, which was here before, is not brought back: install it again"]


def test_what_others_put_into_a_folder_that_was_brought_stays(host):
    host.run()
    host.captured.files({f"/usr/local/xpu-{VERSION}/notes.txt": "mine"})
    host.run(state="absent")
    assert (host.root / f"usr/local/xpu-{VERSION}/notes.txt").read_text() == "mine"
    assert not (host.root / f"usr/local/xpu-{VERSION}/bin").exists()


def test_files_that_were_sent_are_removed_once_they_are_not_needed(host):
    host.params["remove_files"] = True
    assert host.run()["changed"]
    assert not os.path.exists(host.params["xre"]["file"])
    host.file("xre.run", b"#!/bin/bash\n")  # as a run that was killed leaves it
    assert host.run(check=True)["actions"] == [f"remove {host.params['xre']['file']}"]
    assert host.run()["changed"]
    assert not host.run()["changed"]


# as a host runs it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("version", "latest", "version: 'latest'; expected numbers and dots such as 5.0.21.26; mend it"),
        ("xre", {"file": "/x.run", "sha256": "abc"}, "sha256 of /x.run: 'abc'; expected 64 hexadecimal digits; mend it"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_in_one_line(run_module, tmp_path, option, value, line):
    params = {"version": VERSION, "xre": {"file": "/x.run", "sha256": "0" * 64}, "state_dir": str(tmp_path), option: value}
    answer = run_module("xpu_driver", params, check=True)
    assert answer["failed"] is True
    assert answer["msg"].split(": ", 1)[1] == line
    assert answer["finding"]["text"] == answer["msg"]


def test_files_of_one_name_cannot_go_to_one_folder(run_module, tmp_path):
    file = {"file": "/a/x.run", "sha256": "0" * 64}
    params = {"version": VERSION, "xre": file, "firmware": {**file, "file": "/b/x.run", "versions": {}}, "state_dir": str(tmp_path)}
    answer = run_module("xpu_driver", {**params, "folder": str(tmp_path)}, check=True)
    assert "files: x.run, x.run; expected another name for each" in answer["msg"]


def test_nothing_is_taken_away_where_nothing_was_brought(run_module, tmp_path):
    answer = run_module("xpu_driver", {"state": "absent", "state_dir": str(tmp_path / "state")}, check=True)
    assert (answer["changed"], answer["actions"], answer["part_number"]) == (False, [], None)


def test_the_text_that_was_kept_comes_back(host):
    """Options of the host's owner, where a driver without a file of its own was installed by hand."""
    host._bash(["bash", "by hand"])
    (host.root / CONF).write_text("options kunlun mine=1\n")
    host.numbers = dict.fromkeys(ADDRESSES, VD)
    host.run()
    assert "mine" not in _changes.read_text(str(host.root / CONF))
    host.run(state="absent")
    assert (host.root / CONF).read_text() == "options kunlun mine=1\n"
