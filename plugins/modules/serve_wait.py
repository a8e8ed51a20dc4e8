#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: serve_wait
short_description: Wait until the service answers, and compare where its workers are with the plan
version_added: 0.1.0
description:
  - Runs on the first host and follows the state that the serve program keeps there, until a completion has come back.
  - Fails as soon as the program has given up, with its reason and the engine's last words, or when the limit is over.
  - Then the engine's own placement (rank, local rank, host and, where the worker holds an accelerator, device) is compared with the plan.
  - Run with C(async) it reports its progress while it waits.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
    details: In check mode it looks once and does not wait.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  plan:
    description: The plan of the cluster, as P(flagos.kunlunxin.plan#lookup) gives it.
    type: dict
    required: true
  deployment:
    description: The identity of the deployment to wait for.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Wait for the first answer
  flagos.kunlunxin.serve_wait:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"
    deployment: "{{ deployment }}"
  async: 700
  poll: 5
"""

RETURN = r"""
workers:
  description: The workers as the engine placed them.
  returned: when the service is ready
  type: list
  elements: dict
  sample:
    - rank: 0
      local_rank: 0
      host: node1
      pid: 312
      device: null
progress:
  description: Seconds since the start, the limit and the phase.
  returned: always
  type: dict
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _progress, _serve_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_coordinator import PLACEMENT_FILE
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import UNIT
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import folder as folder_of
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_placement import differences

LOOK_SECONDS = 1.0
# The program knows the same limit and gives up first, with a reason; this is for a program that does not run at all.
GRACE_SECONDS = 30


class Waiting(object):
    """One wait for one deployment.

    :param unit_failed: says whether systemd has given the unit up.
    """

    def __init__(self, plan, folder, deployment, unit_failed, clock=time.time):
        self.head = plan["head"]["name"]
        self.limit = plan["limits"]["ready_seconds"]
        self.folder = folder
        self.deployment = deployment
        self._unit_failed = unit_failed
        self._clock = clock
        self.began = clock()

    def look(self):
        """The state of this deployment, or ``None`` while the program has not written it."""
        state = _serve_state.read(self.folder)
        return state if state and state.get("deployment") == self.deployment else None

    def words(self, state):
        """The phase and how it stands, in words."""
        if state is None:
            return "the container has not started"
        return state["phase"] + (": " + state["reason"] if state["reason"] else "")

    def failure(self, state):
        """The failure of this wait as a finding, or ``None`` while there is hope."""
        failed = (state or {}).get("failure")
        if (failed and failed["at"] >= self.began) or (state and state["phase"] == _serve_state.FAILED):
            log = failed["log"][-1:]
            observed = "%s, in the phase '%s'" % (failed["reason"], failed["phase"])
            if log and log[0] not in observed:
                observed += "; the log ends with: %s" % log[0].strip()
            return self.finding(observed)
        if self._unit_failed():
            return self.finding("the unit %s has failed before the serve program ran" % UNIT)
        if self._clock() - self.began > self.limit + GRACE_SECONDS:
            return self.finding(self.words(state))
        return None

    def finding(self, observed):
        return Finding(
            host=self.head,
            check="serve",
            observed=observed,
            expected="a completion within %d s" % self.limit,
            remedy="read journalctl -u %s and the files under %s on %s"
            % (UNIT, os.path.join(os.path.dirname(self.folder), "logs"), self.head),
        )


def read_workers(folder, deployment):
    """The placement that the program recorded for this deployment."""
    try:
        with open(os.path.join(folder, PLACEMENT_FILE)) as stream:
            record = json.load(stream)
    except (OSError, ValueError):
        return []
    return record["workers"] if record.get("deployment") == deployment else []


def main():
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "deployment": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    plan = module.params["plan"]
    folder = os.path.join(folder_of(plan), "state")
    waiting = Waiting(
        plan,
        folder,
        module.params["deployment"],
        unit_failed=lambda: module.run_command(["systemctl", "is-active", UNIT])[1].strip() == "failed",
    )
    progress = _progress.Progress(total=waiting.limit, unit="seconds")
    while True:
        state = waiting.look()
        elapsed = time.time() - waiting.began
        record = _progress.describe(round(elapsed, 1), waiting.limit, "seconds", waiting.words(state))
        if state and state["phase"] == _serve_state.READY:
            break
        finding = waiting.failure(state)
        if finding:
            module.fail_json(msg=str(finding), progress=record, log=((state or {}).get("failure") or {}).get("log", []))
        if module.check_mode:
            module.exit_json(changed=False, progress=record)
        progress.report(elapsed, waiting.words(state))
        time.sleep(LOOK_SECONDS)
    workers = read_workers(folder, module.params["deployment"])
    wrong = differences(plan["ranks"], workers)
    if wrong:
        module.fail_json(
            msg="\n".join(
                str(
                    Finding(
                        host=item.host,
                        check="placement",
                        observed=item.observed,
                        expected=item.expected,
                        remedy="do not use this service; run the stage serve again, and report the difference if it stays",
                    )
                )
                for item in wrong
            ),
            workers=workers,
            progress=record,
        )
    module.exit_json(changed=False, workers=workers, progress=record)


if __name__ == "__main__":
    main()
