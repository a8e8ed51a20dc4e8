# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program of the collection as one file, for the controller to hand to hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: program
short_description: Packs a program of the collection into one file
version_added: 0.1.0
author:
  - FlagOS contributors (@flagos-ai)
description:
  - Builds a Python zipapp from the collection's own modules and returns it base64 encoded.
  - Equal sources give equal bytes, so that a host sees a change only when the program has changed.
options:
  _terms:
    description: The program's name.
    type: list
    elements: str
    required: true
    choices:
      - serve
      - rdma
      - swarm
"""

EXAMPLES = r"""
- name: Show the size of the serve program
  ansible.builtin.debug:
    msg: "{{ lookup('flagos.kunlunxin.program', 'serve') | b64decode | length }}"
"""

RETURN = r"""
_raw:
  description: The program, base64 encoded.
  type: list
  elements: str
"""

import base64

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _zipapp

PROGRAMS = {"serve": "_serve_program", "rdma": "_rdma_program", "swarm": "_swarm_program"}


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        unknown = [term for term in terms if term not in PROGRAMS]
        if unknown:
            raise AnsibleLookupError(f"program: {unknown[0]!r} is no program; known: {', '.join(sorted(PROGRAMS))}")
        return [base64.b64encode(_zipapp.build(PROGRAMS[term])).decode("ascii") for term in terms]
