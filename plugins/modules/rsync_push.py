#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rsync_push
short_description: Send named files from the controller to one host
version_added: 0.1.0
description:
  - Sends files by C(rsync) over ssh. Runs on the controller, delegated, once for each host.
  - What was received is kept when the run is broken off, and only the rest is sent by the next one.
  - Two runs for the same place take turns, so that a killed run that still sends does not disturb the next one.
  - An asynchronous run reports how far it is.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: partial
    details: Predicts that every named file is sent.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  source:
    description: The folder on the controller.
    type: path
    required: true
  files:
    description: Paths below O(source) of files to send unless size and time say that they are there.
    type: list
    elements: str
    default: []
  damaged:
    description: Paths below O(source) of files whose content is compared, because size and time do not tell; only what differs is sent.
    type: list
    elements: str
    default: []
  bytes:
    description: How much there is to send, in bytes, for the progress.
    type: int
  destination:
    description: The folder on the host; it is made.
    type: path
    required: true
  turns:
    description: The folder on the controller with the files by which runs for the same place take turns; it is made.
    type: path
    default: ~/.cache/flagos-kunlunxin/turns
  remote:
    description: Where to and how, as the lookup P(flagos.kunlunxin.ssh_command#lookup) returns it.
    type: dict
    required: true
    suboptions:
      host:
        description: The host's name, for messages.
        type: str
        required: true
      address:
        description: User and address as ssh wants them; empty for the controller itself.
        type: str
        default: ''
      shell:
        description: The ssh command line.
        type: str
        default: ''
      become:
        description: A command that precedes C(rsync) on the host, such as V(sudo -n).
        type: str
        default: ''
"""

EXAMPLES = r"""
- name: Send the shards that are missing
  flagos.kunlunxin.rsync_push:
    source: /data/DeepSeek-R1-INT8
    files: "{{ held.absent }}"
    destination: "{{ held.folder }}"
    remote: "{{ lookup('flagos.kunlunxin.ssh_command') }}"
  delegate_to: localhost
  async: 86400
  poll: 5
"""

RETURN = r"""
sent:
  description: How many files were sent or, in check mode, would be.
  returned: always
  type: int
"""

import hashlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rsync
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._turn import turn


def _turn_of(folder, place):
    """The file by which runs that send to the same place take turns."""
    return os.path.join(folder, hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16])


class _Push(object):
    """One module run."""

    def __init__(self, module):
        self.module = module
        self.options = module.params
        self.remote = module.params["remote"]
        self.progress = Progress(total=module.params["bytes"])

    def refuse(self, observed, expected, remedy):
        check = "rsync to %s" % self.options["destination"]
        self.module.fail_json(msg=str(Finding(self.remote["host"], check, observed, expected, remedy)))

    def send(self, files, compare_content):
        """Send files; returns how many had to be."""
        if not self.remote["address"]:
            os.makedirs(self.options["destination"], mode=0o755, exist_ok=True)
        command = _rsync.command(
            self.options["source"],
            self.options["destination"],
            self.remote["address"],
            self.remote["shell"],
            self.remote["become"],
            compare_content,
        )
        code, sent, errors = _rsync.run(command, files, self.progress.report)
        if code and _rsync.lacks_rsync(code, errors):
            self.refuse("no rsync on the host", "rsync, 3.1 or newer", "run host.yml first; it installs host_packages")
        if code:
            self.refuse(_rsync.reason(code, errors), "all files sent", "mend the cause and run again; what was sent is kept")
        return sent


def main():
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "str", "default": []},
            "damaged": {"type": "list", "elements": "str", "default": []},
            "bytes": {"type": "int"},
            "destination": {"type": "path", "required": True},
            "turns": {"type": "path", "default": "~/.cache/flagos-kunlunxin/turns"},
            "remote": {
                "type": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "address": {"type": "str", "default": ""},
                    "shell": {"type": "str", "default": ""},
                    "become": {"type": "str", "default": ""},
                },
            },
        },
        supports_check_mode=True,
    )
    push = _Push(module)
    files, damaged = module.params["files"], module.params["damaged"]
    sent = len(files) + len(damaged)
    if not shutil.which("rsync"):
        push.refuse("no rsync on the controller", "rsync, 3.1 or newer", "install it")
    if not module.check_mode:
        with turn(_turn_of(module.params["turns"], push.remote["address"] + ":" + module.params["destination"]), mode=0o700):
            sent = sum(push.send(names, compare) for names, compare in ((files, False), (damaged, True)) if names)
    module.exit_json(
        changed=sent > 0,
        sent=sent,
        diff={
            "before_header": module.params["destination"],
            "after_header": module.params["destination"],
            "before": "",
            "after": "".join("%s\n" % name for name in files + damaged) if sent else "",
        },
    )


if __name__ == "__main__":
    main()
