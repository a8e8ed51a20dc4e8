# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action before the module weights_manifest_info: what the controller knows already needs no process of its own.

Preflight asks that each time, and packing and starting a module costs more than the answer.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.modules.weights_manifest_info import ARGUMENTS, EXCLUSIVE, outcome


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if not self._is_answered_here():
            return self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
        _validation, options = self.validate_argument_spec(argument_spec=ARGUMENTS, mutually_exclusive=EXCLUSIVE)
        return outcome(options)

    def _is_answered_here(self):
        """Whether nothing is read and it is this user's own machine."""
        asks_the_cache_alone = self._task.args.get("only_cached") is True and not self._task.async_val
        return asks_the_cache_alone and self._connection.transport == "local" and self._connection.become is None
