#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_engine
short_description: Have on the controller what carries weights on the hosts
version_added: 0.2.0
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
  kinds:
    description: The kinds of hosts, each C(PYTHON-MACHINE) as wheels name them.
    type: list
    elements: str
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
    kinds: [cp311-x86_64]
    cache: ~/.cache/flagos-kunlunxin/engine
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
wheels:
  description:
    - The path of the wheel for each kind of host, by its name; in check mode also of those that would be fetched.
    - None where RV(unknown) names a kind; then none is fetched.
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
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_wheels
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding


def provide(kinds, folders, cache, check_mode):
    """(wheels by kind, kinds without one, whether any was or would be fetched)."""
    wheels, fetched = {}, False
    unknown = [kind for kind in sorted(kinds) if _swarm_wheels.name_of(*_parts(kind)) is None]
    if unknown:  # then no swarm comes about, and a controller that reaches no index need not
        return wheels, unknown, fetched
    for kind in sorted(kinds):
        python, machine = _parts(kind)
        path = _swarm_wheels.find(folders + [cache], python, machine)
        if path is None:
            fetched = True
            if not check_mode:
                _swarm_wheels.fetch(sys.executable, cache, python, machine)
                path = _swarm_wheels.find([cache], python, machine)
        wheels[kind] = path or os.path.join(cache, _swarm_wheels.name_of(python, machine))
    return wheels, unknown, fetched


def _parts(kind):
    """(interpreter, architecture) of a kind."""
    python, _dash, machine = kind.partition("-")
    return python, machine


def main():
    module = AnsibleModule(
        argument_spec={
            "kinds": {"type": "list", "elements": "str", "required": True},
            "folders": {"type": "list", "elements": "path", "default": []},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    own = _swarm_wheels.kind_of_this()
    try:
        wheels, unknown, fetched = provide({own, *params["kinds"]}, params["folders"], params["cache"], module.check_mode)
    except _swarm_wheels.WheelError as error:
        finding = Finding(
            "localhost",
            "libtorrent for the hosts",
            error.observed,
            error.expected,
            "put that wheel into the folder weights_engine, where pip reaches no index, or set weights_transport: rsync_tree",
        )
        module.fail_json(msg=str(finding))
    module.exit_json(changed=fetched, own=own, wheels=wheels, unknown=unknown)


if __name__ == "__main__":
    main()
