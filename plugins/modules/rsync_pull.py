#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rsync_pull
short_description: Take named files from another host
version_added: 0.2.0
description:
  - Takes files from a host on which M(flagos.kunlunxin.rsync_serve) gives them.
  - What was received is kept when the run is broken off, and only the rest is taken by the next one.
  - Two runs for the same folder take turns, so that a killed run that still receives does not disturb the next one.
  - An asynchronous run reports how far it is.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: partial
    details: Predicts that every named file is received.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  giver:
    description: The name of the host that gives, for messages.
    type: str
    required: true
  address:
    description: The address that it listens on.
    type: str
    required: true
  port:
    description: The port that it listens on.
    type: int
    required: true
  own_address:
    description: The address of this host that the other one lets in.
    type: str
    required: true
  secret:
    description: The secret that the other host was given.
    type: str
    required: true
  files:
    description: Paths of files to take unless size and time say that they are there.
    type: list
    elements: str
    default: []
  damaged:
    description: Paths of files whose content is compared, because size and time do not tell; only what differs is received.
    type: list
    elements: str
    default: []
  bytes:
    description: How much there is to receive, in bytes, for the progress.
    type: int
  destination:
    description: The folder on this host; it is made.
    type: path
    required: true
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Take the shards that are missing
  flagos.kunlunxin.rsync_pull:
    giver: node1
    address: 192.0.2.11
    port: 6900
    own_address: 192.0.2.12
    secret: "{{ secret }}"
    files: "{{ held.absent }}"
    destination: "{{ held.folder }}"
    state_dir: /var/lib/flagos-kunlunxin
  async: 86400
  poll: 5
"""

RETURN = r"""
received:
  description: How many files were received or, in check mode, would be.
  returned: always
  type: int
bytes:
  description: How much there was to receive, as O(bytes) says; 0 where nothing was received.
  returned: always
  type: int
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rsync
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._turn import turn


class _Pull(object):
    """One module run."""

    def __init__(self, module):
        self.module = module
        self.options = module.params
        self.progress = Progress(total=module.params["bytes"])

    def refuse(self, observed, expected, remedy):
        check = "rsync from %s to %s" % (self.options["giver"], self.options["destination"])
        self.module.fail_json(msg=str(Finding(os.uname().nodename, check, observed, expected, remedy)))

    def take(self, files, compare_content):
        """Take files; returns how many had to be."""
        options = self.options
        command = _rsync.pull_command(options["address"], options["port"], options["own_address"], options["destination"], compare_content)
        code, received, errors = _rsync.run(command, files, self.progress.report, "receiving from %s" % options["giver"], options["secret"])
        if code:
            reason = _rsync.reason(code, errors)
            self.refuse(reason, "all files received", "mend the cause and run weights.yml again; what was received is kept")
        return received

    def take_all(self):
        """Take all files; returns how many had to be."""
        destination, lock = self.options["destination"], os.path.join(self.options["state_dir"], "weights", "rsync.turn")
        with turn(lock):
            os.makedirs(destination, mode=0o755, exist_ok=True)
            asked = ((self.options["files"], False), (self.options["damaged"], True))
            return sum(self.take(names, compare) for names, compare in asked if names)


def main():
    module = AnsibleModule(
        argument_spec={
            "giver": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "own_address": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": True},
            "files": {"type": "list", "elements": "str", "default": []},
            "damaged": {"type": "list", "elements": "str", "default": []},
            "bytes": {"type": "int"},
            "destination": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    pull = _Pull(module)
    files = module.params["files"] + module.params["damaged"]
    received = len(files)
    if not module.check_mode:
        if not shutil.which("rsync"):
            pull.refuse("no rsync on the host", "rsync, 3.1 or newer", "run host.yml first; it installs host_packages")
        try:
            received = pull.take_all()
        except OSError as error:
            pull.refuse(error, "a folder that can be written", "mend the cause and run weights.yml again; what was received is kept")
    module.exit_json(
        changed=received > 0,
        received=received,
        bytes=(module.params["bytes"] or 0) if received else 0,
        diff={
            "before_header": module.params["destination"],
            "after_header": module.params["destination"],
            "before": "",
            "after": "".join("%s\n" % name for name in files) if received else "",
        },
    )


if __name__ == "__main__":
    main()
