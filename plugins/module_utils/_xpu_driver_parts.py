# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a site may want beside the driver: direct RDMA, the container toolkit, firmware. Each says what it lacks, and gives the change for it.

Source of how each is installed: Corpama/envinit, its stages xdr, container and firmware.
"""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, read_text, write_text
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import unfit

# That firmware was flashed, which shows only after a power cycle. Under /run, because a boot ends what is known of it.
FLASHED = "/run/flagos-kunlunxin/driver-firmware"


class Xdr(object):
    """Direct RDMA of the XPUs, a module that is built on the host from an archive."""

    SUBJECT = "XDR"

    def __init__(self, hands):
        self._hands, self.wanted = hands, hands.params["xdr"]

    def lacks(self, now):
        return bool(self.wanted) and not driver.has_xdr(now.driver, now.xdr_file_version, self.wanted["version"])

    def change(self, now, headers):
        before = now.driver["xdr"]["version"] or now.xdr_file_version or "none"
        action = "install XDR %s from %s" % (self.wanted["version"], self.wanted["file"])
        return Change(action, self.SUBJECT, before + "\n", self.wanted["version"] + "\n", lambda module: self._install(now.kernel, headers))

    def _install(self, kernel, headers):
        hands = self._hands
        with hands.unpacked(self.SUBJECT, self.wanted["file"], ("build.sh", "install.sh")) as folder, hands.recorded():
            hands.run("XDR build", [os.path.join(folder, "build.sh")], headers, folder)
            now = hands.observe()
            if driver.XDR_MODULE in now.loaded:
                hands.judge_holders(now)
                hands.unload(driver.XDR_MODULE)
            old = hands.at("/lib/modules/%s/extra/xdr.ko" % kernel)
            if os.path.exists(old):
                os.unlink(old)
            hands.refresh_modules()
            hands.run("XDR installer", [os.path.join(folder, "install.sh")], headers, folder)

    def prove(self, now):
        """:raises UnfitError: what was installed is another version."""
        if self.lacks(now):
            observed = now.driver["xdr"]["version"] or now.xdr_file_version or "no version"
            remedy = "name the version that the archive brings, or get the right one"
            raise unfit("XDR read back", observed, self.wanted["version"], remedy)


class Toolkit(object):
    """The container toolkit, packages of a distribution of Debian's kind."""

    SUBJECT = "container toolkit"

    def __init__(self, hands):
        self._hands = hands
        self.wanted = [dict(entry, **self._named(entry["file"])) for entry in hands.params["toolkit"]]

    def _named(self, path):
        name = os.path.basename(path)
        told = driver.parse_package_file(name)
        if not told:
            raise unfit(self.SUBJECT, name, "a name such as package_1.0-1_amd64.deb", "name the file so")
        return {"name": told[0], "version": told[1]}

    def missing(self):
        """The packages that are not there in the version that the name of their file tells."""
        missing = [package for package in self.wanted if self._version(package["name"]) != package["version"]]
        if missing and not self._hands.module.get_bin_path("dpkg"):
            raise unfit(self.SUBJECT, "no dpkg on this host", "a host of Debian's kind", "unset driver_toolkit, and install it by hand")
        return missing

    def _version(self, name):
        output = self._hands.tree.command("dpkg-query", "-W", "-f=${db:Status-Status} ${Version}", name)
        status, _blank, version = (output or "").strip().partition(" ")
        return version if status == "installed" else None

    def change(self, packages):
        argv = ["dpkg", "--install", *[package["file"] for package in packages]]
        held = {package["name"]: self._version(package["name"]) for package in packages}
        before = "".join("%s %s\n" % (name, version) for name, version in sorted(held.items()) if version)
        after = "".join("%s %s\n" % (package["name"], package["version"]) for package in packages)
        new = [name for name, version in sorted(held.items()) if version is None]
        return Change(" ".join(argv), "packages", before, after, lambda module: self._install(argv, packages, new))

    def _install(self, argv, packages, new):
        with self._hands.recorded(packages=new):
            self._hands.run(self.SUBJECT, argv)
        for package in packages:
            found = self._version(package["name"])
            if found != package["version"]:
                observed = "%s %s" % (package["name"], found or "is not there")
                raise unfit(self.SUBJECT, observed, package["version"], "name the file as its package is")


class Firmware(object):
    """Firmware of the cards. It is flashed only when asked for; cutting the host's power, by which it comes to run, is the operator's.

    :ivar notes: what the operator should know.
    :ivar power_cycle: whether something was flashed that does not run yet.
    """

    SUBJECT = "firmware"

    def __init__(self, hands):
        self._hands, self.wanted = hands, hands.params["firmware"]
        self.notes, self.power_cycle = [], False

    def is_to_be_flashed(self, now):
        """Whether the cards have another, and it may be; otherwise a difference is only noted. Before a driver runs, nobody knows."""
        if not self.wanted or not any(now.firmware.values()):
            return False
        differences = driver.firmware_differences(now.firmware, self.wanted["versions"])
        if not differences:
            return False
        told = "firmware: %s; expected %s; " % (", ".join(differences), ", ".join(self._versions()))
        if read_text(self._hands.at(FLASHED)) == self.wanted["sha256"]:
            self._ask_for_power_cycle(told + "it was flashed")
            return False
        if not self._hands.params["firmware_update"]:
            self.notes.append(told + "set driver_firmware_update: true to flash it, which needs a power cycle of the host afterwards")
            return False
        return True

    def _versions(self):
        return ["%s %s" % item for item in sorted(self.wanted["versions"].items())]

    def _ask_for_power_cycle(self, told):
        self.power_cycle = True
        self.notes.append("%s; cut the host's power and give it back, a reboot does not do" % told)

    def change(self, now):
        before = "".join(line + "\n" for line in driver.firmware_differences(now.firmware, self.wanted["versions"]))
        after = "".join("%s after a power cycle\n" % line for line in self._versions())
        self._ask_for_power_cycle("firmware: flashed")
        return Change("flash %s" % self.wanted["file"], self.SUBJECT, before, after, self._flash)

    def _flash(self, module):
        hands = self._hands
        hands.judge_holders(hands.observe())
        with hands.unpacked(self.SUBJECT, self.wanted["file"], ("auto_update.sh",)) as folder:
            hands.run(self.SUBJECT, ["bash", os.path.join(folder, "auto_update.sh")], cwd=folder)
        write_text(module, hands.at(FLASHED), self.wanted["sha256"], 0o644)
