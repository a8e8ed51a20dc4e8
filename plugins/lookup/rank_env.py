# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lookup C(rank_env)."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rank_env
author: FlagOS contributors (@flagos-ai)
version_added: 0.1.0
short_description: The environment of a rank or of a host's container
description:
  - With a rank, gives that worker's environment, which is its container's and on top of it C(RANK), C(LOCAL_RANK), C(NODE_RANK),
    C(WORLD_SIZE), C(MASTER_ADDR), C(MASTER_PORT) and C(NIC), for launchers and probes that take them.
  - With the name of a host, gives that host's container environment, which never holds the variables of one rank.
options:
  _terms:
    description: Ranks (whole numbers from 0) and names of hosts in the group C(cluster).
    type: list
    elements: raw
    required: true
  explain:
    description: Give a list of variables with their origin instead of a dictionary of values.
    type: bool
    default: false
seealso:
  - plugin: flagos.kunlunxin.plan
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: What worker 9 sees
  ansible.builtin.debug:
    var: lookup('flagos.kunlunxin.rank_env', 9)

- name: Where each value of a host's container comes from
  ansible.builtin.debug:
    var: lookup('flagos.kunlunxin.rank_env', inventory_hostname, explain=true)

- name: Run a probe as worker 9
  ansible.builtin.command: /usr/local/bin/probe
  environment: "{{ lookup('flagos.kunlunxin.rank_env', 9) }}"
  changed_when: false
"""

RETURN = r"""
_raw:
  description:
    - One entry for each term, a dictionary of text by variable name.
    - With O(explain), a list of dictionaries C(name), C(value), C(origin) (V(inventory), V(profile), V(ours) or V(topology)) and C(reason).
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._lookup import plan_of
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._plan import Plan
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import PlanError, Value


class LookupModule(LookupBase):
    """Returns environments, one for each term."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            plan = plan_of(variables or {})
        except PlanError as error:
            raise AnsibleLookupError(str(error)) from None
        chosen = [_environment(plan, term) for term in terms]
        if self.get_option("explain"):
            return [[value.as_dict() for value in values] for values in chosen]
        return [{value.name: value.value for value in values} for values in chosen]


def _environment(plan: Plan, term: Any) -> tuple[Value, ...]:
    """The environment of a host (text) or rank. :raises AnsibleLookupError: when the cluster has no such rank or host."""
    text = str(term)
    for host in plan.hosts:
        if isinstance(term, str) and text == host.name:
            return host.environment
    number = int(text) if text.isascii() and text.isdecimal() else -1
    for host in plan.hosts:
        for rank in host.ranks:
            if rank.rank == number:
                return plan.rank_environment(host, rank)
    expected = f"a rank from 0 to {plan.resolved.world_size - 1} or one of {', '.join(host.name for host in plan.hosts)}"
    raise AnsibleLookupError(str(Finding("cluster", "rank_env", f"no rank or host {term!r}", expected, "mend the lookup's term")))
