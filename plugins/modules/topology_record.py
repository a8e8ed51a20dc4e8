#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: topology_record
short_description: Keep how the hosts are wired, for the plan
description:
  - Writes where the accelerators and the network interfaces of all hosts sit on the PCI bus into a file on the controller, which the plan reads.
  - A host that is wired otherwise than it was recorded is refused in one line for each difference, and nothing is written.
  - The number that a driver gives to a device is added where none was known. Hosts that are not given stay as they were recorded.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  path:
    description: The file, on the controller.
    type: path
    required: true
  accelerators:
    description: For each host what M(flagos.kunlunxin.accelerator_info) returned as C(accelerator).
    type: dict
    required: true
  networks:
    description: For each host what M(flagos.kunlunxin.network_info) returned as C(network).
    type: dict
    required: true
  named:
    description: Interfaces, by name or hardware address, to be recorded even where they have no place on the PCI bus.
    type: list
    elements: str
    default: []
  accept:
    description: Whether a host may be wired otherwise than it was recorded.
    type: bool
    default: false
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Keep how the hosts are wired
  flagos.kunlunxin.topology_record:
    path: "{{ inventory_dir }}/cluster.topology.json"
    accelerators: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, ['__example_accelerator', 'accelerator']))) }}"
    networks: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, ['__example_network', 'network']))) }}"
  run_once: true
"""

RETURN = r"""
findings:
  description: What differs from the record, each with host, check, observed, expected and remedy.
  returned: failure
  type: list
  elements: dict
"""
