#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights
short_description: Prove the weights of a host and serve them
version_added: 0.1.0
description:
  - Reads every file that nobody has hashed since it was last written, and fails, naming the files, when one is missing or wrong.
  - Then makes the served path a link to these weights, in one step, and writes the receipt of the stage C(weights).
    Where the served path is a real folder it stays one.
  - With O(state=reused), gives files that another revision on the host holds their names in this one, before anything is sent.
  - With O(state=proven), reads and fails as described, and leaves link and receipt as they are.
  - Brings no bytes; that is a transport's part, such as M(flagos.kunlunxin.rsync_push).
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: partial
    details: Takes for granted that the transport has brought what is missing.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: What is to be settled.
    type: str
    choices: [reused, proven, served]
    default: served
  path:
    description: The folder that is served, or the link to it.
    type: path
    required: true
  manifest:
    description: What it should hold, as M(flagos.kunlunxin.weights_manifest_info) returns it.
    type: dict
    required: true
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
  keep:
    description:
      - How many revisions of the weights stay on the host with O(state=served), this one counted; V(0) keeps all. The oldest go.
      - V(1) is refused, for the service that runs still has the one before this open.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Prove and serve the weights
  flagos.kunlunxin.weights:
    path: /models/DeepSeek-R1-INT8
    manifest: "{{ weights.manifest }}"
    state_dir: /var/lib/flagos-kunlunxin
  async: 7200
  poll: 5
"""

RETURN = r"""
folder:
  description: Where the files are.
  returned: always
  type: str
  sample: /models/DeepSeek-R1-INT8.revisions/98ea6e4f216f2fb4
actions:
  description: What was done or, in check mode, would be done.
  returned: always
  type: list
  elements: str
  sample: ["link /models/DeepSeek-R1-INT8 to /models/DeepSeek-R1-INT8.revisions/98ea6e4f216f2fb4"]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt, _weights, _weights_incoming
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_host import STAGE, HostWeights


def prove(held):
    """Read what is unread; the first thing that is not right, as (observed, expected), or ``None``."""
    held.look()
    held.read(Progress(total=sum(held.manifest["files"][path]["size"] for path in held.unread)).report)
    for paths, what in ((held.absent, "missing or not whole"), (held.wrong, "wrong bytes")):
        if paths:
            more = " (and %d more)" % (len(paths) - 1) if len(paths) > 1 else ""
            return "%s: %s%s" % (paths[0], what, more), "sha256 %s" % held.manifest["files"][paths[0]]["sha256"]
    return None


def reuse(module, held):
    """Take from other revisions what they have, and end the module."""
    held.look()
    taken = sorted(held.elsewhere)
    if not module.check_mode:
        held.take_from_elsewhere()
    module.exit_json(
        changed=bool(taken),
        folder=held.folder,
        actions=["link %s to %s" % (os.path.join(held.folder, path), held.elsewhere[path]) for path in taken],
        diff={"before_header": held.folder, "after_header": held.folder, "before": "", "after": "".join("%s\n" % path for path in taken)},
    )


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["reused", "proven", "served"], "default": "served"},
            "path": {"type": "path", "required": True},
            "manifest": {"type": "dict", "required": True},
            "state_dir": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    if module.params["keep"] < 0 or module.params["keep"] == 1:
        module.fail_json(msg="keep: %d (expected 0, or 2 and more)" % module.params["keep"])
    held = HostWeights(module.params["path"], module.params["manifest"], module.params["state_dir"])
    if module.params["state"] == "reused":
        reuse(module, held)
    if not module.check_mode:
        try:
            problem = prove(held)
        except (OSError, _weights.WeightsError) as error:
            problem = error, "readable files"
        if problem:
            finding = Finding(
                os.uname().nodename,
                "weights in %s" % held.folder,
                problem[0],
                problem[1],
                "run weights.yml again, which sends the file anew",
            )
            module.fail_json(msg=str(finding))
        _weights_incoming.clear(held.folder)
    if module.params["state"] == "proven":
        module.exit_json(changed=False, folder=held.folder, actions=[])
    before = _receipt.read(held.state_dir, STAGE)
    served = _weights.link_of(held.path)
    actions = held.pending(module.params["keep"])
    if actions and not module.check_mode:
        held.settle(module.params["keep"])
    module.exit_json(
        changed=bool(actions),
        folder=held.folder,
        actions=actions,
        diff={
            "before_header": held.path,
            "after_header": held.path,
            "before": _state(served, before),
            "after": _state("" if held.folder == held.path else held.folder, dict(held.receipt(), stage=STAGE)),
        },
    )


def _state(link, receipt):
    return {"link": link, "receipt": receipt}


if __name__ == "__main__":
    main()
