# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The accelerators of one host, their nodes, driver, tool and topology, read once through a HostTree; nothing is changed or judged.

What cannot be read is told in ``problems``, one line each; what is not there (no driver, no tool) is a fact and no problem.
Sources of what a host with XPUs has in /proc and /dev: a host survey, PaddlePaddle/Paddle#75925 and Corpama/envinit.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_facts, _kernel_modules, _pci, _processes, _xpu_smi
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError

TOOL_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
TOOL_FACTS = (
    "index",
    "minor",
    "serial",
    "uuid",
    "part_number",
    "product",
    "firmware",
    "memory_total_bytes",
    "memory_used_bytes",
    "utilisation_percent",
    "temperature_celsius",
    "power_watts",
)
XDR_VERSION, XDR_MAP, XDR_NODE = "/proc/xdr/version", "/proc/xdr/map_xpus", "/dev/xdrdrv"
PROBLEMS_OF_A_SOURCE = 10
PROBLEM_LENGTH = 240


def gather(tree, params, containers):
    """All facts of the host below ``tree``.

    :param params: the options of the module accelerator_info.
    :param containers: ``{id: {"name", "labels"}}`` of the containers that run.
    """
    problems = Problems()
    found = cards(tree, params["pci_ids"])
    program, answers = ask_tool(tree, params["tool"], problems)
    told = tool_facts(answers, [card.address for card in found], problems)
    return {
        "devices": [dict(_card(tree, card), **told[card.address]) for card in found],
        "nodes": nodes(tree, params["nodes"] + params["control_nodes"], containers, problems),
        "driver": driver(tree, params["driver_module"], params["peer_module"], problems),
        "tool": program,
        "topology": answers.get("topology"),
        "kernel_log": kernel_log(tree, params["kernel_log_patterns"], problems),
        "problems": problems.lines,
    }


class Problems:
    """What could not be read, each thing in one line that begins with where it was to be read."""

    def __init__(self):
        self.lines = []

    def tell(self, source, details):
        """Add lines; of a source that is wrong all over, only the first are told."""
        for detail in details[:PROBLEMS_OF_A_SOURCE]:
            line = " ".join(("%s: %s" % (source, detail)).split())
            self.lines.append(line if len(line) <= PROBLEM_LENGTH else line[: PROBLEM_LENGTH - 3] + "...")
        if len(details) > PROBLEMS_OF_A_SOURCE:
            self.lines.append("%s: %d more lines could not be read" % (source, len(details) - PROBLEMS_OF_A_SOURCE))


def containers_of(tree, client=None):
    """The containers that run, for naming a process: empty where no engine answers, and for a captured tree, which has none."""
    if client is None and not tree.is_live:
        return {}
    try:
        return (client or EngineClient()).containers()
    except EngineError:
        return {}


def cards(tree, pci_ids):
    """The PCI devices that one of the patterns ``vendor:device`` names, by rising address."""
    patterns = [pattern.lower() for pattern in pci_ids]
    return [
        device
        for _address, device in sorted(_pci.devices(tree).items())
        if any(fnmatch.fnmatchcase("%s:%s" % (device.vendor, device.device), pattern) for pattern in patterns)
    ]


def _card(tree, device):
    return {
        "pci": device.address,
        "vendor": device.vendor,
        "device": device.device,
        "numa_node": device.numa_node,
        "path": list(device.path),
        "link": device.link,
        "driver": device.driver,
        "mapped": _pci.is_mapped(tree.text(posixpath.join(_pci.FOLDER, device.address, "resource"))),
    }


def ask_tool(tree, name, problems, subjects=("machine", "list", "query", "topology")):
    """The vendor's tool and what it answered: ``({"path", "kind", "version", "runtime_version"}, answers)``.

    Only a tool that is recognised is asked anything, and only for what it knows. Several programs have the name ``xpu-smi``: the first
    that is recognised is taken, else the first that is there. It is called for tables alone: by ``-r`` and ``-V`` it would reset
    devices, and change their number.

    :param name: a path, or a name that is looked for in :data:`TOOL_FOLDERS`; None for no tool.
    :param subjects: what to ask for, each a call of the tool.
    """
    nothing = {"path": None, "kind": None, "version": None, "runtime_version": None}
    programs = []
    for path in _places(tree, name):
        table = tree.command(path)
        kind = _xpu_smi.identify(table) or _xpu_smi.identify(tree.command(path, "-h"))
        program = dict(nothing, path=path, kind=kind)
        if kind == _xpu_smi.KUNLUNXIN:
            return program, _answers(tree, program, table, problems, subjects)
        refused = "is another program of this name, Intel's" if kind else "is no program of this name that is known"
        problems.tell(path, ["%s; it is not asked anything" % refused])
        programs.append(program)
    return (programs[0] if programs else nothing), {}


def _places(tree, name):
    if not name:
        return []
    paths = [name] if posixpath.isabs(name) else [posixpath.join(folder, name) for folder in TOOL_FOLDERS]
    return [path for path in paths if tree.exists(path)]


def _answers(tree, program, table, problems, subjects):
    """What a recognised tool tells in each of its forms; the versions go into ``program``."""
    name = posixpath.basename(program["path"])
    if table is None:  # without a driver it fails, and would in every form
        problems.tell(name, ["gave no answer"])
        return {}
    versions, unread = _xpu_smi.parse_versions(table)
    program.update(versions)
    problems.tell(name, unread)
    answers = {}
    for subject, options, parse in (
        ("machine", ("-m",), _xpu_smi.parse_machine),
        ("list", ("-L",), _xpu_smi.parse_list),
        ("query", ("-q",), _xpu_smi.parse_query),
        ("topology", ("topo", "-m"), _xpu_smi.parse_topology),
    ):
        if subject not in subjects:
            continue
        text = tree.command(program["path"], *options)
        source = " ".join((name, *options))
        if text is None:
            problems.tell(source, ["gave no answer"])
            continue
        answers[subject], unread = parse(text)
        problems.tell(source, unread)
    return answers


def tool_facts(answers, addresses, problems):
    """What the tool told of each PCI address, None where it told nothing: ``{address: {name: value}}``, names as :data:`TOOL_FACTS`.

    A device is matched by its address, never by its place in a list. What two forms tell differently is a problem and None; values
    that change while they are read come from ``-m``, or else from ``-q``.
    """
    queried = {row["pci"]: row for row in answers.get("query", [])}
    measured = {row["pci"]: row for row in answers.get("machine", [])}
    listed = answers.get("list", [])
    told = {address: _merged(queried.get(address, {}), measured.get(address, {}), listed, problems) for address in addresses}
    known = set(queried) | set(measured)
    if known:
        problems.tell("tool", ["%s is on the PCI bus, but the tool does not know it" % one for one in addresses if one not in known])
        problems.tell("tool", ["%s is none of the PCI devices looked for" % one for one in sorted(known - set(addresses))])
    return told


def _merged(query, machine, listed, problems):
    address = query.get("pci") or machine.get("pci")
    lines = [row for row in listed if address and (row["pci"] == address or (row["uuid"] and row["uuid"] == query.get("uuid")))]
    merged = dict.fromkeys(TOOL_FACTS)
    merged.update((name, query[name]) for name in ("minor", "part_number", "product", "firmware") if name in query)
    for name, values in (
        ("index", [machine.get("index"), *(row["index"] for row in lines)]),
        ("serial", [query.get("serial"), machine.get("serial")]),
        ("uuid", [query.get("uuid"), *(row["uuid"] for row in listed if row["index"] == machine.get("index"))]),
        ("memory_total_bytes", [query.get("memory_total_bytes"), machine.get("memory_total_bytes")]),
    ):
        merged[name] = _agreed("%s of %s" % (name, address), values, problems)
    for name in ("memory_used_bytes", "utilisation_percent", "temperature_celsius", "power_watts"):
        merged[name] = query.get(name) if machine.get(name) is None else machine[name]
    return merged


def _agreed(what, values, problems):
    distinct = []
    distinct.extend(value for value in values if value is not None and value not in distinct)
    if len(distinct) > 1:
        problems.tell("tool", ["%s is told as %s" % (what, " and as ".join(str(value) for value in distinct))])
    return distinct[0] if len(distinct) == 1 else None


def nodes(tree, paths, containers, problems):
    """Each device path with kind, numbers, mode and the processes that hold it open; None where there is no such path."""
    found = _host_facts.devices(tree, paths)
    owners = _owners(tree, [path for path in paths if found[path]])
    if tree.is_live and owners and os.geteuid() != 0:
        problems.tell("/proc", ["only this user's processes can be seen to hold a node; expected to be run as root"])
    for path, pids in owners.items():
        found[path]["owners"] = [_processes.describe(tree, pid, containers) for pid in pids]
    return found


def _owners(tree, paths):
    """The processes that hold each node open: ``{path: [pid, ...]}``.

    A node is known by its number, where it has one: in a container another node may bear its path, and it another path.
    """
    owners = {path: [] for path in paths}
    numbers = {path: _device_number(tree, path) for path in paths}
    for pid, descriptor, target in _processes.descriptors(tree) if paths else ():
        if not target.startswith("/dev/"):  # the rest is not looked at: it may lie on a file system that hangs
            continue
        for path, number in numbers.items():
            held = target == path if number is None else number == _device_number(tree, descriptor)
            if held and pid not in owners[path]:
                owners[path].append(pid)
    return owners


def _device_number(tree, path):
    """The number of a character device; None for anything else."""
    found = _host_facts.devices(tree, [path])[path]
    return (found["major"], found["minor"]) if found and found["kind"] == "char" else None


def driver(tree, module, peer_module, problems):
    """The kernel's side: versions, modules, direct RDMA, running release. None where no module is asked for."""
    if not module:
        return None
    text = tree.text("/proc/modules")
    modules, unread = _kernel_modules.parse_modules(text)
    hidden = text is None and tree.exists("/proc/modules")  # a kernel that can load none does not have the file
    problems.tell("/proc/modules", ["cannot be read"] if hidden else unread)

    def loaded(name):
        return None if hidden else modules.get(_kernel_modules.module_name(name)) == _kernel_modules.LIVE

    vermagic = tree.command("modinfo", "-F", "vermagic", module)
    return {
        "version": _driver_version(tree, module, problems),
        "cards": _driver_cards(tree, module, problems),
        "module": {
            "loaded": loaded(module),
            "vermagic": (vermagic or "").strip() or None,
            "built_for": _kernel_modules.parse_vermagic(vermagic),
            "version": (tree.command("modinfo", "-F", "version", module) or "").strip() or None,
        },
        "peer_module": {"loaded": loaded(peer_module) if peer_module else None},
        "xdr": _xdr(tree),
        "kernel": tree.line("/proc/sys/kernel/osrelease"),
    }


def _driver_version(tree, module, problems):
    """``KLRM version: KUNLUN UNIX Open Kernel Module for x86_64 5.0.21.38 ...`` says 5.0.21.38, for the module kunlun."""
    path = "/proc/%s/version" % module
    text = tree.text(path)
    if text is None:
        return None
    for line in text.splitlines():
        match = re.search(r"\b%s\b.*?\s([0-9]+(?:\.[0-9]+)+)(?:\s|$)" % re.escape(module.upper()), line)
        if match:
            return match.group(1)
    problems.tell(path, ["no line of %s has a version" % module.upper()])
    return None


def _driver_cards(tree, module, problems):
    """What the driver itself tells of each card that it found: ``{"dev0": {"DeviceName": "Kunlun3", ...}}``."""
    base = "/proc/%s" % module
    found = {}
    for name in tree.names(base):
        if re.fullmatch(r"dev[0-9]+", name):
            path = posixpath.join(base, name, "info")
            lines = (tree.text(path) or "").splitlines()
            entries = [re.fullmatch(r"(\w+)(?:\s*[:=]\s*|\s+)(\S.*)", line.strip()) for line in lines if line.strip()]
            found[name] = {entry.group(1): entry.group(2) for entry in entries if entry}
            if not found[name]:
                problems.tell(path, ["tells nothing"])
    return found


def _xdr(tree):
    """Direct RDMA of the XPUs. Its text forms are nowhere described: the version is the first line as it stands."""
    version, mapped = tree.line(XDR_VERSION), tree.line(XDR_MAP)
    return {
        "version": version.splitlines()[0] if version else None,
        "mapped": None if mapped is None else bool(mapped),
        "node": tree.exists(XDR_NODE),
    }


def kernel_log(tree, patterns, problems):
    """What of the patterns stands in the kernel's log; None where it cannot be read or nothing is looked for."""
    if not patterns:
        return None
    text = tree.command("dmesg")
    if text is None:
        problems.tell("dmesg", ["gave no answer"])
        return None
    return _kernel_modules.search_log(text, patterns)
