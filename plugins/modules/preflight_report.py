#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Judge what was read from all hosts and say it in few lines
description:
  - Compares the facts of all hosts with the plan, on the controller, once for the whole cluster. No host is asked anything.
  - Fails with one line for each fault that no stage still to come mends; what a stage prepares is printed as "to do".
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  plan:
    description: The plan, as P(flagos.kunlunxin.plan#lookup) returns it.
    type: dict
    required: true
  results:
    description: For each host the registered result of P(flagos.kunlunxin.host_info#module), one of an unreachable host included.
    type: dict
    required: true
  before:
    description: The stage about to run. What the stages before it establish must be there.
    type: str
    choices: [host, rdma, driver, container_engine, image, weights, serve, verify]
    default: host
  shm_size:
    description: Least size of C(/dev/shm), such as V(64g).
    type: str
    required: true
  weights_source:
    description: Folder on the controller that the weights come from; empty where they are on the hosts already.
    type: str
    default: ""
  weights_root:
    description:
      - Identity of the weights, as RV(flagos.kunlunxin.weights_manifest_info#module:manifest) holds it; empty while nobody has read them.
      - Room is asked for what the hosts' revision with this identity lacks.
    type: str
    default: ""
  image_reference:
    description: Reference the image is pulled by.
    type: str
    default: ""
  image_archive:
    description: Archive on the controller that the image is loaded from.
    type: str
    default: ""
  archive_copy:
    description: Path on the hosts where O(image_archive) lies until it is loaded; among the counted paths of O(results).
    type: str
    default: ""
  registry_ca:
    description: File on the controller with the authority of the image's registry.
    type: str
    default: ""
  image_bytes:
    description: Size of the unpacked image in bytes, where it is known. With O(image_archive) the archive's size is taken at least.
    type: int
    default: 0
  image_unpack_factor:
    description:
      - Where O(image_bytes) is not known, the unpacked image is taken for its compressed size in the registry times this.
      - With V(0) no room is asked for it.
    type: float
    default: 3.0
  disk_margin:
    description: What must stay free on each disk that image or weights go to.
    type: str
    default: 2g
  clock_tolerance:
    description: By how many seconds a host's clock may differ from the controller's.
    type: float
    default: 30
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
- name: Judge what was read
  flagos.kunlunxin.preflight_report:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"
    results: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, '__preflight_host'))) }}"
    shm_size: 64g
  run_once: true
"""

RETURN = r"""
msg:
  description: One line for each distinct fault, hosts that share it joined; where there is none, that nothing stands in the way.
  returned: always
  type: str
to_do:
  description: One line for each thing that a later stage prepares.
  returned: always
  type: list
  elements: str
findings:
  description: Every finding with host, check, observed, expected, remedy and the stage that mends it, if any.
  returned: always
  type: list
  elements: dict
"""
