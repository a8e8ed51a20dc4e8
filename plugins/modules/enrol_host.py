#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: enrol_host
short_description: Let the operator's key in to a host that knows only a password or another key
description:
  - Logs in to a host that proves an accepted key, adds the operator's public key to the account's C(authorized_keys), proves it by a new login,
    and tries C(sudo). Where the operator's key is let in already, nothing is added.
  - Runs on the controller, by paramiko, and asks no more of the host than C(sh), C(stat) and C(mktemp). No secret reaches a file or a command line.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  ssh:
    description: How the host is reached, as RV(flagos.kunlunxin.host_keys_info#module:ssh) holds it.
    type: dict
    required: true
  host_keys:
    description: The keys of which the host must prove one, as RV(flagos.kunlunxin.host_keys#module:accepted) holds them.
    type: list
    elements: str
    required: true
  user:
    description: The account; must be the one that Ansible logs in to. Empty for that one.
    type: str
    default: ""
  password:
    description: Password of the account.
    type: str
    default: ""
  private_key:
    description: File on the controller with a private key that the account takes already, without passphrase.
    type: path
    default: ""
  public_key:
    description: The operator's public key, a file on the controller or its text; empty for the first one that ssh itself would try.
    type: str
    default: ""
  become_password:
    description: Password that C(sudo) asks for.
    type: str
    default: ""
  timeout:
    description: Seconds that each connection and each command may take.
    type: float
    default: 20
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
    details: Logs in and reads, which needs the password or the other key.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Enrol the host
  flagos.kunlunxin.enrol_host:
    ssh: "{{ __example_keys.ssh }}"
    host_keys: "{{ __example_accepted.accepted[inventory_hostname] }}"
    password: "{{ vault_first_password }}"
"""

RETURN = r"""
login:
  description: What let the controller in - V(own key), V(other key) or V(password); empty where nothing did.
  returned: always
  type: str
sudo:
  description: How the account becomes root - V(root) where it is, V(no password), V(password), or empty where it was not seen.
  returned: always
  type: str
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
finding:
  description: Why the host is not enrolled - host, check, observed, expected and remedy. What C(changed) and the diff say was done nevertheless.
  returned: failure
  type: dict
"""
