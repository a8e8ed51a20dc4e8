#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pair_report
short_description: Judge what the hosts say of each other and say it in few lines
description:
  - Compares what all hosts found out about each other, on the controller, once for the whole cluster. No host is asked anything.
  - A cause is one line, named at the host that all its signs have in common; where two hosts alone do not reach each other, both are named.
  - Fails with one line for each fault that no stage still to come mends; what a stage prepares is printed as "to do".
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  plan:
    description: The plan, as P(flagos.kunlunxin.plan#lookup) returns it.
    type: dict
    required: true
  listening:
    description: For each host the registered result of M(flagos.kunlunxin.pair_probe_info) that listened, one that failed included.
    type: dict
    required: true
  answers:
    description: Likewise of the one that asked.
    type: dict
    required: true
  rails:
    description: As given to M(flagos.kunlunxin.pair_schedule).
    type: list
    elements: str
    default: []
  bandwidth:
    description: Likewise of the one that measured, where bandwidth was asked for. The figures are printed as one table for each rail.
    type: dict
  networks:
    description: With O(bandwidth), for each host the registered result of M(flagos.kunlunxin.network_info) after all tests.
    type: dict
    default: {}
  bandwidth_ratio:
    description: An outlier has less than this part of what is expected.
    type: float
    default: 0.7
  bandwidth_gbps:
    description:
      - What is expected, in gigabits per second. With V(0) it is the rate of the ports where RDMA was measured, and the median of the
        rail where TCP was, which depends on the hosts' processors.
    type: float
    default: 0
  before:
    description: The stage about to run. What the stages before it establish must be there.
    type: str
    choices: [host, rdma, driver, container_engine, image, weights, serve, verify]
    default: host
  report:
    description: What M(flagos.kunlunxin.preflight_report) returned as C(report) for the hosts themselves; both results become one.
    type: dict
    default: {}
  report_file:
    description: File on the controller that the result is written to as JSON; empty for none.
    type: path
    default: ""
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
- name: Judge what the hosts found out
  flagos.kunlunxin.pair_report:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"
    listening: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, '__example_listening'))) }}"
    answers: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, '__example_answers'))) }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: One line for each distinct fault; where there is none, that nothing stands in the way.
  returned: always
  type: str
bandwidth:
  description: By rail, sender and receiver, gigabits per second; null where a test gave no figure. Empty where none was asked for.
  returned: always
  type: dict
report:
  description: The whole result, as M(flagos.kunlunxin.preflight_report) returns it, with that of O(report).
  returned: always
  type: dict
"""
