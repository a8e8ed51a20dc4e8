#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pair_schedule
short_description: Say which host asks which other one, where and in which order
description:
  - Makes the questions of each host from what all hosts said when they listened, on the controller, once for the whole cluster.
  - What the facts of the network already explain is not asked.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  plan:
    description: The plan, as P(flagos.kunlunxin.plan#lookup) returns it.
    type: dict
    required: true
  listening:
    description: For each host the registered result of M(flagos.kunlunxin.pair_probe_info) that listened. One that failed is left out.
    type: dict
    required: true
  rails:
    description: Interfaces to ask over beside the control interface; those of the plan where none are given.
    type: list
    elements: str
    default: []
  answers:
    description:
      - For each host the registered result of M(flagos.kunlunxin.pair_probe_info) that asked. With it, RV(tests) are made for the ways
        on which somebody answered, and RV(questions) are only to say that nothing follows.
    type: dict
  test_seconds:
    description: How long each test sends.
    type: int
    default: 3
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
- name: Make the questions
  flagos.kunlunxin.pair_schedule:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"
    listening: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, '__example_listening'))) }}"
  run_once: true
"""

RETURN = r"""
questions:
  description: By host, the option O(flagos.kunlunxin.pair_probe_info#module:questions).
  returned: always
  type: dict
tests:
  description: By host, the option O(flagos.kunlunxin.pair_probe_info#module:tests).
  returned: with O(answers)
  type: dict
"""
