# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The hands of the module xpu_driver: what a host has of the driver, and how it is installed, loaded, flashed and taken away.

What is there is read through a HostTree. Everything is judged before the first change is made, and every change is one of ``_changes``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _accelerator_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _kernel_modules, _receipt, _xpu_smi
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver_files as files
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, file_change, read_text, write_text
from ansible_collections.flagos.kunlunxin.plugins.module_utils._xpu_driver import UnfitError

STAGE = "driver"
FOLDER = "driver"  # within the state folder: the files that were sent, and the record of what they brought
LOG = "install.log"
CONF, LOAD_CONF = "/etc/modprobe.d/%s.conf", "/etc/modules-load.d/flagos-kunlunxin-driver.conf"
# Under /run, because a boot pays the debt too: that the modules have yet to be loaded with the options that were written ...
RELOAD_PENDING = "/run/flagos-kunlunxin/driver-reload-pending"
# ... and that firmware was flashed, which shows only after a power cycle.
FLASHED = "/run/flagos-kunlunxin/driver-firmware"
PEER_MEMORY = (
    "the OFED of its vendor or rdma-core",
    "run the stage rdma first, or set driver_peer_memory: false where no adapter is to reach the cards",
)
READY_SECONDS = 60
READY_PAUSE = 2


class Observed(object):
    """What one look at the host found."""

    def __init__(self, tree, params, containers):
        problems = facts.Problems()
        cards = [card.address for card in facts.cards(tree, params["pci_ids"])]
        program, answers = facts.ask_tool(tree, params["tool"], problems)
        told = facts.tool_facts(answers, cards, problems)
        nodes = facts.nodes(tree, params["nodes"], containers, problems)
        loaded, _unread = _kernel_modules.parse_modules(tree.text("/proc/modules"))
        self.driver = facts.driver(tree, params["driver_module"], params["peer_module"], problems)
        # Without a driver it may fail, and so be of no known kind.
        self.tool_is_there = not params["tool"] or (program["path"] is not None and program["kind"] != _xpu_smi.OTHER)
        self.part_numbers = {address: told[address]["part_number"] for address in cards}
        self.firmware = {address: told[address]["firmware"] for address in cards}
        self.holders = {path: node["owners"] for path, node in nodes.items() if node and node["owners"]}
        self.loaded = set(loaded)
        self.xdr_file_version = (tree.command("modinfo", "-F", "version", driver.XDR_MODULE) or "").strip() or None

    @property
    def numbers_are_told(self):
        return any(self.part_numbers.values())

    @property
    def kernel(self):
        return self.driver["kernel"]


class DriverHost(object):
    """The driver of one host.

    :param module: the AnsibleModule, with the options of xpu_driver.
    :param tree: the host to read.
    :param containers: ``{id: {"name", "labels"}}`` of the containers that run, for naming a process.
    :param root: where files are written, another than ``/`` for a made-up host.
    """

    def __init__(self, module, tree, containers, root="/"):
        self.module, self.params, self.tree, self.root = module, module.params, tree, root
        self._containers = containers
        self.folder = os.path.join(self.params["state_dir"], FOLDER)
        self.record = files.Record(self.folder, root=root)
        self.notes = []
        self.power_cycle = False
        self.needed = []

    def observe(self):
        return Observed(self.tree, self.params, self._containers)

    # present ----------------------------------------------------------------------------------------------------

    def present(self):
        """The changes that bring the driver, all judged."""
        params, now = self.params, self.observe()
        step, reason = driver.judge(now.driver, params["version"], now.tool_is_there)
        brings_xdr = bool(params["xdr"]) and not driver.has_xdr(now.driver, now.xdr_file_version, params["xdr"]["version"])
        packages = self._missing_packages()
        flashes = self._flashes(now)

        self._judge_files(step == driver.INSTALL, brings_xdr, packages, flashes)
        headers = self._headers(now.kernel) if step == driver.INSTALL or brings_xdr else None
        if step == driver.INSTALL and params["peer_memory"]:
            self._judge_peer_memory(now)
        number = self._part_number(now, step)
        options_differ = number is not None and self._conf_wanted(number) != self._conf_now()
        stale = options_differ or os.path.exists(self._at(RELOAD_PENDING)) or step in (driver.INSTALL, driver.RELOAD)
        if (stale and self._loaded(now)) or flashes or (brings_xdr and driver.XDR_MODULE in now.loaded):
            self._judge_holders(now)

        changes = []
        if step == driver.INSTALL:
            changes += self._install_changes(now, reason, headers)
        if brings_xdr:
            changes.append(self._xdr_change(now, headers))
        if packages:
            changes.append(self._packages_change(packages))
        load_conf = self._at(LOAD_CONF)
        changes += file_change(load_conf, read_text(load_conf), driver.modules_load_conf(self._modules()))
        if stale or step == driver.LOAD or not set(self._modules()) <= now.loaded or brings_xdr:
            changes.append(self._modules_change(now, step, reason, number))
        if flashes:
            changes.append(self._firmware_change(now))
        return changes + self._left_over_changes() + self._receipt_changes(now)

    def _modules(self):
        """The modules in the order in which they are loaded."""
        params = self.params
        peer = [params["peer_module"]] if params["peer_memory"] else []
        return [params["driver_module"], *peer, *([driver.XDR_MODULE] if params["xdr"] else [])]

    def _loaded(self, now):
        """The driver's modules that are loaded, in the order in which they can be unloaded."""
        names = (driver.XDR_MODULE, self.params["peer_module"], self.params["driver_module"])
        return [name for name in names if name in now.loaded]

    def _judge_files(self, brings_xre, brings_xdr, packages, flashes):
        params = self.params
        wanted = [("XRE", params["xre"])] if brings_xre else []
        wanted += [("XDR", params["xdr"])] if brings_xdr else []
        wanted += [("container toolkit", package) for package in packages]
        wanted += [("firmware", params["firmware"])] if flashes else []
        for subject, entry in wanted:
            self.needed.append(entry["file"])
            if not os.path.isfile(entry["file"]):
                if self.module.check_mode:  # it may be sent once this run has said that it is needed
                    continue
                raise UnfitError(subject, "no file %s" % entry["file"], "the file on this host", "put it there, or mend its path")
            found = sha256_of(entry["file"])
            if found != entry["sha256"].lower():
                observed = "%s has sha256 %s" % (entry["file"], found)
                raise UnfitError(subject, observed, entry["sha256"], "get the file again, or name the sha256 that its vendor gave")

    def _headers(self, kernel):
        """The folder of the running kernel's headers, which the installers take as KERNELDIR."""
        given = self.params["kernel_headers"]
        places = [given] if given else [place % kernel for place in driver.HEADER_FOLDERS]
        check, expected = "kernel headers", "those of the running kernel %s" % kernel
        for place in places:
            if not self.tree.exists(place + "/Makefile"):
                continue
            release = driver.release_of_headers(self.tree.text(place + "/include/generated/utsrelease.h"))
            if release not in (None, kernel):
                raise UnfitError(check, "%s is for %s" % (place, release), expected, "install the package linux-headers-%s" % kernel)
            return self.tree.path(place)
        raise UnfitError(check, "no Makefile in %s" % " or ".join(places), expected, "install the package linux-headers-%s" % kernel)

    def _judge_peer_memory(self, now):
        """The peer-memory module is built against what RDMA has in the kernel, so that has to be there first (envinit's order)."""
        programs = ("ofed_info", "rdma-ndd")  # MLNX_OFED's, and rdma-core's
        there = any(self.tree.exists("%s/%s" % (folder, name)) for folder in ("/usr/bin", "/usr/sbin") for name in programs)
        if not there and "ib_core" not in now.loaded:
            raise UnfitError("peer memory", "neither %s nor a module ib_core" % " nor ".join(programs), *PEER_MEMORY)

    def _part_number(self, now, step):
        """The cards' part number; None while no driver can tell it and the operator did not."""
        if not now.numbers_are_told and step != driver.KEEP:
            given = self.params["part_number"]
            return driver.judge_part_numbers({"part_number": given}, self.params["module_options"]) if given else None
        return self._judged_number(now.part_numbers)

    def _judged_number(self, numbers):
        number = driver.judge_part_numbers(numbers, self.params["module_options"])
        given = self.params["part_number"]
        if given and given != number:
            raise UnfitError("XPU part numbers", number, given, "mend driver_part_number, or change the cards")
        return number

    def _judge_holders(self, now):
        if now.holders:
            observed = ", ".join(driver.named_holders(now.holders))
            raise UnfitError("devices in use", observed, "no process on a device", "end it, or run this stage when the devices are free")

    # the options of the module -------------------------------------------------------------------------------------

    def _conf_path(self):
        return self._at(CONF % self.params["driver_module"])

    def _conf_now(self):
        return read_text(self._conf_path())

    def _conf_wanted(self, number):
        """The text of the module's options; what is there where the part number needs nothing, and None for no file."""
        registry, now = self.params["module_options"][number], self._conf_now()
        if registry:
            peer = self.params["peer_module"] if self.params["peer_memory"] else None
            return driver.modprobe_conf(self.params["driver_module"], peer, registry)
        return self.record.kept(os.path.basename(self._conf_path())) if driver.is_ours(now) else now

    def _settle_conf(self, number):
        """Write the options for the part number; returns whether they were others."""
        now, wanted, path = self._conf_now(), self._conf_wanted(number), self._conf_path()
        if now == wanted:
            return False
        write_text(self.module, self._at(RELOAD_PENDING), "", 0o644)
        if now is not None and not driver.is_ours(now):
            self.record.keep(os.path.basename(path), now)
        if wanted is None:
            os.unlink(path)
        else:
            write_text(self.module, path, wanted, 0o644)
        return True

    # installing ----------------------------------------------------------------------------------------------------

    def _install_changes(self, now, reason, headers):
        changes, loaded, xre = [], self._loaded(now), self.params["xre"]
        if loaded:
            text = "".join("%s\n" % name for name in loaded)
            changes.append(Change("unload %s" % ", ".join(loaded), "modules", text, "", lambda module: self._unload()))
        argv = ["bash", xre["file"], *self.params["arguments"]]
        before = "driver %s\n" % reason
        after = "driver %s for kernel %s\n" % (self.params["version"], now.kernel)

        def make(unused):
            replaced = now.driver["version"] if not self.record.read()["paths"] else None
            with self._recorded(replaced=replaced):
                self._run("XRE installer", argv, headers, loaded)

        changes.append(Change("KERNELDIR=%s %s" % (headers, " ".join(argv)), "driver", before, after, make))
        return changes

    def _recorded(self, packages=(), replaced=None):
        return _Recorded(self.record, packages, replaced)

    def _run(self, subject, argv, headers=None, loaded=(), cwd=None):
        """Run an installer; when it fails, the modules that were loaded before are loaded again and its output is kept.

        :raises UnfitError: it failed.
        """
        variables = {"KERNELDIR": headers} if headers else {}
        code, output, errors = self.module.run_command(argv, environ_update=variables, cwd=cwd or self.module.tmpdir)
        if not code:
            return
        log = os.path.join(self.folder, LOG)
        write_text(self.module, log, output + errors, 0o644)
        for name in reversed(loaded):
            self.module.run_command(["modprobe", name])
        observed, remedy = driver.failure_of(output + errors)
        raise UnfitError(
            subject, "it ended with %d: %s" % (code, observed), "an installed driver", "%s (all it said is in %s)" % (remedy, log)
        )

    def _xdr_change(self, now, headers):
        xdr = self.params["xdr"]
        before = now.driver["xdr"]["version"] or now.xdr_file_version or "none"

        def make(unused):
            with self._unpacked("XDR", xdr["file"], ("build.sh", "install.sh")) as folder, self._recorded():
                self._run("XDR build", [os.path.join(folder, "build.sh")], headers, cwd=folder)
                if driver.XDR_MODULE in self.observe().loaded:
                    self._judge_holders(self.observe())
                    self.module.run_command(["rmmod", driver.XDR_MODULE], check_rc=True)
                old = self._at("/lib/modules/%s/extra/xdr.ko" % now.kernel)
                if os.path.exists(old):
                    os.unlink(old)
                self._refresh_modules()
                self._run("XDR installer", [os.path.join(folder, "install.sh")], headers, cwd=folder)

        return Change("install XDR %s from %s" % (xdr["version"], xdr["file"]), "XDR", before + "\n", xdr["version"] + "\n", make)

    def _refresh_modules(self):
        """Tell the kernel's tools, and the next boot's initial file system, what modules there are (envinit)."""
        for argv in (["depmod"], ["dracut", "-f"], ["update-initramfs", "-u"]):
            if self.module.get_bin_path(argv[0]):
                self.module.run_command(argv, check_rc=True)

    def _unpacked(self, subject, archive, names):
        return _Unpacked(self.module, subject, archive, names)

    # the distribution's packages -------------------------------------------------------------------------------------

    def _missing_packages(self):
        """The packages that are not there in the version that the name of their file tells."""
        missing = []
        for entry in self.params["toolkit"]:
            told = driver.parse_package_file(os.path.basename(entry["file"]))
            if not told:
                raise UnfitError(
                    "container toolkit", os.path.basename(entry["file"]), "a name such as package_1.0-1_amd64.deb", "name the file so"
                )
            if self._package_version(told[0]) != told[1]:
                missing.append(dict(entry, name=told[0], version=told[1]))
        if missing and not self.module.get_bin_path("dpkg"):
            raise UnfitError(
                "container toolkit", "no dpkg on this host", "a host of Debian's kind", "unset driver_toolkit, and install it by hand"
            )
        return missing

    def _package_version(self, name):
        output = self.tree.command("dpkg-query", "-W", "-f=${db:Status-Status} ${Version}", name)
        status, _blank, version = (output or "").strip().partition(" ")
        return version if status == "installed" else None

    def _packages_change(self, packages):
        paths = [package["file"] for package in packages]
        held = {package["name"]: self._package_version(package["name"]) for package in packages}
        before = "".join("%s %s\n" % (name, version) for name, version in sorted(held.items()) if version)
        after = "".join("%s %s\n" % (package["name"], package["version"]) for package in packages)

        def make(module):
            with self._recorded(packages=[name for name, version in held.items() if version is None]):
                self._run("container toolkit", ["dpkg", "--install", *paths])
            for package in packages:
                found = self._package_version(package["name"])
                if found != package["version"]:
                    raise UnfitError(
                        "container toolkit", "%s %s" % (package["name"], found), package["version"], "name the file as its package is"
                    )

        return Change(" ".join(["dpkg", "--install", *paths]), "packages", before, after, make)

    # the modules -----------------------------------------------------------------------------------------------------

    def _modules_change(self, now, step, reason, number):
        names = self._modules()
        action = "load %s" % ", ".join(names)
        after = "".join("%s\n" % name for name in names)
        registry = "as the cards' part number asks" if number is None else self.params["module_options"][number]
        if registry:
            action += ", options %s" % registry
            after += "options: %s\n" % registry
        before = "".join("%s\n" % name for name in reversed(self._loaded(now)))
        if step != driver.KEEP:
            before += "driver %s\n" % reason
            after += "driver %s\n" % self.params["version"]
        return Change(action, "modules", before, after, lambda module: self._settle_modules(number, step == driver.RELOAD))

    def _settle_modules(self, number, reload):
        if number is None:
            self._load()
            number = self._judged_number(self._await_cards().part_numbers)
        if self._settle_conf(number) or reload or os.path.exists(self._at(RELOAD_PENDING)):
            self._unload()
        self._load()
        if os.path.exists(self._at(RELOAD_PENDING)):
            os.unlink(self._at(RELOAD_PENDING))
        self._prove()

    def _load(self):
        for name in self._modules():
            code, output, errors = self.module.run_command(["modprobe", name])
            if code:
                observed, remedy = driver.failure_of(output + errors)
                raise UnfitError("module %s" % name, observed, "a module that loads", remedy)

    def _unload(self):
        now = self.observe()
        loaded = self._loaded(now)
        if loaded:
            self._judge_holders(now)
        for name in loaded:
            code, output, errors = self.module.run_command(["rmmod", name])
            if code:
                observed, _remedy = driver.failure_of(output + errors)
                raise UnfitError("module %s" % name, observed, "a module that nothing uses", "stop what uses it, and run again")

    def _await_cards(self):
        """What is observed once the driver tells the cards; as it is after :data:`READY_SECONDS`, for the drivers of P800 take seconds."""
        until = time.time() + READY_SECONDS
        while True:
            now = self.observe()
            if all(now.part_numbers.values()) or time.time() > until:
                return now
            time.sleep(READY_PAUSE)

    def _prove(self):
        """Read back what was made.

        :raises UnfitError: it is not what was asked for.
        """
        now = self._await_cards()
        step, reason = driver.judge(now.driver, self.params["version"], now.tool_is_there)
        if step != driver.KEEP:
            remedy = (
                "name the version that the file brings, as /proc/%s/version tells it, or get the right file" % self.params["driver_module"]
            )
            raise UnfitError("driver read back", reason, self.params["version"], remedy)
        missing = [name for name in self._modules() if name not in now.loaded]
        if missing:
            raise UnfitError("modules read back", "%s not loaded" % ", ".join(missing), "loaded", "look at the kernel log")
        xdr = self.params["xdr"]
        if xdr and not driver.has_xdr(now.driver, now.xdr_file_version, xdr["version"]):
            observed = now.driver["xdr"]["version"] or now.xdr_file_version or "no version"
            raise UnfitError("XDR read back", observed, xdr["version"], "name the version that the archive brings, or get the right one")
        self._judged_number(now.part_numbers)

    # firmware ----------------------------------------------------------------------------------------------------------

    def _flashes(self, now):
        """Whether firmware is to be flashed; otherwise a difference is only told."""
        firmware = self.params["firmware"]
        if not firmware or not any(now.firmware.values()):
            return False
        differences = driver.firmware_differences(now.firmware, firmware["versions"])
        if not differences:
            return False
        wanted = ", ".join("%s %s" % item for item in sorted(firmware["versions"].items()))
        told = "firmware: %s; expected %s; " % (", ".join(differences), wanted)
        if read_text(self._at(FLASHED)) == firmware["sha256"]:
            self._ask_for_power_cycle(told + "it was flashed")
            return False
        if not self.params["firmware_update"]:
            self.notes.append(told + "set driver_firmware_update: true to flash it, which needs a power cycle of the host afterwards")
            return False
        return True

    def _ask_for_power_cycle(self, told):
        self.power_cycle = True
        self.notes.append("%s; cut the host's power and give it back, a reboot does not do" % told)

    def _firmware_change(self, now):
        firmware = self.params["firmware"]
        before = "".join(line + "\n" for line in driver.firmware_differences(now.firmware, firmware["versions"]))
        after = "".join("%s %s after a power cycle\n" % item for item in sorted(firmware["versions"].items()))
        self._ask_for_power_cycle("firmware: flashed")

        def make(module):
            self._judge_holders(self.observe())
            with self._unpacked("firmware", firmware["file"], ("auto_update.sh",)) as folder:
                self._run("firmware", ["bash", os.path.join(folder, "auto_update.sh")], cwd=folder)
            write_text(module, self._at(FLASHED), firmware["sha256"], 0o644)

        return Change("flash %s" % firmware["file"], "firmware", before, after, make)

    # what is left --------------------------------------------------------------------------------------------------------

    def _left_over_changes(self):
        """Files that were sent are removed: those that were needed, as a part of what needed them; others that a killed run left, by themselves."""
        if not self.params["remove_files"]:
            return []
        entries = [self.params["xre"], self.params["xdr"], self.params["firmware"], *self.params["toolkit"]]
        paths = [entry["file"] for entry in entries if entry and entry["file"] not in self.needed and os.path.exists(entry["file"])]
        return [Change("remove %s" % path, path, "a file that was sent\n", "", lambda module, path=path: os.unlink(path)) for path in paths]

    def remove_needed_files(self):
        """Remove the files that this run needed, once it needs them no more."""
        for path in self.needed if self.params["remove_files"] else ():
            if os.path.exists(path):
                os.unlink(path)

    def _receipt_changes(self, now):
        params = self.params
        packages = [driver.parse_package_file(os.path.basename(entry["file"])) for entry in params["toolkit"]]
        content = {
            "version": params["version"],
            "sha256": params["xre"]["sha256"],
            "kernel": now.kernel,
            "modules": self._modules(),
            "xdr": params["xdr"]["version"] if params["xdr"] else None,
            "toolkit": dict(packages),
        }
        path = _receipt.path_of(params["state_dir"], STAGE)
        return file_change(path, read_text(path), _receipt.render(STAGE, content))

    # absent ----------------------------------------------------------------------------------------------------------------

    def absent(self):
        """The changes that take away what this collection brought, and nothing else."""
        now, record = self.observe(), self.record.read()
        receipt = _receipt.path_of(self.params["state_dir"], STAGE)
        load_conf, conf = self._at(LOAD_CONF), self._conf_now()
        changes = []
        if record["paths"] and self._loaded(now):
            self._judge_holders(now)
            loaded = self._loaded(now)
            text = "".join("%s\n" % name for name in loaded)
            changes.append(Change("unload %s" % ", ".join(loaded), "modules", text, "", lambda module: self._unload()))
        program = files.uninstaller(record["paths"])
        if program:
            changes.append(
                Change(
                    "bash %s" % program,
                    "driver",
                    "driver %s\n" % now.driver["version"],
                    "",
                    lambda module: self._run("uninstaller", ["bash", program]),
                )
            )
        if record["packages"]:
            argv = ["dpkg", "--purge", *record["packages"]]
            text = "".join("%s\n" % name for name in record["packages"])
            changes.append(Change(" ".join(argv), "packages", text, "", lambda module: module.run_command(argv, check_rc=True)))
        if driver.is_ours(conf) and self._conf_path() not in record["paths"]:
            changes += self._put_back_changes(conf)
        if os.path.exists(load_conf):
            changes.append(Change("remove %s" % load_conf, load_conf, read_text(load_conf), "", lambda module: _remove(load_conf)))
        if record["paths"]:
            text = "".join(path + "\n" for path in record["paths"])
            changes.append(
                Change("remove %d paths" % len(record["paths"]), "files", text, "", lambda module: self._remove(record["paths"]))
            )
        for path in (receipt, self.folder):
            if os.path.exists(path):
                before = read_text(path) if path == receipt else "folder\n"
                changes.append(Change("remove %s" % path, path, before, "", lambda module, path=path: _remove(path)))
        if changes and record["replaced"]:
            self.notes.append("driver %s, which was here before, is not brought back: install it again" % record["replaced"])
        return changes

    def _put_back_changes(self, now):
        """The module's options as they were before ours; no file where the installer had brought it."""
        path = self._conf_path()
        kept = self.record.kept(os.path.basename(path))
        if kept is None:
            return [Change("remove %s" % path, path, now, "", lambda module: _remove(path))]
        return file_change(path, now, kept)

    def _remove(self, paths):
        files.remove(paths)
        if any(path.endswith((".ko", ".ko.xz", ".ko.zst", ".ko.gz")) for path in paths):
            self._refresh_modules()
            files.remove(paths)  # indexes of modules that were not there before

    def _at(self, path):
        return os.path.join(self.root, path.lstrip("/"))


class _Recorded(object):
    """Notes what an installer brings, also one that fails."""

    def __init__(self, record, packages, replaced):
        self._record, self._packages, self._replaced = record, packages, replaced

    def __enter__(self):
        self._record.begin()

    def __exit__(self, *unused):
        self._record.end(self._packages, self._replaced)


class _Unpacked(object):
    """An archive, unpacked for the time of a ``with``, whose value is the folder with all the files of the given names."""

    def __init__(self, module, subject, archive, names):
        self._module, self._subject, self._archive, self._names = module, subject, archive, names
        self._folder = None

    def __enter__(self):
        self._folder = tempfile.mkdtemp(dir=self._module.tmpdir)
        try:
            files.unpack(self._archive, self._folder)
        except ValueError as error:
            raise UnfitError(self._subject, "%s %s" % (self._archive, error), "a tar archive", "get the file again") from error
        found = files.folder_with(self._folder, self._names)
        if found is None:
            expected = "one that holds %s" % " and ".join(self._names)
            raise UnfitError(self._subject, "%s has no such file" % self._archive, expected, "get the right archive")
        return found

    def __exit__(self, *unused):
        shutil.rmtree(self._folder, ignore_errors=True)


def _remove(path):
    """Remove a file, or a folder with all that is in it; an uninstaller may have done it before."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def sha256_of(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
