#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_lease
short_description: Make sure that no other run works on the same cluster
version_added: 0.1.0
description:
  - Takes or renews the lease of a cluster for this run of Ansible, or gives it back. It is kept on one host, the cluster's first.
  - While another run holds it, this one is refused with one line that names the holder. A run of the same controller whose process has
    ended is no holder any more; a run of another controller stays one until its lease runs out.
  - A lease belongs to the run, not to the host, so taking it is never reported as a change.
  - Within a minute of the last renewal the host is not asked again.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
    details: Takes no lease. A foreign holder is a warning, for a run that changes nothing disturbs nobody.
  diff_mode:
    support: N/A
    details: A lease is no state of the host.
  idempotent:
    support: full
options:
  state:
    description: Whether this run shall hold the lease or give it back.
    type: str
    choices: [held, released]
    default: held
  ttl:
    description: Seconds after which the lease runs out unless it is renewed; longer than the longest stage.
    type: int
    default: 100800
  insist:
    description: Take the lease from whoever holds it.
    type: bool
    default: false
  path:
    description: The file on the host. It need not survive a boot, which ends the run as well.
    type: path
    default: /run/flagos-kunlunxin/lease.json
  holder:
    description: Who asks. The action plugin of the same name fills it in.
    type: dict
    suboptions:
      controller:
        description: Identity of the controlling machine.
        type: str
        required: true
      process:
        description: Identity of the run's process.
        type: str
        required: true
      ended:
        description: A process of this controller that is known to have ended.
        type: str
        default: ''
      who:
        description: User, machine and process, for people.
        type: str
        required: true
      doing:
        description: Playbook and inventory, for people.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Hold the cluster's lease
  flagos.kunlunxin.cluster_lease:
  delegate_to: "{{ groups['cluster'] | first }}"
  run_once: true

- name: Give the cluster's lease back
  flagos.kunlunxin.cluster_lease:
    state: released
  delegate_to: "{{ groups['cluster'] | first }}"
  run_once: true
"""

RETURN = r"""
lease:
  description: What is written down, empty when nobody holds the lease.
  returned: when the host was asked
  type: dict
state:
  description: What the request met, V(held) by this run already, V(free) to take, or V(foreign).
  returned: when the host was asked
  type: str
  sample: free
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lease
from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically
from ansible_collections.flagos.kunlunxin.plugins.module_utils._turn import turn


def read(path):
    try:
        with open(path) as stream:
            return _lease.parse(json.load(stream))
    except (OSError, ValueError):
        return {}


def take(path, holder, ttl):
    """Write this holder down unless another holds the lease; returns what is then written down, and what was met."""
    with turn(path + ".turn"):
        record, now = read(path), time.time()
        state, note = _lease.decide(record, holder, now)
        if state != _lease.FOREIGN:
            record = _lease.grant(record, holder, now, ttl)
            write_atomically(path, json.dumps(record))
        return record, state, note


def release(path, holder):
    """Forget this holder; another one's lease stays."""
    with turn(path + ".turn"):
        record = read(path)
        if not _lease.is_of(record, holder):
            return record
        os.unlink(path)
        return {}


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "ttl": {"type": "int", "default": 100800},
            "insist": {"type": "bool", "default": False},
            "path": {"type": "path", "default": "/run/flagos-kunlunxin/lease.json"},
            "holder": {
                "type": "dict",
                "options": {
                    "controller": {"type": "str", "required": True},
                    "process": {"type": "str", "required": True},
                    "ended": {"type": "str", "default": ""},
                    "who": {"type": "str", "required": True},
                    "doing": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    options = module.params
    if not options["holder"]:
        module.fail_json(msg="holder is missing: this module needs its action plugin, so call it as flagos.kunlunxin.cluster_lease")
    holder = dict(options["holder"], insists=options["insist"])
    if module.check_mode:
        record = read(options["path"])
        state, note = _lease.decide(record, holder, time.time())
    elif options["state"] == "held":
        record, state, note = take(options["path"], holder, options["ttl"])
    else:
        record, state, note = release(options["path"], holder), _lease.FREE, ""
    module.exit_json(changed=False, lease=record, state=state, note=note)


if __name__ == "__main__":
    main()
