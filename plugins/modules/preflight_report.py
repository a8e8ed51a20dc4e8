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
  - Fails with one line for each error that no stage still to come mends. Warnings, and what a stage prepares ("to do"), are printed.
  - In check mode nothing that a stage mends is an error, because the stages before did nothing.
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
  network_results:
    description: The same of P(flagos.kunlunxin.network_info#module), where it was asked.
    type: dict
    default: {}
  accelerator_results:
    description: The same of P(flagos.kunlunxin.accelerator_info#module), where it was asked.
    type: dict
    default: {}
  before:
    description: The stage about to run. What the stages before it establish must be there.
    type: str
    choices: [host, rdma, driver, container_engine, image, weights, serve, verify]
    default: host
  not_here:
    description:
      - Names of at most five checks that these machines cannot satisfy, such as limits of a lab that its machine sets.
      - They are reported as "not in the lab", never as passed or failed.
    type: list
    elements: str
    default: []
  report_file:
    description: File on the controller that RV(report) is written to as JSON; empty for none.
    type: path
    default: ""
  limits:
    description: What logins and services may have at least, C(memlock) and C(nofile) as the role C(host) takes them.
    type: dict
    default: {}
  driver_version:
    description: Version of the accelerators' driver that goes with the image. Where it is empty, the hosts are compared with each other.
    type: str
    default: ""
  firmware:
    description: Least version of parts of the accelerators' firmware, by the part's name. The hosts are compared with each other in any case.
    type: dict
    default: {}
  rdma_rate:
    description: Gigabits per second of every RDMA port. With V(0) the hosts are compared with each other.
    type: float
    default: 0
  idle_memory:
    description: How much of an accelerator's memory may be used while nobody holds it.
    type: str
    default: 1g
  shm_size:
    description: Least size of C(/dev/shm), such as V(64g).
    type: str
    required: true
  weights_source:
    description: Folder on the controller that the weights come from; empty where they are on the hosts already.
    type: str
    default: ""
  weights_mirror:
    description: URL that O(weights_source) is filled from; a folder without weights is then the stage's to fill, and no error.
    type: str
    default: ""
    version_added: 0.2.0
  weights_bytes:
    description: Size of the weights in bytes, where a publisher's list tells it. What lies in O(weights_source) is taken at least.
    type: int
    default: 0
    version_added: 0.2.0
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
  clock_spread:
    description: By how many seconds the hosts' clocks may differ from each other.
    type: float
    default: 1
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
  description: One line for each distinct error, hosts that share it joined; where there is none, that nothing stands in the way.
  returned: always
  type: str
serving:
  description: The hosts on which a container of the cluster runs.
  returned: when no option was refused
  type: list
  elements: str
report:
  description: The whole result.
  returned: when no option was refused
  type: dict
  contains:
    ok:
      description: Whether nothing stands in the way.
      type: bool
    exit_code:
      description: V(0) when there is nothing to say, V(1) with warnings or things to do, V(2) when something stands in the way.
      type: int
    before:
      description: The stage about to run.
      type: str
    checks:
      description:
        - One record for each fault on each host, the worst first, with C(check), C(host), C(observed), C(expected), C(severity), C(remedy),
          C(evidence), C(stage), the one that mends it or null, C(status) (V(error), V(warning) or V(to do)) and C(text), all in one line.
      type: list
      elements: dict
    passed:
      description: For each check that found nothing somewhere its C(check), the C(count) of hosts and the C(hosts).
      type: list
      elements: dict
    not_read:
      description: For each check that could not look somewhere its C(check), C(why) and the C(hosts).
      type: list
      elements: dict
    not_in_the_lab:
      description: The names of O(not_here).
      type: list
      elements: str
"""
