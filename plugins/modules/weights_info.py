#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_info
short_description: Say which files of a manifest a host lacks
version_added: 0.1.0
description:
  - Holds the weights of a host against a manifest. By default no file is read; one that was hashed before counts as known until it is
    written to.
  - Refuses when the disk has no room for what is missing.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Changes nothing.
  idempotent:
    support: full
options:
  path:
    description: The folder that is served, or the link to it.
    type: path
    required: true
  manifest:
    description: What it should hold, as M(flagos.kunlunxin.weights_manifest_info) returns it.
    type: dict
    required: true
  read:
    description:
      - V(nothing) reads no file; V(unread) reads those that nobody has hashed since they were last written; V(everything) reads all.
      - What was read is remembered in the state folder, except in check mode.
    type: str
    choices: [nothing, unread, everything]
    default: nothing
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
  keep:
    description: How many revisions stay, see M(flagos.kunlunxin.weights).
    type: int
    default: 0
  interfaces:
    description: Interfaces that a swarm may use; RV(swarm) tells of them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look what is missing
  flagos.kunlunxin.weights_info:
    path: /models/DeepSeek-R1-INT8
    manifest: "{{ weights.manifest }}"
    state_dir: /var/lib/flagos-kunlunxin
  register: held
"""

RETURN = r"""
folder:
  description: Where the files belong; RV(settled) says whether it is what is served.
  returned: always
  type: str
  sample: /models/DeepSeek-R1-INT8.revisions/98ea6e4f216f2fb4
absent:
  description: Files that are not there or not of the right size.
  returned: always
  type: list
  elements: str
unread:
  description: Files of the right size that somebody has to read.
  returned: always
  type: list
  elements: str
wrong:
  description: Files of the right size with other bytes than the manifest says.
  returned: always
  type: list
  elements: str
missing_bytes:
  description: What has still to come, in bytes.
  returned: always
  type: int
elsewhere:
  description: Of the absent files, those that another revision on this host holds; they are neither sent nor stored again.
  returned: always
  type: list
  elements: str
revision:
  description: The name of the revision.
  returned: always
  type: str
  sample: 98ea6e4f216f2fb4
swarm:
  description: What a swarm has to know of the host.
  returned: always
  type: dict
  contains:
    addresses:
      description: The first address of IPv4 of each of O(interfaces) that has one.
      type: dict
    megabits:
      description: The link's rate of each of O(interfaces), where the kernel knows it.
      type: dict
    login:
      description: The addresses C(client) and C(server) of the ssh connection; none where there is none.
      type: dict
    cores:
      description: Processors.
      type: int
    kind:
      description: Interpreter and architecture, as wheels name them.
      type: str
      sample: cp311-x86_64
settled:
  description: Whether, the files apart, nothing is left to do; link and receipt are right.
  returned: always
  type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_facts, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_host import HostWeights

# File systems do not fill to the last byte: directories and journals take their part.
_ROOM = 1.02


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "manifest": {"type": "dict", "required": True},
            "read": {"type": "str", "choices": ["nothing", "unread", "everything"], "default": "nothing"},
            "state_dir": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 0},
            "interfaces": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    options = module.params
    held = HostWeights(options["path"], options["manifest"], options["state_dir"])
    held.look(trust=options["read"] != "everything")
    if options["read"] != "nothing":
        total = sum(options["manifest"]["files"][path]["size"] for path in held.unread)
        try:
            held.read(Progress(total=total).report, keep=not module.check_mode)
        except (OSError, _weights.WeightsError) as error:
            module.fail_json(
                msg=str(
                    Finding(os.uname().nodename, "weights in %s" % held.folder, error, "readable files", "mend the disk, then run again")
                )
            )
    needed, free = int(held.needed_bytes() * _ROOM), held.free_bytes()
    if needed > free:
        module.fail_json(
            msg=str(
                Finding(
                    os.uname().nodename,
                    "disk for the weights",
                    "%.1f GB free for %s" % (free / 1e9, held.folder),
                    "%.1f GB" % (needed / 1e9),
                    "make room there, or set weights_path to a larger disk",
                )
            )
        )
    module.exit_json(
        changed=False,
        folder=held.folder,
        absent=held.absent,
        unread=held.unread,
        wrong=held.wrong,
        missing_bytes=held.missing_bytes(),
        elsewhere=sorted(held.elsewhere),
        revision=_weights.revision_name(held.manifest["root"]),
        swarm=_swarm_facts.read(options["interfaces"]),
        settled=not held.pending(options["keep"]),
    )


if __name__ == "__main__":
    main()
