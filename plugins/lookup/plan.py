# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lookup C(plan)."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan
author: FlagOS contributors (@flagos-ai)
version_added: 0.1.0
short_description: The plan of the cluster
description:
  - Plans the hosts of the group C(cluster), in the order of the inventory, from their variables and their wiring as
    C(playbooks/topology.yml) recorded it beside the inventory. No host is asked anything.
  - The plan decides every rank, NIC list, port, environment variable and document; everything else in this collection reads it.
  - C(--limit) changes nothing in it, because the whole group is always planned.
  - An inventory that cannot be planned fails with one line for each problem, the worst first, naming host, variable, what
    was found, what was expected and the remedy.
notes:
  - Variables that are read for the whole cluster must be the same on all its hosts. They are
    C(cluster_accelerator), C(cluster_name), C(cluster_state_dir), C(cluster_lock_file), C(cluster_topology_file), C(cluster_cache_dir),
    C(cluster_lease_ttl), C(cluster_lease_break), C(cluster_manage_kernel_globals), C(cluster_facts_overlay), C(cluster_devices_per_host),
    C(cluster_control_interface), C(cluster_rdma_nics), C(cluster_policy_routing),
    C(cluster_environment_additions), C(cluster_ssh_port), C(cluster_master_port), C(serve_port), C(serve_tensor_parallel_size),
    C(serve_pipeline_parallel_size), C(serve_model_name), C(serve_engine_arguments), C(serve_shm_size), C(serve_mounts),
    C(serve_before_start), C(serve_ready_seconds), C(serve_probe_seconds),
    C(weights_path), C(weights_port) and C(weights_interfaces).
  - With C(cluster_group), given by C(-e), another group is planned, such as one of several replicas. Each is a plan of its own.
  - Of each host are read C(cluster_address) (or C(ansible_host)), C(cluster_environment), C(cluster_rails), C(cluster_visible_devices)
    and C(ansible_port).
options:
  _terms:
    description: None are taken.
    type: list
    elements: str
  problems:
    description:
      - Give the problems of the inventory instead of the plan, one line each, the worst first, and nothing when it can be planned.
      - For a task that fails with exactly these lines.
    type: bool
    default: false
  recorded:
    description: Whether the recorded wiring of the hosts counts. Without it every device has the interface that the inventory or the profile names.
    type: bool
    default: true
    version_added: 0.2.0
seealso:
  - plugin: flagos.kunlunxin.rank_env
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Show who serves
  ansible.builtin.debug:
    msg: "{{ plan.head.address }}:{{ plan.ports.api }} on {{ plan.hosts | map(attribute='name') | join(', ') }}"
  vars:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"

- name: Refuse an inventory that cannot be planned
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\\n') }}"
    quiet: true
  vars:
    problems: "{{ query('flagos.kunlunxin.plan', problems=true) }}"
"""

RETURN = r"""
_raw:
  description: One dictionary, or with O(problems) any number of lines.
  type: list
  elements: raw
  contains:
    hosts:
      description: >-
        The hosts in the inventory's order, each with C(name), C(address), C(node_rank), C(slots), C(devices), C(nics), C(distances), C(ranks),
        C(environment), C(swarm_interfaces), by which weights reach it, and C(device_nodes), which its container is given.
        C(devices) and C(nics) are in the order of the local ranks.
      type: list
    ranks:
      description: >-
        Every worker of the engine in order, each with C(rank), C(local_rank), C(host), C(address), C(device), C(nic), C(pipeline_rank)
        and C(tensor_rank).
      type: list
    head:
      description: Name and address of the host that coordinates and answers.
      type: dict
    ports:
      description: Ports by purpose. C(container_ssh) is used on every host, the others on the head.
      type: dict
    swarm:
      description: >-
        The first ports of the swarm that carries weights, C(member_port) where they arrive and C(source_port) where they come from, and
        C(most_lanes).
      type: dict
    documents:
      description: FlagScale's documents, as text by relative path.
      type: dict
    notes:
      description: What an operator should know, such as an engine that numbers the hosts otherwise than the inventory.
      type: list
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._lookup import plan_of
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import PlanError


class LookupModule(LookupBase):
    """Returns the plan as plain data."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        if terms:
            raise AnsibleLookupError(f"plan: takes no terms, got {terms}; the group cluster is planned as a whole")
        try:
            plan = plan_of(variables or {}, by_record=self.get_option("recorded"))
        except PlanError as error:
            if self.get_option("problems"):
                return [str(finding) for finding in error.findings]
            raise AnsibleLookupError(str(error)) from None
        return [] if self.get_option("problems") else [plan.as_dict()]
