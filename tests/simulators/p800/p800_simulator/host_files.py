# SPDX-License-Identifier: MIT
"""SIMULATOR: the few files that a host has outside of the overlay: programs, kernel headers, modules' files, Intel's tool."""

from __future__ import annotations

from typing import Dict

from . import grub, programs
from .machine import Machine
from .places import ROOT_VARIABLE, Places
from .tree import Entry, File, Link

_LAUNCHER = """#!/usr/bin/python3 -SE
# SIMULATOR (p800-simulator): stands in for {about}. For tests only.
import os
import sys

os.environ.setdefault("{variable}", "{root}")
sys.path.insert(0, "{library}")
from p800_simulator.call import run

sys.exit(run("{name}", sys.argv[1:]))
"""
# A user guide of the Aurora computer: tests/unit/plugins/module_utils/captures/xpu-smi/intel-help.txt
_INTEL = """#!/bin/sh
# SIMULATOR (p800-simulator): stands in for Intel's program of this name. For tests only.
case "$1" in
-v | --version) echo "Version: 1.2.0 (p800-simulator)" ;;
"" | -h | --help)
    echo "Intel XPU System Management Interface -- v1.2"
    echo "Intel XPU System Management Interface provides the Intel datacenter GPU model."
    echo "(p800-simulator: a simulator of Intel's program)"
    ;;
*)
    echo "The following argument was not expected: $*" >&2
    exit 106
    ;;
esac
"""
_NOTE = "SIMULATOR (p800-simulator): nothing here is code. For tests only.\n"


def launcher(places: Places, name: str, about: str) -> File:
    text = _LAUNCHER.format(name=name, about=about, library=places.library, variable=ROOT_VARIABLE, root=places.root)
    return File(text, 0o755)


def wanted(places: Places, machine: Machine) -> Dict[str, Entry]:
    """By path on the host."""
    kernel = machine.live.kernel
    found: Dict[str, Entry] = {program.path: launcher(places, program.name, program.about) for program in programs.of(machine)}
    if machine.headers:
        source = "/usr/src/linux-headers-%s" % kernel
        found[source + "/Makefile"] = File("# %s" % _NOTE)
        found[source + "/Module.symvers"] = File("")
        found[source + "/include/generated/utsrelease.h"] = File('#define UTS_RELEASE "%s"\n/* %s */\n' % (kernel, _NOTE.strip()))
        found[source + "/include/config/kernel.release"] = File("%s\n" % kernel)
        found["/lib/modules/%s/build" % kernel] = Link(source)
    for name in machine.installed_kernels:
        found["/boot/vmlinuz-%s" % name] = File(_NOTE)
        found["/lib/modules/%s/modules.dep" % name] = File("")
    found[grub.SETTINGS] = File(grub.settings(machine.boot_parameters), 0o644)
    found[grub.CONFIGURATION] = File(machine.grub)
    for module in machine.modules.values():
        found[module.file] = File(_NOTE + "name=%s\nversion=%s\nkernel=%s\n" % (module.name, module.version, module.kernel), 0o644)
    if machine.tool.intel_first:
        found["/usr/local/sbin/xpu-smi"] = File(_INTEL, 0o755)
    return found
