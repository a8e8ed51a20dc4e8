# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The lanes of one machine: their files, and starting and ending them."""

from __future__ import annotations

import base64
import glob
import hashlib
import json
import os
import shutil

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_engine, _swarm_state, _swarm_units

FOLDER = "weights"
PROGRAM = "swarm.pyz"


class Lanes(object):
    """What one machine has of the swarm for one revision.

    :param state_dir: the folder with the machine's state.
    :param revision: the name of the revision.
    :param part: ``member`` where weights arrive, ``source`` where they come from.
    :param count: how many lanes.
    """

    def __init__(self, state_dir, revision, part, count):
        self.base = os.path.join(state_dir, FOLDER)
        self.folder = os.path.join(self.base, revision)
        self.part = part
        self.names = ["%s-%d" % (part, lane) for lane in range(count)]
        self.units = _swarm_units.units()

    def statuses(self):
        """What each lane last told."""
        return [_swarm_state.read_status(os.path.join(self.folder, name)) for name in self.names]

    def active(self):
        """Whether each lane runs."""
        return [self.units.active(name, self._config(name)) for name in self.names]

    def start(self, program, wheel, torrents, options, seconds, pair=None):
        """Start the lanes that do not run as they should; one that does is left alone, whoever started it.

        :param program: the lanes' program.
        :param wheel: libtorrent's wheel; empty where the interpreter has it.
        :param torrents: of each lane.
        :param options: of each lane, see ``_swarm_program``.
        :param seconds: after which a lane is ended whatever it does.
        :param pair: this member's certificate and key, as PEM; lanes then speak TLS alone.
        :returns: names of those that were started.
        """
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        owner, started = self.units.owner(), []
        environment = {"PYTHONPATH": _swarm_engine.unpack(wheel, os.path.join(self.base, "engine"))} if wheel else {}
        os.chown(self.folder, *owner)
        self._end_others()
        new_program = _swarm_units.write_file(os.path.join(self.folder, PROGRAM), program)
        for name, torrent, own in zip(self.names, torrents, options):  # noqa: B905 - zip has no strict in 3.8
            config = dict(own, torrent=os.path.join(self.folder, name + ".torrent"), state=os.path.join(self.folder, name))
            news = _swarm_units.write_file(config["torrent"], torrent)
            if pair:  # the hash tells a lane with another certificate from this one
                config["tls"] = dict(self._pair(name), sha256=hashlib.sha256(pair[0].encode("ascii")).hexdigest())
            news = _swarm_units.write_file(self._config(name), json.dumps(config, sort_keys=True).encode("utf-8")) or news
            active = self.units.active(name, self._config(name))
            if active and not news and not new_program:
                continue
            if active:
                self.units.stop(name, self._config(name))
            self._remove(name + ".status.json")  # no news of the one that begins now
            self._hand_over(name, pair, owner)
            command = _swarm_units.command(os.path.join(self.folder, PROGRAM), self._config(name))
            writable = [self.folder] if config["complete"] == "everything" else [self.folder, config["folder"]]
            self.units.start(name, command, environment, writable, seconds)
            started.append(name)
        return started

    def stop(self):
        """End the lanes, which note what they have."""
        for name in self.names:
            self.units.stop(name, self._config(name))
            self._hand_over(name, None, None)

    def _end_others(self):
        """End the lanes of other revisions, and those of a time when there were more: they keep ports, memory and files for nothing."""
        own = {self._config(name) for name in self.names}
        for config in sorted(glob.glob(os.path.join(glob.escape(self.base), "*", self.part + "-*.json"))):
            name = os.path.splitext(os.path.basename(config))[0]
            # A unit is known by its name alone: one that is ours by name is stopped where its configuration is found to be another.
            shared = name in self.names and isinstance(self.units, _swarm_units.SystemdUnits)
            if config not in own and not shared and self.units.active(name, config):
                self.units.stop(name, config)

    def forget_notes(self):
        """Have the lanes, which must not run, read what is there: bytes that they once noted as right are no longer."""
        for name in self.names:
            self._remove(name + ".resume")

    def clear(self):
        """Take away what the lanes needed to go on."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _config(self, name):
        return os.path.join(self.folder, name + ".json")

    def _pair(self, name):
        """Where a lane finds its certificate and its key."""
        return {part: os.path.join(self.folder, name + "." + part) for part in ("certificate", "key")}

    def _hand_over(self, name, pair, owner):
        """Give a lane its certificate and key, or take them away; not before another has ended, which takes its own with it."""
        for path, text in zip(self._pair(name).values(), pair or (None, None)):  # noqa: B905 - zip has no strict in 3.8
            if text:
                _swarm_units.write_file(path, text.encode("ascii"), 0o600, owner)
            else:
                self._remove(os.path.basename(path))

    def _remove(self, name):
        path = os.path.join(self.folder, name)
        if os.path.exists(path):
            os.unlink(path)


def decoded(torrents):
    """The torrents of a module's option, in the order of their lanes."""
    return [base64.b64decode(entry["torrent"]) for entry in sorted(torrents, key=lambda entry: entry["lane"])]
