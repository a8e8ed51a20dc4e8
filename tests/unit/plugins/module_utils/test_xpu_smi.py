"""What xpu-smi prints, read from captures of real hosts; captures/xpu-smi/README.md names the source of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_smi as xpu_smi
from hypothesis import given
from hypothesis import strategies as st

CAPTURES = Path(__file__).absolute().parent / "captures" / "xpu-smi"
SUMMARY, MACHINE, LISTED, QUERY, LEGEND, DEVICES, INTEL_HELP = (
    (CAPTURES / f"{name}.txt").read_text() for name in ("summary", "m", "L", "q", "topo-legend", "topo-devices", "intel-help")
)
GIB_96 = 98304 * 1024**2
LINE = MACHINE.strip()


def with_field(position, value, line=LINE):
    """The line of ``-m`` with another value in a field, counted from 1."""
    fields = line.split(" ")
    fields[position - 1] = value
    return " ".join(fields)


# --- whose program it is ------------------------------------------------------------------------------------------------------


def test_kunlunxins_program_is_known_by_its_summary_and_by_its_help():
    assert xpu_smi.identify(SUMMARY) == "kunlunxin"
    assert xpu_smi.identify("KUNLUNXIN System Management Interface -- v\n\nXPUSMI ...\n") == "kunlunxin"


@pytest.mark.parametrize(
    "text",
    [
        INTEL_HELP,
        "Intel(R) XPU System Management Interface -- v1.0 \n",  # intel/xpumanager, doc/smi_user_guide.md
        "| Intel XPU-SMI v2.0    Driver: 1.14.37435    Level Zero: 1.28.2 |\n",  # the same, its summary since version 2
    ],
)
def test_intels_program_of_the_same_name_is_known(text):
    assert xpu_smi.identify(text) == "other"


@pytest.mark.parametrize("text", [None, "", "NVIDIA-SMI 535.54.03  Driver Version: 535.54.03  CUDA Version: 12.2", "No devices found"])
def test_anything_else_is_unknown(text):
    assert xpu_smi.identify(text) is None


def test_a_process_called_as_the_other_program_does_not_mislead():
    assert xpu_smi.identify(SUMMARY.replace("No running processes found", "Intel XPU-SMI v2.0")) == "kunlunxin"


# --- the summary --------------------------------------------------------------------------------------------------------------


def test_the_versions_stand_in_the_summarys_head():
    assert xpu_smi.parse_versions(SUMMARY) == ({"version": "5.0.21.26", "runtime_version": "5.0.21"}, [])


def test_a_driver_without_runtime():
    found, problems = xpu_smi.parse_versions("| XPU-SMI               Driver Version: 515.58       XPU-RT Version: N/A      |")
    assert found == {"version": "515.58", "runtime_version": None}
    assert problems == ["version 515.58 is unknown; only what looks as in version 5 is read"]


def test_a_summary_without_versions():
    assert xpu_smi.parse_versions("+---+\n") == (
        {"version": None, "runtime_version": None},
        ["no line has 'Driver Version' and 'XPU-RT Version'"],
    )


# --- machine-readable ---------------------------------------------------------------------------------------------------------


def test_fields_are_found_by_their_position():
    rows, problems = xpu_smi.parse_machine(MACHINE)
    assert problems == []
    assert rows == [
        {
            "pci": "0000:16:00.0",
            "index": 1,
            "serial": "SERIAL",
            "temperature_celsius": 37,
            "power_watts": 93,
            "memory_used_bytes": 0,
            "memory_total_bytes": GIB_96,
            "utilisation_percent": 0,
        }
    ]


@pytest.mark.parametrize("more", ["", " 0 0 0 0 0 0 0 0 0", ' 1 "two words" 3 4 5 6 7 8 9 10 11 12 13 14'])
def test_a_version_with_more_fields_is_read(more):
    assert xpu_smi.parse_machine(LINE + more) == xpu_smi.parse_machine(LINE)


def test_a_short_line_is_told_and_the_others_are_read():
    short = " ".join(LINE.split(" ")[:12])
    rows, problems = xpu_smi.parse_machine("\n".join([LINE, "", short]))
    assert [row["index"] for row in rows] == [1]
    assert problems == ["line 3: 12 fields; expected 20 or more"]


@pytest.mark.parametrize(
    ("position", "value", "name", "expected"),
    [
        (2, "one", "index", "a count"),
        (5, "37C", "temperature_celsius", "a number"),
        (18, "12.5", "memory_used_bytes", "a count"),
        (19, "٩٨", "memory_total_bytes", "a count"),  # digits, but none of ASCII
        (20, "98304", "utilisation_percent", "a number from 0 to 100"),  # as when the fields are one further
    ],
)
def test_a_field_of_another_form_is_told_and_not_taken(position, value, name, expected):
    (row,), problems = xpu_smi.parse_machine(with_field(position, value))
    assert row[name] is None
    assert row["serial"] == "SERIAL"
    assert problems == [f"line 1: field {position} is '{value}'; expected {expected}"]


def test_what_the_tool_does_not_know_is_no_problem():
    (row,), problems = xpu_smi.parse_machine(with_field(5, "N/A"))
    assert (row["temperature_celsius"], problems) == (None, [])


def test_a_line_without_address_cannot_be_matched():
    assert xpu_smi.parse_machine(with_field(1, "card")) == ([], ["line 1: field 1 is 'card'; expected a PCI address"])


def test_an_open_quotation():
    rows, problems = xpu_smi.parse_machine(LINE.replace('OAM"', "OAM"))
    assert rows == []
    assert problems[0].startswith("line 1 has a quotation without an end: '00000000:16:00.0")


def test_a_device_that_is_told_twice_is_taken_neither_time():
    other = with_field(1, "00000000:17:00.0", with_field(2, "2"))
    rows, problems = xpu_smi.parse_machine("\n".join([LINE, other, with_field(2, "3")]))
    assert [row["index"] for row in rows] == [2]
    assert problems == ["pci 0000:16:00.0 is told 2 times; none of them is taken"]
    assert xpu_smi.parse_machine("\n".join([LINE, with_field(1, "00000000:17:00.0")])) == (
        [],
        ["index 1 is told 2 times; none of them is taken"],
    )


# --- list and query -----------------------------------------------------------------------------------------------------------


def test_the_list_tells_uuids_or_addresses():
    rows, problems = xpu_smi.parse_list(LISTED)
    assert problems == []
    assert [row["index"] for row in rows] == list(range(8))
    assert rows[5] == {"index": 5, "uuid": "GPU-f396486d-9850-50e4-81c4-50f2e9f6ca87", "pci": None}
    # The form that zstack's plugin has in its comment.
    assert xpu_smi.parse_list("XPU 0: 00000000:21:00.0\n") == ([{"index": 0, "uuid": None, "pci": "0000:21:00.0"}], [])


def test_a_list_with_something_else_in_it():
    rows, problems = xpu_smi.parse_list("Unable to open 3\n" + LISTED)
    assert len(rows) == 8
    assert problems == ["line 1 is no device: 'Unable to open 3'"]


def test_a_query_is_read_below_its_headings():
    rows, problems = xpu_smi.parse_query(QUERY)
    assert rows == [
        {
            "pci": "0000:01:00.0",
            "product": "P800 PCIe",
            "serial": "02K0MA0258D0007R",
            "uuid": "GPU-420716f2-9928-5108-a5b2-e6b7cf36b37c",
            "minor": 0,
            "part_number": "B00100300110211",
            "firmware": {"PBL": "1.0", "PCIE": "2.14", "SBL": "1.54", "ALL": "1.0.2.14.1.54", "CPLD": "2.0"},
            "memory_total_bytes": GIB_96,  # not L3's, which stands below another heading
            "memory_used_bytes": 0,
            "utilisation_percent": 0,
            "temperature_celsius": 46,
            "power_watts": 76,
        }
    ]
    assert problems == ["'Attached XPUs' is 2, but 1 are told of"]  # the sample is of one of two


def test_a_device_that_is_used_has_lines_below_processes():
    used = QUERY.replace("Used                              : 0 MiB", "Used                              : 84504 MiB", 1)
    used = used.replace(
        "    Processes                             : None",
        "    Processes\n        Process ID                        : 25384\n            Type                          : C\n",
    )
    (row,), problems = xpu_smi.parse_query(used)
    assert row["memory_used_bytes"] == 84504 * 1024**2
    assert problems == ["'Attached XPUs' is 2, but 1 are told of"]


def test_lines_that_a_version_does_not_have_are_told():
    without = "".join(line for line in QUERY.splitlines(keepends=True) if "Part Number" not in line and "Xpu  " not in line)
    (row,), problems = xpu_smi.parse_query(without)
    assert (row["part_number"], row["utilisation_percent"], row["minor"]) == (None, None, 0)
    assert problems[1:] == ["no line 'XPU Part Number' for 0000:01:00.0", "no line 'Utilization / Xpu' for 0000:01:00.0"]


@pytest.mark.parametrize(
    ("old", "new", "name", "problem"),
    [
        (": 98304 MiB", ": 96 GiB", "memory_total_bytes", "0000:01:00.0: 'Memory Usage / Total' is '96 GiB'; expected a count of MiB"),
        (": 46 C", ": hot", "temperature_celsius", "0000:01:00.0: 'Temperature / XPU Current Temp' is 'hot'; expected a number of C"),
        (": 0 %", ": 300 %", "utilisation_percent", "0000:01:00.0: 'Utilization / Xpu' is '300 %'; expected a number of % from 0 to 100"),
    ],
)
def test_a_value_in_another_unit_is_not_taken(old, new, name, problem):
    (row,), problems = xpu_smi.parse_query(QUERY.replace(old, new, 1))
    assert row[name] is None
    assert problem in problems


def test_a_query_with_lines_that_are_none():
    rows, problems = xpu_smi.parse_query("something broke\nXPU bus\n    Serial Number : X\n" + QUERY)
    assert [row["serial"] for row in rows] == ["02K0MA0258D0007R"]
    assert problems[:2] == ["line 1 is unknown: 'something broke'", "line 2 is no device: 'XPU bus'"]


# --- topology -----------------------------------------------------------------------------------------------------------------


def test_adapters_with_a_legend():
    topology, problems = xpu_smi.parse_topology(LEGEND)
    assert topology["layout"] == "legend"
    assert topology["names"] == [*(f"XPU{index}" for index in range(8)), *(f"NIC{index}" for index in range(5))]
    assert topology["legend"] == {f"NIC{index}": f"mlx5_{index}" for index in range(5)}
    assert topology["distances"]["XPU2"]["NIC2"] == "PIX"
    assert topology["distances"]["XPU2"]["XPU6"] == "XL"
    assert topology["cpu_affinity"]["XPU4"] == "52-103,156-207"
    assert topology["numa_affinity"] == {f"XPU{index}": index // 4 for index in range(8)}
    # A contradiction of the capture itself: both words are kept, and it is told.
    assert problems == ["XPU0 to XPU4 is SYS, but XPU4 to XPU0 is XL"]
    assert (topology["distances"]["XPU0"]["XPU4"], topology["distances"]["XPU4"]["XPU0"]) == ("SYS", "XL")


def test_rdma_devices_as_columns_in_colour():
    assert "\x1b[1;32mmlx5_0\x1b[0m" in DEVICES
    topology, problems = xpu_smi.parse_topology(DEVICES)
    assert problems == []
    assert (topology["layout"], topology["legend"]) == ("devices", {})
    assert topology["names"][8:] == [f"mlx5_{index}" for index in range(5)]
    assert topology["distances"]["XPU3"]["mlx5_2"] == topology["distances"]["mlx5_2"]["XPU3"] == "PIX"
    assert topology["distances"]["mlx5_4"]["XPU7"] == "PIX"
    assert sorted(topology["numa_affinity"]) == [f"XPU{index}" for index in range(8)]


def test_other_makers_adapters_as_columns():
    text = (
        "       XPU0 XPU1 hns_0 bnxt_re1 irdma2 CPU Affinity NUMA Affinity\n"
        "XPU0   X    XL   PIX   SYS      NODE   0-7 0\n"
        "XPU1   XL   X    SYS   PIX      NODE   8-15 1\n"
    )
    topology, problems = xpu_smi.parse_topology(text)  # Corpama/envinit, the same tests
    assert problems == []
    assert topology["distances"]["XPU1"] == {"XPU0": "XL", "XPU1": "X", "hns_0": "SYS", "bnxt_re1": "PIX", "irdma2": "NODE"}


def test_a_row_called_by_its_device_is_the_column_where_it_meets_itself():
    text = (
        "XPU0 NIC0 NIC1 CPU Affinity NUMA Affinity\n"
        "XPU0 X PIX SYS 0-7 0\n"
        "mlx5_3 SYS SYS X\n"  # in another order than the columns
        "mlx5_0 PIX X SYS\n"
    )
    topology, problems = xpu_smi.parse_topology(text)
    assert problems == []
    assert topology["legend"] == {"NIC0": "mlx5_0", "NIC1": "mlx5_3"}
    assert topology["distances"]["NIC1"] == {"XPU0": "SYS", "NIC0": "SYS", "NIC1": "X"}


def test_one_xpu_alone():
    topology, problems = xpu_smi.parse_topology("\x1b[4m\tXPU0\tCPU Affinity\tNUMA Affinity\x1b[0m\nXPU0\t X \tN/A\tN/A\n")
    assert problems == []
    assert topology["distances"] == {"XPU0": {"XPU0": "X"}}
    assert (topology["cpu_affinity"], topology["numa_affinity"]) == ({}, {})


HEAD = "     XPU0 XPU1 NIC0 CPU Affinity NUMA Affinity\n"
FOOT = "NIC Legend:\n  NIC0: mlx5_0\n"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X\n", "line 3: 3 fields; expected 4 to 6"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X FAR 0-7 0\n", "line 3 has unknown words, which are left out: FAR"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X PIX eight 0\n", "line 3: affinity is 'eight 0'; expected CPUs and a NUMA node"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X PIX 0-7\n", "line 3: affinity is '0-7'; expected CPUs and a NUMA node"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X PIX 0-7 0\nXPU1 SYS X PIX 0-7 0\n", "line 4 is a second row of XPU1; the first one counts"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL SYS PIX 0-7 0\n", "XPU1 to itself is SYS; expected X"),
        ("XPU0 X X PIX 0-7 0\nXPU1 X X PIX 0-7 0\n", "XPU0 and XPU1 are told to be the same"),
        ("XPU0 X XL PIX 0-7 0\n", "no row of XPU1"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X PIX 0-7 0\nXPU7 XL XL PIX 0-7 0\n", "line 4 is a row of XPU7, which is no column"),
        ("XPU0 X XL PIX 0-7 0\nXPU1 XL X PIX 0-7 0\n!\n", "line 4 is unknown: '!'"),
    ],
)
def test_a_topology_that_cannot_be_so_is_told(rows, problem):
    topology, problems = xpu_smi.parse_topology(HEAD + rows + FOOT)
    assert problem in problems
    assert topology["distances"]["XPU0"]["NIC0"] == "PIX"


def test_an_unknown_word_is_left_out_and_the_rest_of_its_row_is_not():
    topology, _problems = xpu_smi.parse_topology(HEAD + "XPU0 X XL PIX 0-7 0\nXPU1 XL X FAR 0-7 1\n" + FOOT)
    assert topology["distances"]["XPU1"] == {"XPU0": "XL", "XPU1": "X"}
    assert topology["numa_affinity"]["XPU1"] == 1


def test_columns_without_a_legend_and_unknown_last_columns():
    topology, problems = xpu_smi.parse_topology("XPU0 NIC0 CPU Affinity NUMA Affinity XPU NUMA ID\nXPU0 X PIX 0-7 0 3\n")
    assert problems == [
        "the last columns are 'CPU Affinity NUMA Affinity XPU NUMA ID'; expected 'CPU Affinity NUMA Affinity'; they are not read",
        "no legend tells what NIC0 is",
    ]
    assert (topology["distances"]["XPU0"], topology["numa_affinity"]) == ({"XPU0": "X", "NIC0": "PIX"}, {})


def test_no_topology_at_all():
    assert xpu_smi.parse_topology("Failed to open\n") == (
        None,
        ["line 1 stands before the columns' names: 'Failed to open'", "no line names columns such as XPU0, XPU1"],
    )


# --- anything -----------------------------------------------------------------------------------------------------------------


@st.composite
def damaged(draw, text):
    """A capture with lines gone, doubled, swapped, and pieces overwritten by anything."""
    lines = text.splitlines(keepends=True)
    for _change in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(("drop", "double", "swap", "overwrite")))
        if kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            start = draw(st.integers(0, len(lines[at])))
            end = draw(st.integers(start, len(lines[at])))
            lines[at] = lines[at][:start] + draw(st.text(max_size=12)) + lines[at][end:]
    return "".join(lines)


PARSERS = (
    (xpu_smi.parse_versions, SUMMARY),
    (xpu_smi.parse_machine, "\n".join([LINE, with_field(1, "00000000:17:00.0", with_field(2, "2"))])),
    (xpu_smi.parse_list, LISTED),
    (xpu_smi.parse_query, QUERY),
    (xpu_smi.parse_topology, LEGEND),
    (xpu_smi.parse_topology, DEVICES),
)


@given(st.data(), st.sampled_from(PARSERS))
def test_a_damaged_answer_is_read_or_told(data, case):
    parse, text = case
    _result, problems = parse(data.draw(damaged(text)))
    assert all(isinstance(problem, str) for problem in problems)


@given(st.text(), st.sampled_from(PARSERS))
def test_anything_at_all_raises_nothing(text, case):
    xpu_smi.identify(text)
    case[0](text)


@given(st.data())
def test_a_damaged_line_never_yields_values_of_another_kind(data):
    rows, _problems = xpu_smi.parse_machine(data.draw(damaged(MACHINE)))
    for row in rows:
        assert row["index"] is None or row["index"] >= 0
        assert row["utilisation_percent"] is None or 0 <= row["utilisation_percent"] <= 100
        assert row["memory_total_bytes"] is None or row["memory_total_bytes"] % 1024**2 == 0
