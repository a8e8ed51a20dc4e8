# SPDX-License-Identifier: MIT
"""SIMULATOR: modprobe, insmod, rmmod, modinfo, depmod, lsmod and dmesg for the modules kunlun, kunlun_peermem and xdr.

Everything about other modules is left to the host's own programs. Messages are those of kmod 30 and of the kernel.
"""

from __future__ import annotations

import glob
import os
import subprocess
from typing import List, Optional, Sequence

from ..machine import DRIVER, KERNEL_MODULES, NEEDS, PEER, XDR, Module
from ..places import Places
from ..render_driver import REGISTRY, modules
from .base import Answer, Program, Session, delegate, option, refusal

OURS = (DRIVER, PEER, XDR)
ABOUT = {DRIVER: "Kunlun driver", PEER: "Kunlun RDMA peer memory", XDR: "XPU direct RDMA"}


def vermagic(kernel: str) -> str:
    return "%s SMP preempt mod_unload modversions " % kernel


def _name(word: str) -> str:
    return word.replace("-", "_")


def _operands(argv: Sequence[str], with_value: Sequence[str] = ()) -> List[str]:
    found: List[str] = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word in with_value:
            skip = True
        elif not word.startswith("-"):
            found.append(word)
    return found


def modprobe_d(places: Places) -> List[List[str]]:
    """The lines of /etc/modprobe.d as words."""
    lines: List[List[str]] = []
    for folder in ("/etc/modprobe.d", "/run/modprobe.d", "/lib/modprobe.d"):
        for path in sorted(glob.glob(places.path(folder) + "/*.conf")):
            with open(path, encoding="utf-8", errors="replace") as stream:
                lines += [line.split() for line in stream.read().replace("\\\n", " ").splitlines() if line.split()]
    return lines


def install_line(places: Places, argv: Sequence[str]) -> Optional[Answer]:
    """An ``install`` line of modprobe.d is run instead; it calls modprobe again, so that nothing is locked meanwhile."""
    names = [_name(word) for word in _operands(argv)]
    removing = {"-r", "--remove"} & set(argv)
    if not names or names[0] not in OURS or removing or {"-i", "--ignore-install", "-n", "--dry-run"} & set(argv):
        return None
    for words in modprobe_d(places):
        if words[0] == "install" and len(words) > 2 and _name(words[1]) == names[0]:
            return Answer(code=subprocess.run(["sh", "-c", " ".join(words[2:])], check=False).returncode)
    return None


def modprobe(session: Session, argv: Sequence[str]) -> Answer:
    operands = _operands(argv, ("-C", "-d", "-S", "--config", "--dirname", "--set-version"))
    removing = bool({"-r", "--remove"} & set(argv))
    names = [_name(word) for word in (operands if removing else operands[:1])]
    if not removing and names and names[0] in KERNEL_MODULES:
        return Answer()
    if not names or names[0] not in OURS:
        return delegate(argv)
    if removing:
        return _modprobe_remove(session, names)
    options = operands[1:]
    for words in modprobe_d(session.places):
        if words[0] == "options" and len(words) > 2 and _name(words[1]) == names[0]:
            options = [*words[2:], *options]
    for name in (*NEEDS[names[0]], names[0]):
        failed = _load(session, name, options if name == names[0] else [], dry={"-n", "--dry-run"} & set(argv) != set())
        if failed:
            return Answer(error="modprobe: %s\n" % failed, code=1)
    return Answer()


def _load(session: Session, name: str, options: Sequence[str], dry: bool) -> Optional[str]:
    """Put a module into the kernel; says why it cannot."""
    machine = session.machine
    if name in machine.loaded:
        return None
    module = machine.modules.get(name)
    if module is None or name not in machine.indexed or not os.path.exists(session.places.path(module.file)):
        return "FATAL: Module %s not found in directory /lib/modules/%s" % (name, machine.live.kernel)
    if dry:
        return None
    failed = insert(session, module, options)
    if failed is None:
        return None
    reason = {"format": "Exec format error", "symbol": "Unknown symbol in module, or unknown parameter (see dmesg)"}[failed]
    return "ERROR: could not insert '%s': %s" % (name, reason)


def insert(session: Session, module: Module, options: Sequence[str]) -> Optional[str]:
    """What the kernel does with a module's file: ``format`` or ``symbol`` when it refuses."""
    machine, state, runtime = session.machine, session.state, session.state.runtime
    session.changed = True
    if module.kernel != machine.live.kernel:
        theirs, ours = vermagic(module.kernel), vermagic(machine.live.kernel)
        runtime.log.append("%s: version magic '%s' should be '%s'" % (module.name, theirs, ours))
        return "format"
    if module.name == PEER and not machine.ofed:
        runtime.log.append("kunlun_peermem: Unknown symbol ib_register_peer_memory_client (err -2)")
        return "symbol"
    if options:
        runtime.options[module.name] = " ".join(options)
    state.load(module.name)
    machine.loaded.append(module.name)
    runtime.log.append("%s: loading out-of-tree module taints kernel. (p800-simulator)" % module.name)
    return None


def _busy(session: Session, name: str) -> Optional[str]:
    users = [other for other in session.machine.loaded if name in NEEDS.get(other, ())]
    if users:
        return "Module %s is in use by: %s" % (name, " ".join(users))
    if name == DRIVER and session.machine.holders:
        return "Module %s is in use" % name
    return None


def _take_out(session: Session, name: str) -> None:
    session.state.unload(name)
    session.machine.loaded = [other for other in session.machine.loaded if other != name]
    session.changed = True


def _modprobe_remove(session: Session, names: Sequence[str]) -> Answer:
    for name in names:
        if name not in session.machine.loaded:
            continue
        busy = _busy(session, name)
        if busy:
            return Answer(error="modprobe: FATAL: %s.\n" % busy, code=1)
        _take_out(session, name)
    return Answer()


def rmmod(session: Session, argv: Sequence[str]) -> Answer:
    names = [_name(os.path.basename(word).partition(".")[0]) for word in _operands(argv)]
    if not set(names) & set(OURS):
        return delegate(argv)
    for name in names:
        if name not in session.machine.loaded:
            return Answer(error="rmmod: ERROR: Module %s is not currently loaded\n" % name, code=1)
        busy = _busy(session, name)
        if busy:
            return Answer(error="rmmod: ERROR: %s\n" % busy, code=1)
        _take_out(session, name)
    return Answer()


def insmod(session: Session, argv: Sequence[str]) -> Answer:
    path = next(iter(_operands(argv)), "")
    name = _name(os.path.basename(path).partition(".")[0])
    module = session.machine.modules.get(name)
    if name not in OURS:
        return delegate(argv)
    if module is None or not os.path.exists(path):
        return refusal("insmod: ERROR: could not load module %s: No such file or directory" % path)
    if name in session.machine.loaded:
        return refusal("insmod: ERROR: could not insert module %s: File exists" % path)
    missing = [other for other in NEEDS[name] if other not in session.machine.loaded]
    failed = "symbol" if missing else insert(session, module, _operands(argv)[1:])
    if failed:
        reason = {"format": "Invalid module format", "symbol": "Unknown symbol in module"}[failed]
        return refusal("insmod: ERROR: could not insert module %s: %s" % (path, reason))
    return Answer()


def modinfo(session: Session, argv: Sequence[str]) -> Answer:
    words = _operands(argv, ("-F", "--field", "-k", "--set-version", "-b", "--basedir"))
    names = [_name(os.path.basename(word).partition(".")[0]) for word in words]
    if not names or names[0] not in OURS:
        return delegate(argv)
    module = session.machine.modules.get(names[0])
    there = module is not None and os.path.exists(session.places.path(module.file))
    if module is None or not there or (not words[0].startswith("/") and module.name not in session.machine.indexed):
        return Answer(error="modinfo: ERROR: Module %s not found.\n" % words[0], code=1)
    fields = [
        ("filename", module.file),
        ("description", ABOUT[module.name] + " (p800-simulator: no code)"),
        ("version", module.version),
        ("license", "Dual MIT/GPL"),
        ("depends", ",".join(NEEDS[module.name])),
        ("name", module.name),
        ("vermagic", vermagic(module.kernel)),
    ]
    if module.name == DRIVER:
        fields.append(("parm", REGISTRY + ":charp"))
    wanted = "filename" if {"-n", "--filename"} & set(argv) else option(argv, "-F", "--field")
    if wanted:
        return Answer("".join("%s\n" % value for name, value in fields if name == wanted))
    return Answer("".join("%-16s%s\n" % (name + ":", value) for name, value in fields))


def depmod(session: Session, argv: Sequence[str]) -> Answer:
    """Finds our modules; a kernel with modules of its own has them indexed by the real program, which cannot read ours."""
    state = session.state
    kernels = [word for word in _operands(argv, ("-b", "-C", "-F", "-E")) if word[:1].isdigit()]
    kernel = kernels[0] if kernels else session.machine.live.kernel
    if kernel == session.machine.live.kernel:
        state.indexed = sorted(name for name, module in session.machine.modules.items() if os.path.exists(session.places.path(module.file)))
        session.changed = True
    return delegate(argv) if os.path.isdir(session.places.path("/lib/modules/%s/kernel" % kernel)) else Answer()


def lsmod(session: Session, argv: Sequence[str]) -> Answer:
    lines = ["Module                  Size  Used by"]
    for line in modules(session.machine).splitlines():
        name, size, count, users = line.split()[:4]
        lines.append(("%-19s %8s  %s %s" % (name, size, count, users.strip("-").rstrip(","))).rstrip())
    return Answer("\n".join([*lines, ""]))


_DMESG_ONLY_REAL = {"-C", "--clear", "-n", "--console-level", "-D", "-E", "--console-off", "--console-on", "-w", "--follow", "-W"}


def dmesg(session: Session, argv: Sequence[str]) -> Answer:
    """The host's own log, and after it what the simulated kernel said."""
    if _DMESG_ONLY_REAL & set(argv):
        return delegate(argv)
    said = "".join("[%5d.%06d] %s\n" % (position + 1, position, text) for position, text in enumerate(session.machine.log))
    return Answer(said, real=tuple(argv))


PROGRAMS = (
    Program("modprobe", "/usr/sbin/modprobe", "kmod's modprobe, for the modules of a P800", modprobe, before=install_line),
    Program("insmod", "/usr/sbin/insmod", "kmod's insmod, for the modules of a P800", insmod),
    Program("rmmod", "/usr/sbin/rmmod", "kmod's rmmod, for the modules of a P800", rmmod),
    Program("modinfo", "/usr/sbin/modinfo", "kmod's modinfo, for the modules of a P800", modinfo),
    Program("depmod", "/usr/sbin/depmod", "kmod's depmod, for the modules of a P800", depmod),
    Program("lsmod", "/usr/sbin/lsmod", "kmod's lsmod, with the modules of a P800", lsmod),
    Program("dmesg", "/usr/bin/dmesg", "util-linux' dmesg, with what the simulated kernel says", dmesg),
)
