# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Checks of one host's accelerators: what the bus, the driver, the device nodes and the vendor's tool say."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import format_size, parse_version

from ._judgement import Check, Data, Fault, Said, Severity, Unread, View, listed
from ._preflight_host import holder
from ._preflight_network import link_faults, rails

NO_ACCELERATOR = "the profile names no accelerator on the PCI bus"
NO_DRIVER = "the driver is not loaded"
INSTALL = "give driver_xre and run driver.yml, or install the vendor's driver"
DIRECT_RDMA = "BKCL_ENABLE_XDR"
ANYONE = 0o006  # of a node's mode: everyone may read and write


def _asked(view: View) -> str:
    """Why nothing can be said; empty where the accelerators were read."""
    return NO_ACCELERATOR if view.accelerator is None else ""


def driver_version(view: View) -> str | None:
    """The version of the running driver; ``None`` where none runs."""
    driver = (view.accelerator or {}).get("driver")
    return driver["version"] if driver else None


def _with_driver(view: View) -> str:
    """Why a check that needs the driver cannot look; empty where it can."""
    return _asked(view) or ("" if driver_version(view) else NO_DRIVER)


def _accelerators(view: View) -> Iterator[Said]:
    if why := _asked(view):
        yield Unread(why)
        return
    found, wanted = (view.accelerator or {})["devices"], len(view.host["devices"])
    if len(found) < wanted:
        addresses = f" ({listed(one['pci'] for one in found)})" if found else ""
        remedy = "reseat the card or its riser, and look whether the firmware has Above 4G Decoding on; then power the host off and on"
        yield Fault(f"{len(found)} on the PCI bus{addresses}", f"{wanted}", remedy)
    if unmapped := [one["pci"] for one in found if one["mapped"] is False]:
        remedy = "switch Above 4G Decoding on in the firmware of the host"
        yield Fault(f"no memory of {listed(unmapped, 4)} has an address", "memory that the driver can reach", remedy)


def _driver(view: View) -> Iterator[Said]:
    if why := _asked(view):
        yield Unread(why)
        return
    facts: Data = view.accelerator or {}
    driver = facts["driver"]
    if driver and driver["version"] is None:
        if driver["module"]["built_for"] not in (None, driver["kernel"]):
            yield Unread("it is built for another kernel")
            return
        loaded = "the module is loaded, its version cannot be read" if driver["module"]["loaded"] else "not loaded"
        yield Fault(loaded, "a driver that runs", INSTALL, "driver")
    elif driver:
        left_out = [one["pci"] for one in facts["devices"] if one["driver"] is None and one["mapped"] is not False]
        if left_out:
            remedy = "look in the kernel's log why it does not take the card; then power the host off and on"
            yield Fault(f"does not hold {listed(left_out, 4)}", "a driver that holds every accelerator", remedy)


def _driver_kernel(view: View) -> Iterator[Said]:
    """A module built for another kernel does not load into this one."""
    if why := _asked(view):
        yield Unread(why)
        return
    driver = (view.accelerator or {})["driver"]
    built_for = driver["module"]["built_for"] if driver else None
    if built_for is None:
        yield Unread("no module of the driver is installed for the running kernel")
    elif built_for != driver["kernel"]:
        remedy = "build the driver for the running kernel: give driver_xre and run driver.yml"
        yield Fault(f"built for {built_for}", f"{driver['kernel']}, which runs", remedy, "driver", evidence="modinfo -F vermagic")


def _driver_version(view: View) -> Iterator[Said]:
    if why := _with_driver(view):
        yield Unread(why)
        return
    wanted, version = view.needs.driver_version, driver_version(view)
    if installed := installed_besides(view):
        remedy = "load it anew when no process holds a device: run driver.yml, or reboot the host"
        yield Fault(f"{version} runs, {installed} is installed", "the installed driver to run", remedy, "driver")
        return
    if not wanted:
        yield Unread("no version is pinned; the hosts are compared with each other")
    elif version != wanted:
        remedy = "run driver.yml with the pinned driver, or pin the pair of driver and image anew"
        yield Fault(str(version), f"{wanted}, which goes with the image", remedy, "driver")


def installed_besides(view: View) -> str:
    """The version of the installed driver where another one runs; empty where they are the same, or not told."""
    installed = (view.accelerator or {})["driver"]["module"]["version"] if driver_version(view) else None
    return installed if installed and installed != driver_version(view) else ""


def _firmware(view: View) -> Iterator[Said]:
    if why := _with_driver(view):
        yield Unread(why)
        return
    if not view.needs.firmware:
        yield Unread("preflight_firmware is not set; the hosts are compared with each other")
        return
    for part, least in view.needs.firmware.items():
        if not _told_firmware(view, part):
            yield Unread(f"no device tells {part} of its firmware")
        elif old := old_firmware(view, part):
            observed = f"{part} {listed(sorted(set(old.values())))} on {listed(old)}"
            remedy = "bring the firmware up to date, and power the host off and on"
            yield Fault(observed, f"{least} or newer", remedy, "driver")


def _told_firmware(view: View, part: str) -> dict[str, str]:
    """The version of a part of the firmware on each device that tells it, by PCI address."""
    told = {one["pci"]: (one["firmware"] or {}).get(part) for one in (view.accelerator or {})["devices"]}
    return {pci: version for pci, version in told.items() if version}


def old_firmware(view: View, part: str) -> dict[str, str]:
    """The devices on which a part of the firmware is older than it may be, with its version."""
    least = parse_version(view.needs.firmware[part])
    return {pci: version for pci, version in _told_firmware(view, part).items() if parse_version(version) < least}


def _nodes(view: View) -> Iterator[Said]:
    """The driver makes them; where the profile has no driver, no stage does."""
    found = view.facts["devices"]
    has_driver = bool((view.accelerator or {}).get("driver"))
    if has_driver and not driver_version(view):
        yield Unread(NO_DRIVER)
        return
    stage = "driver" if has_driver else None
    missing = [path for path, device in found.items() if device is None]
    numbers: dict[tuple[int, int], list[str]] = {}
    for path, device in found.items():
        if device is not None and device["kind"] == "char" and has_driver:
            numbers.setdefault((device["major"], device["minor"]), []).append(path)
    for number, paths in numbers.items():
        if len(paths) > 1:
            remedy = "remove them and load the driver again"
            yield Fault(f"{listed(paths)} are one device ({number[0]}:{number[1]})", "a device of its own for each node", remedy)
    if missing:
        yield Fault(f"no {listed(missing)}", f"{len(found)} device nodes", "install and load the accelerator's driver", stage)
    strange = [path for path, device in found.items() if device is not None and device["kind"] != "char"]
    if strange:
        remedy = "remove what was put in their place and load the driver again"
        yield Fault(f"{listed(strange)} is no device", "character devices", remedy)


def _node_access(view: View) -> Iterator[Said]:
    """Without the driver's udev rule the nodes are root's alone; our containers run as root, others' need not."""
    if why := _asked(view):
        yield Unread(why)
        return
    closed = [f"{path} ({one['mode']})" for path, one in view.facts["devices"].items() if one and int(one["mode"], 8) & ANYONE != ANYONE]
    if closed:
        remedy = "bring the driver's udev rule back: run driver.yml, or chmod 0666"
        yield Fault(f"{listed(closed)} not open to all", "mode 0666", remedy, "driver", Severity.WARNING)


def _peer_memory(view: View) -> Iterator[Said]:
    """The module that lets network adapters reach the devices' memory; it needs OFED's symbols when it is built."""
    name = view.plan["profile"]["detection"].get("peer_module")
    if why := _with_driver(view) or ("" if name else "the profile has no such module"):
        yield Unread(why)
        return
    loaded = (view.accelerator or {})["driver"]["peer_module"]["loaded"]
    if loaded is None:
        yield Unread("the kernel does not list its modules")
    elif not loaded:
        remedy = "install OFED before the driver, so that the driver builds it, and load it: run rdma.yml, then driver.yml"
        yield Fault(f"{name} is not loaded", f"{name} in /proc/modules", remedy, "driver")


def _direct_rdma(view: View) -> Iterator[Said]:
    if why := _with_driver(view):
        yield Unread(why)
        return
    if view.host["environment"].get(DIRECT_RDMA) != "1":
        yield Unread(f"{DIRECT_RDMA} is not 1")
        return
    xdr = (view.accelerator or {})["driver"]["xdr"]
    missing = [what for what, there in (("/proc/xdr/version", xdr["version"]), ("/dev/xdrdrv", xdr["node"])) if not there]
    if missing:
        yield Fault(f"no {listed(missing)}", "the module xdr, loaded", "install XDR and load it: run driver.yml", "driver")


def _in_use(view: View) -> Iterator[Said]:
    """Another's process is named, never touched. Used memory without a process to be seen is a holder elsewhere, or a leak."""
    if why := _asked(view):
        yield Unread(why)
        return
    facts: Data = view.accelerator or {}
    held: dict[str, list[str]] = {}
    ours = False
    for path, node in facts["nodes"].items():
        for owner in (node or {}).get("owners", []):
            if view.is_ours(owner["container"]):
                ours = True
            else:
                held.setdefault(holder(owner), []).append(path)
    if held:
        observed = listed([f"{who} holds {listed(paths, 2)}" for who, paths in held.items()], 3)
        yield Fault(observed, "devices that nobody holds", "have its owner end it, or give this cluster other hosts")
    full = [one for one in facts["devices"] if (one["memory_used_bytes"] or 0) > view.needs.idle_bytes]
    if full and not held and not ours:
        observed = (
            listed([f"{one['pci']} has {format_size(one['memory_used_bytes'])} in use" for one in full], 3)
            + ", and nobody is seen to hold it"
        )
        remedy = "look for its holder in other containers, or reboot the host"
        yield Fault(observed, f"at most {format_size(view.needs.idle_bytes)} of an idle device", remedy, evidence="xpu-smi -m")


def _kernel_log(view: View) -> Iterator[Said]:
    if why := _asked(view):
        yield Unread(why)
        return
    found = (view.accelerator or {})["kernel_log"]
    if found is None:
        yield Unread("the kernel's log cannot be read")
        return
    for one in found:
        times = f"{one['count']} lines, the last: " if one["count"] > 1 else ""
        remedy = "power the host off and on; if it comes back, have the vendor look at card and cabling"
        yield Fault(f"{one['meaning']} ({times}{one['line']})", f"no '{one['pattern']}'", remedy, evidence="dmesg")


def _link(view: View) -> Iterator[Said]:
    if why := _asked(view):
        yield Unread(why)
        return
    links = {one["pci"]: one["link"] for one in (view.accelerator or {})["devices"]}
    yield from link_faults(links, "reseat the card or its riser; look at the slot's settings in the firmware")


def _tool(view: View) -> Iterator[Said]:
    wanted = view.plan["profile"]["detection"].get("tool")
    if why := _with_driver(view) or ("" if wanted else "the profile has no tool"):
        yield Unread(why)
        return
    tool = (view.accelerator or {})["tool"]
    if tool["kind"] in (None, "other"):
        what = f"{tool['path']} is another program" if tool["path"] else f"no {wanted}"
        remedy = "put the vendor's tool on the path of programs; firmware, part numbers and used memory are not known without it"
        yield Fault(what, f"the driver's {wanted}", remedy, "driver", Severity.WARNING)


def _as_read(view: View) -> Iterator[Said]:
    if why := _asked(view):
        yield Unread(why)
    elif problems := _problems(view):
        remedy = "look at the file or the tool; what depends on it was not judged"
        yield Fault(listed(problems, 3), "facts that make sense", remedy, severity=Severity.WARNING, evidence="the module accelerator_info")


def _problems(view: View) -> list[str]:
    """What could not be read; without a driver the tool cannot answer, which is no problem of its own."""
    facts: Data = view.accelerator or {}
    silent = facts["driver"] and not facts["driver"]["version"]
    tool = str(view.plan["profile"]["detection"].get("tool"))
    return [line for line in facts["problems"] if not (silent and line.split(":")[0].rpartition("/")[2].split(" ")[0] == tool)]


def _functions(view: View) -> dict[str, list[str]]:
    """The way to each accelerator and rail over the PCI bus, by its address."""
    found = {one["pci"]: one["path"] for one in (view.accelerator or {})["devices"]}
    interfaces = (view.network or {"interfaces": {}})["interfaces"]
    found.update((interfaces[nic]["pci"], interfaces[nic]["path"]) for nic in rails(view) if nic in interfaces and interfaces[nic]["pci"])
    return found


def _iommu(view: View) -> Iterator[Said]:
    """Devices reach each other's memory at full speed only where their addresses are not translated."""
    if why := _asked(view):
        yield Unread(why)
        return
    kernel = view.facts["kernel"]
    told = {address: kernel["groups"][address] for address in _functions(view) if address in kernel["groups"]}
    words = kernel["command_line"].split()
    if told:
        translated = sorted(address for address, kind in told.items() if kind != "identity")
        evidence = "iommu_group/type in /sys/bus/pci/devices"
    else:
        translated = kernel["iommus"] if "iommu=pt" not in words else []
        evidence = "/sys/class/iommu, /proc/cmdline"
    if translated:
        remedy = "boot with iommu=pt: name it in host_boot_parameters, run host.yml, and restart the host"
        yield Fault(f"translates for {listed(translated, 3)}", "iommu=pt, or off", remedy, severity=Severity.WARNING, evidence=evidence)


def _access_control(view: View) -> Iterator[Said]:
    """Access control on a bridge sends what devices say to each other up to the root and back."""
    if why := _asked(view):
        yield Unread(why)
        return
    above = {bridge for path in _functions(view).values() for bridge in path[:-1]}
    on = sorted(above & set(view.facts["kernel"]["acs"]))
    if not view.facts["kernel"]["bridges_read"]:
        yield Unread("no bridge tells of access control")
    elif on:
        remedy = "switch it off: run rdma.yml with cluster_manage_kernel_globals, which does it at every boot"
        yield Fault(f"on at {listed(on, 4)}", "off on bridges above accelerators and rails", remedy, "rdma", Severity.WARNING)


CHECKS = (
    Check("accelerators", "/sys/bus/pci/devices, by numbers of vendor and device", _accelerators),
    Check("kernel log", "dmesg", _kernel_log),
    Check("driver", "/proc/DRIVER/version", _driver),
    Check("driver's kernel", "modinfo -F vermagic", _driver_kernel),
    Check("driver version", "/proc/DRIVER/version", _driver_version),
    Check("firmware", "xpu-smi -q", _firmware),
    Check("device nodes", "stat of the device nodes", _nodes),
    Check("device access", "stat of the device nodes", _node_access),
    Check("peer memory", "/proc/modules", _peer_memory),
    Check("direct RDMA", "/proc/xdr/version, /dev/xdrdrv", _direct_rdma),
    Check("devices in use", "/proc/PID/fd", _in_use),
    Check("device link", "current_link and max_link in /sys/bus/pci/devices", _link),
    Check("vendor's tool", "the tool's summary", _tool),
    Check("accelerators as read", "the module accelerator_info", _as_read),
    Check("IOMMU", "/sys/class/iommu, /proc/cmdline", _iommu),
    Check("access control", "the configuration space of PCI bridges", _access_control),
)
