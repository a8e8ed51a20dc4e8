#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_engine
short_description: Have on the controller what carries weights on the hosts
version_added: 0.3.0
description:
  - Finds the wheel of libtorrent for every kind of host in the folders given, by its hash, and fetches by pip what none of them has.
  - The controller itself is one of the kinds, for it takes part as well.
  - Hosts need no network for it; the controller hands the wheels on.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Fills a cache of the controller.
  idempotent:
    support: full
options:
  platforms:
    description: The kinds of hosts.
    type: list
    elements: dict
    required: true
    suboptions:
      python:
        description: The interpreter, as wheels name it.
        type: str
        required: true
      machine:
        description: The architecture.
        type: str
        required: true
  folders:
    description: Folders that may hold wheels.
    type: list
    elements: path
    default: []
  cache:
    description: The folder that fetched wheels are kept in.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Have libtorrent for the hosts
  flagos.kunlunxin.weights_engine:
    platforms: [{python: cp311, machine: x86_64}]
    cache: ~/.cache/flagos-kunlunxin/engine
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
wheels:
  description: The path of the wheel for each kind of host, by C(PYTHON-MACHINE); in check mode also of those that would be fetched.
  returned: always
  type: dict
own:
  description: The controller's own kind.
  returned: always
  type: str
  sample: cp311-x86_64
unknown:
  description: Kinds of hosts that there is no wheel for.
  returned: always
  type: list
  elements: str
"""

import os
import platform
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_wheels
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding


def provide(platforms, folders, cache, check_mode):
    """(wheels by kind, kinds without one, whether any was or would be fetched)."""
    wheels, unknown, fetched = {}, [], False
    for python, machine in sorted(platforms):
        kind = "%s-%s" % (python, machine)
        name = _swarm_wheels.name_of(python, machine)
        if name is None:
            unknown.append(kind)
            continue
        path = _swarm_wheels.find(folders + [cache], python, machine)
        if path is None:
            fetched = True
            if not check_mode:
                _swarm_wheels.fetch(sys.executable, cache, python, machine)
                path = _swarm_wheels.find([cache], python, machine)
        wheels[kind] = path or os.path.join(cache, name)
    return wheels, unknown, fetched


def main():
    module = AnsibleModule(
        argument_spec={
            "platforms": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"python": {"type": "str", "required": True}, "machine": {"type": "str", "required": True}},
            },
            "folders": {"type": "list", "elements": "path", "default": []},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    own = ("cp%d%d" % sys.version_info[:2], platform.machine())
    platforms = {(entry["python"], entry["machine"]) for entry in params["platforms"]} | {own}
    try:
        wheels, unknown, fetched = provide(platforms, params["folders"], params["cache"], module.check_mode)
    except _swarm_wheels.WheelError as error:
        finding = Finding(
            "localhost",
            "libtorrent for the hosts",
            error.observed,
            error.expected,
            "put that wheel into the folder weights_engine, where pip reaches no index, or set weights_transport: rsync",
        )
        module.fail_json(msg=str(finding))
    module.exit_json(changed=fetched, own="%s-%s" % own, wheels=wheels, unknown=unknown)


if __name__ == "__main__":
    main()
