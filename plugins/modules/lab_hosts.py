#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_hosts
short_description: Have the lab's hosts run, made anew, or gone
description:
  - Makes, starts or removes containers that behave as hosts, in the lab's own Docker, all at once, and waits until sshd answers on each.
  - Hosts that are not named are left alone.
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  docker_host:
    description: Address of the lab's Docker.
    type: str
    required: true
  root:
    description: Folder of the lab, with the device nodes and the hosts' identities.
    type: path
    required: true
  prefix:
    description: First two numbers of the lab's addresses; the third is the network, the fourth the host.
    type: str
    required: true
  rails:
    description: Networks that each host has beside the control network.
    type: int
    required: true
  devices:
    description: Accelerator device nodes of each host.
    type: int
    required: true
  shm_size:
    description: Size of V(/dev/shm) of each host, as Docker writes it.
    type: str
    required: true
  hosts:
    description: Hosts to settle.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the host and its container.
        type: str
        required: true
      number:
        description: Last number of the host's addresses.
        type: int
        required: true
      image:
        description: Image of the host, there already.
        type: str
        required: true
      memory:
        description: Memory limit, as Docker writes it.
        type: str
        required: true
  state:
    description:
      - V(present) makes hosts that are missing or were made otherwise, and starts those that do not run. What a host's own Docker holds is kept.
      - V(fresh) makes every host anew, with an empty Docker of its own.
      - V(absent) removes them with all that they hold.
    type: str
    choices: [present, fresh, absent]
    default: present
  wait_seconds:
    description: How long to wait until sshd answers on each host.
    type: int
    default: 120
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: RV(actions) says what is done.
  idempotent:
    support: partial
    details: O(state=fresh) makes hosts anew whenever it runs.
"""

EXAMPLES = r"""
- name: Have one host
  flagos.kunlunxin.lab_hosts:
    docker_host: unix:///run/flagos-kunlunxin-lab/docker.sock
    root: /var/lib/flagos-kunlunxin-lab
    prefix: "10.91"
    rails: 4
    devices: 8
    shm_size: 64m
    hosts:
      - {name: node1, number: 11, image: "flagos-lab/host:4a1c", memory: 6g}
"""

RETURN = r"""
actions:
  description: What was said to Docker, or would be, host by host; its arguments.
  returned: always
  type: list
  elements: str
"""

import concurrent.futures
import socket
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_hosts as lab_hosts
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding

SSH_PORT = 22


class Docker:
    """The lab's Docker, by its command line."""

    def __init__(self, module):
        self.module = module

    def __call__(self, *arguments):
        command = ["docker", "--host", self.module.params["docker_host"], *list(arguments)]
        code, output, error = self.module.run_command(command)
        if code != 0:
            raise RuntimeError(error.strip() or "docker %s ended with %d" % (arguments[0], code))
        return output


def answers_ssh(address, deadline):
    """Whether an sshd introduces itself on an address before the deadline."""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, SSH_PORT), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


def settle(docker, host, address, commands, wait_seconds):
    """Runs one host's commands and waits for it. Returns a Finding when that fails, else None."""
    try:
        for command in commands:
            docker(*command)
    except RuntimeError as error:
        return Finding(host["name"], "container", error, "a running container", "see the lab's log of dockerd")
    if wait_seconds and not answers_ssh(address, time.monotonic() + wait_seconds):
        return Finding(
            host["name"],
            "sshd",
            "no answer on %s" % address,
            "an answer within %d s" % wait_seconds,
            "look inside: docker --host %s exec %s journalctl -b" % (docker.module.params["docker_host"], host["name"]),
        )
    return None


def main():
    host = {
        "name": {"type": "str", "required": True},
        "number": {"type": "int", "required": True},
        "image": {"type": "str", "required": True},
        "memory": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "docker_host": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "prefix": {"type": "str", "required": True},
            "rails": {"type": "int", "required": True},
            "devices": {"type": "int", "required": True},
            "shm_size": {"type": "str", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "state": {"type": "str", "choices": ["present", "fresh", "absent"], "default": "present"},
            "wait_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    lab = module.params
    docker = Docker(module)
    try:
        present = lab_hosts.parse_present(docker("ps", "--all", "--format", lab_hosts.PRESENT_FORMAT))
        preparations = lab_hosts.network_commands(lab, docker("network", "ls", "--format", "{{.Name}}").split())
        plans = [(host, lab_hosts.host_commands(lab, host, present, lab["state"])) for host in lab["hosts"]]
        commands = preparations + [command for _host, plan in plans for command in plan]
        result = {"changed": bool(commands), "actions": [" ".join(command) for command in commands]}
        if module.check_mode:
            module.exit_json(**result)
        for command in preparations:
            docker(*command)
    except RuntimeError as error:
        module.fail_json(msg=str(Finding("this machine", "the lab's Docker", error, "an answer", "run playbooks/lab.yml")))
    wait_seconds = 0 if lab["state"] == "absent" else lab["wait_seconds"]
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(plans) or 1) as pool:
        running = [pool.submit(settle, docker, host, lab_hosts.address(lab, host), plan, wait_seconds) for host, plan in plans]
        failures = [str(outcome.result()) for outcome in running if outcome.result()]
    if failures:
        module.fail_json(msg="\n".join(failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
