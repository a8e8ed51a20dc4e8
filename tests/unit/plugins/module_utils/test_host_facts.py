"""The facts of a host, read from a captured tree."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree

CONTAINER = "4f" * 32
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 00000000:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
"""


@pytest.fixture
def tree(tmp_path):
    """Makes a captured tree of the given texts; a value that is a tuple is a symbolic link's target."""

    def make(files):
        for path, content in files.items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, tuple):
                place.symlink_to(content[0])
            else:
                place.write_text(content)
        return HostTree(str(tmp_path))

    return make


class Engine:
    """An engine that answers what it is given; a missing answer is no answer."""

    def __init__(self, **answers):
        self.answers = answers

    def __getattr__(self, name):
        def answer(*unused):
            if name not in self.answers:
                raise EngineError("no answer")
            return self.answers[name]

        return answer


def test_a_port_is_named_by_its_process_unit_and_container(tree):
    host = tree(
        {
            "/proc/net/tcp": TCP,
            "/proc/12/fd/3": ("socket:[4711]",),
            "/proc/12/comm": "python3\n",
            "/proc/12/cgroup": f"0::/system.slice/docker-{CONTAINER}.scope\n",
            "/proc/77/fd/3": ("socket:[4712]",),
            "/proc/77/fd/4": ("/dev/null",),
            "/proc/77/comm": "nginx\n",
            "/proc/77/cgroup": "0::/system.slice/nginx.service\n",
            "/proc/78/fd/3": ("socket:[4712]",),
            "/proc/78/comm": "nginx worker\n",
        }
    )
    found = {one["port"]: one for one in facts.listeners(host, {CONTAINER: {"name": "serve", "labels": {"a": "b"}}})}
    assert found[8000]["process"] == "python3"
    assert found[8000]["container"] == {"name": "serve", "labels": {"a": "b"}}
    assert (found[80]["pid"], found[80]["process"], found[80]["unit"], found[80]["container"]) == (77, "nginx", "nginx.service", None)
    assert (found[81]["pid"], found[81]["process"]) == (None, None)


def test_interfaces_with_their_addresses(tree):
    host = tree(
        {
            "/sys/class/net/eth0/mtu": "9000\n",
            "/sys/class/net/eth0/operstate": "up\n",
            "/sys/class/net/eth0/address": "02:42:0a:5b:00:0b\n",
            "/sys/class/net/bonding_masters": "\n",
            "/.commands/ip -o address show": "2: eth0    inet 10.0.0.1/24 scope global eth0\n",
        }
    )
    assert facts.interfaces(host) == {"eth0": {"state": "up", "mtu": 9000, "mac": "02:42:0a:5b:00:0b", "addresses": ["10.0.0.1/24"]}}


def test_devices_are_told_from_files_and_from_nothing(tree):
    host = tree({"/dev/xpu0": "a plain file"})
    found = facts.devices(host, ["/dev/xpu0", "/dev/xpu1"])
    assert found["/dev/xpu0"]["kind"] == "other"
    assert found["/dev/xpu1"] is None
    assert facts.devices(HostTree(), ["/dev/null"])["/dev/null"] == {"kind": "char", "major": 1, "minor": 3, "mode": "0666"}


def test_an_engine_that_answers(tree):
    engine = Engine(
        version="20.10.24",
        information={
            "DockerRootDir": "/data/docker",
            "Runtimes": {
                "runc": {"path": "runc"},
                "xpu": {"path": "/usr/bin/x"},
                "old": {"path": "/opt/gone"},
                "shim": {"runtimeType": "a"},
            },
            "DefaultRuntime": "old",
        },
        get=[{"Id": "sha256:b"}, {"Id": "sha256:a"}],
        containers={"x": {}},
    )
    found, containers = facts.engine(tree({"/usr/bin/x": ""}), engine)
    assert found == {
        "installed": True,
        "version": "20.10.24",
        "data_root": "/data/docker",
        "images": ["sha256:a", "sha256:b"],
        "runtimes": {
            "xpu": {"path": "/usr/bin/x", "there": True, "default": False},
            "old": {"path": "/opt/gone", "there": False, "default": True},
        },
        "error": None,
    }
    assert containers == {"x": {}}


def test_an_engine_that_does_not_answer_says_why(tree):
    found, containers = facts.engine(tree({"/usr/bin/dockerd": ""}), Engine())
    assert (found["installed"], found["version"], found["error"], containers) == (True, None, "no answer", {})


def test_a_host_without_engine(tree):
    assert facts.engine(tree({}))[0]["installed"] is False


def test_disk_of_a_path_that_does_not_exist_yet(tree):
    host = tree(
        {
            "/data/here/model/a": "12345",
            "/data/here/model/sub/b": "123",
            "/proc/self/mounts": "/dev/a / ext4 rw 0 0\n/dev/b /data ext4 rw 0 0\n",
        }
    )
    found = facts.filesystems(host, ["/data/here/model", "/data/later/model", "/other"], counted=["/data/here/model", "/data/later/model"])
    assert found["/data/here/model"]["holds_bytes"] == 8
    assert found["/data/later/model"]["holds_bytes"] == 0
    assert found["/other"]["holds_bytes"] is None
    assert [one["mount"] for one in found.values()] == ["/data", "/data", "/"]
    assert found["/other"]["available_bytes"] > 0


def test_revisions_beside_a_link_are_counted_by_name(tree):
    host = tree(
        {
            "/data/m.revisions/aaaa/a": "12345",
            "/data/m.revisions/bbbb/a": "123",
            "/data/m": ("m.revisions/bbbb",),
            "/data/new.revisions/cccc/a": "1",
            "/data/own/a": "12",
            "/data/own.revisions/dddd/a": "1",
            "/proc/self/mounts": "/dev/a / ext4 rw 0 0\n",
        }
    )
    paths = ["/data/m", "/data/new", "/data/own"]
    found = [facts.filesystems(host, paths, counted=paths)[path] for path in paths]
    assert [one["holds_bytes"] for one in found] == [3, 0, 2]
    assert [one["revisions"] for one in found] == [{"aaaa": 5, "bbbb": 3}, {"cccc": 1}, None]
    assert [one["served_revision"] for one in found] == ["bbbb", "", ""]


def test_what_is_hidden_is_not_counted_and_a_link_is_what_it_points_to(tmp_path):
    blobs, clone = tmp_path / "blobs", tmp_path / "clone"
    (clone / ".git" / "lfs").mkdir(parents=True)
    blobs.mkdir()
    (blobs / "x").write_bytes(b"1" * 1000)
    (clone / ".git" / "lfs" / "x").write_bytes(b"1" * 1000)
    (clone / ".gitattributes").write_bytes(b"123")
    (clone / "model.safetensors").symlink_to(blobs / "x")
    (clone / "config.json").write_bytes(b"{}")
    (clone / "gone").symlink_to(blobs / "y")
    assert facts.bytes_below(str(clone)) == 1002
    assert facts.bytes_below(str(blobs / "x")) == 1000
    assert facts.bytes_below(str(blobs / "y")) == 0


def test_system_reads_the_tree(tree):
    host = tree(
        {
            "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\n',
            "/proc/sys/kernel/hostname": "p800-1\n",
            "/proc/sys/kernel/osrelease": "6.8.0-87-generic\n",
            "/proc/1/comm": "systemd\n",
        }
    )
    found = facts.system(host)
    assert (found["hostname"], found["kernel"], found["init"]) == ("p800-1", "6.8.0-87-generic", "systemd")
    assert (found["os"]["id"], found["os"]["version_id"]) == ("ubuntu", "24.04")


def test_names_resolve_or_do_not():
    assert facts.resolved(["localhost", "no.such.host.invalid"]) == {"localhost": "127.0.0.1", "no.such.host.invalid": None}


def test_no_shared_memory_is_zero_bytes(tree):
    assert facts.shm(tree({"/proc/self/mounts": "/dev/a / ext4 rw 0 0\n"})) == {"size_bytes": 0, "available_bytes": 0}


def test_names_are_resolved_together_and_stay_in_order(monkeypatch):
    together = threading.Barrier(3)

    def getaddrinfo(name, *unused):
        together.wait(timeout=10)
        if name == "b":
            raise OSError("no nameserver answers")
        return [(None, None, None, None, ("10.0.0.1", 0))]

    monkeypatch.setattr(facts.socket, "getaddrinfo", getaddrinfo)
    assert list(facts.resolved(["c", "b", "a"]).items()) == [("c", "10.0.0.1"), ("b", None), ("a", "10.0.0.1")]
