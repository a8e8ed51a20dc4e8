# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Ansible reaches a host, for a program that brings its own protocol over ssh."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ssh_command
short_description: The ssh command by which Ansible reaches a host
version_added: 0.1.0
author:
  - FlagOS contributors (@flagos-ai)
description:
  - Returns, for the host a task is about, the address and the ssh command line that Ansible itself would use, with the same key,
    known hosts and proxy, for M(flagos.kunlunxin.rsync_push).
  - The command makes a connection of its own, so that bulk data does not slow down the one that Ansible shares between tasks.
    It asks no questions, so the login must need no password, and neither may C(sudo) where the login is not root's.
options:
  _terms:
    description: None.
notes:
  - Knows the connection plugins V(ssh) and V(local).
"""

EXAMPLES = r"""
- name: Show the command
  ansible.builtin.debug:
    msg: "{{ lookup('flagos.kunlunxin.ssh_command').shell }} {{ lookup('flagos.kunlunxin.ssh_command').address }}"
"""

RETURN = r"""
_raw:
  description: One dict with C(host), C(address), C(shell) and C(become).
  type: list
  elements: dict
"""

import getpass
import shlex

from ansible import constants as C
from ansible.errors import AnsibleLookupError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import connection_loader
from ansible.plugins.lookup import LookupBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding

# Ours come first: of an ssh option given twice, the first counts.
_OWN_OPTIONS = ["-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ConnectTimeout=30"]


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        host = variables["inventory_hostname"]
        # Not the task's own variables: delegated, they would say how to reach the controller.
        variables = variables["hostvars"][host]
        connection = variables.get("ansible_connection", C.DEFAULT_TRANSPORT)
        if connection in ("local", "ansible.builtin.local"):
            return [{"host": host, "address": "", "shell": "", "become": ""}]
        if connection not in ("ssh", "ansible.builtin.ssh", "smart"):
            raise AnsibleLookupError(
                str(Finding(host, "ansible_connection", connection, "ssh", "set ansible_connection to ssh for this host"))
            )
        ssh = _Options(variables)
        user = ssh.get("remote_user")
        address = ssh.get("host")
        address = f"[{address}]" if ":" in address else address
        return [
            {
                "host": host,
                "address": f"{user}@{address}" if user else address,
                "shell": shlex.join(_command(ssh)),
                "become": _become(user, variables),
            }
        ]


def _become(user, variables):
    """What makes a program of the login root's, as the roles' tasks are. It can only become root without being asked for a password."""
    refused = not boolean(variables.get("ansible_become", True))
    return "" if refused or (user or getpass.getuser()) == "root" else "sudo -n"


class _Options:
    """Options of the ssh connection plugin for one host, from variables, command line, environment and configuration by Ansible's rank."""

    def __init__(self, variables):
        connection_loader.get("ansible.builtin.ssh", class_only=True)  # makes the plugin's options known
        self._definitions = C.config.get_configuration_definitions("connection", "ssh")
        names = [entry["name"] for definition in self._definitions.values() for entry in definition.get("vars", [])]
        self._variables = {name: variables[name] for name in names if name in variables}

    def get(self, name):
        return C.config.get_config_value(name, plugin_type="connection", plugin_name="ssh", variables=self._variables)


def _command(ssh):
    command = [ssh.get("ssh_executable"), *_OWN_OPTIONS]
    for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
        command += shlex.split(ssh.get(name) or "")
    # Only where the operator told Ansible the same: what Ansible refuses, this refuses.
    if not ssh.get("host_key_checking"):
        command += ["-o", "StrictHostKeyChecking=no"]
    if ssh.get("port"):
        command += ["-p", str(ssh.get("port"))]
    if ssh.get("private_key_file"):
        command += ["-i", ssh.get("private_key_file")]
    return command
