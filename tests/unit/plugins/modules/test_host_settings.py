"""The module host_settings on a made-up host: check mode, the real run and the second run tell one story."""

from __future__ import annotations

import os
import shutil

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _changes
from ansible_collections.flagos.kunlunxin.plugins.modules import host_settings

GIB = 1024**3
PARAMS = {
    "shm_size": "1g",
    "limits": {"memlock": "infinity", "nofile": 1048576},
    "kernel_parameters": {"net.core.somaxconn": 4096},
    "names": {"node1": "10.0.0.1"},
    "own_name": "node1",
    "cluster": "lab",
    "time_service": False,
    "packages": [],
}


NOTHING = {"shm_size": None, "limits": {}, "kernel_parameters": {}, "names": None, "state_dir": None}


class Host:
    """A host whose files lie below a folder, and the module that runs on it."""

    def __init__(self, folder, monkeypatch, check_mode=False):
        self.check_mode = check_mode
        self.tmpdir = str(folder)
        self.folder = folder
        self.commands = []
        self.shm_bytes = 64 * 1024**2
        self.active, self.units = set(), set()
        self.params = dict(PARAMS, state_dir=str(folder / "state"))
        files = {
            "fstab": "",
            "hosts": "127.0.0.1 localhost\n",
            "proc/meminfo": "MemTotal: 16777216 kB\n",
            "proc/mounts": "tmpfs /dev/shm tmpfs rw 0 0\n",
        }
        files["proc/1/limits"] = "Max locked memory  8388608  8388608  bytes\nMax open files  1024  20000  files\n"
        files["proc/1/status"] = "CapBnd:\t000001fffeffffff\n"
        files["proc/sys/net/core/somaxconn"] = "128\n"
        files["proc/sys/fs/nr_open"] = "1048576\n"
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for name in ("FSTAB", "HOSTS", "LIMITS_CONF", "SYSTEMD_CONF", "SYSCTL_CONF"):
            monkeypatch.setattr(host_settings, name, str(folder / getattr(host_settings, name).rsplit("/", 1)[1]))
        monkeypatch.setattr(host_settings, "SYSTEMD_CONF", str(folder / "systemd.conf"))
        monkeypatch.setattr(host_settings, "LIMITS_CONF", str(folder / "limits.conf"))
        monkeypatch.setattr(host_settings, "PENDING", str(folder / "pending"))
        monkeypatch.setattr(host_settings, "read_text", self._read)
        monkeypatch.setattr(host_settings, "_shm_live_size", lambda: self.shm_bytes)
        monkeypatch.setattr(host_settings.settings, "parameter_path", lambda name: str(folder / "proc/sys" / name.replace(".", "/")))

    def _read(self, path):
        if path == "/proc/self/mounts":
            path = "/proc/mounts"
        return _changes.read_text(str(self.folder / path.lstrip("/")) if path.startswith("/proc/") else path)

    def run_command(self, argv, check_rc=False):
        self.commands.append(argv)
        if argv[0] == "mount":
            self.shm_bytes = int(" ".join(argv).partition("size=")[2].split()[0])
        if argv[:2] == ["systemctl", "is-active"]:
            return 0, "\n".join("active" if unit in self.active else "inactive" for unit in argv[2:]), ""
        if argv[:2] == ["systemctl", "cat"]:
            return (0 if argv[2] in self.units else 1), "", ""
        if argv[:3] == ["systemctl", "enable", "--now"]:
            self.active.add(argv[3])
        return 0, "", ""

    def atomic_move(self, source, target, unsafe_writes):
        shutil.move(source, target)

    def run(self, **params):
        self.params.update(params)
        files = host_settings.most_files(self.params["kernel_parameters"])
        limits = host_settings.attainable_limits(self.params["limits"], files)
        return _changes.settle(self, host_settings.all_changes(self, limits))

    def contents(self):
        return {str(path): path.read_text() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def test_the_module_declares_what_these_tests_prove():
    attributes = yaml.safe_load(host_settings.DOCUMENTATION)["attributes"]
    assert {name: attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")} == {
        "check_mode": "full",
        "diff_mode": "full",
        "idempotent": "full",
    }


def test_check_mode_predicts_the_run_and_changes_nothing(host):
    before = host.contents()
    host.check_mode = True
    predicted = host.run()
    assert host.contents() == before
    assert host.commands == []
    host.check_mode = False
    assert host.run() == predicted
    assert predicted["changed"]


def test_a_second_run_changes_nothing(host):
    host.run()
    assert host.run() == {"changed": False, "actions": [], "diff": []}


def test_the_diff_shows_the_files_that_are_then_there(host):
    result = host.run()
    shown = {entry["after_header"]: entry["after"] for entry in result["diff"]}
    assert shown[host_settings.FSTAB] == _changes.read_text(host_settings.FSTAB)
    assert "10.0.0.1\tnode1" in shown[host_settings.HOSTS]
    assert shown["/dev/shm"] == "1 GiB\n"


@pytest.mark.parametrize(
    "damage", ["fstab", "hosts", "limits.conf", "systemd.conf", "90-flagos-kunlunxin.conf", "proc/sys/net/core/somaxconn"]
)
def test_each_damage_is_repaired(host, damage):
    host.run()
    sound = host.contents()
    (host.folder / damage).write_text("127.0.0.1 localhost\n" if damage == "hosts" else "")
    assert host.run()["changed"]
    assert {path: text.strip() for path, text in host.contents().items()} == {path: text.strip() for path, text in sound.items()}


def test_a_run_killed_before_systemd_read_its_limits_is_made_good_by_the_next(host):
    def die(argv, check_rc=False):
        if argv == ["systemctl", "daemon-reexec"]:
            raise KeyboardInterrupt
        return whole(argv, check_rc)

    whole, host.run_command = host.run_command, die
    with pytest.raises(KeyboardInterrupt):
        host.run(names=None)
    host.run_command, host.check_mode = whole, True
    assert host.run()["actions"] == ["systemctl daemon-reexec"]
    host.check_mode = False
    assert host.run()["actions"] == ["systemctl daemon-reexec"]
    assert host.commands[-1] == ["systemctl", "daemon-reexec"]
    assert host.run()["actions"] == []


def test_limits_stop_where_the_host_would_refuse_logins(host):
    host.run()
    assert "* - memlock 8192\n" in _changes.read_text(host_settings.LIMITS_CONF)
    (host.folder / "proc/1/status").write_text("CapBnd:\t000001ffffffffff\n")
    host.run()
    assert "* - memlock unlimited\n" in _changes.read_text(host_settings.LIMITS_CONF)


def test_open_files_stop_at_what_the_kernel_has_or_is_about_to_have(host):
    (host.folder / "proc/1/status").write_text("CapBnd:\t000001ffffffffff\n")
    host.run(limits={"nofile": "infinity"})
    assert "* - nofile 1048576\n" in _changes.read_text(host_settings.LIMITS_CONF)
    host.run(limits={"nofile": 4194304}, kernel_parameters={"fs.nr_open": 2097152})
    assert "* - nofile 2097152\n" in _changes.read_text(host_settings.LIMITS_CONF)
    assert host.run()["actions"] == []


@pytest.mark.parametrize("line", ["tmpfs /dev/shm tmpfs defaults 0 0\n", "tmpfs /dev/shm tmpfs size=75% 0 0\n"])
def test_an_entry_that_gives_a_sufficient_share_of_memory_stays(host, line):
    host.shm_bytes = 8 * GIB
    (host.folder / "fstab").write_text(line)
    host.run()
    assert _changes.read_text(host_settings.FSTAB) == line
    assert all(argv[0] != "mount" for argv in host.commands)


def test_a_large_default_of_shared_memory_is_left_alone(host):
    host.shm_bytes = 8 * GIB
    host.run()
    assert _changes.read_text(host_settings.FSTAB) == ""
    assert all(argv[0] != "mount" for argv in host.commands)


def test_shared_memory_that_is_not_mounted_is_mounted(host):
    (host.folder / "proc/mounts").write_text("")
    host.run(limits={}, kernel_parameters={}, names=None, state_dir=None)
    assert host.commands == [["mount", "-t", "tmpfs", "-o", f"rw,nosuid,nodev,size={GIB}", "tmpfs", "/dev/shm"]]


def test_what_is_left_out_is_not_looked_at(host):
    assert host.run(**NOTHING)["actions"] == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"shm_size": "lots"}, "shm_size: not a size"),
        ({"limits": {"cpu": 1}}, "limits: unknown cpu; expected of memlock, nofile"),
        ({"limits": {"nofile": "many"}}, "limits: not a size"),
        ({"kernel_parameters": {"fs.nr_open": "many"}}, "kernel parameter fs.nr_open: many; expected a number"),
        ({"kernel_parameters": {"net.no.such": 1}}, "kernel parameter net.no.such: no "),
    ],
)
def test_what_cannot_be_had_is_one_line_and_nothing_is_changed(host, params, words):
    before = host.contents()
    with pytest.raises(host_settings.UnfitError) as error:
        host.run(**params)
    assert words in str(error.value)
    assert str(error.value).startswith(os.uname().nodename + ": ")
    assert host.contents() == before


@pytest.mark.parametrize(
    ("active", "units", "actions"),
    [
        ({"chronyd"}, {"chronyd.service"}, []),
        ({"openntpd"}, {"openntpd.service"}, []),
        (set(), {"openntpd.service"}, ["systemctl enable --now openntpd"]),
        ({"ptp4l"}, {"ptp4l.service"}, []),
        ({"phc2sys@*"}, {"chrony.service"}, []),
        (set(), {"chrony.service", "ptp4l.service"}, ["systemctl enable --now chrony"]),
        (set(), {"chrony.service"}, ["systemctl enable --now chrony"]),
        (set(), set(), ["install systemd-timesyncd", "systemctl enable --now systemd-timesyncd"]),
    ],
)
def test_a_time_service_that_is_there_is_used(host, monkeypatch, active, units, actions):
    monkeypatch.setattr(host_settings, "can_install", lambda: True)
    monkeypatch.setattr(host_settings, "has_apt", lambda: True)
    host.active, host.units, host.check_mode = active, units, True
    assert host.run(**NOTHING, time_service=True)["actions"] == actions


def test_no_time_service_and_no_way_to_get_one(host, monkeypatch):
    monkeypatch.setattr(host_settings, "can_install", lambda: False)
    with pytest.raises(host_settings.UnfitError, match="time service: none; expected one of chrony"):
        host.run(time_service=True)


def test_a_distribution_without_apt_gets_chrony(host, monkeypatch):
    monkeypatch.setattr(host_settings, "can_install", lambda: True)
    monkeypatch.setattr(host_settings, "has_apt", lambda: False)
    host.check_mode = True
    assert host.run(**NOTHING, time_service=True)["actions"] == ["install chrony", "systemctl enable --now chronyd"]


def test_missing_packages_are_installed_once_and_check_mode_predicts_it(host, monkeypatch):
    there = {"tar"}

    def install_change(package):
        return _changes.Change(f"install {package}", "packages", "", package, lambda module: there.add(package))

    monkeypatch.setattr(host_settings, "can_install", lambda: True)
    monkeypatch.setattr(host_settings, "is_there", lambda module, package: package in there)
    monkeypatch.setattr(host_settings, "install_change", install_change)
    host.check_mode = True
    predicted = host.run(**NOTHING, packages=["tar", "rsync"])
    assert predicted["actions"] == ["install rsync"]
    assert there == {"tar"}
    host.check_mode = False
    assert host.run() == predicted
    assert host.run()["actions"] == []


def test_a_missing_package_and_no_way_to_get_it(host, monkeypatch):
    monkeypatch.setattr(host_settings, "can_install", lambda: False)
    monkeypatch.setattr(host_settings, "is_there", lambda module, package: False)
    with pytest.raises(host_settings.UnfitError, match="packages: no rsync; expected installed; install rsync; this host has no apt-get"):
        host.run(packages=["rsync"])


def absent(host):
    return _changes.settle(host, host_settings.absent_changes(host.params["state_dir"], "lab"))


def as_before(host, before):
    found = {path: text.strip() for path, text in host.contents().items() if not path.endswith("pending")}
    return found == {path: text.strip() for path, text in before.items()}


def test_absent_brings_back_what_was_before_the_first_change(host):
    (host.folder / "fstab").write_text("tmpfs /dev/shm tmpfs rw,size=64m 0 0\n/dev/sda1 / ext4 rw 0 1\n")
    (host.folder / "hosts").write_text("127.0.0.1 localhost\n127.0.1.1 node1\n")
    before = host.contents()
    host.run()
    host.run(shm_size="2g", kernel_parameters={"net.core.somaxconn": 8192}, names={"node1": "10.0.0.1", "node2": "10.0.0.2"})
    host.check_mode = True
    predicted = absent(host)
    host.check_mode = False
    assert absent(host) == predicted
    assert as_before(host, before)
    assert host.shm_bytes == 64 * 1024**2
    assert host.commands[-1] == ["systemctl", "daemon-reexec"]
    assert absent(host)["actions"] == []


def test_absent_takes_only_what_is_ours_from_files_that_others_changed(host):
    (host.folder / "fstab").write_text("tmpfs /dev/shm tmpfs rw,size=64m 0 0\n")
    host.run()
    for name in ("fstab", "hosts"):
        with (host.folder / name).open("a") as stream:
            stream.write("10.0.0.9 another thing 0 0\n")
    absent(host)
    assert (host.folder / "fstab").read_text() == "tmpfs /dev/shm tmpfs rw,size=64m 0 0\n10.0.0.9 another thing 0 0\n"
    assert (host.folder / "hosts").read_text() == "127.0.0.1 localhost\n10.0.0.9 another thing 0 0\n"


def test_absent_of_a_host_that_was_prepared_before_anything_was_noted(host):
    host.run()
    (host.folder / "state" / "host" / "originals.json").unlink()
    absent(host)
    assert (host.folder / "hosts").read_text() == "127.0.0.1 localhost\n"
    assert not (host.folder / "limits.conf").exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_record_that_cannot_be_read_is_named(host, text):
    host.run()
    (host.folder / "state" / "host" / "originals.json").write_text(text)
    with pytest.raises(host_settings.UnfitError, match=r"originals.json: .*; expected its JSON"):
        absent(host)
