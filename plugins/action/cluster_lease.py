# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the lease: who this run is, and whether a run of this controller that is written down still lives."""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
import os
import platform
import time
from pathlib import Path

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lease
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding

FACT = "flagos_kunlunxin_lease"
# A no-change run of the whole site takes less; a longer stage renews at its start.
RENEWAL_SECONDS = 60


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        process = process_identity(run_pid())
        held = task_vars.get("ansible_facts", {}).get(FACT, {})
        wants = arguments.get("state", "held")
        if wants == "held" and held.get("process") == process and time.time() < held.get("renew_after", 0):
            return dict(result, changed=False)

        holder = {
            "controller": controller_identity(),
            "process": process,
            "who": f"{getpass.getuser()}@{platform.node()} (process {run_pid()})",
            "doing": f"{playbook(task_vars)} on {', '.join(task_vars.get('ansible_inventory_sources') or ['no inventory'])}",
        }
        answer = self._ask(arguments, holder, task_vars)
        if answer.get("state") == _lease.FOREIGN and is_ended(answer["lease"], holder["controller"]):
            answer = self._ask(arguments, dict(holder, ended=answer["lease"]["process"]), task_vars)
        return self._report(dict(result, **answer), wants, process, task_vars)

    def _ask(self, arguments, holder, task_vars):
        return self._execute_module("flagos.kunlunxin.cluster_lease", dict(arguments, holder=holder), task_vars=task_vars)

    def _report(self, answer, wants, process, task_vars):
        if answer.get("failed") or answer.get("unreachable"):
            return answer
        if answer.get("note"):
            Display().warning(answer["note"])
        if wants == "released":
            return dict(answer, ansible_facts={FACT: {}})
        if answer["state"] != _lease.FOREIGN:
            fact = {"process": process, "renew_after": time.time() + RENEWAL_SECONDS}
            return answer if self._task.check_mode else dict(answer, ansible_facts={FACT: fact})
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        remedy = "wait for it, or set cluster_lease_break=true if it is gone for good"
        line = str(Finding(host, "cluster lease", _lease.describe(answer["lease"]), "no other run", remedy))
        if self._task.check_mode:
            Display().warning(line)
            return answer
        return dict(answer, failed=True, msg=line)


def playbook(task_vars):
    """The playbook that was started, as the operator named it."""
    return " ".join(os.path.basename(name) for name in context.CLIARGS.get("args") or ()) or task_vars.get("ansible_play_name", "a play")


def run_pid():
    """The process of this run: tasks work in children of it."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent else os.getpid()


def process_identity(pid):
    """A process so that no later one is taken for it: boot, number and start time; empty when there is no such process."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
            # The name, in parentheses, may hold anything; the start time is the 20th field behind it (proc(5)).
            return f"{boot.read().strip()}/{pid}/{stat.read().rpartition(')')[2].split()[19]}"
    except OSError:
        return ""


def controller_identity():
    """This machine, or this container on it: processes can be looked up only within one process namespace."""
    parts = [platform.node()]
    for read in (Path("/etc/machine-id").read_text, Path("/proc/self/ns/pid").readlink):
        try:
            parts.append(str(read()))
        except OSError:
            parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def is_ended(record, controller):
    """Whether a record is of a process of this controller that does not run any more."""
    if record["controller"] != controller:
        return False
    pid = record["process"].split("/")[1:2]
    return process_identity(pid[0] if pid else "") != record["process"]
