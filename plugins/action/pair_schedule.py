# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module pair_schedule: it runs on the controller and asks no host anything."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._pairs import schedule


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "dict", "required": True},
                "listening": {"type": "dict", "required": True},
                "rails": {"type": "list", "elements": "str", "default": []},
            }
        )
        told = {name: one for name, one in options["listening"].items() if "listening" in one}
        return dict(result, changed=False, questions=schedule(options["plan"], told, options["rails"]))
