#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_machine_info
short_description: Say whether a machine can carry the lab, and what is there of it
description:
  - Reads the machine that is to carry the lab, and fails with one line for each thing that keeps it from doing so.
  - Nothing is changed. To know whether namespaces can be made, it makes some for a moment.
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  prefix:
    description: First two numbers of the lab's addresses.
    type: str
    required: true
  root:
    description: Folder of the lab.
    type: path
    required: true
  cache:
    description: Folder of the lab's cache.
    type: path
    required: true
  memory_gib:
    description: Memory that must be available before the lab starts, in GiB.
    type: float
    required: true
  disk_gib:
    description: Disk space that must be available before the lab starts, in GiB.
    type: float
    required: true
  sources:
    description: Text of apt's sources for the hosts; empty for the distribution's own entries on the machine.
    type: str
    default: ""
  packages:
    description: Distribution packages that the lab needs.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Judge the machine
  flagos.kunlunxin.lab_machine_info:
    prefix: "10.91"
    root: /var/lib/flagos-kunlunxin-lab
    cache: /var/cache/flagos-kunlunxin-lab
    memory_gib: 16
    disk_gib: 40
    packages: [docker.io, mmdebstrap]
  register: __example_machine
"""

RETURN = r"""
missing_packages:
  description: The asked packages that are not installed.
  returned: success
  type: list
  elements: str
service_manager:
  description: V(systemd) where it is PID 1, else V(none).
  returned: success
  type: str
codename:
  description: The distribution's release name.
  returned: success
  type: str
  sample: bookworm
sources:
  description: Text of apt's sources for the hosts, O(sources) if given.
  returned: success
  type: str
running:
  description: Whether the lab's daemons run.
  returned: success
  type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_machine
from ansible_collections.flagos.kunlunxin.plugins.module_utils._lab_machine_facts import output, read_machine

GIB = 1024**3


def missing(packages):
    """Those of the packages that dpkg does not have installed."""
    listed = output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages) if packages else ""
    installed = [line.split()[0] for line in listed.splitlines() if line.endswith(" installed")]
    return [package for package in packages if package not in installed]


def main():
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "memory_gib": {"type": "float", "required": True},
            "disk_gib": {"type": "float", "required": True},
            "sources": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    facts = read_machine(params["root"], params["cache"], params["sources"])
    needs = {"prefix": params["prefix"], "memory": params["memory_gib"] * GIB, "disk": params["disk_gib"] * GIB}
    found = _lab_machine.findings(facts, needs)
    if found:
        module.fail_json(msg="\n".join(str(finding) for finding in found))
    module.exit_json(
        changed=False,
        missing_packages=missing(params["packages"]),
        service_manager="systemd" if os.path.isdir("/run/systemd/system") else "none",
        codename=facts["system"]["VERSION_CODENAME"],
        sources=facts["sources"],
        running=facts["lab"]["running"],
    )


if __name__ == "__main__":
    main()
