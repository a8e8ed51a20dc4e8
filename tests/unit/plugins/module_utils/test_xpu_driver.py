"""What is known of the driver, from texts alone; and that no text makes a parser fail."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError
from hypothesis import given
from hypothesis import strategies as st

KERNEL = "6.8.0-87-generic"
WANTED = "5.0.21.26"
VC, VD = "B00100300110112", "B00100300110312"


def told(version=WANTED, file_version=WANTED, built_for=KERNEL, loaded=True):
    """What is read of a driver; everything is well unless said otherwise."""
    return {
        "version": version,
        "kernel": KERNEL,
        "module": {"loaded": loaded, "built_for": built_for, "version": file_version, "vermagic": None},
        "xdr": {"version": None, "mapped": None, "node": False},
    }


@pytest.mark.parametrize(
    ("found", "tool", "step", "reason"),
    [
        (told(), True, driver.KEEP, WANTED),
        (told(file_version=None), True, driver.KEEP, WANTED),  # a module need not tell its version
        (told(version=None, built_for=None, file_version=None, loaded=False), True, driver.INSTALL, "not installed"),
        (told(built_for=None), True, driver.INSTALL, "not installed"),  # its file is gone: it would not come at the next boot
        (told(built_for="6.8.0-90-generic"), True, driver.INSTALL, "built for 6.8.0-90-generic, but 6.8.0-87-generic runs"),
        (told(), False, driver.INSTALL, "without its tool"),
        (told(file_version="5.0.21.21", version="5.0.21.21"), True, driver.INSTALL, "5.0.21.21"),
        (told(file_version="5.0.21.21"), True, driver.INSTALL, "5.0.21.21"),
        (told(file_version=None, version=None), True, driver.INSTALL, "of unknown version"),
        (told(version=None, loaded=False), True, driver.LOAD, "not loaded"),
        (told(loaded=False), True, driver.LOAD, "not loaded"),
        (told(loaded=None), True, driver.KEEP, WANTED),  # /proc/modules is hidden
        (told(version="5.0.21.21"), True, driver.RELOAD, "5.0.21.21 still runs"),
    ],
)
def test_what_a_host_needs_is_read_from_it(found, tool, step, reason):
    assert driver.judge(found, WANTED, tool) == (step, reason)


def test_part_numbers_of_a_host():
    assert driver.judge_part_numbers({"a": VC, "b": VC}, driver.MODULE_OPTIONS) == VC
    for numbers, observed in (
        ({"a": VC, "b": VD, "c": VC}, f"{VC} at a c, {VD} at b"),
        ({"a": VC, "b": None}, "none told for b"),
        ({}, "no card on the PCI bus"),
        ({"a": "B001"}, "B001"),
    ):
        with pytest.raises(UnfitError) as refused:
            driver.judge_part_numbers(numbers, driver.MODULE_OPTIONS)
        assert refused.value.finding.observed == observed
        assert refused.value.finding.expected == f"one part number, of {VC}, {VD}"


def test_files_that_are_written_are_known_as_ours():
    assert driver.is_ours(driver.modprobe_conf("kunlun", "kunlun_peermem", "A=1"))
    assert driver.is_ours(driver.modules_load_conf(["kunlun"]))
    assert not driver.is_ours('options kunlun KLreg_RegistryDwords="RmDisableSMMU=1;"\n')
    assert not driver.is_ours(None)


def test_without_peer_memory_no_other_module_is_loaded_along():
    assert driver.modprobe_conf("kunlun", None, "A=1").splitlines()[1:] == ['options kunlun KLreg_RegistryDwords="A=1"']


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("libxpu-container-tools_1.0.5-1_amd64.deb", ("libxpu-container-tools", "1.0.5-1")),
        ("a2_1%3a2.0~rc1_all.deb", ("a2", "1:2.0~rc1")),
        ("libxpu-container-tools_1.0.5-1.deb", None),
        ("toolkit.deb", None),
        ("x_1_amd64.rpm", None),
    ],
)
def test_a_package_is_known_by_the_name_of_its_file(name, expected):
    assert driver.parse_package_file(name) == expected


def test_the_release_of_headers():
    assert driver.release_of_headers(f'#define UTS_RELEASE "{KERNEL}"\n#define UTS_UBUNTU_RELEASE_ABI 87\n') == KERNEL
    assert driver.release_of_headers("") is None
    assert driver.release_of_headers(None) is None


def test_a_version_is_a_whole_word():
    assert driver.tells_version("XDR version: 1.1.0.6 (built today)", "1.1.0.6")
    for text in ("XDR version: 1.1.0.60", "11.1.0.6", "1.1.0.6.1", "1a1b0c6", "", None):
        assert not driver.tells_version(text, "1.1.0.6"), text


def test_direct_rdma_is_known_by_its_file_or_by_what_runs():
    assert driver.has_xdr(told(), "1.1.0.6", "1.1.0.6")
    assert driver.has_xdr({"xdr": {"version": "XDR 1.1.0.6"}}, None, "1.1.0.6")
    assert not driver.has_xdr(told(), "1.1.0.5", "1.1.0.6")
    assert not driver.has_xdr(told(), None, "1.1.0.6")


def test_firmware_that_differs_is_told_once_for_all_cards():
    cards = {"a": {"SBL": "1.48"}, "b": {"SBL": "1.54"}, "c": None, "d": {"SBL": "1.48"}}
    assert driver.firmware_differences(cards, {"SBL": "1.54"}) == ["SBL 1.48 at a d", "SBL not told at c"]


def test_who_holds_devices():
    serve = {"pid": 9, "process": "python3", "unit": "docker.service", "container": {"name": "serve", "labels": {}}}
    shell = {"pid": 8, "process": None, "unit": None, "container": None}
    assert driver.named_holders({"/dev/xpu1": [serve, shell], "/dev/xpu0": [serve]}) == [
        "a process (pid 8) holds /dev/xpu1",
        "python3 (pid 9, container serve, unit docker.service) holds /dev/xpu0 /dev/xpu1",
    ]


@pytest.mark.parametrize(
    ("output", "observed", "remedy"),
    [
        ("modprobe: ERROR: could not insert 'kunlun': Invalid module format\ndone\n", "Invalid module format", "KERNELDIR"),
        ("Cannot find kunlun driver file\n", "Cannot find kunlun driver file", "get the file again"),
        ("modprobe: ERROR: could not insert 'kunlun_peermem': Unknown symbol in module\n", "kunlun_peermem", "OFED"),
        ("cc1: error: no such file\nleaving\n", "cc1: error: no such file", "mend what it says"),
        ("a\nb\n", "b", "mend what it says"),
        ("", "it said nothing", "mend what it says"),
    ],
)
def test_what_an_installer_said_when_it_failed(output, observed, remedy):
    told_text, told_remedy = driver.failure_of(output)
    assert observed in told_text
    assert remedy in told_remedy


@given(st.text(), st.text(min_size=1))
def test_no_text_makes_a_parser_fail(text, other):
    driver.release_of_headers(text)
    driver.parse_package_file(text)
    driver.tells_version(text, other)
    observed, remedy = driver.failure_of(text)
    assert observed
    assert remedy
    assert len(observed) <= max(300, len(text))


@given(st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,20}", fullmatch=True), st.from_regex(r"[0-9][A-Za-z0-9.+~-]{0,20}", fullmatch=True))
def test_a_name_of_a_package_comes_back(name, version):
    assert driver.parse_package_file(f"{name}_{version}_amd64.deb") == (name, version)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([VC, VD, "B001", "", None])))
def test_a_part_number_is_one_or_refused(numbers):
    try:
        number = driver.judge_part_numbers(numbers, driver.MODULE_OPTIONS)
    except UnfitError:
        assert set(numbers.values()) not in ({VC}, {VD})
    else:
        assert set(numbers.values()) == {number}
