"""Parsers of what Linux says about a host, on text captured from real hosts."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_parsers as parsers
from hypothesis import given
from hypothesis import strategies as st

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:8EAD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0B005B0A:0016 FE005B0A:C350 01 00000000:00000000 02:0000A2C1 00000000     0        0 4713 2 0000000000000000 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 99 1
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 98 1
"""
CONTAINER = "4f" * 32


@pytest.mark.parametrize(
    ("text", "count"), [("64g", 64 * 1024**3), ("512M", 512 * 1024**2), ("1GiB", 1024**3), ("65536k", 64 * 1024**2), (" 7 ", 7), (0, 0)]
)
def test_sizes_as_docker_and_mount_write_them(text, count):
    assert parsers.parse_size(text) == count


@pytest.mark.parametrize("text", ["", "g", "-1", "1.5g", "64 g", "50%", "64gg"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="not a size"):
        parsers.parse_size(text)


@given(st.integers(0, 2**60))
def test_a_count_of_bytes_is_its_own_size(count):
    assert parsers.parse_size(count) == count


@given(st.integers(1, 1023), st.sampled_from("kmg"))
def test_a_whole_number_of_units_is_shown_exactly(count, unit):
    assert parsers.format_size(parsers.parse_size(f"{count}{unit}")) == f"{count} {unit.upper()}iB"


def test_a_part_of_a_unit_is_shown_with_one_digit():
    assert parsers.format_size(3 * 1024**3 // 2) == "1.5 GiB"
    assert parsers.format_size(12) == "12 bytes"


def test_only_listening_sockets_count():
    assert parsers.parse_listeners(TCP) == [
        {"address": "0.0.0.0", "port": 22, "inode": "4711"},
        {"address": "127.0.0.1", "port": 0x8EAD, "inode": "4712"},
    ]


def test_listening_sockets_of_ipv6():
    assert [(one["address"], one["port"]) for one in parsers.parse_listeners(TCP6)] == [("::", 8000), ("::1", 631)]


@pytest.mark.parametrize(
    ("text", "container", "unit"),
    [
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", CONTAINER, None),
        (f"12:memory:/docker/{CONTAINER}\n1:name=systemd:/docker/{CONTAINER}\n", CONTAINER, None),
        ("0::/system.slice/nginx.service\n", None, "nginx.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", None, None),
        (None, None, None),
    ],
)
def test_a_process_belongs_to_its_container_or_unit(text, container, unit):
    assert parsers.parse_cgroup(text) == {"container": container, "unit": unit}


def test_a_container_within_a_container_belongs_to_the_inner():
    inner = "ab" * 32
    assert parsers.parse_cgroup(f"0::/docker/{CONTAINER}/docker/{inner}\n")["container"] == inner


def test_addresses_of_each_interface():
    text = (
        "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
        "7: eth0@if8    inet 10.91.0.11/24 brd 10.91.0.255 scope global eth0\\       valid_lft forever\n"
        "7: eth0@if8    inet6 fe80::1/64 scope link \\       valid_lft forever\n"
    )
    assert parsers.parse_addresses(text) == {"lo": ["127.0.0.1/8"], "eth0": ["10.91.0.11/24", "fe80::1/64"]}


def test_the_visible_mount_comes_first():
    text = "tmpfs /dev/shm tmpfs rw,size=1k 0 0\n/dev/sda /mnt/a\\040b ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw,size=2k 0 0\n"
    mounts = parsers.parse_mounts(text)
    assert [mount["target"] for mount in mounts] == ["/dev/shm", "/mnt/a b", "/dev/shm"]
    assert mounts[0]["options"] == ["rw", "size=2k"]


def test_os_release_loses_its_quotes():
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n# note\nVERSION_ID="12"\n'
    assert parsers.parse_os_release(text) == {"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)", "ID": "debian", "VERSION_ID": "12"}


def test_meminfo_is_in_bytes_and_counts_are_counts():
    assert parsers.parse_meminfo("MemTotal:  2 kB\nHugePages_Total:  3\n") == {"MemTotal": 2048, "HugePages_Total": 3}


def test_versions_compare_as_numbers():
    assert parsers.parse_version("20.10.24+dfsg1") == (20, 10, 24)
    assert parsers.parse_version("9.9") < parsers.parse_version("20.10") <= parsers.parse_version("20.10.0")
    assert parsers.parse_version(None) == ()


@given(st.text())
def test_no_text_breaks_a_parser(text):
    parsers.parse_os_release(text)
    parsers.parse_meminfo(text)
    parsers.parse_addresses(text)
    parsers.parse_cgroup(text)
    parsers.parse_mounts(text)
    parsers.parse_version(text)


def test_an_environment_of_zeros():
    text = "A=1\0B='two words'\0#C=3\0=4\0D\0E=x=y\0"
    assert parsers.parse_environment(text) == {"A": "1", "B": "two words", "E": "x=y"}
    assert parsers.parse_environment(None) == {}


SEGMENTS = """\
       key      shmid perms       size  cpid  lpid nattch   uid
         0          3   666       4096    12    12      0  1001
         0          4   666    x           13    13      2     0
        -7          5   600       8192    14    14      1     0
"""


def test_shared_segments_by_their_columns():
    found = parsers.parse_shared_segments(SEGMENTS)
    assert [(one["key"], one["shmid"], one["size"], one["nattch"]) for one in found] == [(0, 3, 4096, 0), (-7, 5, 8192, 1)]
    assert parsers.parse_shared_segments(None) == parsers.parse_shared_segments("nothing known\n1 2\n") == []


@given(
    st.text(),
    st.lists(st.sampled_from([*SEGMENTS.splitlines(), *TCP.splitlines(), "   0: x y 0A 1 2 3 4 5 6", "1: 1:zz 0 0A 0 0 0 0 0 0"])),
)
def test_no_text_makes_a_parser_of_this_file_fail(text, lines):
    for given_text in (text, "\n".join(lines)):
        for parse in (parsers.parse_environment, parsers.parse_shared_segments, parsers.parse_listeners, parsers.parse_mounts):
            parse(given_text)
