# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module preflight_report: it runs on the controller and asks no host anything."""

from __future__ import annotations

import os
import re
import time

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
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
                "weights_root": {"type": "str", "default": ""},
                "image_reference": {"type": "str", "default": ""},
                "image_archive": {"type": "str", "default": ""},
                "archive_copy": {"type": "str", "default": ""},
                "registry_ca": {"type": "str", "default": ""},
                "image_bytes": {"type": "int", "default": 0},
                "image_unpack_factor": {"type": "float", "default": 3.0},
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
    archive = options["image_archive"]
    archive_bytes = os.path.getsize(archive) if os.path.isfile(archive) else 0
    return Needs(
        shm_bytes=parse_size(options["shm_size"]),
        weights_bytes=weights_bytes(options["weights_source"]),
        weights_root=options["weights_root"],
        image_source=archive or options["image_reference"],
        image_bytes=max(options["image_bytes"], archive_bytes),
        image_unpack_factor=options["image_unpack_factor"],
        archive_copy=options["archive_copy"],
        archive_bytes=archive_bytes,
        disk_margin_bytes=parse_size(options["disk_margin"]),
        clock_tolerance_seconds=options["clock_tolerance"],
    )


def weights_bytes(source):
    """The size of the weights on the controller; 0 where there are none, which `missing_sources` tells."""
    try:
        return sum(status.st_size for status in _weights.scan(source).values()) if source else 0
    except _weights.WeightsError:
        return 0


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
    weights = options["weights_source"]
    if weights and os.path.isdir(weights):
        try:
            _weights.scan(weights)
        except _weights.WeightsError as error:
            finding = Finding("localhost", "weights_source", error.observed, error.expected, "mend the folder, or weights_source")
            found.append(Judgement(finding))
    return found
