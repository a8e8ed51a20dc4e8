# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module topology_record: it runs on the controller and asks no host anything."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _wiring_record
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import Problems


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "path": {"type": "path", "required": True},
                "accelerators": {"type": "dict", "required": True},
                "networks": {"type": "dict", "required": True},
                "named": {"type": "list", "elements": "str", "default": []},
                "accept": {"type": "bool", "default": False},
            }
        )
        path, problems = os.path.expanduser(options["path"]), Problems()
        before = _wiring_record.read(path, problems)
        now = {
            host: _wiring_record.record_of(accelerator, options["networks"][host], options["named"])
            for host, accelerator in options["accelerators"].items()
        }
        record, differences = _wiring_record.merged(before or {}, now)
        findings = list(problems.findings())
        if not options["accept"]:
            findings += [Finding(one.host, one.what, one.now, f"{one.before}, as recorded", _wiring_record.ACCEPT) for one in differences]
        if findings:
            return {"failed": True, "msg": "\n".join(map(str, findings)), "findings": [finding.as_dict() for finding in findings]}
        text, shown = _wiring_record.render(record), "" if before is None else _wiring_record.render(before)
        if text != shown and not self._task.check_mode:
            write_atomically(path, text)
        return {
            "changed": text != shown,
            "msg": f"{len(record)} hosts are recorded in {path}",
            "diff": {"before_header": path, "after_header": path, "before": shown, "after": text},
        }
