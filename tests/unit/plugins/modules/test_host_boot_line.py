"""The module host_boot_line on made-up hosts with GRUB and with grubby: check mode, the real run and the second run tell one story."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _changes
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError
from ansible_collections.flagos.kunlunxin.plugins.modules import host_boot_line

WANTED = ["iommu=pt", "nokaslr"]
RUNNING = ["root=/dev/sda1", "ro"]


class Host:
    """What both kinds of host have: the module that runs on it."""

    def __init__(self, folder):
        self.folder, self.tmpdir, self.check_mode = folder, str(folder), False
        self.commands = []
        self.params = {"parameters": WANTED, "state_dir": str(folder / "state")}

    def atomic_move(self, source, target, unsafe_writes):
        shutil.move(source, target)

    def settle(self, make, running, **params):
        self.params.update(params)
        changes, restart_for = make(self, list(running))
        return _changes.settle(self, changes), restart_for

    def present(self, *parameters, running=RUNNING):
        return self.settle(host_boot_line.present, running, parameters=list(parameters))

    def absent(self, running=RUNNING):
        return self.settle(host_boot_line.absent, running)

    def refused(self, *parameters):
        before = self.contents()
        with pytest.raises(UnfitError) as refusal:
            self.present(*parameters)
        assert self.contents() == before, "a refusal changes nothing"
        return str(refusal.value).partition(": ")[2]

    def contents(self):
        return {str(path): path.read_text() if path.is_file() else "" for path in sorted(self.folder.rglob("*"))}


class GrubHost(Host):
    """Debian: update-grub has a shell read the settings, as grub-mkconfig does."""

    def __init__(self, folder, monkeypatch, owners="a=1", folder_is_there=False):
        super().__init__(folder)
        self.defaults, self.parts, self.configuration = folder / "grub", folder / "grub.d", folder / "grub.cfg"
        self.defaults.write_text(f'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="{owners}"\n')
        if folder_is_there:
            self.parts.mkdir()
        for name, path in (("GRUB_DEFAULTS", self.defaults), ("GRUB_FOLDER", self.parts), ("GRUB_CONFIGURATION", self.configuration)):
            monkeypatch.setattr(host_boot_line, name, str(path))
        self.killed = False
        self.update_grub()

    def get_bin_path(self, name, opt_dirs):
        return "/usr/sbin/update-grub" if name == "update-grub" else None

    def run_command(self, argv, check_rc):
        assert argv == ["/usr/sbin/update-grub"]
        if self.killed:
            raise KeyboardInterrupt
        self.commands.append(argv)
        self.update_grub()
        return 0, "", ""

    def update_grub(self):
        script = '. "$0"; for p in "$1"/*.cfg; do [ -e "$p" ] && . "$p"; done; echo "$GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"'
        ended = subprocess.run(["sh", "-c", script, self.defaults, self.parts], capture_output=True, text=True, check=True)
        self.configuration.write_text(f"linux /boot/vmlinuz-1 root=/dev/sda1 ro {ended.stdout}")
        os.utime(self.configuration)

    @property
    def line(self):
        return self.configuration.read_text().split()[4:]


class GrubbyHost(Host):
    """The family of Red Hat: grubby on two kernels."""

    def __init__(self, folder, **kernels):
        super().__init__(folder)
        self.kernels = kernels or {"one": ["ro"], "two": ["ro"]}

    def get_bin_path(self, name, opt_dirs):
        return "/sbin/grubby" if name == "grubby" else None

    def run_command(self, argv, check_rc):
        if argv[1:] == ["--info=ALL"]:
            return 0, "".join(f'kernel="{name}"\nargs="{" ".join(words)}"\n' for name, words in self.kernels.items()), ""
        self.commands.append(" ".join(argv[1:]))
        options = dict(word[2:].split("=", 1) for word in argv[1:])
        for name in self.kernels if options["update-kernel"] == "ALL" else [options["update-kernel"]]:
            removed, added = options.get("remove-args", "").split(), options.get("args", "").split()
            kept = [word for word in self.kernels[name] if word not in removed]
            self.kernels[name] = kept + [word for word in added if word not in kept]
        return 0, "", ""

    def contents(self):
        return {**super().contents(), "kernels": str(self.kernels)}


@pytest.fixture(params=["grub", "grub with its folder", "grubby"])
def host(request, tmp_path, monkeypatch):
    if request.param == "grubby":
        return GrubbyHost(tmp_path)
    return GrubHost(tmp_path, monkeypatch, folder_is_there="folder" in request.param)


def test_the_module_declares_what_these_tests_prove():
    attributes = yaml.safe_load(host_boot_line.DOCUMENTATION)["attributes"]
    assert {name: attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")} == dict.fromkeys(
        ("check_mode", "diff_mode", "idempotent"), "full"
    )


def test_check_mode_the_run_and_the_second_run(host):
    before = host.contents()
    host.check_mode = True
    predicted, restart_for = host.present(*WANTED)
    assert host.contents() == before and restart_for == WANTED
    host.check_mode = False
    made, restart_for = host.present(*WANTED)
    assert made == predicted and made["changed"] and restart_for == WANTED
    after = host.contents()
    again, restart_for = host.present(*WANTED, running=[*RUNNING, *WANTED])
    assert (again, restart_for) == ({"changed": False, "actions": [], "diff": []}, [])
    assert host.contents() == after


def test_the_way_back_leaves_what_was_there(host):
    before = host.contents()
    host.present(*WANTED)
    host.check_mode = True
    predicted, _restart_for = host.absent()
    host.check_mode = False
    made, restart_for = host.absent(running=[*RUNNING, *WANTED])
    assert made == predicted and made["changed"] and restart_for == WANTED
    shutil.rmtree(host.folder / "state")
    assert host.contents() == before
    assert host.absent(running=[*RUNNING, *WANTED]) == ({"changed": False, "actions": [], "diff": []}, [])


def test_the_way_back_before_the_restart_needs_none(host):
    host.present(*WANTED)
    assert host.absent()[1] == []


def test_what_is_not_asked_for_any_more_goes(host):
    before = host.contents()
    host.present(*WANTED)
    made, _restart_for = host.present("iommu=pt")
    assert made["changed"]
    assert not host.present("iommu=pt")[0]["changed"]
    assert "nokaslr" not in str(host.contents())
    host.absent()
    shutil.rmtree(host.folder / "state")
    assert host.contents() == before


def test_bad_parameters_are_refused(host):
    assert host.refused("iommu pt").startswith("boot parameters: 'iommu pt'; expected a name, or a name and a value")
    assert (
        host.refused("iommu=pt", "iommu=soft")
        == "boot parameters: iommu=pt and iommu=soft; expected one of them; mend host_boot_parameters"
    )


# GRUB


def test_grubs_lines_have_the_parameters(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch)
    made, _restart_for = host.present(*WANTED)
    assert host.line == ["a=1", "iommu=pt", "nokaslr", "quiet"]
    assert made["actions"][1:] == [f"write {host.parts}/90-flagos-kunlunxin.cfg", "update-grub"]


@pytest.mark.parametrize(
    ("owners", "line"),
    [("iommu=soft", "iommu=soft"), ("iommu=pt iommu.passthrough=0", "iommu.passthrough=0"), ("iommu=nopt", "iommu=nopt")],
)
def test_what_the_owner_says_otherwise_is_refused(tmp_path, monkeypatch, owners, line):
    host = GrubHost(tmp_path, monkeypatch, owners=owners)
    said = host.refused("iommu=pt")
    assert said.startswith(f"boot line: GRUB_CMDLINE_LINUX in {host.defaults} has {line}; expected iommu=pt; take out"), said


def test_the_file_that_says_otherwise_is_named(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch, folder_is_there=True)
    (host.parts / "50-cloud.cfg").write_text('GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT iommu=soft"\n')
    assert f"GRUB_CMDLINE_LINUX_DEFAULT in {host.parts}/50-cloud.cfg has iommu=soft" in host.refused("iommu=pt")


def test_what_only_a_shell_could_tell_is_refused(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch, owners="$(echo x)")
    assert 'has GRUB_CMDLINE_LINUX="$(echo x)"; expected words between quotes' in host.refused("iommu=pt")


def test_what_the_owner_has_is_left_to_him(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch, owners="iommu=pt")
    before = host.contents()
    assert not host.present("iommu=pt")[0]["changed"]
    assert not host.absent()[0]["changed"]
    assert host.contents() == before


def test_a_run_that_was_killed_is_made_good(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch)
    host.present("iommu=pt", "nokaslr")
    for killed in (lambda: host.present("iommu=pt"), host.absent):
        os.utime(host.configuration, (0, 0))
        host.killed = True
        with pytest.raises(KeyboardInterrupt):
            killed()
        host.killed = False
        assert "nokaslr" in host.line
        assert killed()[0]["changed"]
        assert "nokaslr" not in host.line
        host.present("iommu=pt", "nokaslr")


def test_a_configuration_that_lost_them_is_made_anew(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch)
    host.present("iommu=pt")
    host.configuration.write_text("linux /boot/vmlinuz-1 root=/dev/sda1 ro quiet\n")
    assert host.present("iommu=pt")[0]["actions"] == ["update-grub"]


def test_a_file_that_overrules_ours_is_found_out(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch, folder_is_there=True)
    (host.parts / "99-last.cfg").write_text('GRUB_CMDLINE_LINUX="a=1"\n')
    with pytest.raises(UnfitError, match="is without iommu=pt; expected all that was asked for"):
        host.present("iommu=pt")


def test_a_host_that_grub_does_not_boot_is_refused(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch)
    host.configuration.unlink()
    assert "boots no kernel; expected entries that update-grub made" in host.refused("iommu=pt")


def test_another_folder_entry_keeps_the_folder(tmp_path, monkeypatch):
    host = GrubHost(tmp_path, monkeypatch)
    host.present("iommu=pt")
    (host.parts / "50-later.cfg").write_text("GRUB_TIMEOUT=1\n")
    host.absent()
    assert os.listdir(host.parts) == ["50-later.cfg"]


# grubby


def test_grubby_is_called_once_for_all_kernels(tmp_path):
    host = GrubbyHost(tmp_path)
    assert host.present(*WANTED)[0]["actions"][1:] == ["grubby --update-kernel=ALL --args=iommu=pt nokaslr"]
    host.absent()
    assert host.commands == ["--update-kernel=ALL --args=iommu=pt nokaslr", "--update-kernel=ALL --remove-args=iommu=pt nokaslr"]


def test_a_kernel_that_had_it_has_it_again(tmp_path):
    host = GrubbyHost(tmp_path, one=["ro"], two=["ro", "iommu=pt"])
    host.present("iommu=pt")
    assert host.absent(running=["ro", "iommu=pt"])[1] == [], "the owner's own, as far as the running line tells"
    assert host.kernels == {"one": ["ro"], "two": ["ro", "iommu=pt"]}


def test_a_way_back_that_was_killed_between_two_commands_is_made_good(tmp_path):
    host = GrubbyHost(tmp_path, one=["ro"], two=["ro", "iommu=pt"])
    host.present("iommu=pt")
    host.kernels = {"one": ["ro"], "two": ["ro"]}
    host.absent()
    assert host.kernels == {"one": ["ro"], "two": ["ro", "iommu=pt"]}


def test_an_argument_of_the_owner_is_refused(tmp_path):
    host = GrubbyHost(tmp_path, one=["ro"], two=["ro", "iommu=soft"])
    assert host.refused("iommu=pt").startswith("boot line: the arguments of two has iommu=soft; expected iommu=pt; take out")


def test_a_value_of_ours_can_be_replaced(tmp_path):
    host = GrubbyHost(tmp_path)
    host.present("iommu=soft")
    host.present("iommu=pt")
    assert host.kernels == {"one": ["ro", "iommu=pt"], "two": ["ro", "iommu=pt"]}


# neither


class OtherHost(Host):
    def get_bin_path(self, name, opt_dirs):
        return None


def test_another_boot_loader_is_refused_by_one_line(tmp_path):
    said = OtherHost(tmp_path).refused("iommu=pt")
    assert said == "boot line: neither update-grub nor grubby; expected one of them; add iommu=pt by hand on this host"


def test_where_nothing_was_added_nothing_is_taken_away(tmp_path):
    assert OtherHost(tmp_path).absent() == ({"changed": False, "actions": [], "diff": []}, [])
