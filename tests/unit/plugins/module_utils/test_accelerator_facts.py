"""The facts of whole hosts with accelerators, from captured trees. Their tool's answers are made from the captures of real ones."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _accelerator_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CAPTURES = Path(__file__).absolute().parent / "captures" / "xpu-smi"
SUMMARY, MACHINE, LISTED, QUERY, TOPOLOGY, INTEL_HELP = (
    (CAPTURES / f"{name}.txt").read_text() for name in ("summary", "m", "L", "q", "topo-devices", "intel-help")
)
TOOL = "/usr/local/bin/xpu-smi"
BUSES = ("52", "55", "63", "66", "9a", "9b", "aa", "ab")
ADDRESSES = [f"0000:{bus}:00.0" for bus in BUSES]
UUIDS = re.findall(r"GPU-\S+", LISTED)
# The tool's numbers do not rise with the PCI addresses: whoever matches by place is found out.
INDEXES = (4, 5, 6, 7, 0, 1, 2, 3)
CONTAINER = "4f" * 32
RELEASE = "6.8.0-87-generic"
LOG = [
    {"pattern": "XDR disabled", "meaning": "direct RDMA is off"},
    {"pattern": r"c2c port\d+ AM out of lock", "meaning": "a link is bad"},
]
PARAMS = {
    "pci_ids": ["1D22:3686", "2057:*"],
    "nodes": [f"/dev/xpu{index}" for index in range(8)],
    "control_nodes": ["/dev/xpuctrl"],
    "driver_module": "kunlun",
    "peer_module": "kunlun_peermem",
    "tool": "xpu-smi",
    "kernel_log_patterns": LOG,
}
PER_DEVICE = dict.fromkeys(facts.TOOL_FACTS)


def queried(cards):
    """The answer to -q for ``[(address, index)]``."""
    head, block = QUERY.split("XPU 00000000:01:00.0\n")
    blocks = [
        block.replace("00000000:01:00.0", f"0000{address.upper()}")
        .replace("GPU-420716f2-9928-5108-a5b2-e6b7cf36b37c", UUIDS[index])
        .replace("02K0MA0258D0007R", f"SERIAL{index}")
        .replace("Minor Number                          : 0", f"Minor Number                          : {index}")
        .replace("B00100300110211", "B00100300110112")
        .replace("P800 PCIe", "P800 OAM")
        for address, index in cards
    ]
    head = head.replace("Attached XPUs                             : 2", f"Attached XPUs                             : {len(cards)}")
    return head + "".join(f"XPU 0000{address.upper()}\n{text}" for (address, _index), text in zip(cards, blocks, strict=True))


def measured(cards, used=None):
    """The answer to -m for ``[(address, index)]``; ``used`` are MiB by index."""
    lines = []
    for address, index in sorted(cards, key=lambda card: card[1]):
        fields = MACHINE.strip().split(" ")
        fields[0:4] = [f"0000{address.upper()}", str(index), str(index), f"SERIAL{index}"]
        fields[17] = str((used or {}).get(index, 0))
        lines.append(" ".join(fields + ["0"] * 9))
    return "".join(f"{line}\n" for line in lines)


def answers(captured, cards, **other):
    """What the vendor's tool answers; ``other`` are texts by ``m``, ``q``, ``L`` or ``topo``."""
    captured.files({TOOL: ""})
    captured.answer(TOOL, SUMMARY)
    captured.answer(f"{TOOL} -m", other.get("m", measured(cards)))
    captured.answer(f"{TOOL} -q", other.get("q", queried(cards)))
    listed = "".join(line + "\n" for line in LISTED.splitlines() if int(line[4]) in {index for _address, index in cards})
    captured.answer(f"{TOOL} -L", other.get("L", listed))
    captured.answer(f"{TOOL} topo -m", other.get("topo", TOPOLOGY))


def bus(captured, addresses=ADDRESSES, driver="kunlun"):
    """PCI devices, four below each socket, and something that is no accelerator."""
    for position, address in enumerate(addresses):
        root = "pci0000:50/0000:50:01.0" if position < 4 else "pci0000:98/0000:98:01.0"
        folder = captured.pci(
            f"{root}/{address}",
            "1d22",
            "3686",
            numa_node=position // 4,
            current_link_speed="16.0 GT/s PCIe",
            current_link_width="16",
            max_link_speed="32.0 GT/s PCIe",
            max_link_width="16",
        )
        if driver:
            captured.link(f"{folder}/driver", f"../../../../bus/pci/drivers/{driver}")
    captured.pci("pci0000:50/0000:50:02.0/0000:5a:00.0", "15b3", "101d")


def driver(captured):
    """What the driver, its peer-memory module and XDR show."""
    captured.files(
        {
            "/proc/sys/kernel/osrelease": f"{RELEASE}\n",
            "/proc/modules": "kunlun 4915200 76 kunlun_peermem, Live 0x0 (OE)\nkunlun_peermem 16384 0 - Live 0x0 (OE)\n",
            "/proc/kunlun/version": "KLRM version: KUNLUN UNIX Open Kernel Module for x86_64 5.0.21.26 Release Build\n",
            "/proc/kunlun/dev0/info": "DeviceName: Kunlun3\nDeviceSN : SERIAL0\nDriverVersion 5.0.21.26\n",
            "/proc/kunlun/params": "",
            "/proc/xdr/version": "XDR 1.1.0.6\n",
            "/proc/xdr/map_xpus": "0: 0000:52:00.0\n",
            "/dev/xdrdrv": "",
            "/dev/xpuctrl": "",
            **{f"/dev/xpu{index}": "" for index in range(8)},
        }
    )
    captured.answer("modinfo -F vermagic kunlun", f"{RELEASE} SMP preempt mod_unload modversions \n")
    captured.answer("modinfo -F version kunlun", "5.0.21.26\n")
    captured.answer("dmesg", "[    1.0] kunlun: loading out-of-tree module taints kernel.\n")


CARDS = list(zip(ADDRESSES, INDEXES, strict=True))


@pytest.fixture
def healthy(captured):
    """A host of eight that lacks nothing."""
    bus(captured)
    driver(captured)
    answers(captured, CARDS)
    return captured


def gather(captured, containers=None, **params):
    return facts.gather(captured.tree, {**PARAMS, **params}, containers or {})


def test_a_healthy_host_of_eight(healthy):
    found = gather(healthy)
    assert found["problems"] == []
    assert [device["pci"] for device in found["devices"]] == ADDRESSES
    assert found["devices"][4] == {
        "pci": "0000:9a:00.0",
        "vendor": "1d22",
        "device": "3686",
        "numa_node": 1,
        "path": ["pci0000:98", "0000:98:01.0", "0000:9a:00.0"],
        "link": {"speed_gts": 16.0, "width": 16, "max_speed_gts": 32.0, "max_width": 16},
        "driver": "kunlun",
        "mapped": None,
        "index": 0,
        "minor": 0,
        "serial": "SERIAL0",
        "uuid": UUIDS[0],
        "part_number": "B00100300110112",
        "product": "P800 OAM",
        "firmware": {"PBL": "1.0", "PCIE": "2.14", "SBL": "1.54", "ALL": "1.0.2.14.1.54", "CPLD": "2.0"},
        "memory_total_bytes": 98304 * 1024**2,
        "memory_used_bytes": 0,
        "utilisation_percent": 0,
        "temperature_celsius": 37,
        "power_watts": 93,
    }
    assert [device["index"] for device in found["devices"]] == list(INDEXES)
    assert found["driver"] == {
        "version": "5.0.21.26",
        "cards": {"dev0": {"DeviceName": "Kunlun3", "DeviceSN": "SERIAL0", "DriverVersion": "5.0.21.26"}},
        "module": {
            "loaded": True,
            "vermagic": f"{RELEASE} SMP preempt mod_unload modversions",
            "built_for": RELEASE,
            "version": "5.0.21.26",
        },
        "peer_module": {"loaded": True},
        "xdr": {"version": "XDR 1.1.0.6", "mapped": True, "node": True},
        "kernel": RELEASE,
    }
    assert found["tool"] == {"path": TOOL, "kind": "kunlunxin", "version": "5.0.21.26", "runtime_version": "5.0.21"}
    assert found["topology"]["distances"]["XPU4"]["mlx5_3"] == "PIX"
    assert found["kernel_log"] == []
    assert sorted(found["nodes"]) == sorted(PARAMS["nodes"] + PARAMS["control_nodes"])
    assert found["nodes"]["/dev/xpuctrl"]["owners"] == []


def test_pci_devices_are_found_without_a_driver(captured):
    bus(captured, driver=None)
    captured.files({"/proc/modules": "", "/proc/sys/kernel/osrelease": f"{RELEASE}\n"})
    captured.answer("dmesg", "")
    found = gather(captured)
    assert [device["pci"] for device in found["devices"]] == ADDRESSES
    assert all(device[name] is None for device in found["devices"] for name in ("driver", *facts.TOOL_FACTS))
    assert set(found["nodes"].values()) == {None}
    assert found["driver"]["version"] is None
    assert found["driver"]["module"] == {"loaded": False, "vermagic": None, "built_for": None, "version": None}
    assert found["driver"]["peer_module"] == {"loaded": False}
    assert found["driver"]["xdr"] == {"version": None, "mapped": None, "node": False}
    assert found["tool"] == {"path": None, "kind": None, "version": None, "runtime_version": None}
    assert (found["topology"], found["problems"]) == (None, [])


@pytest.mark.parametrize(
    ("patterns", "count"), [(["1d22:3686"], 2), (["1d22:*"], 3), (["2057:3686"], 0), (["2057:*", "1d22:3684"], 1), ([], 0)]
)
def test_devices_are_chosen_by_their_numbers(captured, patterns, count):
    for place, device in enumerate(("3686", "3686", "3684")):
        captured.pci(f"pci0000:50/0000:50:01.0/0000:0{place}:00.0", "1d22", device)
    assert len(facts.cards(captured.tree, patterns)) == count


def test_intels_tool_is_refused(captured):
    bus(captured, driver=None)
    driver(captured)
    answers(captured, CARDS)  # it would answer, were it asked
    captured.answer(TOOL, INTEL_HELP)
    found = gather(captured)
    assert found["tool"] == {"path": TOOL, "kind": "other", "version": None, "runtime_version": None}
    assert found["problems"] == [f"{TOOL}: is another program of this name, Intel's; it is not asked anything"]
    assert found["topology"] is None
    assert all(device["index"] is None for device in found["devices"])


def test_intels_tool_that_finds_no_device_is_known_by_its_help(captured):
    captured.files({TOOL: ""})
    captured.answer(f"{TOOL} -h", INTEL_HELP)
    assert gather(captured)["tool"]["kind"] == "other"


def test_intels_tool_does_not_hide_the_vendors(captured):
    bus(captured)
    driver(captured)
    answers(captured, CARDS)
    captured.files({"/usr/local/sbin/xpu-smi": ""})
    captured.answer("/usr/local/sbin/xpu-smi", INTEL_HELP)
    found = gather(captured)
    assert (found["tool"]["path"], found["tool"]["kind"]) == (TOOL, "kunlunxin")
    assert found["devices"][0]["index"] == 4
    assert len(found["problems"]) == 1


def test_an_unknown_program_is_not_asked_either(captured):
    captured.files({"/opt/xpu-smi": ""})
    captured.answer("/opt/xpu-smi", "hello\n")
    found = gather(captured, tool="/opt/xpu-smi")
    assert (found["tool"]["path"], found["tool"]["kind"]) == ("/opt/xpu-smi", None)
    assert found["problems"][0] == "/opt/xpu-smi: is no program of this name that is known; it is not asked anything"


def test_a_tool_that_fails_is_not_asked_in_every_form(captured):
    bus(captured)
    driver(captured)
    captured.files({TOOL: ""})
    captured.answer(f"{TOOL} -h", "KUNLUNXIN System Management Interface -- v\n")
    found = gather(captured)
    assert found["tool"] == {"path": TOOL, "kind": "kunlunxin", "version": None, "runtime_version": None}
    assert found["problems"] == ["xpu-smi: gave no answer"]


def test_only_forms_that_read_are_asked(healthy, monkeypatch):
    asked = []
    real = HostTree.command

    def command(tree, *argv):
        asked.append(argv)
        return real(tree, *argv)

    monkeypatch.setattr(HostTree, "command", command)
    gather(healthy)
    assert [argv[1:] for argv in asked if argv[0] == TOOL] == [(), ("-m",), ("-L",), ("-q",), ("topo", "-m")]


def test_a_card_that_fell_off_the_bus(captured):
    bus(captured, ADDRESSES[:3] + ADDRESSES[4:])
    driver(captured)
    answers(captured, CARDS[:3] + CARDS[4:])
    found = gather(captured)
    assert [device["pci"] for device in found["devices"]] == ADDRESSES[:3] + ADDRESSES[4:]
    assert [device["index"] for device in found["devices"]] == [4, 5, 6, 0, 1, 2, 3]
    assert found["problems"] == []


def test_a_card_that_the_driver_did_not_take(captured):
    bus(captured)
    driver(captured)
    answers(captured, CARDS[:3] + CARDS[4:])
    found = gather(captured)
    lost = found["devices"][3]
    assert (lost["pci"], lost["index"], lost["serial"]) == ("0000:66:00.0", None, None)
    assert found["devices"][4]["index"] == 0
    assert found["problems"] == ["tool: 0000:66:00.0 is on the PCI bus, but the tool does not know it"]


def test_a_card_that_was_not_looked_for(healthy):
    found = gather(healthy, pci_ids=["2057:*"])
    assert found["devices"] == []
    assert found["problems"] == [f"tool: {address} is none of the PCI devices looked for" for address in ADDRESSES]


def test_an_xpu_in_use_by_a_process_in_a_container(healthy):
    healthy.files(
        {
            "/proc/812/comm": "python3\n",
            "/proc/812/cgroup": f"0::/system.slice/docker-{CONTAINER}.scope\n",
            "/proc/99/comm": "xpu-exporter\n",
            "/proc/99/cgroup": "0::/system.slice/xpu-exporter.service\n",
        }
    )
    for descriptor, target in enumerate(("/dev/null", "/dev/xpu3", "/dev/xpu3", "/dev/xpuctrl", "socket:[77]")):
        healthy.link(f"/proc/812/fd/{descriptor}", target)
    healthy.link("/proc/99/fd/5", "/dev/xpuctrl")
    answers(healthy, CARDS, m=measured(CARDS, used={3: 84504}))
    found = gather(healthy, {CONTAINER: {"name": "other-tenant", "labels": {}, "running": True}})
    inside = {"pid": 812, "process": "python3", "unit": None, "container": {"name": "other-tenant", "labels": {}}}
    outside = {"pid": 99, "process": "xpu-exporter", "unit": "xpu-exporter.service", "container": None}
    assert found["nodes"]["/dev/xpu3"]["owners"] == [inside]
    assert found["nodes"]["/dev/xpuctrl"]["owners"] == [outside, inside]
    assert found["nodes"]["/dev/xpu2"]["owners"] == []
    used = {device["index"]: device["memory_used_bytes"] for device in found["devices"]}
    assert used == {**dict.fromkeys(range(8), 0), 3: 84504 * 1024**2}


def test_a_node_is_known_by_its_number_and_not_by_its_path(tmp_path):
    alias = tmp_path / "xpu0"
    alias.symlink_to("/dev/null")
    problems = facts.Problems()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        found = facts.nodes(HostTree(), [str(alias), "/dev/zero"], {}, problems)
    finally:
        os.close(descriptor)
    assert (found[str(alias)]["kind"], found[str(alias)]["major"], found[str(alias)]["minor"]) == ("char", 1, 3)
    assert os.getpid() in [owner["pid"] for owner in found[str(alias)]["owners"]]
    assert os.getpid() not in [owner["pid"] for owner in found["/dev/zero"]["owners"]]


def test_another_user_is_told_that_owners_may_be_hidden(monkeypatch):
    monkeypatch.setattr(facts.os, "geteuid", lambda: 1000)
    problems = facts.Problems()
    facts.nodes(HostTree(), ["/dev/null"], {}, problems)
    assert problems.lines == ["/proc: only this user's processes can be seen to hold a node; expected to be run as root"]


@pytest.mark.parametrize(
    ("form", "old", "new", "name", "problem"),
    [
        ("q", "SERIAL0", "SERIAL9", "serial", "tool: serial of 0000:9a:00.0 is told as SERIAL9 and as SERIAL0"),
        ("L", "XPU 0: P800 OAM  " + UUIDS[0], "XPU 9: P800 OAM  " + UUIDS[0], "index", "tool: index of 0000:9a:00.0 is told as 0 and as 9"),
        (
            "q",
            "98304 MiB",
            "65536 MiB",
            "memory_total_bytes",
            f"tool: memory_total_bytes of 0000:52:00.0 is told as {65536 * 1024**2} and as {98304 * 1024**2}",
        ),
    ],
)
def test_what_two_forms_tell_differently_is_not_taken(healthy, form, old, new, name, problem):
    command = f"{TOOL} -{form}"
    text = healthy.tree.command(command)
    assert old in text
    healthy.answer(command, text.replace(old, new, 1))
    found = gather(healthy)
    assert problem in found["problems"]
    address = problem.split(" of ")[1].split(" ")[0]
    (device,) = (device for device in found["devices"] if device["pci"] == address)
    assert device[name] is None
    assert device["product"] == "P800 OAM"


def test_a_form_that_is_missing_leaves_the_others(healthy):
    (healthy.root / ".commands" / "_usr_local_bin_xpu-smi -m").unlink()
    found = gather(healthy)
    assert found["problems"] == ["xpu-smi -m: gave no answer"]
    assert [device["index"] for device in found["devices"]] == list(INDEXES)  # by the list, through the UUID
    assert found["devices"][0]["temperature_celsius"] == 46  # of -q


def test_a_line_that_cannot_be_read_is_told_with_the_call_that_printed_it(healthy):
    lines = measured(CARDS).splitlines()
    lines[2] = " ".join(lines[2].split(" ")[:12])
    healthy.answer(f"{TOOL} -m", "\n".join(lines))
    found = gather(healthy)
    assert found["problems"] == ["xpu-smi -m: line 3: 12 fields; expected 20 or more"]
    assert [device["index"] for device in found["devices"]] == list(INDEXES)


def test_an_answer_that_is_wrong_all_over_does_not_bury_the_rest(healthy):
    healthy.answer(f"{TOOL} -L", "\x1b[31mbroken\x1b[0m " * 100 + "\n" + "nothing\n" * 30)
    problems = gather(healthy)["problems"]
    assert len(problems) == 11
    assert problems[0].startswith("xpu-smi -L: line 1 is no device: 'broken broken")
    assert len(problems[0]) == 240
    assert problems[-1] == "xpu-smi -L: 21 more lines could not be read"


def test_an_unknown_version_is_told_and_read_as_far_as_it_is_the_same(healthy):
    healthy.answer(TOOL, SUMMARY.replace("5.0.21.26 ", "6.1.0.0   "))
    found = gather(healthy)
    assert found["tool"]["version"] == "6.1.0.0"
    assert found["problems"] == ["xpu-smi: version 6.1.0.0 is unknown; only what looks as in version 5 is read"]
    assert found["devices"][0]["serial"] == "SERIAL4"


def test_a_module_that_is_still_loading_is_not_loaded(healthy):
    healthy.files({"/proc/modules": "kunlun 4915200 1 - Loading 0x0 (OE+)\nshort line\n"})
    found = gather(healthy)
    assert (found["driver"]["module"]["loaded"], found["driver"]["peer_module"]["loaded"]) == (False, False)
    assert found["problems"] == ["/proc/modules: line 2 is no module: 'short line'"]


def test_modules_that_cannot_be_read_are_neither_loaded_nor_not(healthy):
    (healthy.root / "proc" / "modules").unlink()
    (healthy.root / "proc" / "modules").mkdir()
    found = gather(healthy)
    assert (found["driver"]["module"]["loaded"], found["driver"]["peer_module"]["loaded"]) == (None, None)
    assert found["problems"] == ["/proc/modules: cannot be read"]


def test_a_kernel_that_can_load_no_modules_has_none_loaded(healthy):
    (healthy.root / "proc" / "modules").unlink()
    found = gather(healthy)
    assert (found["driver"]["module"]["loaded"], found["driver"]["peer_module"]["loaded"]) == (False, False)
    assert found["problems"] == []


def test_files_of_the_driver_in_another_form_are_told(healthy):
    healthy.files({"/proc/kunlun/version": "KLRM version 5.0.21.26\n", "/proc/kunlun/dev1/info": "\n", "/proc/xdr/map_xpus": "\n"})
    found = gather(healthy)
    assert found["driver"]["version"] is None
    assert found["driver"]["xdr"]["mapped"] is False
    assert found["problems"] == ["/proc/kunlun/version: no line of KUNLUN has a version", "/proc/kunlun/dev1/info: tells nothing"]


def test_a_host_whose_accelerators_have_no_driver_of_their_own(captured):
    found = gather(captured, driver_module=None, peer_module=None, tool=None, kernel_log_patterns=[], nodes=[], control_nodes=[])
    assert found == {
        "devices": [],
        "nodes": {},
        "driver": None,
        "tool": {"path": None, "kind": None, "version": None, "runtime_version": None},
        "topology": None,
        "kernel_log": None,
        "problems": [],
    }


def test_the_kernels_log_is_searched(healthy):
    healthy.answer("dmesg", "[ 9.1] c2c port1 AM out of lock!, reg_val: 0x0\n")
    assert gather(healthy)["kernel_log"] == [{**LOG[1], "line": "[ 9.1] c2c port1 AM out of lock!, reg_val: 0x0", "count": 1}]


def test_a_log_that_cannot_be_read_is_told(healthy):
    (healthy.root / ".commands" / "dmesg").unlink()
    found = gather(healthy)
    assert (found["kernel_log"], found["problems"]) == (None, ["dmesg: gave no answer"])


class Engine:
    def __init__(self, containers=None):
        self.found = containers

    def containers(self):
        if self.found is None:
            raise EngineError("no answer")
        return self.found


def test_containers_are_named_where_an_engine_answers(captured):
    assert facts.containers_of(HostTree(), Engine({"x": {"name": "a"}})) == {"x": {"name": "a"}}
    assert facts.containers_of(HostTree(), Engine()) == {}
    assert facts.containers_of(captured.tree) == {}


@given(
    st.sampled_from(["", " -m", " -q", " -L", " topo -m"]),
    st.integers(0, 4000),
    st.integers(0, 80),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=40),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_answer_raises_nothing_and_is_told_in_lines(healthy, form, start, length, text):
    answers(healthy, CARDS)
    whole = healthy.tree.command(TOOL + form)
    start %= len(whole)
    healthy.answer(TOOL + form, whole[:start] + text + whole[start + length :])
    found = gather(healthy)
    assert [device["pci"] for device in found["devices"]] == ADDRESSES
    assert all(len(line.splitlines()) == 1 and len(line) <= 240 for line in found["problems"])
    for device in found["devices"]:
        assert set(device) >= set(facts.TOOL_FACTS)
        assert device["index"] in (None, *INDEXES) or form in (" -m", " -L")
