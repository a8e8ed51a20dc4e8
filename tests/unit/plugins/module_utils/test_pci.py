"""PCI devices and their distances, from captured sysfs trees."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pci as pci
from hypothesis import given
from hypothesis import strategies as st
from pci_space import space

XPU, NIC = ("1d22", "3686"), ("15b3", "101d")
SWITCH = "pci0000:3a/0000:3a:01.0/0000:3b:00.0"  # host bridge, root port, upstream port


def distance(captured, one, other, nodes=(0, 0)):
    captured.pci(one, *XPU, numa_node=nodes[0])
    captured.pci(other, *NIC, numa_node=nodes[1])
    first, second = (pci.devices(captured.tree)[path.rpartition("/")[2]] for path in (one, other))
    assert pci.distance(first, second) == pci.distance(second, first)
    return pci.distance(first, second)


@pytest.mark.parametrize(
    ("one", "other", "nodes", "expected"),
    [
        (f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", f"{SWITCH}/0000:3c:01.0/0000:3e:00.0", (0, 0), "PIX"),  # two ports of one switch
        ("pci0000:3a/0000:3a:01.0/0000:3b:00.0", "pci0000:3a/0000:3a:01.0/0000:3b:00.1", (0, 0), "PIX"),  # two functions of one card
        (
            f"{SWITCH}/0000:3c:00.0/0000:3d:00.0",
            f"{SWITCH}/0000:3c:01.0/0000:3e:00.0/0000:3f:00.0/0000:40:00.0",  # behind a second switch
            (0, 0),
            "PXB",
        ),
        (f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", "pci0000:3a/0000:3a:02.0/0000:41:00.0", (0, 0), "PHB"),  # another root port
        (f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0", (0, 0), "NODE"),
        (f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0", (0, 1), "SYS"),
        (f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0", (-1, -1), "NODE"),  # a machine without NUMA
        (f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0", (0, -1), "SYS"),
    ],
)
def test_how_far_apart_two_devices_are(captured, one, other, nodes, expected):
    assert distance(captured, one, other, nodes) == expected


def test_a_device_is_known_by_its_numbers(captured):
    folder = captured.pci(
        f"{SWITCH}/0000:3c:00.0/0000:3d:00.0",
        *XPU,
        numa_node=1,
        current_link_speed="8.0 GT/s PCIe",
        current_link_width="8",
        max_link_speed="16 GT/s",
        max_link_width="16",
    )
    captured.link(folder + "/driver", "../../../../../../../bus/pci/drivers/kunlun")
    (device,) = pci.devices(captured.tree).values()
    assert (device.vendor, device.device, device.numa_node, device.driver) == ("1d22", "3686", 1, "kunlun")
    assert device.link == {"speed_gts": 8.0, "width": 8, "max_speed_gts": 16.0, "max_width": 16}
    assert device.path == ("pci0000:3a", "0000:3a:01.0", "0000:3b:00.0", "0000:3c:00.0", "0000:3d:00.0")


def test_what_sysfs_does_not_say_is_not_made_up(captured):
    captured.files({"/sys/bus/pci/devices/0000:00:00.0/vendor": "0x8086\n"})  # went while the folder was read
    captured.pci("pci0000:00/0000:00:01.0", *NIC, numa_node=-1, current_link_speed="Unknown", current_link_width="")
    (device,) = pci.devices(captured.tree).values()
    assert (device.numa_node, device.driver) == (None, None)
    assert device.link == {"speed_gts": None, "width": None, "max_speed_gts": None, "max_width": None}


def test_a_host_without_pci_has_no_devices(captured):
    assert pci.devices(captured.tree) == {}


@pytest.mark.parametrize(
    ("config", "control"),
    [
        (space((0x000D, 0x100, 0, b"\x7f\x00\x1f\x00")), 0x1F),
        (space((0x0001, 0x100, 0x148, b""), (0x000D, 0x148, 0, b"\x7f\x00\x00\x00")), 0),
        (space((0x0001, 0x100, 0, b"")), None),
        (space((0x0001, 0x100, 0x100, b"")), None),  # a list that turns in a circle
        (space((0x000D, 0xFFC, 0, b""), (0x0001, 0x100, 0xFFC, b"")), None),  # cut short
        (space(length=64), None),  # what a user who is not root sees
        (b"\xff" * 4096, None),  # a device that is gone
        (b"", None),
    ],
)
def test_access_control_is_read_from_the_configuration_space(captured, config, control):
    captured.configuration("0000:90:00.0", config)
    assert pci.register(captured.tree, "0000:90:00.0", pci.ACS_CONTROL) == control


@pytest.mark.parametrize(
    ("config", "control"),
    [
        (space((0x10, 0x60, 0, bytes.fromhex("0200 21800000 3629"))), 0x2936),
        (space((0x01, 0x40, 0x60, b""), (0x10, 0x60, 0, bytes.fromhex("0200 21800000 3659"))), 0x5936),
        (space((0x01, 0x40, 0x40, b"")), None),
        (space((0x01, 0x40, 0xFC, b""), length=64), None),
        (space(), None),
        (b"\xff" * 4096, None),
    ],
)
def test_a_register_of_a_capability_of_the_first_list(captured, config, control):
    captured.configuration("0000:3e:00.0", config)
    assert pci.register(captured.tree, "0000:3e:00.0", "CAP_EXP+8.w") == control
    assert pci.register(captured.tree, "0000:3f:00.0", "CAP_EXP+8.w") is None


@given(st.binary(max_size=300), st.binary(max_size=4200))
def test_no_configuration_space_makes_trouble(head, config):
    class Tree:
        def content(self, path):
            return head[:256].ljust(256, b"\x40") + config

    for name in (pci.ACS_CONTROL, "CAP_EXP+8.w"):
        found = pci.register(Tree(), "0000:3e:00.0", name)
        assert found is None or 0 <= found <= 0xFFFF


def test_only_bridges_have_their_access_control_told(captured):
    captured.pci(f"{SWITCH}/0000:3c:00.0/0000:3d:00.0", *XPU)
    folder = captured.root / "sys/bus/pci/devices"
    for address, class_code in (("0000:3d:00.0", "0x120000"), ("0000:90:00.0", "0x060400"), ("0000:91:00.0", "0x060400")):
        (folder / address).mkdir(parents=True, exist_ok=True)
        (folder / address / "class").write_text(class_code + "\n")
    for address in ("0000:3d:00.0", "0000:90:00.0"):
        captured.configuration(address, space((0x000D, 0x100, 0, b"\x7f\x00\x1d\x00")))
    assert pci.access_control(captured.tree) == {"0000:90:00.0": 0x1D}


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("0x0000380000000000 0x0000381fffffffff 0x000000000014220c\n0x0 0x0 0x0\n", True),
        ("0x0000000000000000 0x0000000000000000 0x0000000000000000\n" * 7, False),
        ("no numbers here\n", False),
        ("", None),
        (None, None),
    ],
)
def test_memory_of_a_device_has_an_address_or_none(text, mapped):
    assert pci.is_mapped(text) is mapped


def test_only_links_below_their_best_are_told(captured):
    best = {"current_link_width": "16", "max_link_width": "16", "current_link_speed": "16.0 GT/s PCIe", "max_link_speed": "16.0 GT/s PCIe"}
    captured.pci("pci0000:10/0000:11:00.0", *XPU, **best)
    captured.pci("pci0000:10/0000:12:00.0", *XPU, **{**best, "current_link_width": "8"})
    captured.pci("pci0000:10/0000:13:00.0", *NIC, **{**best, "current_link_speed": "8.0 GT/s PCIe"})
    captured.pci("pci0000:10/0000:14:00.0", *NIC, **{**best, "current_link_width": "0", "max_link_speed": "Unknown"})
    found = pci.links_below_their_best(captured.tree)
    assert {address: (link["width"], link["speed_gts"]) for address, link in found.items()} == {
        "0000:12:00.0": (8, 16.0),
        "0000:13:00.0": (16, 8.0),
    }
