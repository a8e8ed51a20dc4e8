#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: serve_unit
short_description: Start or stop this host's part of the service, and prove it stopped
version_added: 0.1.0
description:
  - V(started) enables and starts the unit. Before a start it removes what the run before said of itself, so that whoever waits for
    this start hears of no other.
  - V(stopped) stops the unit, removes containers with the cluster's label and ends processes that carry the cluster's mark,
    and fails unless none is left. Nothing without our label or mark is touched.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: Which of the two.
    type: str
    choices: [started, stopped]
    required: true
  enabled:
    description: Whether the unit starts with the host. By default a started unit does and a stopped one stays as it is.
    type: bool
  stopped_before:
    description: In check mode, take the unit for stopped, as the task before would have left it.
    type: bool
    default: false
  state_folder:
    description: The folder in which the serve program says how it goes.
    type: path
    required: true
  cluster:
    description: The cluster's name; containers and processes are found by it.
    type: str
    required: true
  host:
    description: The name of this host, for messages.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Stop the service for good
  flagos.kunlunxin.serve_unit:
    state: stopped
    enabled: false
    state_folder: /var/lib/flagos-kunlunxin/serve/state
    cluster: "{{ cluster_name }}"
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
"""

import os
import signal
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_listener
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, command_change, settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_coordinator import PLACEMENT_FILE
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import LABEL_CLUSTER, MARKER, UNIT
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_state import FILE_NAME as STATE_FILE

UNIT_FILE = "/etc/systemd/system/" + UNIT
END_SECONDS = 10
ENDED = ("inactive", "unknown")


def our_containers(cluster):
    """Containers of the cluster, running or not, as name by identity."""
    try:
        found = EngineClient().containers(running_only=False)
    except EngineError:  # no engine, no containers
        return {}
    return {key: item["name"] for key, item in found.items() if item["labels"].get(LABEL_CLUSTER) == cluster}


def our_processes(cluster, proc="/proc"):
    """Processes that inherited the cluster's mark, as command by process id."""
    mark = ("%s=%s" % (MARKER, cluster)).encode("utf-8")
    found = {}
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open(os.path.join(proc, name, "environ"), "rb") as stream:
                marked = mark in stream.read().split(b"\0")
            if marked:
                with open(os.path.join(proc, name, "comm")) as stream:
                    found[int(name)] = stream.read().strip()
        except OSError:  # it ended meanwhile
            continue
    return found


def unit_state(module, question):
    """The one word that ``systemctl question`` answers."""
    return module.run_command(["systemctl", question, UNIT])[1].strip() or "unknown"


def end_processes(cluster):
    """End what still carries our mark: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in our_processes(cluster):
            try:
                os.kill(pid, number)
            except OSError:  # it ended meanwhile
                continue
        until = time.monotonic() + END_SECONDS
        while our_processes(cluster) and time.monotonic() < until:
            time.sleep(0.2)


def stop_changes(module, params):
    cluster = params["cluster"]
    changes = []
    state = unit_state(module, "is-active")
    if state not in ENDED:
        changes += command_change(["systemctl", "stop", UNIT], UNIT, state + "\n", "inactive\n")
        if state == "failed":
            changes += command_change(["systemctl", "reset-failed", UNIT], UNIT, "failed\n", "inactive\n")
    if params["enabled"] is False and unit_state(module, "is-enabled") == "enabled":
        changes += command_change(["systemctl", "disable", UNIT], UNIT, "enabled\n", "disabled\n")

    def remove(module):
        for key in our_containers(cluster):
            module.run_command(["docker", "rm", "--force", key])
        end_processes(cluster)

    containers, processes = our_containers(cluster), our_processes(cluster)
    if changes or containers or processes:
        names = sorted(set(containers.values()) | set(processes.values()))
        changes.append(Change("end what is left of %s" % cluster, cluster, "".join(name + "\n" for name in names), "", remove))
    return changes


def start_change(folder):
    """The change that starts the unit as if for the first time."""

    def start(module):
        _pair_listener.dismiss()
        for name in (STATE_FILE, PLACEMENT_FILE):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                os.unlink(path)
        # The unit's budget is for starts by itself; an operator's own would use it up: "start of the service was attempted too often".
        module.run_command(["systemctl", "reset-failed", UNIT])
        module.run_command(["systemctl", "start", UNIT], check_rc=True)

    return Change("systemctl start %s" % UNIT, UNIT, "inactive\n", "active\n", start)


def start_changes(module, params):
    changes = []
    wanted = params["enabled"] is not False
    if (unit_state(module, "is-enabled") == "enabled") != wanted:
        verb = "enable" if wanted else "disable"
        changes += command_change(["systemctl", verb, UNIT], UNIT, "", verb + "d\n")
    state = unit_state(module, "is-active")
    if state not in ("active", "activating") or (module.check_mode and params["stopped_before"]):
        changes.append(start_change(params["state_folder"]))
    return changes


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "required": True},
            "enabled": {"type": "bool"},
            "stopped_before": {"type": "bool", "default": False},
            "state_folder": {"type": "path", "required": True},
            "cluster": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    started = params["state"] == "started"
    result = settle(module, start_changes(module, params) if started else stop_changes(module, params))
    if not started and not module.check_mode:
        left = ["container %s" % name for name in our_containers(params["cluster"]).values()]
        left += ["process %d (%s)" % item for item in sorted(our_processes(params["cluster"]).items())]
        if left:
            module.fail_json(
                msg=str(
                    Finding(
                        host=params["host"],
                        check="stop",
                        observed="left over: %s" % ", ".join(left),
                        expected="nothing of the cluster %s" % params["cluster"],
                        remedy="look at what holds it (a device, a mount) with ps and docker logs, then run stop again",
                    )
                ),
                **result,
            )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
