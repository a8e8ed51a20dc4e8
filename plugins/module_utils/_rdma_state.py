# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What the stage rdma keeps on a host, and how settings are made and undone.

Below ``rdma/`` of the state folder lie the batch that each boot replays (``batch.json``), the values from before the first change
(``originals.json``), the program that replays and restores, and, while a change waits for its confirmation, ``unconfirmed.json`` with
what the dead-man timer would bring back. The timer does not outlive a boot; therefore a boot that finds the last one undoes the files of
that change before it replays anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess

from . import _rdma_knobs as knobs
from ._changes import read_text
from ._host_tree import HostTree
from ._receipt import write_atomically

UNIT = "flagos-kunlunxin-rdma.service"
UNIT_FILE = "/etc/systemd/system/" + UNIT
TIMER = "flagos-kunlunxin-rdma-deadman"
LINK_FILES = "/etc/systemd/network"
LINK_PREFIX = "10-flagos-kunlunxin-"
LOCK = "/run/flagos-kunlunxin-rdma.lock"
UNDONE = "/run/flagos-kunlunxin-rdma.undone"  # that the last change came back unconfirmed; whoever comes to confirm it is told so
STEP_SECONDS = 60


class StepError(Exception):
    """A step that the host refuses.

    :ivar step: the step, in words.
    :ivar reason: what the command or the kernel says.
    """

    def __init__(self, step, reason):
        self.step = knobs.described(step)
        self.reason = reason
        super().__init__("%s: %s" % (self.step, reason))


class UnreadableError(Exception):
    """A file of the stage that the stage did not write. Guessing what it held would lose the values from before.

    :ivar path: the file.
    """

    def __init__(self, path):
        self.path = path
        super().__init__("%s is not what the stage rdma writes" % path)


class Folder:
    """The files of the stage.

    :ivar path: the folder.
    """

    def __init__(self, path):
        self.path = path
        self.batch, self.originals, self.unconfirmed = (
            os.path.join(path, name + ".json") for name in ("batch", "originals", "unconfirmed")
        )
        self.program = os.path.join(path, "rdma.pyz")

    def load(self, path):
        """The content of one of the files; None when it is not there.

        :raises UnreadableError: see above.
        """
        text = read_text(path)
        try:
            found = None if text is None else json.loads(text)
        except ValueError as error:
            raise UnreadableError(path) from error
        if found is not None and not (isinstance(found, dict) and isinstance(found.get("settings"), list)):
            raise UnreadableError(path)
        return found

    def settings(self, path):
        """The settings of batch or originals, in their order; none when there is no such file."""
        return (self.load(path) or {"settings": []})["settings"]


def rendered(settings, overlay):
    """The text of a file of settings; equal settings give equal text."""
    return json.dumps({"overlay": overlay, "settings": settings}, indent=1, sort_keys=True) + "\n"


def unit_text(python, folder):
    """The unit that replays the batch at boot: after whatever brings up addresses, before what may use the rails."""
    return """# Written by the stage rdma of flagos.kunlunxin; changes made here are lost.
[Unit]
Description=Settings of the RDMA interfaces (flagos.kunlunxin)
Wants=network-online.target
After=network-online.target systemd-sysctl.service
Before=docker.service containerd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%s %s boot %s

[Install]
WantedBy=multi-user.target
""" % (python, folder.program, folder.path)


def link_text(name, mac):
    """systemd.link(5): an Ethernet interface with this address gets this name at boot. VLANs and bonds above it have its address, too."""
    return """# Written by the stage rdma of flagos.kunlunxin; changes made here are lost.
[Match]
MACAddress=%s
Type=ether

[Link]
Name=%s
""" % (mac, name)


def take(step, tree):
    """Take one step.

    :raises StepError: when the host refuses it.
    """
    if isinstance(step, knobs.Write):
        try:
            with open(tree.path(step.path), "w", encoding="utf-8") as stream:
                stream.write(step.value)
        except OSError as error:
            raise StepError(step, error.strerror) from error
        return
    environment = dict(os.environ, LC_ALL="C", PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    try:
        done = subprocess.run(  # pylint: disable=subprocess-run-check
            step, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STEP_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StepError(step, str(error)) from error
    if done.returncode != 0:
        raise StepError(step, done.stdout.decode("utf-8", "replace").strip() or "exit status %d" % done.returncode)


def settle(settings, tree):
    """Bring every knob to its value, one failing or not; what is right is not touched.

    :returns: a line for each step that the host refused.
    """
    refused = []
    for entry in settings:
        try:
            for step in knobs.steps(entry["knob"], knobs.read(entry["knob"], tree), entry["value"]):
                take(step, tree)
        except StepError as error:
            refused.append(str(error))
    return refused


def waiting_for(settings, tree):
    """What must be there before the settings can be made and is not yet: interfaces, and the addresses that rules are for."""
    wanted = [entry["knob"] for entry in settings]
    names = {knob["interface"] for knob in wanted if "interface" in knob}
    missing = sorted(name for name in names if not tree.exists("/sys/class/net/%s" % name))
    there = tree.command("ip", "-o", "-4", "address", "show") or ""
    return missing + sorted({knob["source"] for knob in wanted if knob.get("source") and " %s/" % knob["source"] not in there})


def restore_files(files):
    """Put files back to the texts they had, None for none, and let systemd know."""
    for path in sorted(files):
        if files[path] is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            write_atomically(path, files[path])
    if UNIT_FILE in files:
        settle_unit(files[UNIT_FILE] is not None)


def unit_link():
    """The link by which systemd starts the unit at boot."""
    return os.path.join(os.path.dirname(UNIT_FILE), "multi-user.target.wants", UNIT)


def settle_unit(is_wanted):
    """Have the unit start at boot, or forget it. The link that says so is made by hand, as ``systemctl enable`` would make it: it needs
    no bus, which a boot may not have yet."""
    link = unit_link()
    if is_wanted and not os.path.islink(link):
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(UNIT_FILE, link)
    if not is_wanted and os.path.islink(link):
        os.unlink(link)
    with contextlib.suppress(StepError):  # systemd reads them at the next boot in any case
        take(["systemctl", "daemon-reload"], HostTree())


def restore(folder, with_settings=True):
    """Undo the change that waits for its confirmation, if there is one.

    :param with_settings: False after a boot, which has undone the settings.
    :returns: a line for each step that the host refused.
    """
    record = folder.load(folder.unconfirmed)
    if record is None:
        return []
    refused = settle(record["settings"], HostTree("/", record["overlay"])) if with_settings else []
    restore_files(record["files"])
    forget(folder)
    with open(UNDONE, "w", encoding="utf-8"):
        pass
    return refused


def forget(folder):
    """The change is confirmed or undone: the record goes, and where no batch is left all of ours with it. So does the folder of the state
    if nothing else is in it: it was made for ours."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder.unconfirmed)
    if not os.path.exists(folder.batch):
        shutil.rmtree(folder.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(folder.path))


@contextlib.contextmanager
def alone():
    """No other process changes the stage's files meanwhile: the timer may fire while a confirmation is on its way."""
    with open(LOCK, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def timer_commands(python, folder, seconds):
    """The commands that arm the dead-man timer, and those that stop it."""
    start = ["systemd-run", "--unit=" + TIMER, "--on-active=%d" % seconds, "--timer-property=AccuracySec=1s"]
    return start + [python, folder.program, "restore", folder.path], ["systemctl", "stop", TIMER + ".timer"]
