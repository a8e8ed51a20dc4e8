"""The way back of a host's files, also where somebody has changed them since."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_before as earlier
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_settings as settings
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024**3
HOSTS = "127.0.0.1 localhost\n127.0.1.1 node1.example node1 # as installed\n10.0.0.9 other\n::1 localhost\n"
BLOCK = settings.hosts_block("lab", {"node1": "10.0.0.1", "node2": "10.0.0.2"}, "node1", "node1")


@pytest.mark.parametrize(
    "before", ["", "proc /proc proc defaults 0 0\n", "# /dev/shm\ntmpfs /dev/shm tmpfs rw,size=1m 0 0\nproc /proc proc rw 0 0\n"]
)
def test_fstab_comes_back(before):
    assert earlier.fstab(settings.fstab_with_shm(before, 4 * GIB, GIB), before) == before


def test_what_others_added_to_fstab_stays():
    before = "tmpfs /dev/shm tmpfs rw,size=1m 0 0\n"
    ours = settings.fstab_with_shm(before, 4 * GIB, GIB) + "/dev/sda /data ext4 rw 0 2\n"
    assert earlier.fstab(ours, before) == before + "/dev/sda /data ext4 rw 0 2\n"
    assert earlier.fstab(ours, None) == ours


def test_the_hosts_file_comes_back_with_the_names_it_lost():
    ours = settings.hosts_with_block(HOSTS, BLOCK)
    assert "127.0.1.1\tnode1.example #" in ours
    assert earlier.hosts(ours, HOSTS, "lab") == HOSTS


def test_a_line_that_was_lost_as_a_whole_comes_back():
    before = "127.0.0.1 localhost\n127.0.1.1 node2\n::1 localhost\n"
    assert earlier.hosts(settings.hosts_with_block(before, BLOCK), before, "lab") == before


def test_what_others_added_to_the_hosts_file_stays():
    ours = settings.hosts_with_block(HOSTS, BLOCK) + "10.0.0.7 late\n"
    assert earlier.hosts(ours, HOSTS, "lab") == HOSTS + "10.0.0.7 late\n"


def test_another_clusters_block_stays():
    other = settings.hosts_block("other", {"x": "10.1.0.1"}, "", "")
    before = settings.hosts_with_block(HOSTS, other)
    assert earlier.hosts(settings.hosts_with_block(before, BLOCK), before, "lab") == before


def test_without_a_record_only_the_block_goes():
    assert earlier.hosts(BLOCK + "127.0.0.1 localhost\n", None, "lab") == "127.0.0.1 localhost\n"


@pytest.mark.parametrize("mark", [BLOCK.splitlines()[0], BLOCK.splitlines()[-1]])
def test_a_mark_without_its_partner_takes_no_line_with_it(mark):
    assert earlier.hosts(f"127.0.0.1 localhost\n{mark}\n10.0.0.9 other\n", None, "lab") == "127.0.0.1 localhost\n10.0.0.9 other\n"


ADDRESSES = st.sampled_from(["127.0.0.1", "127.0.1.1", "10.0.0.1", "10.0.0.2", "10.0.0.9"])
NAMES = st.sampled_from(["node1", "node2", "localhost", "other"])
LINES = st.dictionaries(ADDRESSES, st.lists(NAMES, min_size=1, max_size=3, unique=True))


@given(LINES)
def test_any_hosts_file_with_an_address_a_line_comes_back(lines):
    before = "".join(f"{address} {' '.join(names)}\n" for address, names in lines.items())
    assert earlier.hosts(settings.hosts_with_block(before, BLOCK), before, "lab") == before


def test_the_first_word_of_a_record_stays():
    first = {"files": {"/etc/fstab": "a"}, "parameters": {"x": "1"}, "shm_bytes": 5}
    later = {"files": {"/etc/fstab": "b", "/etc/hosts": "c"}, "parameters": {"x": "2", "y": "3"}, "shm_bytes": 6}
    merged = earlier.first_known(first, later)
    assert merged == {"files": {"/etc/fstab": "a", "/etc/hosts": "c"}, "parameters": {"x": "1", "y": "3"}, "shm_bytes": 5}
    assert earlier.read(earlier.render(merged)) == merged


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"files": 3}', '{"shm_bytes": "many"}', '{"parameters": []}'])
def test_a_damaged_record_is_an_empty_one(text):
    assert earlier.read(text) == {"files": {}, "parameters": {}, "shm_bytes": None}


def test_the_parameters_that_are_ours_are_read_from_our_file():
    assert earlier.parameters_of(settings.sysctl_conf({"net.core.somaxconn": 4096, "net.ipv4.tcp_rmem": "1 2 3"})) == {
        "net.core.somaxconn": "4096",
        "net.ipv4.tcp_rmem": "1 2 3",
    }
    assert earlier.parameters_of(None) == {}
