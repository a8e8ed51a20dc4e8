#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: serve_keys
short_description: Keep the ssh keys of this host's serving container
version_added: 0.1.0
description:
  - Makes the container's host key, and on the first host the key of the group, once. Private keys never leave the host.
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
  folder:
    description: The folder of the keys.
    type: path
    required: true
  first:
    description: Whether this is the first host, whose container logs in to the others. Elsewhere there is no such key.
    type: bool
    required: true
  comment:
    description: What the public keys are marked with.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the keys of the containers
  flagos.kunlunxin.serve_keys:
    folder: /var/lib/flagos-kunlunxin/serve/ssh
    first: "{{ inventory_hostname == groups['cluster'] | first }}"
    comment: flagos
"""

RETURN = r"""
host_key:
  description: The container's public host key; empty in check mode before there is one.
  returned: always
  type: str
group_key:
  description: The group's public key; empty except on the first host.
  returned: always
  type: str
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, read_text, settle


def make(path, comment):
    """The change that makes a key pair."""

    def generate(module):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        for left in (path, path + ".pub"):  # half a pair is no pair
            if os.path.exists(left):
                os.unlink(left)
        part = path + ".part"
        for left in (part, part + ".pub"):
            if os.path.exists(left):
                os.unlink(left)
        command = [module.get_bin_path("ssh-keygen", required=True), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", part]
        module.run_command(command, check_rc=True)
        # The private half last: it is there only when both are whole.
        os.rename(part + ".pub", path + ".pub")
        os.rename(part, path)

    return Change("make the key %s" % path, path, "", "(a new key)\n", generate)


def drop(path):
    """The change that removes a key pair."""

    def remove(unused):
        for left in (path, path + ".pub"):
            if os.path.exists(left):
                os.unlink(left)

    return Change("remove the key %s" % path, path, "(a key)\n", "", remove)


def main():
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "first": {"type": "bool", "required": True},
            "comment": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    folder, first, comment = (module.params[name] for name in ("folder", "first", "comment"))
    host_key, group_key = os.path.join(folder, "host_key"), os.path.join(folder, "id_ed25519")
    changes = []
    for path, wanted in ((host_key, True), (group_key, first)):
        present = os.path.exists(path) and os.path.exists(path + ".pub")
        if wanted and not present:
            changes.append(make(path, comment))
        if not wanted and os.path.exists(path):
            changes.append(drop(path))
    result = settle(module, changes)
    module.exit_json(
        host_key=(read_text(host_key + ".pub") or "").strip(),
        group_key=(read_text(group_key + ".pub") or "").strip() if first else "",
        **result,
    )


if __name__ == "__main__":
    main()
