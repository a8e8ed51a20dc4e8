#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rsync_serve
short_description: Let a host give files to other hosts for a while
version_added: 0.2.0
description:
  - V(started) runs a daemon of C(rsync) that gives from one folder, to the addresses named and whoever knows the secret. Nothing can be
    written by way of it. One that does just so already is left alone.
  - V(stopped) ends it and removes the secret from the host.
  - As root on a machine that systemd runs, it is a transient unit of the user C(flagos-swarm) without any privilege;
    elsewhere it is a process of whoever runs the module. Either goes on when the controller ends.
  - What is sent can be read by whoever can listen on the network.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: The daemon comes and goes within one run; what is taken from it is told by M(flagos.kunlunxin.rsync_pull).
  idempotent:
    support: full
options:
  state:
    description: Whether the daemon runs.
    type: str
    choices: [started, stopped]
    required: true
  folder:
    description: The folder with the files. Needed with O(state=started).
    type: path
  files:
    description: Paths below O(folder) that will be asked for; it is refused when the daemon could not read them.
    type: list
    elements: str
    default: []
  address:
    description: The address that it listens on. Needed with O(state=started).
    type: str
  port:
    description: The port that it listens on. Needed with O(state=started).
    type: int
  allow:
    description: Addresses that are let in; nobody else is.
    type: list
    elements: str
    default: []
  secret:
    description: What M(flagos.kunlunxin.rsync_pull) has to know. Needed with O(state=started).
    type: str
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
  seconds:
    description: After which it ends whatever it does, where systemd runs.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Give the weights to another host
  flagos.kunlunxin.rsync_serve:
    state: started
    folder: /models/DeepSeek-R1-INT8.revisions/98ea6e4f216f2fb4
    address: 192.0.2.11
    port: 6900
    allow: [192.0.2.12]
    secret: "{{ secret }}"
    state_dir: /var/lib/flagos-kunlunxin
"""

RETURN = r"""
daemon:
  description: What was done or, in check mode, would be done at most.
  returned: always
  type: str
  sample: started
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils._rsync_daemon import Daemon, cannot
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_units import UnitError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError


def settle(options):
    """What was done."""
    daemon = Daemon(options["state_dir"])
    if options["state"] == "stopped":
        return "stopped" if daemon.stop() else "was stopped"
    names = ("folder", "files", "address", "port", "allow", "secret", "seconds")
    return "started" if daemon.start(**{name: options[name] for name in names}) else "was started"


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "required": True},
            "folder": {"type": "path"},
            "files": {"type": "list", "elements": "str", "default": []},
            "address": {"type": "str"},
            "port": {"type": "int"},
            "allow": {"type": "list", "elements": "str", "default": []},
            "secret": {"type": "str", "no_log": True},
            "state_dir": {"type": "path", "required": True},
            "seconds": {"type": "int", "default": 86400},
        },
        required_if=[("state", "started", ("folder", "address", "port", "secret"))],
        supports_check_mode=True,
    )
    options = module.params
    done = options["state"]
    if not module.check_mode:
        try:
            done = settle(options)
        except UnfitError as error:
            module.fail_json(msg=str(error))
        except (OSError, UnitError) as error:
            module.fail_json(msg=str(cannot(error, "a daemon that starts", "mend the cause, then run weights.yml again")))
    module.exit_json(changed=False, daemon=done)


if __name__ == "__main__":
    main()
