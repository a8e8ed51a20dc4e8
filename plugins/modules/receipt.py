#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: receipt
short_description: Write what a stage left on a host
version_added: 0.1.0
description:
  - Writes one JSON file a stage under C(receipts/) of the state folder, atomically, and only when its content differs.
  - O(state=absent) takes it away, and the folders that were made for receipts where nothing is left in them.
  - The content must be a function of the outcome alone (no times), so that a run that changes nothing writes nothing.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - Whether there is to be a receipt. The choice V(absent) is there since version 0.2.0.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.2.0
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
  stage:
    description: Name of the stage, which becomes the file's name.
    type: str
    required: true
  content:
    description: What the stage left. The key V(stage) is added. Needed for O(state=present).
    type: dict
"""

EXAMPLES = r"""
- name: Write the receipt of the stage host
  flagos.kunlunxin.receipt:
    state_dir: "{{ cluster_state_dir }}"
    stage: host
    content:
      shm_size: 64g
"""

RETURN = r"""
path:
  description: The receipt's file.
  returned: always
  type: str
  sample: /var/lib/flagos-kunlunxin/receipts/host.json
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "state_dir": {"type": "path", "required": True},
            "stage": {"type": "str", "required": True},
            "content": {"type": "dict"},
        },
        required_if=[("state", "present", ["content"])],
        supports_check_mode=True,
    )
    state_dir, stage, content = (module.params[name] for name in ("state_dir", "stage", "content"))
    if not re.match(r"[a-z][a-z0-9_]*\Z", stage):
        module.fail_json(msg="stage: %r is no stage's name (lower case letters, digits and underscores)" % stage)
    path = _receipt.path_of(state_dir, stage)
    before = _receipt.read(state_dir, stage)
    is_wanted = module.params["state"] == "present"
    changed = before != dict(content, stage=stage) if is_wanted else os.path.lexists(path)
    if changed and not module.check_mode:
        if is_wanted:
            _receipt.write(state_dir, stage, content)
        else:
            _receipt.remove(state_dir, stage)
    module.exit_json(
        changed=changed,
        path=path,
        diff={
            "before_header": path,
            "after_header": path,
            "before": _receipt.render(stage, before) if before else "",
            "after": _receipt.render(stage, content) if is_wanted else "",
        },
    )


if __name__ == "__main__":
    main()
