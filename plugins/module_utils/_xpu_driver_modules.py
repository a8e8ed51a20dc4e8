# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The driver's kernel modules on a host: which are loaded, with which options, now and at boot, and whether the cards answer."""

from __future__ import annotations

import os
import time

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, file_change, read_text, removal, write_text
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

CONF, LOAD_CONF = "/etc/modprobe.d/%s.conf", "/etc/modules-load.d/flagos-kunlunxin-driver.conf"
# That the modules have yet to be loaded with the options that were written. Under /run, because a boot pays that debt too.
RELOAD_PENDING = "/run/flagos-kunlunxin/driver-reload-pending"
# The driver tells its cards some seconds after it was loaded: envinit waits ten.
READY_SECONDS = 60
READY_PAUSE = 2


class Modules(object):
    """:ivar names: the modules that are wanted, in the order in which they are loaded."""

    def __init__(self, hands):
        params = hands.params
        self._hands, self._known = hands, params["module_options"]
        self._driver = params["driver_module"]
        self._peer = params["peer_module"] if params["peer_memory"] else None
        self.names = [self._driver] + ([self._peer] if self._peer else []) + ([driver.XDR_MODULE] if params["xdr"] else [])
        self._unloadable = [driver.XDR_MODULE, params["peer_module"], self._driver]
        self._conf, self._pending = hands.at(CONF % self._driver), hands.at(RELOAD_PENDING)

    def loaded(self, now):
        """The driver's modules that are in the kernel, in the order in which they can be unloaded."""
        return [name for name in self._unloadable if name in now.loaded]

    # part number ---------------------------------------------------------------------------------------------------

    def part_number(self, now, step):
        """The cards' part number; None while no driver can tell it and the operator did not."""
        given = self._hands.params["part_number"]
        if step == driver.KEEP or any(now.part_numbers.values()):
            return self._judged(now)
        return driver.judge_part_numbers({"driver_part_number": given}, self._known) if given else None

    def _judged(self, now):
        number, given = driver.judge_part_numbers(now.part_numbers, self._known), self._hands.params["part_number"]
        if given and given != number:
            raise unfit("XPU part numbers", number, given, "mend driver_part_number, or change the cards")
        return number

    # options -------------------------------------------------------------------------------------------------------

    def are_stale(self, number):
        """Whether other options are written than the part number asks for, or in force than are written."""
        return os.path.exists(self._pending) or (number is not None and self._wanted_conf(number) != read_text(self._conf))

    def _wanted_conf(self, number):
        """The text of the options; what is there where the part number needs none, and None for no file."""
        registry, now = self._known[number], read_text(self._conf)
        if registry:
            return driver.modprobe_conf(self._driver, self._peer, registry)
        return self._kept_conf() if driver.is_ours(now) else now

    def _kept_conf(self):
        return self._hands.record.kept(os.path.basename(self._conf))

    def _settle_conf(self, number):
        now, wanted = read_text(self._conf), self._wanted_conf(number)
        if now == wanted:
            return
        write_text(self._hands.module, self._pending, "", 0o644)
        if now is not None and not driver.is_ours(now):
            self._hands.record.keep(os.path.basename(self._conf), now)
        if wanted is None:
            os.unlink(self._conf)
        else:
            write_text(self._hands.module, self._conf, wanted, 0o644)

    # loading -------------------------------------------------------------------------------------------------------

    def at_boot_changes(self):
        path = self._hands.at(LOAD_CONF)
        return file_change(path, read_text(path), driver.modules_load_conf(self.names))

    def change(self, now, step, reason, number, prove):
        """The change by which the modules are loaded with the options for the part number, read from the cards where it is None.

        :param prove: called with what is observed when it is made; raises UnfitError unless the host then is as it should be.
        """
        action = "load %s" % ", ".join(self.names)
        after = "".join("%s\n" % name for name in self.names)
        registry = "as the cards' part number asks" if number is None else self._known[number]
        if registry:
            action += ", options %s" % registry
            after += "options: %s\n" % registry
        before = "".join("%s\n" % name for name in reversed(self.loaded(now)))
        if step != driver.KEEP:
            before += "driver %s\n" % reason
            after += "driver %s\n" % self._hands.params["version"]

        def make(unused):
            prove(self._settle(number, step == driver.RELOAD))

        return Change(action, "modules", before, after, make)

    def _settle(self, number, reload):
        if number is None:
            self._load()
            number = self._judged(self._await_cards())
        self._settle_conf(number)
        if reload or os.path.exists(self._pending):
            self._unload()
        self._load()
        if os.path.exists(self._pending):
            os.unlink(self._pending)
        then = self._await_cards()
        self._judged(then)
        return then

    def _load(self):
        for name in self.names:
            self._hands.load(name)

    def unload_changes(self, now):
        loaded = self.loaded(now)
        text = "".join("%s\n" % name for name in loaded)
        return [Change("unload %s" % ", ".join(loaded), "modules", text, "", lambda module: self._unload())] if loaded else []

    def _unload(self):
        now = self._hands.observe()
        loaded = self.loaded(now)
        if loaded:
            self._hands.judge_holders(now)
        for name in loaded:
            self._hands.unload(name)

    def _await_cards(self):
        """What is observed once the driver tells all cards, or after :data:`READY_SECONDS`."""
        until = time.time() + READY_SECONDS
        while True:
            now = self._hands.observe()
            if all(now.part_numbers.values()) or time.time() > until:
                return now
            time.sleep(READY_PAUSE)

    def prove(self, now):
        """:raises UnfitError: the kernel has not what was installed and loaded."""
        version = self._hands.params["version"]
        step, reason = driver.judge(now.driver, version, now.tool_is_there)
        if step != driver.KEEP:
            remedy = "name the version that the file brings, as /proc/%s/version tells it, or get the right file" % self._driver
            raise unfit("driver read back", reason, version, remedy)
        missing = [name for name in self.names if name not in now.loaded]
        if missing:
            raise unfit("modules read back", "%s not loaded" % ", ".join(missing), "loaded", "look at the kernel log")

    # put back ------------------------------------------------------------------------------------------------------

    def put_back_changes(self, brought):
        """The options and what is loaded at boot as they were before; paths that were ``brought`` are removed with the rest."""
        now, kept, load_conf = read_text(self._conf), self._kept_conf(), self._hands.at(LOAD_CONF)
        changes = []
        if driver.is_ours(now) and self._conf not in brought:
            changes += file_change(self._conf, now, kept) if kept is not None else removal(self._conf, now)
        return changes + removal(load_conf, read_text(load_conf))
