"""What may stand in the way of a service on a host, read from captured trees; the engine is made up."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_health as health
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from hypothesis import given
from hypothesis import strategies as st

CONTAINER = "4f" * 32
LABEL = "io.flagos.kunlunxin.cluster"
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 20000                files
Max locked memory         8388608              unlimited            bytes
"""


@pytest.fixture
def tree(captured):
    """Makes a captured tree of the given texts."""

    def make(files):
        captured.files(files)
        return captured.tree

    return make


class Engine:
    """An engine with these containers (id to what is told) and documents (path to answer)."""

    def __init__(self, containers, documents):
        self._containers, self._documents = containers, documents

    def containers(self, running_only=True):
        assert not running_only
        return self._containers

    def get(self, path):
        if path not in self._documents:
            raise EngineError("no such object")
        return self._documents[path]


def test_limits_of_a_login_and_of_the_engine(tree):
    host = tree(
        {
            "/proc/self/limits": LIMITS,
            "/proc/40/comm": "dockerd\n",
            "/proc/40/limits": LIMITS.replace("unlimited", "8388608"),
            "/proc/40/status": "Name:\tdockerd\nCapBnd:\t000001ffffffffff\n",
            "/sys/fs/cgroup/system.slice/pids.max": "max\n",
            "/sys/fs/cgroup/docker/pids.max": "512\n",
        }
    )
    assert health.pid_of(host, "dockerd") == 40
    assert health.limits(host, 40) == {
        "login": {"nofile": 20000, "memlock": "infinity"},
        "engine": {"nofile": 20000, "memlock": 8388608},
        "engine_may_raise": True,
        "tasks": {"/sys/fs/cgroup/docker/pids.max": 512},
    }


def test_a_host_without_an_engine_has_no_limits_of_one(tree):
    host = tree({"/proc/1/comm": "systemd\n"})
    assert health.pid_of(host, "dockerd") is None
    assert health.limits(host, None) == {"login": {}, "engine": None, "engine_may_raise": None, "tasks": {}}


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("raylet", ["/opt/ray/raylet", "--x"], "raylet"),
        ("gcs_server", ["gcs_server"], "gcs_server"),
        ("VLLM::EngineCor", ["VLLM::EngineCore_0"], "EngineCore"),
        ("vllm", ["/usr/bin/python3", "/usr/bin/vllm", "serve", "/models/m", "--api-key", "secret"], "vllm serve"),
        ("python3", ["python3", "-m", "vllm", "serve"], "vllm serve"),
        ("grep", ["grep", "EngineCore"], None),
        ("vllm", ["vllm", "bench", "serve"], None),
        ("bash", [], None),
    ],
)
def test_what_belongs_to_an_engine(name, arguments, part):
    assert health.part_of_an_engine(name, arguments) == part


def test_processes_of_an_engine_are_named_by_place_and_tell_no_argument(tree):
    host = tree(
        {
            "/proc/7/comm": "vllm\n",
            "/proc/7/cmdline": "vllm\0serve\0--api-key\0canary\0",
            "/proc/7/cgroup": f"0::/docker/{CONTAINER}\n",
            "/proc/9/comm": "raylet\n",
            "/proc/9/cmdline": "raylet\0",
            "/proc/9/cgroup": "0::/user.slice/old.service\n",
            "/proc/11/comm": "raylet\n",  # a zombie
            "/proc/11/cmdline": "",
        }
    )
    found = health.engine_processes(host, {CONTAINER: {"name": "shop", "labels": {}}})
    assert [(one["pid"], one["part"], one["unit"], one["container"]) for one in found] == [
        (7, "vllm serve", None, {"name": "shop", "labels": {}}),
        (9, "raylet", "old.service", None),
    ]
    assert "canary" not in str(found)


def test_swap_areas(tree):
    assert health.swaps(tree({})) is None
    header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    text = header + "/swap.img                               file\t\t8388604\t\t1024\t\t-2\n/dev/my\\040disk partition 4 0 -3\nnonsense\n"
    assert health.swaps(tree({"/proc/swaps": text})) == [
        {"path": "/swap.img", "bytes": 8388604 * 1024, "used_bytes": 1024 * 1024},
        {"path": "/dev/my disk", "bytes": 4096, "used_bytes": 0},
    ]
    assert health.swaps(tree({"/proc/swaps": header})) == []


def test_versions_of_packages(captured):
    answer = "bash installed 5.2\nxpu-container-toolkit config-files 1.0.13-1\nlibxpu installed 1.0.5-1\n"
    captured.answer("dpkg-query -W -f=${Package} ${db:Status-Status} ${Version}\\n", answer)
    wanted = {"xpu-container-toolkit": "1", "libxpu": "1", "other": "1"}
    assert health.package_versions(captured.tree, wanted) == {"libxpu": "1.0.5-1", "other": None, "xpu-container-toolkit": None}


def test_without_dpkg_no_version_of_a_package_is_known(tree):
    assert health.package_versions(tree({}), {"libxpu": "1"}) is None
    assert health.package_versions(tree({}), {}) == {}


def test_segments_know_whether_their_creator_lives(tree):
    text = """\
       key      shmid perms       size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime        rss       swap
         0          3   666       4096    12    12      0  1001  1001  1001  1001          0          0          0          0          0
         0          4   666       8192    13    13      2     0     0     0     0          0          0          0          0          0
"""
    host = tree({"/proc/sysvipc/shm": text, "/proc/13/comm": "x"})
    assert health.shared_segments(host) == [
        {"id": 3, "bytes": 4096, "attached": 0, "owner": 1001, "creator_alive": False},
        {"id": 4, "bytes": 8192, "attached": 2, "owner": 0, "creator_alive": True},
    ]


def test_the_largest_files_of_shared_memory(tree):
    host = tree({f"/dev/shm/f{size}": "x" * size for size in (1, 5, 3, 2)})
    assert [(one["name"], one["bytes"]) for one in health.largest_shm_files(host)] == [("f5", 5), ("f3", 3), ("f2", 2)]


def test_proxies_by_place_without_passwords(tree):
    host = tree(
        {
            "/etc/environment": "# none\nPATH=/bin\nNO_PROXY='localhost,10.0.0.1'\nhttps_proxy=\n",
            "/proc/self/environ": "http_proxy=http://me:canary@p:3128/\0HOME=/root\0",
            "/proc/40/environ": "ALL_PROXY=socks5://p\0",
        }
    )
    assert health.proxies(host, 40) == {
        "/etc/environment": {"no_proxy": "localhost,10.0.0.1"},
        "login": {"http_proxy": "http://***@p:3128/"},
        "container engine": {"all_proxy": "socks5://p"},
    }


def test_the_first_filter_that_answers_is_told(tree):
    assert health.firewall(tree({})) is None
    nft = {"/.commands/nft list ruleset": "table inet f {\n chain in {\n  type filter hook input priority 0; policy drop;\n }\n}\n"}
    assert health.firewall(tree(nft)) == {"source": "nft list ruleset", "policy": "DROP", "drops": []}
    iptables = {"/.commands/iptables -S": "-P INPUT ACCEPT\n"}
    assert health.firewall(tree(iptables)) == {"source": "iptables -S", "policy": "ACCEPT", "drops": []}


def test_kernels_count_only_with_their_modules(tree):
    host = tree(
        {
            "/proc/sys/kernel/osrelease": "6.8.0-87-generic\n",
            "/proc/cmdline": "root=/dev/sda iommu=pt\n",
            "/lib/modules/6.8.0-87-generic/modules.dep": "",
            "/lib/modules/6.8.0-40-generic/extra/x.ko": "",
            "/sys/class/iommu/dmar0/x": "",
            "/sys/bus/pci/devices/0000:11:00.0/iommu_group/type": "identity\n",
            "/sys/bus/pci/devices/0000:11:00.0/class": "0x120000\n",
        }
    )
    assert health.kernel(host) == {
        "release": "6.8.0-87-generic",
        "installed": ["6.8.0-87-generic"],
        "command_line": "root=/dev/sda iommu=pt",
        "acs": [],
        "bridges_read": 0,
        "iommus": ["dmar0"],
        "groups": {"0000:11:00.0": "identity"},
    }


def test_only_labelled_containers_are_looked_into_and_only_for_what_is_asked(tree):
    ours = {"name": "serve", "labels": {LABEL: "lab"}, "running": True}
    other = {"name": "shop", "labels": {}, "running": False}
    document = {"Image": "sha256:a", "Config": {"Env": ["WANTED=1", "TOKEN=canary"]}}
    engine = Engine({"a": ours, "b": other}, {"/containers/a/json": document})
    found = health.containers(tree({}), LABEL, ["WANTED"], engine)
    assert found == [
        {**ours, "image": "sha256:a", "environment": {"WANTED": "1"}},
        {**other, "image": None, "environment": None},
    ]
    assert health.containers(tree({}), LABEL, [], Engine({"a": ours}, {})) == []  # it went meanwhile


def test_an_image_brings_its_proxies(tree):
    engine = Engine({}, {"/images/sha256:a/json": {"Id": "sha256:a", "Config": {"Env": ["HTTP_PROXY=http://p", "PATH=/bin"]}}})
    assert health.image_proxies(tree({}), "sha256:a", engine) == {"http_proxy": "http://p"}
    assert health.image_proxies(tree({}), "sha256:b", engine) == {}
    assert health.image_proxies(tree({}), None, engine) == {}


def test_what_a_profile_asks_for(tree):
    host = tree(
        {
            "/etc/marker": "",
            "/proc/modules": "kunlun_peermem 16384 0 - Live 0x0\n",
            "/m/config.json": '{"quantization_config": {}, "a": 1}',
            "/m/broken.json": "{",
            "/m/list.json": "[1]",
            "/.commands/dmesg": "[1] fine\n[2] eth1 flap\n",
        }
    )
    asked = {
        "files": ["/etc/marker", "/etc/none"],
        "modules": ["kunlun-peermem", "xdr"],
        "json_files": ["/m/config.json", "/m/broken.json", "/m/list.json", "/m/none.json"],
        "kernel_log_patterns": [{"pattern": "flap", "meaning": "it flaps"}],
    }
    assert health.profile_facts(host, asked) == {
        "files": {"/etc/marker": True, "/etc/none": False},
        "modules": {"kunlun-peermem": True, "xdr": False},
        "json_keys": {"/m/config.json": ["a", "quantization_config"], "/m/broken.json": None, "/m/list.json": None, "/m/none.json": None},
        "kernel_log": [{"pattern": "flap", "meaning": "it flaps", "line": "[2] eth1 flap", "count": 1}],
    }


def test_a_kernel_without_a_list_of_modules_says_nothing_of_one(tree):
    asked = {"files": [], "modules": ["xdr"], "json_files": [], "kernel_log_patterns": []}
    assert health.profile_facts(tree({}), asked) == {"files": {}, "modules": {"xdr": None}, "json_keys": {}, "kernel_log": None}


@given(st.text())
def test_no_password_is_told_of_any_proxy(secret):
    told = health.without_password(f"http://user:{secret}@proxy:3128/")
    assert told.startswith(("http://***@", "http://user:"))
    if "/" not in secret:
        assert told == "http://***@proxy:3128/"
