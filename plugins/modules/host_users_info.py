#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_users_info
short_description: Read what a restart of a host would interrupt
description:
  - Tells in one round trip whether the service of this collection or one of its containers runs, and which processes hold an accelerator.
  - Nothing is changed and no process is touched.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  devices:
    description: Device nodes of the accelerators.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
  - flagos.kunlunxin.host_tree
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
notes:
  - Run it as root. Another user does not see whose processes hold a device node.
"""

EXAMPLES = r"""
- name: See whether the host may be restarted
  flagos.kunlunxin.host_users_info:
    devices: [/dev/xpu0, /dev/xpu1]
  become: true
  register: __example_users
"""

RETURN = r"""
users:
  description: What would be interrupted, each as an operator can find it; empty for nothing.
  returned: always
  type: list
  elements: str
  sample: ["container flagos-kunlunxin-serve runs", "python3 (pid 4711, unit train.service) holds /dev/xpu0"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_users
from ansible_collections.flagos.kunlunxin.plugins.module_utils._accelerator_facts import containers_of
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HOST_TREE_ARGUMENTS, host_tree


def main():
    module = AnsibleModule(
        argument_spec=dict(HOST_TREE_ARGUMENTS, devices={"type": "list", "elements": "path", "default": []}),
        supports_check_mode=True,
    )
    tree = host_tree(module.params)
    module.exit_json(changed=False, users=_host_users.users(tree, module.params["devices"], containers_of(tree)))


if __name__ == "__main__":
    main()
