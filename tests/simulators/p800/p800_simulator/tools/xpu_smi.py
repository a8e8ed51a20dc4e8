# SPDX-License-Identifier: MIT
"""SIMULATOR: Kunlunxin's xpu-smi. The forms are those of tests/unit/plugins/module_utils/captures/xpu-smi, whose README names their sources."""

from __future__ import annotations

from typing import List, Optional, Sequence

from ..machine import CPUS, L3_MIB, MEMORY_MIB, XPU_GENERATION, Machine, Xpu
from ..topology import matrix
from .base import Answer, Program, Session, option, refusal

RUNTIME = "5.0.21"  # in the table; -q calls another number so: 10.2 in the sample
POWER_LIMIT = 400
FIELDS = 32  # of -m in a current version (a fork of FlagPerf); those after the 23rd are not known, and 0 here
HELP = """KUNLUNXIN System Management Interface (p800-simulator: a simulator, no XPU is asked)

xpu-smi [OPTION1 [ARG1]] [OPTION2 [ARG2]] ...

    -h,   --help                Print usage information and exit.
    -L,   --list-xpus           Display a list of XPUs connected to the system.
    -i,   --id=                 Target a specific XPU.
    -q,   --query               Display XPU information.
    -m                          Machine readable form.
    topo  -m | -mo              Display topology.
    -r, -V                      Refused: they would reset devices, or change their number.
"""
_FORBIDDEN = ("-r", "--gpu-reset", "--xpu-reset", "-V")
_FRAME = "+-----------------------------------------------------------------------------+"
_ROW_END = "+-------------------------------+----------------------+----------------------+"


def bus_id(xpu: Xpu) -> str:
    return "0000" + xpu.function.address.upper()


def answer(session: Session, argv: Sequence[str]) -> Answer:
    machine = session.machine
    forbidden = [word for word in argv if word in _FORBIDDEN]
    if forbidden:
        return refusal("p800-simulator: REFUSED: xpu-smi %s would reset devices or change their number" % forbidden[0], 2)
    if "-h" in argv or "--help" in argv:
        return Answer(HELP)
    if not machine.driver_runs or machine.tool.fails:
        return refusal("XPU-SMI has failed: no answer from the driver (p800-simulator)", 9)
    chosen = _chosen(machine, option(argv, "-i", "--id"))
    if chosen is None:
        return refusal("No devices were found", 6)
    odd = "~~ a line that no version prints ~~\n" if machine.tool.strange else ""
    if list(argv) in (["topo", "-m"], ["topo", "-mo"]):
        return Answer(odd + topology(machine))
    if "-q" in argv:
        return Answer(query(machine, chosen) + odd)
    if "-L" in argv:
        return Answer("".join("XPU %d: %s  %s\n" % (xpu.index, xpu.product, xpu.uuid) for xpu in chosen) + odd)
    if "-m" in argv:
        return Answer(odd + machine_form(chosen))
    if argv:
        return refusal("p800-simulator: xpu-smi: %s is not simulated" % " ".join(argv), 2)
    return Answer(table(machine))


def _chosen(machine: Machine, wanted: Optional[str]) -> Optional[List[Xpu]]:
    """By number or bus id, several with commas; None where one of them is not there."""
    if wanted is None:
        return machine.known_xpus
    by_name = {str(xpu.index): xpu for xpu in machine.known_xpus}
    by_name.update((bus_id(xpu), xpu) for xpu in machine.known_xpus)
    found = [by_name.get(word.upper()) for word in wanted.split(",")]
    return None if None in found else [xpu for xpu in found if xpu]


def table(machine: Machine) -> str:
    version = "%-12s" % machine.tool.version
    lines = [
        _FRAME,
        "| XPU-SMI               Driver Version: %s XPU-RT Version: %-8s |" % (version, RUNTIME),
        "|-------------------------------+----------------------+----------------------+",
        "| XPU  Name        Persistence-M| Bus-Id        Disp.A | Volatile Uncorr. ECC |",
        "| Fan  Temp  Perf  Pwr:Usage/Cap|         Memory-Usage | XPU-Util  Compute M. |",
        "|                               |             L3-Usage |            SR-IOV M. |",
        "|===============================+======================+======================|",
    ]
    for xpu in machine.known_xpus:
        lines += [
            "| %3d  %-8s           N/A   | %s N/A |                    0 |" % (xpu.index, xpu.product, bus_id(xpu)),
            "| N/A  %3dC  N/A   %4dW / %dW | %6dMiB / %dMiB | %6d%%      Default |"
            % (xpu.temperature, xpu.power, POWER_LIMIT, xpu.used_mib, MEMORY_MIB, xpu.utilisation),
            "|                               |      0MiB / %5dMiB |             Disabled |" % L3_MIB,
            _ROW_END,
        ]
    lines += ["", _FRAME, "| Processes:                                                                  |"]
    lines += ["|  XPU   XI   CI        PID   Type   Process name                  XPU Memory |"]
    lines += ["|        ID   ID                                                   Usage      |", "|" + "=" * 77 + "|"]
    users = [(xpu, holder) for xpu in machine.known_xpus for holder in machine.holders if holder.path == "/dev/xpu%d" % xpu.index]
    for xpu, holder in users:
        lines.append("| %4d   N/A  N/A %10d      C   %-28s %7dMiB |" % (xpu.index, holder.pid, holder.name, xpu.used_mib))
    if not users:
        lines.append("|  No running processes found                                                 |")
    return "\n".join([*lines, _FRAME, ""])


def machine_form(chosen: List[Xpu]) -> str:
    lines = []
    for xpu in chosen:
        fields = [bus_id(xpu), xpu.index, xpu.index, xpu.serial, xpu.temperature, 0, 0, 0, xpu.power]
        fields += [1450] * 6 + [0, L3_MIB, xpu.used_mib, MEMORY_MIB, xpu.utilisation, xpu.firmware["ALL"], '"%s"' % xpu.product, 0]
        fields += [0] * (FIELDS - len(fields))
        lines.append(" ".join(str(field) for field in fields))
    return "".join("%s\n" % text for text in lines)


def query(machine: Machine, chosen: List[Xpu]) -> str:
    lines = ["==============XPUSMI LOG==============", ""]
    lines += [_pair(0, "Timestamp", "Thu Jan  1 00:00:00 1970")]
    lines += [_pair(0, "Driver Version", machine.tool.version), _pair(0, "XPU-RT Version", "10.2"), ""]
    lines += [_pair(0, "Attached XPUs", len(chosen))]
    for xpu in chosen:
        lines += ["XPU " + bus_id(xpu), *_query(machine, xpu)]
    return "\n".join([*lines, ""])


def _pair(depth: int, name: str, value: object) -> str:
    return "%s: %s" % (("    " * depth + name).ljust(42), value)


def _generation(speed: str) -> int:
    return {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5}[speed.split()[0]]


def _query(machine: Machine, xpu: Xpu) -> List[str]:
    address, link = xpu.function.address, xpu.function.link
    domain, bus, rest = address.split(":")
    device, function = rest.split(".")
    lines = [
        _pair(1, "Product Name", xpu.product),
        _pair(1, "Product Brand", "KUNLUNXIN"),
        _pair(1, "Product Architecture", "KL3"),
        _pair(1, "Serial Number", xpu.serial),
        _pair(1, "XPU UUID", xpu.uuid),
        _pair(1, "Minor Number", xpu.index),
        _pair(1, "PCIe Id", 3),
        _pair(1, "XPU Part Number", xpu.part_number),
        "    Firmware Version",
    ]
    lines += [_pair(2, part + " Version", xpu.firmware[part]) for part in ("PBL", "PCIE", "SBL", "ALL", "CPLD")]
    lines += [
        "    PCI",
        _pair(2, "Bus", "0x" + bus.upper()),
        _pair(2, "Device", "0x" + device),
        _pair(2, "Function", "0x" + function),
        _pair(2, "Domain", "0x" + domain),
        _pair(2, "Device Id", "0x%s%s" % (xpu.function.device, xpu.function.vendor)),
        _pair(2, "Bus Id", bus_id(xpu)),
        _pair(2, "Sub System Id", "0x0001%s" % xpu.function.vendor),
        "        XPU Link Info",
        "            PCIe Generation",
        _pair(4, "Max", XPU_GENERATION),
        _pair(4, "Current", _generation(link.speed)),
        "            Link Width",
        _pair(4, "Max", "%dx" % link.max_width),
        _pair(4, "Current", "%dx" % link.width),
    ]
    for name, total, used in (("Memory Usage", MEMORY_MIB, xpu.used_mib), ("L3 Usage", L3_MIB, 0)):
        lines += ["    " + name, _pair(2, "Total", "%d MiB" % total), _pair(2, "Reserved", "0 MiB")]
        lines += [_pair(2, "Used", "%d MiB" % used), _pair(2, "Free", "%d MiB" % (total - used))]
    lines += ["    Utilization", _pair(2, "Xpu", "%d %%" % xpu.utilisation)]
    lines += ["    Ecc Mode", _pair(2, "Current", "Enabled"), _pair(2, "Pending", "Enabled"), "    ECC Errors"]
    for when in ("Volatile", "Aggregate"):
        lines += ["        " + when, _pair(3, "DRAM Correctable", 0), _pair(3, "DRAM Uncorrectable", 0)]
    lines += ["    Temperature", _pair(2, "XPU Current Temp", "%d C" % xpu.temperature)]
    lines += [
        "    Power Readings",
        _pair(2, "Enforced Power Limit", "%d.00 W" % POWER_LIMIT),
        _pair(2, "Power Draw", "%d.00 W" % xpu.power),
    ]
    lines += ["    Clocks", _pair(2, "Cluster", "1450 MHz"), _pair(2, "CDNN", "1450 MHz")]
    users = [holder for holder in machine.holders if holder.path == "/dev/xpu%d" % xpu.index]
    if not users:
        return [*lines, _pair(1, "Processes", "None")]
    lines.append("    Processes")
    for holder in users:
        lines += [_pair(2, "Process ID", holder.pid), _pair(2, "Name", holder.name), _pair(2, "Used XPU Memory", "%d MiB" % xpu.used_mib)]
    return lines


def topology(machine: Machine) -> str:
    """In the layout ``legend`` the adapters are NIC0, NIC1; in ``devices`` they have the names of their RDMA devices, in colour."""
    rows = [row for row in matrix(machine) if not isinstance(row[1], Xpu) or row[1].probed]
    unknown = [position for position, row in enumerate(matrix(machine)) if isinstance(row[1], Xpu) and not row[1].probed]
    adapters = [name for name, thing, _cells in rows if not isinstance(thing, Xpu)]
    legend = machine.tool.layout == "legend"
    heads = [name for name, thing, _cells in rows if isinstance(thing, Xpu)]
    heads += ["NIC%d" % number if legend else "\x1b[1;32m%s\x1b[0m" % name for number, name in enumerate(adapters)]
    lines = ["%-7s %s CPU Affinity NUMA Affinity" % ("", " ".join("%-4s" % head for head in heads))]
    for name, thing, cells in rows:
        is_xpu = isinstance(thing, Xpu)
        if legend and not is_xpu:
            continue
        words = [word for position, word in enumerate(cells) if position not in unknown]
        numa = thing.function.place.numa
        tail = " %s %d" % (CPUS[numa], numa) if is_xpu else ""
        lines.append("%-7s %s%s" % (name, " ".join("%-4s" % word for word in words).rstrip(), tail))
    lines += ["", "Legend:", "  X = Self", "  PIX = Connection traversing at most a single PCIe bridge"]
    if legend:
        lines += ["", "NIC Legend:"] + ["  NIC%d: %s" % (number, name) for number, name in enumerate(adapters)]
    return "\n".join([*lines, ""])


PROGRAM = Program("xpu-smi", "/usr/local/xpu/bin/xpu-smi", "Kunlunxin's xpu-smi", answer)
