# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module preflight_report: it runs on the controller and asks no host anything."""

from __future__ import annotations

import os
import re
import time

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_facts import bytes_below
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_size
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._preflight import STAGES, Judgement, Needs, fold, judge


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        asked_until = time.time()
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "dict", "required": True},
                "results": {"type": "dict", "required": True},
                "before": {"type": "str", "choices": list(STAGES), "default": "host"},
                "shm_size": {"type": "str", "required": True},
                "weights_source": {"type": "str", "default": ""},
                "image_reference": {"type": "str", "default": ""},
                "image_archive": {"type": "str", "default": ""},
                "registry_ca": {"type": "str", "default": ""},
                "image_bytes": {"type": "int", "default": 0},
                "disk_margin": {"type": "str", "default": "2g"},
                "clock_tolerance": {"type": "float", "default": 30},
            }
        )
        facts = {name: facts_of(result) for name, result in options["results"].items()}
        judgements = missing_sources(options) + judge(options["plan"], facts, needs_of(options), asked_until)
        before = options["before"]
        failures = fold(one for one in judgements if one.fails_before(before))
        to_do = fold(one for one in judgements if not one.fails_before(before))
        for line in to_do:
            self._display.display("to do: " + line)
        return {
            "changed": False,
            "failed": bool(failures),
            "msg": "\n".join(failures) or f"{len(facts)} hosts asked, nothing stands in the way of stage {before}",
            "to_do": to_do,
            "findings": [dict(one.finding.as_dict(), stage=one.stage) for one in judgements],
        }


def facts_of(result):
    """The facts in a host's registered result, or why there are none, as ``judge`` wants them."""
    if result.get("unreachable"):
        # ssh's own words are enough; ansible-core's around them differ from release to release
        return {"unreachable": re.sub(r"^.* (?:over|via) ssh: ", "", result.get("msg", ""), flags=re.DOTALL)}
    if "host" not in result:
        return {"broken": result.get("module_stderr") or result.get("msg") or "no answer"}
    return result["host"]


def needs_of(options):
    """What the stages to come need, sizes read from what lies on the controller."""
    weights, archive = options["weights_source"], options["image_archive"]
    return Needs(
        shm_bytes=parse_size(options["shm_size"]),
        weights_bytes=bytes_below(weights) if weights else 0,
        image_source=archive or options["image_reference"],
        image_bytes=max(options["image_bytes"], os.path.getsize(archive) if os.path.isfile(archive) else 0),
        disk_margin_bytes=parse_size(options["disk_margin"]),
        clock_tolerance_seconds=options["clock_tolerance"],
    )


def missing_sources(options):
    """What should lie on the controller and does not."""
    found = []
    sources = (
        ("weights_source", options["weights_source"], "folder", os.path.isdir),
        ("image_archive", options["image_archive"], "file", os.path.isfile),
        ("image_registry_ca", options["registry_ca"], "file", os.path.isfile),
    )
    for variable, path, kind, present in sources:
        if path and not present(path):
            finding = Finding("localhost", variable, f"no {kind} {path}", f"a {kind}", f"put it there or mend {variable}")
            found.append(Judgement(finding))
    return found
