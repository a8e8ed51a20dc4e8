"""What a host's own files should say: pure texts, each settled by one application."""

from __future__ import annotations

import re

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_settings as settings
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024**3
BLOCK = settings.hosts_block("lab", {"node1": "10.0.0.1", "node2": "10.0.0.2"}, "metal-7", "node2")
DEBIAN = "127.0.0.1 localhost\n127.0.1.1 metal-7.example.com metal-7 # ours\n\n::1 localhost ip6-localhost\n"

LINES = st.lists(
    st.sampled_from(
        ["127.0.1.1 node1", "127.0.0.1 localhost", "", "# note", "10.0.0.1 node1", "10.9.9.9 node2 other", "tmpfs /tmp tmpfs rw 0 0"]
    )
)


def test_the_block_names_every_host_and_this_ones_own_name():
    assert BLOCK == "# BEGIN flagos.kunlunxin cluster lab\n10.0.0.1\tnode1\n10.0.0.2\tnode2 metal-7\n# END flagos.kunlunxin cluster lab\n"


def test_a_distributions_loopback_line_loses_the_hosts_own_name():
    text = settings.hosts_with_block(DEBIAN, BLOCK)
    assert text == BLOCK + "127.0.0.1 localhost\n127.0.1.1\tmetal-7.example.com # ours\n\n::1 localhost ip6-localhost\n"


def test_a_line_with_the_same_address_stays():
    assert settings.hosts_with_block("10.0.0.1 node1 n1\n", BLOCK) == BLOCK + "10.0.0.1 node1 n1\n"


def test_a_changed_block_takes_the_place_of_the_old_one():
    old = settings.hosts_block("lab", {"node1": "10.0.0.9"}, "", "")
    text = settings.hosts_with_block("# first\n" + old + "# last\n", BLOCK)
    assert text == "# first\n" + BLOCK + "# last\n"


def test_the_block_of_another_cluster_stays():
    other = settings.hosts_block("other", {"x": "10.1.0.1"}, "", "")
    assert other in settings.hosts_with_block(other, BLOCK)


@given(LINES)
def test_a_settled_hosts_file_stays_and_has_no_other_address(lines):
    text = settings.hosts_with_block("".join(line + "\n" for line in lines), BLOCK)
    assert settings.hosts_with_block(text, BLOCK) == text
    assert {fields[0] for fields in map(str.split, text.splitlines()) if "node2" in fields[1:]} == {"10.0.0.2"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\n{begin}\n10.0.0.9 node1\n10.8.8.8 printer\n", "{block}a\n10.8.8.8 printer\n"),
        ("a\n{begin}\n10.8.8.8 printer\n{begin}\n10.0.0.9 old\n{end}\nb\n", "a\n10.8.8.8 printer\n{block}b\n"),
        ("{begin}\n10.0.0.9 old\n{end}", "{block}"),
        ("{end}\na\n", "{block}a\n"),
    ],
)
def test_a_mark_without_its_partner_takes_no_line_along(text, wanted):
    marks = {"begin": BLOCK.splitlines()[0], "end": BLOCK.splitlines()[-1], "block": BLOCK}
    settled = settings.hosts_with_block(text.format(**marks), BLOCK)
    assert settled == wanted.format(**marks)
    assert settings.hosts_with_block(settled, BLOCK) == settled


@given(LINES, st.integers(1, 2**45))
def test_a_settled_fstab_stays_and_keeps_the_rest(lines, size):
    before = "".join(line + "\n" for line in lines)
    text = settings.fstab_with_shm(before, size, 16 * GIB)
    assert settings.fstab_with_shm(text, size, 16 * GIB) == text
    assert text.startswith(before)


def test_an_entry_of_fstab_keeps_its_other_options():
    text = settings.fstab_with_shm("tmpfs /dev/shm tmpfs noexec,size=1g 0 0\n", 2 * GIB, 16 * GIB)
    assert text.split() == ["tmpfs", "/dev/shm", "tmpfs", f"noexec,size={2 * GIB}", "0", "0"]


@pytest.mark.parametrize("options", ["size=3g", "rw,size=2g", "rw", "size=50%", "size=9g,size=25%"])
def test_an_entry_that_is_large_enough_stays(options):
    line = f"tmpfs\t/dev/shm tmpfs {options} 0 0\n"
    assert settings.fstab_with_shm(line, 2 * GIB, 8 * GIB) == line


@pytest.mark.parametrize("line", ["#tmpfs /dev/shm tmpfs size=9g 0 0\n", "tmpfs /dev/shm tmpfs size=some 0 0\n"])
@pytest.mark.parametrize("memory", [2 * GIB, 8 * GIB])
def test_a_remark_or_nonsense_is_no_size(line, memory):
    assert f"size={2 * GIB}" in settings.fstab_with_shm(line, 2 * GIB, memory)


@pytest.mark.parametrize("options", ["rw", "rw,size=50%"])
def test_too_small_a_share_of_memory_becomes_a_size(options):
    line = f"tmpfs /dev/shm tmpfs {options} 0 0\n"
    assert settings.fstab_with_shm(line, 2 * GIB, 3 * GIB).split()[3] == f"rw,size={2 * GIB}"


@pytest.mark.parametrize(
    ("live", "fstab", "suffices"),
    [
        (8 * GIB, "", True),
        (8 * GIB, "tmpfs /dev/shm tmpfs size=1g 0 0\n", False),  # the next boot would shrink it
        (3 * GIB, "", False),  # grown by hand: gone at the next boot
        (1 * GIB, "", False),
    ],
)
def test_only_a_large_enough_default_of_the_kernel_is_left_alone(live, fstab, suffices):
    assert settings.shm_default_suffices(live, 2 * GIB, 16 * GIB, fstab) is suffices


@pytest.mark.parametrize(
    ("mounts", "size"),
    [("tmpfs /dev/shm tmpfs rw,size=65536k 0 0\n", 64 * 1024**2), ("tmpfs /dev/shm tmpfs rw 0 0\n", 0), ("/dev/a / ext4 rw 0 0\n", None)],
)
def test_the_size_of_the_mount(mounts, size):
    assert settings.shm_mount_size(mounts) == size


def test_limits_in_the_units_of_each_file():
    limits = {"memlock": 8 * 1024**2, "nofile": 20000}
    assert "* - memlock 8192\nroot - memlock 8192\n* - nofile 20000\n" in settings.limits_conf(limits)
    assert settings.systemd_conf(limits).endswith("[Manager]\nDefaultLimitMEMLOCK=8388608\nDefaultLimitNOFILE=20000\n")
    assert "* - memlock unlimited\n" in settings.limits_conf({"memlock": settings.UNLIMITED})


@pytest.mark.parametrize(
    ("text", "value"), [("infinity", "infinity"), ("unlimited", "infinity"), (-1, "infinity"), ("8m", 8 * 1024**2), (5, 5)]
)
def test_limits_as_the_profile_writes_them(text, value):
    assert settings.parse_limit(text) == value


LIMIT = st.one_of(st.just(settings.UNLIMITED), st.integers(1, 2**40))


@given(wanted=LIMIT, ceiling=LIMIT)
def test_a_host_that_may_not_raise_limits_never_gets_one_above_its_ceiling(wanted, ceiling):
    found = settings.attainable({"memlock": wanted}, {"memlock": ceiling}, may_raise=False, most_files=5)["memlock"]
    as_number = {settings.UNLIMITED: 2**63}
    assert as_number.get(found, found) == min(as_number.get(wanted, wanted), as_number.get(ceiling, ceiling))
    assert settings.attainable({"memlock": wanted}, {"memlock": ceiling}, may_raise=True, most_files=5) == {"memlock": wanted}


@pytest.mark.parametrize(("wanted", "had"), [(settings.UNLIMITED, 1000), (1001, 1000), (999, 999)])
@pytest.mark.parametrize("may_raise", [True, False])
def test_no_login_is_given_more_files_than_the_kernel_allows(wanted, had, may_raise):
    assert settings.attainable({"nofile": wanted}, {"nofile": 2000}, may_raise, 1000) == {"nofile": had}


def test_a_lower_limit_has_its_cause():
    assert "fs.nr_open" in settings.ceiling("nofile", 1000, 1000)
    assert "CAP_SYS_RESOURCE" in settings.ceiling("nofile", 900, 1000)
    assert "CAP_SYS_RESOURCE" in settings.ceiling("memlock", 1000, 1000)


def test_hard_limits_and_the_right_to_raise_them():
    text = "Limit  Soft Limit  Hard Limit  Units\nMax locked memory  8388608  unlimited  bytes\nMax open files  1024  20000  files\n"
    assert settings.hard_limits(text) == {"memlock": "infinity", "nofile": 20000}
    assert settings.may_raise_limits("CapBnd:\t000001ffffffffff\n")
    assert not settings.may_raise_limits("CapBnd:\t000001fffeffffff\n")
    assert not settings.may_raise_limits(None)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem"),
        ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_the_file_of_a_kernel_parameter(name, path):
    assert settings.parameter_path(name) == path


def test_kernel_parameters_compare_as_the_kernel_shows_them():
    assert settings.same_parameter("4096\t131072\t629145600\n", "4096 131072 629145600")
    assert not settings.same_parameter("1\n", 2)


@given(st.dictionaries(st.from_regex(r"net\.[a-z]{1,5}", fullmatch=True), st.integers(0, 9)))
def test_every_kernel_parameter_is_kept_for_the_next_boot(parameters):
    text = settings.sysctl_conf(parameters)
    assert dict(re.findall(r"^([\w.]+) = (\d+)$", text, re.MULTILINE)) == {name: str(value) for name, value in parameters.items()}
