#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_keys
short_description: Add the host keys that the operator accepts to known_hosts
description:
  - Compares the keys that hosts offer with known_hosts and with the operator's list, once for all hosts, on the controller.
  - Writes a key only when it is in the list, or when O(confirmed) says that the operator saw it and said yes.
  - A host whose key is another one than known_hosts has is refused; no line is ever replaced or removed.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  hosts:
    description: For each host the result of P(flagos.kunlunxin.host_keys_info#module).
    type: dict
    required: true
  fingerprints:
    description:
      - For each host the keys that are its own - fingerprints (V(SHA256:...)), lines that C(ssh-keygen -l) prints, or lines of known_hosts,
        which count for the hosts they name.
    type: dict
    default: {}
  fingerprints_file:
    description: File on the controller with such lines for all hosts.
    type: path
    default: ""
  confirmed:
    description: Whether the operator was shown the keys and accepted them. Counts for hosts without a list only.
    type: bool
    default: false
  path:
    description: File that accepted keys are written to; empty for the first one that ssh itself reads for the host.
    type: path
    default: ""
  hash:
    description: Whether names are written hashed. As C(HashKnownHosts) of ssh says, where it is left out.
    type: bool
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
- name: Accept the keys that the machines' vendor sent
  flagos.kunlunxin.host_keys:
    hosts: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, '__example_keys'))) }}"
    fingerprints_file: ~/fingerprints.txt
  run_once: true
"""

RETURN = r"""
table:
  description: One line for each key with host, name in known_hosts, type, fingerprint and what is known of it.
  returned: success
  type: list
  elements: str
accepted:
  description: For each host the keys by which it may be trusted; none where it is refused.
  returned: success
  type: dict
waiting:
  description: The hosts that only the operator's word lets in.
  returned: success
  type: list
  elements: str
findings:
  description: For each refused host why - host, check, observed, expected and remedy.
  returned: success
  type: dict
finding:
  description: What keeps all hosts from being judged, such as a list that cannot be read.
  returned: failure
  type: dict
"""
