# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the parts of the driver stage have in common on a host: to look, to run an installer, to unpack an archive, to load and unload modules."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _accelerator_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _kernel_modules, _xpu_smi
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver_files as files
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import write_text
from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import check_sha256
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

FOLDER = "driver"  # within the state folder: the files that were sent, the record of what they brought, and what they said
LOG = "install.log"


class Observed(object):
    """What one look at the host found.

    :ivar driver: as ``_accelerator_facts.driver`` reads it.
    :ivar part_numbers: ``{PCI address: part number or None}`` of all cards; ``firmware`` likewise.
    :ivar holders: ``{device path: [process]}`` of devices that are held.
    :ivar loaded: names of the modules in the kernel.
    """

    def __init__(self, tree, params, containers):
        problems = facts.Problems()
        cards = [card.address for card in facts.cards(tree, params["pci_ids"])]
        program, answers = facts.ask_tool(tree, params["tool"], problems, subjects=("query",))
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
        xdr_version = tree.command("modinfo", "-F", "version", driver.XDR_MODULE) if params["xdr"] else None
        self.xdr_file_version = (xdr_version or "").strip() or None

    @property
    def kernel(self):
        return self.driver["kernel"]


class Hands(object):
    """One host.

    :param module: the AnsibleModule, with the options of xpu_driver.
    :param tree: the host to read.
    :param containers: ``{id: {"name", "labels"}}`` of the containers that run, for naming a process.
    :param root: where files are written, another than ``/`` for a made-up host.
    """

    def __init__(self, module, tree, containers, root="/"):
        self.module, self.params, self.tree = module, module.params, tree
        self.folder = os.path.join(self.params["state_dir"], FOLDER)
        self.record = files.Record(self.folder, files.places_of(tree.line("/proc/sys/kernel/osrelease")), root)
        self.latest = None  # what was observed last
        self._containers, self._root = containers, root

    def at(self, path):
        """Where a path of the host is written."""
        return os.path.join(self._root, path.lstrip("/"))

    def observe(self):
        self.latest = Observed(self.tree, self.params, self._containers)
        return self.latest

    def judge_file(self, subject, entry):
        """Refuse a file that is missing or has another SHA-256. One that may yet be sent, once check mode said that it is needed, is let be.

        :param entry: ``{"file", "sha256"}``.
        """
        path = entry["file"]
        if self.module.check_mode and (self.params["folder"] or not os.path.exists(path)):
            return
        if not os.path.isfile(path):
            raise unfit(subject, "no file %s" % path, "the file on this host", "put it there, or mend its path")
        check_sha256(subject, path, entry["sha256"], "get the file again, or name the sha256 that its vendor gave")

    def judge_holders(self, now):
        """Refuse while a process holds a device: none is ever ended."""
        if now.holders:
            observed = ", ".join(driver.named_holders(now.holders))
            raise unfit("devices in use", observed, "no process on a device", "end it, or run this stage when the devices are free")

    def run(self, subject, argv, headers=None, cwd=None, loaded=()):
        """Run an installer. When it fails its output is kept, and the modules that were loaded before are loaded again.

        :param headers: what it gets as KERNELDIR.
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
        raise unfit(subject, "it ended with %d: %s" % (code, observed), "exit status 0", "%s (all it said is in %s)" % (remedy, log))

    @contextlib.contextmanager
    def recorded(self, packages=(), replaced=None):
        """Note what comes to the host meanwhile, also from an installer that fails; parameters as of ``Record.end``."""
        self.record.begin()
        try:
            yield
        finally:
            self.record.end(packages, replaced)

    @contextlib.contextmanager
    def unpacked(self, subject, archive, names):
        """An archive, unpacked for the time of a ``with``; gives the folder that has all the files of the given names.

        :raises UnfitError: it is no archive, or has no such folder.
        """
        place = tempfile.mkdtemp(dir=self.module.tmpdir)
        try:
            files.unpack(archive, place)
            found = files.folder_with(place, names)
            if found is None:
                raise ValueError("has no such file")
        except ValueError as error:
            shutil.rmtree(place, ignore_errors=True)
            expected = "a tar archive with %s" % " and ".join(names)
            raise unfit(subject, "%s %s" % (archive, error), expected, "get the right archive") from error
        try:
            yield found
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def load(self, name):
        self._insist("modprobe", name, "a module that loads", None)

    def unload(self, name):
        self._insist("rmmod", name, "a module that nothing uses", "stop what uses it, and run again")

    def _insist(self, program, name, expected, remedy):
        code, output, errors = self.module.run_command([program, name])
        if code:
            observed, known = driver.failure_of(output + errors)
            raise unfit("module %s" % name, observed, expected, remedy or known)

    def refresh_modules(self):
        """Tell the kernel's tools, and the next boot's initial file system, what modules there are (Corpama/envinit)."""
        for argv in (["depmod"], ["dracut", "-f"], ["update-initramfs", "-u"]):
            if self.module.get_bin_path(argv[0]):
                self.module.run_command(argv, check_rc=True)
