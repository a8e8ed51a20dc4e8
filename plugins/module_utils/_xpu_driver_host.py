# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The driver stage on one host: what has to be done to have the driver, or to have it no more, all judged before the first change is made."""

from __future__ import annotations

import os
import shutil

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver_files as files
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, file_change, read_text, removal
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit
from ansible_collections.flagos.kunlunxin.plugins.module_utils._xpu_driver_hands import Hands
from ansible_collections.flagos.kunlunxin.plugins.module_utils._xpu_driver_modules import Modules
from ansible_collections.flagos.kunlunxin.plugins.module_utils._xpu_driver_parts import Firmware, Toolkit, Xdr

STAGE = "driver"
# Programs of MLNX_OFED and of rdma-core, and the module of the kernel that both are for.
RDMA_PROGRAMS, RDMA_MODULE = ("ofed_info", "rdma-ndd"), "ib_core"
KERNEL_MODULE_FILES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")


class DriverHost(object):
    """
    :param module, tree, containers, root: as of ``Hands``.

    :ivar needed: paths of the files that the changes need.
    :ivar notes: what the operator should know and nothing prevents.
    """

    def __init__(self, module, tree, containers, root="/"):
        self._hands = Hands(module, tree, containers, root)
        self.params, self._record = module.params, self._hands.record
        self._modules = Modules(self._hands)
        self._xdr, self._toolkit, self._firmware = Xdr(self._hands), Toolkit(self._hands), Firmware(self._hands)
        self.needed, self._notes = [], []

    @property
    def notes(self):
        return self._notes + self._firmware.notes

    @property
    def power_cycle(self):
        return self._firmware.power_cycle

    def part_number(self):
        """The one part number that the cards told last, None where they told none or several."""
        numbers = {number for number in self._hands.latest.part_numbers.values() if number}
        return numbers.pop() if len(numbers) == 1 else None

    # present ----------------------------------------------------------------------------------------------------

    def present(self):
        """The changes that bring the driver."""
        now = self._hands.observe()
        step, reason = driver.judge(now.driver, self.params["version"], now.tool_is_there)
        installs, lacks_xdr, packages = step == driver.INSTALL, self._xdr.lacks(now), self._toolkit.missing()
        flashes = self._firmware.is_to_be_flashed(now)

        self._judge_files(installs, lacks_xdr, packages, flashes)
        headers = self._headers(now.kernel) if installs or lacks_xdr else None
        if installs and self.params["peer_memory"]:
            self._judge_peer_memory(now)
        number = self._modules.part_number(now, step)
        unloads = step in (driver.INSTALL, driver.RELOAD) or self._modules.are_stale(number)
        if (unloads and self._modules.loaded(now)) or flashes or (lacks_xdr and driver.XDR_MODULE in now.loaded):
            self._hands.judge_holders(now)

        changes = self._install_changes(now, reason, headers) if installs else []
        changes += [self._xdr.change(now, headers)] if lacks_xdr else []
        changes += [self._toolkit.change(packages)] if packages else []
        changes += self._modules.at_boot_changes()
        if unloads or lacks_xdr or step == driver.LOAD or not set(self._modules.names) <= now.loaded:
            changes.append(self._modules.change(now, step, reason, number, self._prove))
        changes += [self._firmware.change(now)] if flashes else []
        return changes + self._left_over_changes() + self._receipt_changes(now)

    def _judge_files(self, installs, lacks_xdr, packages, flashes):
        wanted = [("XRE", self.params["xre"])] if installs else []
        wanted += [(Xdr.SUBJECT, self.params["xdr"])] if lacks_xdr else []
        wanted += [(Toolkit.SUBJECT, package) for package in packages]
        wanted += [(Firmware.SUBJECT, self.params["firmware"])] if flashes else []
        for subject, entry in wanted:
            self.needed.append(entry["file"])
            self._hands.judge_file(subject, entry)

    def _headers(self, kernel):
        """The folder of the running kernel's headers, which installers take as KERNELDIR."""
        tree, given = self._hands.tree, self.params["kernel_headers"]
        places = [given] if given else [place % kernel for place in driver.HEADER_FOLDERS]
        expected, remedy = "those of the running kernel %s" % kernel, "install the package linux-headers-%s" % kernel
        place = next((place for place in places if tree.exists(place) and tree.exists(place + "/Makefile")), None)
        if place is None:
            raise unfit("kernel headers", "no Makefile in %s" % " or ".join(places), expected, remedy)
        release = driver.release_of_headers(tree.text(place + "/include/generated/utsrelease.h"))
        if release not in (None, kernel):
            raise unfit("kernel headers", "%s is for %s" % (place, release), expected, remedy)
        return tree.path(place)

    def _judge_peer_memory(self, now):
        """The peer-memory module is built against what RDMA has in the kernel, so that has to be there first (the order of envinit)."""
        paths = ["%s/%s" % (folder, name) for folder in ("/usr/bin", "/usr/sbin") for name in RDMA_PROGRAMS]
        if RDMA_MODULE not in now.loaded and not any(self._hands.tree.exists(path) for path in paths):
            observed = "neither %s nor the module %s" % (" nor ".join(RDMA_PROGRAMS), RDMA_MODULE)
            remedy = "run the stage rdma first, or set driver_peer_memory: false where no adapter is to reach the cards"
            raise unfit("peer memory", observed, "the OFED of the adapters' vendor, or rdma-core", remedy)

    def _install_changes(self, now, reason, headers):
        loaded, argv = self._modules.loaded(now), ["bash", self.params["xre"]["file"], *self.params["arguments"]]
        after = "driver %s for kernel %s\n" % (self.params["version"], now.kernel)

        def make(unused):
            replaced = None if self._record.read()["paths"] else now.driver["version"]
            with self._hands.recorded(replaced=replaced):
                self._hands.run("XRE installer", argv, headers, loaded=loaded)

        install = Change("KERNELDIR=%s %s" % (headers, " ".join(argv)), "driver", "driver %s\n" % reason, after, make)
        return [*self._modules.unload_changes(now), install]

    def _prove(self, now):
        """Read back what was installed and loaded."""
        self._modules.prove(now)
        self._xdr.prove(now)

    def _left_over_changes(self):
        """Files that were sent, that nothing needs and that a killed run left. Those that are needed go with what needed them."""
        entries = [self.params["xre"], self.params["xdr"], self.params["firmware"], *self.params["toolkit"]]
        paths = [entry["file"] for entry in entries if entry and entry["file"] not in self.needed]
        return [
            Change("remove %s" % path, path, "a file that was sent\n", "", lambda module, path=path: os.unlink(path))
            for path in paths
            if self.params["remove_files"] and os.path.exists(path)
        ]

    def remove_needed_files(self):
        """Remove the files that were needed and are no more."""
        for path in self.needed if self.params["remove_files"] else ():
            if os.path.exists(path):
                os.unlink(path)

    def _receipt_path(self):
        return _receipt.path_of(self.params["state_dir"], STAGE)

    def _receipt_changes(self, now):
        content = {
            "version": self.params["version"],
            "sha256": self.params["xre"]["sha256"],
            "kernel": now.kernel,
            "modules": self._modules.names,
            "xdr": self.params["xdr"]["version"] if self.params["xdr"] else None,
            "toolkit": {package["name"]: package["version"] for package in self._toolkit.wanted},
        }
        path = self._receipt_path()
        return file_change(path, read_text(path), _receipt.render(STAGE, content))

    # absent -----------------------------------------------------------------------------------------------------

    def absent(self):
        """The changes that take away what this collection brought, and nothing else."""
        now, record = self._hands.observe(), self._record.read()
        paths, receipt, folder = record["paths"], self._receipt_path(), self._hands.folder
        changes = []
        if paths and self._modules.loaded(now):
            self._hands.judge_holders(now)
            changes += self._modules.unload_changes(now)
        changes += self._uninstaller_changes(now, paths) + self._purge_changes(record["packages"])
        changes += self._modules.put_back_changes(paths)
        if paths:
            listed = "".join(path + "\n" for path in paths)
            changes.append(Change("remove %d paths" % len(paths), "files", listed, "", lambda module: self._remove(paths)))
        changes += removal(receipt, read_text(receipt))
        if os.path.isdir(folder):
            changes.append(Change("remove %s" % folder, folder, "folder\n", "", lambda module: shutil.rmtree(folder)))
        if changes and record["replaced"]:
            self._notes.append("driver %s, which was here before, is not brought back: install it again" % record["replaced"])
        return changes

    def _uninstaller_changes(self, now, paths):
        program = files.uninstaller(paths)
        before = "driver %s\n" % (now.driver["version"] or "not loaded")
        argv = ["bash", program]
        return [Change("bash %s" % program, "driver", before, "", lambda module: self._hands.run("uninstaller", argv))] if program else []

    def _purge_changes(self, packages):
        argv, before = ["dpkg", "--purge", *packages], "".join("%s\n" % name for name in packages)
        return [Change(" ".join(argv), "packages", before, "", lambda module: module.run_command(argv, check_rc=True))] if packages else []

    def _remove(self, paths):
        files.remove(paths)
        if any(path.endswith(KERNEL_MODULE_FILES) for path in paths):
            self._hands.refresh_modules()
            files.remove(paths)  # indexes of a kernel that had none before
