# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What is known of Kunlunxin's driver: what a host lacks of it, what a card's part number asks for, what its files should say.

Pure functions of what was read. Sources: Corpama/envinit (its README and its stage for XRE, which installs on P800 hosts) for the
installer, the part numbers, the options of the module and direct RDMA; modprobe.d(5), modules-load.d(5), modinfo(8) for the files.
"""

from __future__ import annotations

import re

from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

# envinit; another site gives -q instead of the first.
XRE_ARGUMENTS = ["--silent", "--accept-license"]
# What each part number of a P800 asks for as registry of the module: VC takes what the installer sets, VD this (envinit).
MODULE_OPTIONS = {"B00100300110112": "", "B00100300110312": "RmDisableSMMU=1;C2CHighSpeed=1"}
XDR_MODULE = "xdr"
HEADER = "# Written by the driver stage of flagos.kunlunxin; changes made here are lost.\n"
# Debian's kernel headers as envinit names them, then the link that every distribution's module folder has.
HEADER_FOLDERS = ("/usr/src/linux-headers-%s", "/lib/modules/%s/build")

INSTALL, RELOAD, LOAD, KEEP = "install", "reload", "load", "keep"

_DEB = re.compile(r"(?P<name>[a-z0-9][a-z0-9+.-]*)_(?P<version>[0-9][A-Za-z0-9.+~%-]*)_[a-z0-9-]+\.deb")
# What installers of this driver printed when they failed, and what was to be done ("Kunlun XRE install", a stored page); the last is
# modprobe's, when the kernel has not what a module is built against.
_KNOWN_FAILURES = (
    ("Invalid module format", "give the headers of the running kernel as KERNELDIR (driver_kernel_headers), and run again"),
    ("Cannot find kunlun driver file", "get the file again: it brings no driver for this host"),
    ("Unknown symbol", "install what it is built against first, then the driver again; peer memory needs the OFED of the adapters' vendor"),
)


def judge(driver, version, tool_is_there):
    """What a host needs to run this version: ``(step, reason)``, the step one of :data:`INSTALL`, :data:`RELOAD`, :data:`LOAD`, :data:`KEEP`.

    :param driver: what ``_accelerator_facts.driver`` read.
    :param version: the wanted version, as ``/proc/kunlun/version`` tells it.
    :param tool_is_there: whether the vendor's tool is, which the same installer brings.
    """
    module, running, kernel = driver["module"], driver["version"], driver["kernel"]
    if module["built_for"] is None:
        return INSTALL, "not installed"
    if module["built_for"] != kernel:
        return INSTALL, "built for %s, but %s runs" % (module["built_for"], kernel)
    if not tool_is_there:
        return INSTALL, "without its tool"
    on_disk = module["version"] or running
    if on_disk != version:
        return INSTALL, on_disk or "of unknown version"
    if running is None or module["loaded"] is False:
        return LOAD, "not loaded"
    if running != version:
        return RELOAD, "%s still runs" % running
    return KEEP, running


def judge_part_numbers(numbers, known):
    """The one part number of all cards.

    :param numbers: ``{PCI address: part number or None}``.
    :param known: the part numbers whose options are known.
    :raises UnfitError: there is none, not one, or one that is not known; VC and VD are never mixed (envinit refuses it, too).
    """
    told = sorted({number for number in numbers.values() if number})
    untold = sorted(address for address, number in numbers.items() if not number)
    expected = "one part number, of %s" % ", ".join(sorted(known))
    if untold or not told:
        observed = "none told for %s" % ", ".join(untold) if untold else "no card on the PCI bus"
        raise unfit("XPU part numbers", observed, expected, "look at the kernel log and at xpu-smi -q")
    if len(told) > 1:
        observed = ", ".join("%s at %s" % (one, " ".join(sorted(pci for pci in numbers if numbers[pci] == one))) for one in told)
        raise unfit("XPU part numbers", observed, expected, "put cards of one part number into a host")
    if told[0] not in known:
        remedy = "ask the vendor what it needs, and name it in driver_module_options"
        raise unfit("XPU part numbers", told[0], expected, remedy)
    return told[0]


def modprobe_conf(driver, peer, registry):
    """The file of /etc/modprobe.d for cards that need a ``registry``, as envinit writes it for VD."""
    lines = [HEADER, 'options %s KLreg_RegistryDwords="%s"\n' % (driver, registry)]
    if peer:
        both = "/sbin/modprobe --ignore-install {0} && /sbin/modprobe {1}".format(driver, peer.replace("_", "-"))
        lines.append("install %s %s\n" % (driver, both))
    return "".join(lines)


def is_ours(text):
    """Whether a file's text was written by this collection."""
    return text is not None and text.startswith(HEADER)


def modules_load_conf(modules):
    """The file of /etc/modules-load.d that loads the modules at boot, in this order."""
    return HEADER + "".join(name + "\n" for name in modules)


def release_of_headers(text):
    """The kernel release of ``include/generated/utsrelease.h``; None where it is not told."""
    match = re.search(r'^#define UTS_RELEASE "([^"\n]+)"', text or "", re.MULTILINE)
    return match.group(1) if match else None


def parse_package_file(name):
    """``(package, version)`` of a file called as Debian calls packages; None for another name. An epoch's colon is written %3a there."""
    match = _DEB.fullmatch(name)
    return (match.group("name"), match.group("version").replace("%3a", ":")) if match else None


def tells_version(text, version):
    """Whether a text has the version as a whole word: how XDR's /proc/xdr/version tells it is nowhere described."""
    return bool(text) and re.search(r"(?<![\w.])%s(?![\w.])" % re.escape(version), text) is not None


def has_xdr(driver, file_version, wanted):
    """Whether the direct RDMA module of this version is installed or running."""
    return tells_version(file_version, wanted) or tells_version(driver["xdr"]["version"], wanted)


def firmware_differences(cards, wanted):
    """What of the firmware is not as wanted: one text for each part and version, with the cards that have it.

    :param cards: ``{PCI address: {part: version}}``, as ``xpu-smi -q`` names the parts.
    :param wanted: ``{part: version}``.
    """
    found = {}
    for address, parts in sorted(cards.items()):
        for part, version in sorted(wanted.items()):
            told = (parts or {}).get(part)
            if told != version:
                found.setdefault((part, told or "not told"), []).append(address)
    return ["%s %s at %s" % (part, told, " ".join(addresses)) for (part, told), addresses in sorted(found.items())]


def named_holders(holders):
    """The processes that hold devices, each once and as an operator can find it.

    :param holders: ``{device path: [process]}``, each process as ``_processes.describe`` tells it.
    """
    found = {}
    for path, processes in sorted(holders.items()):
        for process in processes:
            found.setdefault(process["pid"], (process, []))[1].append(path)
    return ["%s holds %s" % (_named(process), " ".join(paths)) for _pid, (process, paths) in sorted(found.items())]


def _named(process):
    places = []
    if process["container"]:
        places.append("container %s" % process["container"]["name"])
    if process["unit"]:
        places.append("unit %s" % process["unit"])
    return "%s (pid %s%s)" % (process["process"] or "a process", process["pid"], "".join(", " + place for place in places))


def failure_of(output):
    """Why an installer failed: ``(its own words in one line, the remedy)``, from all that it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for phrase, remedy in _KNOWN_FAILURES:
        for line in lines:
            if phrase in line:
                return line, remedy
    told = [line for line in lines if re.search(r"\b(error|fail|cannot|not found)", line, re.IGNORECASE)]
    return (told or lines or ["it said nothing"])[-1][:300], "mend what it says, and run again"
