#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_keys_info
short_description: Read the keys that a host's sshd offers, without logging in
description:
  - Exchanges keys with the host once for each type of host key and ends the connection before any login, as C(ssh-keyscan) does.
  - Runs on the controller, by paramiko, which must be installed beside ansible-core. Nothing is changed and nothing is trusted.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  shell:
    description: The ssh command line by which Ansible reaches the host, as P(flagos.kunlunxin.ssh_command#lookup) returns it.
    type: str
    default: ssh
  address:
    description: Address, or V(user@address), likewise.
    type: str
    required: true
  timeout:
    description: Seconds that each connection may take.
    type: float
    default: 20
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
notes:
  - A host that is reached by way of another one (C(ProxyJump), C(ProxyCommand)) is refused.
"""

EXAMPLES = r"""
- name: Read the host keys
  flagos.kunlunxin.host_keys_info:
    shell: "{{ lookup('flagos.kunlunxin.ssh_command').shell }}"
    address: "{{ lookup('flagos.kunlunxin.ssh_command').address }}"
  register: __example_keys
"""

RETURN = r"""
host_keys:
  description: Each key that the host offers.
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: Its type.
      type: str
    key:
      description: Type and base64, as in known_hosts.
      type: str
    fingerprint:
      description: Its SHA256 fingerprint, as C(ssh-keygen -l) prints it.
      type: str
  sample:
    - type: ssh-ed25519
      key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ...
      fingerprint: SHA256:LQ7lSiBQiHt0mTPCyGzIMzIiJKqEz9U6L1Cb1hoQZnk
ssh:
  description: What ssh itself would do for this host - address, port, user, name in known_hosts, files, hashing and private keys.
  returned: success
  type: dict
finding:
  description: Why no key could be read - host, check, observed, expected and remedy.
  returned: failure
  type: dict
"""
