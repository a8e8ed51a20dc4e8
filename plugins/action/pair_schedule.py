# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module pair_schedule: it runs on the controller and asks no host anything."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _bandwidth
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._pairs import farewells, schedule


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "dict", "required": True},
                "listening": {"type": "dict", "required": True},
                "answers": {"type": "dict"},
                "rails": {"type": "list", "elements": "str", "default": []},
                "test_seconds": {"type": "int", "default": 3},
            }
        )
        plan, rails = options["plan"], options["rails"]
        told = {name: one for name, one in options["listening"].items() if "listening" in one}
        questions = schedule(plan, told, rails)
        if options["answers"] is None:
            return dict(result, changed=False, questions=questions)
        answers = {name: one["answers"] for name, one in options["answers"].items() if "answers" in one}
        request = _bandwidth.Request(seconds=options["test_seconds"])
        tests = _bandwidth.tests(plan, told, answers, request, rails)
        return dict(result, changed=False, questions=farewells(questions, answers), tests=tests)
