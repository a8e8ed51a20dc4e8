# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module host_keys_info: it runs on the controller, for hosts that nobody can log in to yet."""

from __future__ import annotations

import dataclasses

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _ssh_settings
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._ssh_session import offered_keys


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "shell": {"type": "str", "default": "ssh"},
                "address": {"type": "str", "required": True},
                "timeout": {"type": "float", "default": 20},
            }
        )
        host = task_vars["inventory_hostname"]
        try:
            if not options["address"]:
                remedy = "set ansible_connection to ssh, or take the host out of the group"
                raise Refused("ansible_connection", "local", "a host that is reached by ssh", remedy)
            settings = _ssh_settings.ask(options["shell"], options["address"])
            keys = offered_keys(settings.address, settings.port, options["timeout"])
        except Refused as refused:
            finding = refused.finding(host)
            return dict(result, changed=False, failed=True, msg=str(finding), finding=finding.as_dict())
        return dict(
            result,
            changed=False,
            ssh=dataclasses.asdict(settings),
            host_keys=[{"type": key.type, "key": str(key), "fingerprint": key.fingerprint} for key in keys],
        )
