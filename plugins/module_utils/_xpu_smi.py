# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Pure parsers of what Kunlunxin's ``xpu-smi`` prints: text in, plain data out, no program is started here.

Every parser returns its result with a list of problems, one line for each thing it could not read; it goes on with the rest and never
takes a value that it had to guess. Sources of the formats, because no manual is public:

* table form, and the fields of ``-m`` by number: a host's ``xpu_smi`` and ``xpu_smi --help`` (driver 5.0.21.26), in which the fields
  are numbered from 0; FlagPerf's kunlunxin_monitor.py and its checks read the same ones;
* ``-q``: the sample in zstack's Kunlunxin plugin (driver 5.0.21.26);
* ``-L``: a host survey (driver 5.0.21.47) and the same plugin;
* ``topo -m``: the tests of Corpama/envinit;
* Intel's program of the same name: intel/xpumanager, doc/smi_user_guide.md and the source of its summary.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter

MIB = 1024**2

KUNLUNXIN = "kunlunxin"
OTHER = "other"
KNOWN_MAJOR = "5"  # all samples are from drivers 5.0 and 5.19

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_TABLE_HEAD = re.compile(r"XPU-SMI +Driver Version: *(\S+) +XPU-RT Version: *(\S+)")
_INTEL = re.compile(r"Intel(?:\(R\))? XPU[- ](?:SMI|System Management Interface)")
_NOT_TOLD = ("N/A", "[N/A]", "")


def plain(text):
    """The text without the codes that colour a terminal."""
    return _ANSI.sub("", text or "")


def identify(text):
    """Whose program printed this, when called without arguments or for help: :data:`KUNLUNXIN`, :data:`OTHER` or None for unknown."""
    text = plain(text)
    if _TABLE_HEAD.search(text) or re.match(r"\s*KUNLUNXIN\b", text):
        return KUNLUNXIN
    return OTHER if _INTEL.search(text) else None


def parse_versions(text):
    """The table form's head: ``({"version", "runtime_version"}, problems)``, each None where it is not told.

    The version is the driver's. The runtime's is another number than the one ``-q`` calls so (5.0.21 there, 10.2 here).
    """
    match = _TABLE_HEAD.search(plain(text))
    if not match:
        return {"version": None, "runtime_version": None}, ["no line has 'Driver Version' and 'XPU-RT Version'"]
    version, runtime = (None if word in _NOT_TOLD else word for word in match.groups())
    problems = []
    if version is None or version.split(".")[0] != KNOWN_MAJOR:
        problems.append("version %s is unknown; only what looks as in version %s is read" % (version, KNOWN_MAJOR))
    return {"version": version, "runtime_version": runtime}, problems


def bus_id(text):
    """``00000000:9A:00.0`` as sysfs writes it, ``0000:9a:00.0``; None for anything else."""
    match = re.fullmatch(r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])", text)
    return "%04x:%s:%s.%s" % (int(match.group(1), 16), match.group(2).lower(), match.group(3).lower(), match.group(4)) if match else None


def _count(text):
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None


def _number(text):
    return float(text) if re.fullmatch(r"-?[0-9]{1,12}(?:\.[0-9]{1,6})?", text) else None


def _percent(text):
    number = _number(text)
    return number if number is not None and 0 <= number <= 100 else None


def _mebibytes(text):
    number = _count(text)
    return None if number is None else number * MIB


def _with_unit(unit, reader):
    def read(text):
        value, _blank, found = text.rpartition(" ")
        return reader(value.strip()) if found == unit else None

    return read


def _read(reader, text, where, expected, problems):
    """One value, None where the tool tells none; a value of another form is a problem and None, too."""
    if text in _NOT_TOLD:
        return None
    value = reader(text)
    if value is None:
        problems.append("%s is '%s'; expected %s" % (where, text, expected))
    return value


def _unrepeated(rows, key, problems):
    """The rows without those that share a value they must not share: which of them is right cannot be known."""
    counts = Counter(row[key] for row in rows if row[key] is not None)
    problems.extend("%s %s is told %d times; none of them is taken" % (key, value, count) for value, count in counts.items() if count > 1)
    return [row for row in rows if counts[row[key]] <= 1]


# The help calls the memory's unit MB, but the numbers are those that -q gives in MiB.
_MACHINE_FIELDS = (
    ("pci", 1, bus_id, "a PCI address"),
    ("index", 2, _count, "a count"),
    ("serial", 4, str, "text"),
    ("temperature_celsius", 5, _number, "a number"),
    ("power_watts", 9, _number, "a number"),
    ("memory_used_bytes", 18, _mebibytes, "a count"),
    ("memory_total_bytes", 19, _mebibytes, "a count"),
    ("utilisation_percent", 20, _percent, "a number from 0 to 100"),
)
_MACHINE_LEAST = max(position for _name, position, _reader, _expected in _MACHINE_FIELDS)


def parse_machine(text):
    """``-m``: one line of fields for each device, the first 20 of which are known; newer versions have more.

    :returns: ``([{"pci", "index", "serial", "temperature_celsius", "power_watts", "memory_used_bytes", "memory_total_bytes",
        "utilisation_percent"}], problems)``.
    """
    rows, problems = [], []
    for number, line in enumerate(plain(text).splitlines(), 1):
        try:
            fields = shlex.split(line)
        except ValueError:
            problems.append("line %d has a quotation without an end: '%s'" % (number, line))
            continue
        if not fields:
            continue
        if len(fields) < _MACHINE_LEAST:
            problems.append("line %d: %d fields; expected %d or more" % (number, len(fields), _MACHINE_LEAST))
            continue
        row = {
            name: _read(reader, fields[position - 1], "line %d: field %d" % (number, position), expected, problems)
            for name, position, reader, expected in _MACHINE_FIELDS
        }
        if row["pci"] is not None:
            rows.append(row)
    return _unrepeated(_unrepeated(rows, "pci", problems), "index", problems), problems


_UUID = r"GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def parse_list(text):
    """``-L``: ``([{"index", "uuid", "pci"}], problems)``; a line tells either the UUID or the PCI address, the other is None."""
    rows, problems = [], []
    for number, line in enumerate(plain(text).splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"XPU ([0-9]{1,4}): *(\S.*)", line.strip())
        uuid = re.search(r"\s(%s)$" % _UUID, match.group(2)) if match else None
        pci = bus_id(match.group(2)) if match else None
        if uuid is None and pci is None:
            problems.append("line %d is no device: '%s'" % (number, line.strip()))
            continue
        rows.append({"index": int(match.group(1)), "uuid": uuid.group(1) if uuid else None, "pci": pci})
    return _unrepeated(_unrepeated(rows, "index", problems), "uuid", problems), problems


# By the headings a line stands below and its own name.
_QUERY_LINES = (
    ("product", ("Product Name",), str, "text"),
    ("serial", ("Serial Number",), str, "text"),
    ("uuid", ("XPU UUID",), str, "text"),
    ("minor", ("Minor Number",), _count, "a count"),
    ("part_number", ("XPU Part Number",), str, "text"),
    ("memory_total_bytes", ("Memory Usage", "Total"), _with_unit("MiB", _mebibytes), "a count of MiB"),
    ("memory_used_bytes", ("Memory Usage", "Used"), _with_unit("MiB", _mebibytes), "a count of MiB"),
    ("utilisation_percent", ("Utilization", "Xpu"), _with_unit("%", _percent), "a number of % from 0 to 100"),
    ("temperature_celsius", ("Temperature", "XPU Current Temp"), _with_unit("C", _number), "a number of C"),
    ("power_watts", ("Power Readings", "Power Draw"), _with_unit("W", _number), "a number of W"),
)
_FIRMWARE = "Firmware Version"


def parse_query(text):
    """``-q``: a head, then for each device a block of ``name : value`` lines below headings, told apart by their indentation.

    :returns: ``([{"pci", "product", "serial", "uuid", "minor", "part_number", "firmware", "memory_total_bytes", "memory_used_bytes",
        "utilisation_percent", "temperature_celsius", "power_watts"}], problems)``; ``firmware`` is ``{"PBL": "1.0", ...}``.
    """
    head, blocks, problems = _query_blocks(plain(text))
    attached = _count(head.get(("Attached XPUs",), ""))
    if attached is not None and attached != len(blocks):
        problems.append("'Attached XPUs' is %d, but %d are told of" % (attached, len(blocks)))
    rows, missing = [], {}
    for pci, values in blocks:
        row = {"pci": pci, "firmware": _firmware(values)}
        for name, path, reader, expected in _QUERY_LINES:
            row[name] = _read(reader, values.get(path, ""), "%s: '%s'" % (pci, " / ".join(path)), expected, problems)
            if path not in values:
                missing.setdefault(path, []).append(pci)
        rows.append(row)
    problems.extend("no line '%s' for %s" % (" / ".join(path), ", ".join(addresses)) for path, addresses in missing.items())
    return _unrepeated(_unrepeated(rows, "pci", problems), "uuid", problems), problems


def _firmware(values):
    """The versions of a device's firmware by part; in the tool's words ``PBL Version``."""
    found = {path[1]: value for path, value in values.items() if len(path) == 2 and path[0] == _FIRMWARE}
    return {name[: -len(" Version")] if name.endswith(" Version") else name: value for name, value in found.items()}


def _query_blocks(text):
    """The lines as ``(head, [(PCI address, values)], problems)``, values by their path of headings and name; a first one counts."""
    head, blocks, problems = {}, [], []
    values, above = head, []
    for number, line in enumerate(text.expandtabs().splitlines(), 1):
        words, indent = line.strip(), len(line) - len(line.lstrip(" "))
        if not words or set(words) == {"="} or words.strip("=") == "XPUSMI LOG":
            continue
        if indent == 0:
            above = []
            if words.startswith("XPU "):
                values = {}
                pci = bus_id(words[len("XPU ") :].strip())
                if pci is None:
                    problems.append("line %d is no device: '%s'" % (number, words))
                else:
                    blocks.append((pci, values))
                continue
            if ":" not in words:
                problems.append("line %d is unknown: '%s'" % (number, words))
                continue
        while above and above[-1][0] >= indent:
            above.pop()
        name, colon, value = (part.strip() for part in words.partition(":"))
        if colon:
            values.setdefault((*(heading for _indent, heading in above), name), value)
        else:
            above.append((indent, name))
    return head, blocks, problems


SELF = "X"
LINK_WORDS = (SELF, "XL", "PIX", "PXB", "PHB", "NODE", "SYS")
LEGEND, DEVICES = "legend", "devices"
_AFFINITY = "CPU Affinity NUMA Affinity"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*[0-9]")


def parse_topology(text):
    """``topo -m``: how far every two of XPUs and NICs are apart, as one word; see :data:`LINK_WORDS`.

    In the layout ``legend`` the NICs' columns are called NIC0, NIC1 and a legend tells their RDMA devices; in the layout ``devices``
    the columns are the RDMA devices. A row called by its RDMA device below columns NIC0, NIC1 is the one where it meets itself.

    :returns: ``(topology, problems)``; the topology is None where no line names the columns, else ``{"layout", "names": [...],
        "distances": {a: {b: word}}, "cpu_affinity": {name: "0-51,104-155"}, "numa_affinity": {name: node}, "legend": {name: device}}``.
        All names are those of the columns. A word that is unknown is left out.
    """
    lines = [(number, line) for number, line in enumerate(plain(text).splitlines(), 1) if line.strip()]
    problems = []
    names, extra = [], ""
    while lines and not names:
        number, line = lines.pop(0)
        names, extra = _columns(line.split())
        if not names:
            problems.append("line %d stands before the columns' names: '%s'" % (number, line.strip()))
    if not names:
        return None, [*problems, "no line names columns such as XPU0, XPU1"]
    if extra not in ("", _AFFINITY):
        problems.append("the last columns are '%s'; expected '%s'; they are not read" % (extra, _AFFINITY))
    matrix = _Matrix(names, 2 if extra == _AFFINITY else 0, problems)
    for number, line in lines:
        matrix.take(number, line)
    matrix.judge()
    return {
        "layout": LEGEND if any(_is_numbered_nic(name) for name in names) else DEVICES,
        "names": names,
        "distances": matrix.distances,
        "cpu_affinity": matrix.cpu_affinity,
        "numa_affinity": matrix.numa_affinity,
        "legend": matrix.legend,
    }, problems


def _columns(fields):
    """The names in a line of column heads and the words behind them; no names where it is no such line."""
    if not re.fullmatch(r"XPU[0-9]+", fields[0]) or fields[1:2] == [SELF]:
        return [], ""
    names = []
    for field in fields:
        if not _NAME.fullmatch(field):
            break
        names.append(field)
    return (names, " ".join(fields[len(names) :])) if len(set(names)) == len(names) else ([], "")


def _is_numbered_nic(name):
    return bool(re.fullmatch(r"NIC[0-9]+", name))


class _Matrix:
    """The rows of a topology as they are met, held against the columns."""

    def __init__(self, names, affinities, problems):
        self.names = names
        self.affinities = affinities
        self.problems = problems
        self.distances, self.cpu_affinity, self.numa_affinity, self.legend = {}, {}, {}, {}

    def take(self, number, line):
        """Read one line: a row, a line of a legend, or something unknown."""
        words = line.strip()
        entry = re.fullmatch(r"(NIC[0-9]+): *(\S+)", words)
        if entry:
            self.legend[entry.group(1)] = entry.group(2)
        elif words.endswith("Legend:") or " = " in words:
            pass
        elif _NAME.fullmatch(words.split()[0]):
            self._row(number, words.split())
        else:
            self.problems.append("line %d is unknown: '%s'" % (number, words))

    def _row(self, number, fields):
        width = 1 + len(self.names)
        if len(fields) < width:
            self.problems.append("line %d: %d fields; expected %d to %d" % (number, len(fields), width, width + self.affinities))
            return
        cells = {other: fields[column] for column, other in enumerate(self.names, 1)}
        name = self._column_of(number, fields[0], cells)
        if name is None:
            return
        if name in self.distances:
            self.problems.append("line %d is a second row of %s; the first one counts" % (number, name))
            return
        unknown = sorted(set(cells.values()) - set(LINK_WORDS))
        if unknown:
            self.problems.append("line %d has unknown words, which are left out: %s" % (number, ", ".join(unknown)))
        self.distances[name] = {other: word for other, word in cells.items() if word in LINK_WORDS}
        if self.affinities:
            self._affinity(number, name, fields[width:])

    def _column_of(self, number, name, cells):
        if name in self.names:
            return name
        itself = [other for other, word in cells.items() if word == SELF]
        if len(itself) == 1 and _is_numbered_nic(itself[0]):
            self.legend.setdefault(itself[0], name)
            return itself[0]
        self.problems.append("line %d is a row of %s, which is no column" % (number, name))
        return None

    def _affinity(self, number, name, fields):
        """CPUs and NUMA node behind a row; those of NICs are often not told."""
        if not fields:
            return
        if len(fields) != self.affinities or not re.fullmatch(r"[0-9,-]+|N/A", fields[0]) or not re.fullmatch(r"[0-9]{1,4}|N/A", fields[1]):
            self.problems.append("line %d: affinity is '%s'; expected CPUs and a NUMA node" % (number, " ".join(fields)))
            return
        if fields[0] not in _NOT_TOLD:
            self.cpu_affinity[name] = fields[0]
        if fields[1] not in _NOT_TOLD:
            self.numa_affinity[name] = int(fields[1])

    def judge(self):
        """Tell where the rows contradict themselves or each other, and what no line told."""
        for position, name in enumerate(self.names):
            row = self.distances.get(name, {})
            if row.get(name, SELF) != SELF:
                self.problems.append("%s to itself is %s; expected %s" % (name, row[name], SELF))
            for other in self.names[position + 1 :]:
                there, back = row.get(other), self.distances.get(other, {}).get(name)
                if there and back and there != back:
                    self.problems.append("%s to %s is %s, but %s to %s is %s" % (name, other, there, other, name, back))
                if SELF in (there, back):
                    self.problems.append("%s and %s are told to be the same" % (name, other))
        rowless = [name for name in self.names if name not in self.distances and not _is_numbered_nic(name) and name.startswith("XPU")]
        if rowless:
            self.problems.append("no row of %s" % ", ".join(rowless))
        unnamed = [name for name in self.names if _is_numbered_nic(name) and name not in self.legend]
        if unnamed:
            self.problems.append("no legend tells what %s is" % ", ".join(unnamed))
