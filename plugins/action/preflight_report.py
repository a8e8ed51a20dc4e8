# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module preflight_report: it runs on the controller and asks no host anything."""

from __future__ import annotations

import json
import os
import re
import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_size, parse_version
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_settings import parse_limit
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _preflight_report, _wiring_record
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import STAGES, Judgement, Needs, Severity
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._preflight import MODULES, OTHER_KEY, judge, unfit_exceptions
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import Problems

# The stage up to which each of the controller's files is needed.
NEEDED_BY = {"weights_source": "weights", "image_archive": "image", "image_registry_ca": "image"}

CHANGED_KEY = "REMOTE HOST IDENTIFICATION HAS CHANGED"  # of OpenSSH


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
                "network_results": {"type": "dict", "default": {}},
                "accelerator_results": {"type": "dict", "default": {}},
                "before": {"type": "str", "choices": list(STAGES), "default": "host"},
                "not_here": {"type": "list", "elements": "str", "default": []},
                "report_file": {"type": "path", "default": ""},
                "shm_size": {"type": "str", "required": True},
                "limits": {"type": "dict", "default": {}},
                "driver_version": {"type": "str", "default": ""},
                "firmware": {"type": "dict", "default": {}},
                "rdma_rate": {"type": "float", "default": 0},
                "idle_memory": {"type": "str", "default": "1g"},
                "weights_source": {"type": "str", "default": ""},
                "weights_mirror": {"type": "str", "default": ""},
                "weights_bytes": {"type": "int", "default": 0},
                "weights_root": {"type": "str", "default": ""},
                "image_reference": {"type": "str", "default": ""},
                "image_archive": {"type": "str", "default": ""},
                "archive_copy": {"type": "str", "default": ""},
                "registry_ca": {"type": "str", "default": ""},
                "image_bytes": {"type": "int", "default": 0},
                "image_unpack_factor": {"type": "float", "default": 3.0},
                "disk_margin": {"type": "str", "default": "2g"},
                "clock_tolerance": {"type": "float", "default": 30},
                "clock_spread": {"type": "float", "default": 1},
            }
        )
        plan, not_here = options["plan"], options["not_here"]
        # What check mode left undone before is still to do, and no reason to stop.
        before = STAGES[0] if self._task.check_mode else options["before"]
        refused = unfit_exceptions(plan, not_here)
        if refused:
            return {"changed": False, "failed": True, "msg": "\n".join(_preflight_report.fold(refused))}
        facts = answers_of(options["results"], options["network_results"], options["accelerator_results"])
        verdict = judge(plan, facts, needs_of(options, before), asked_until, not_here)
        take_sources(verdict, options, before)
        document = _preflight_report.document(verdict, before)
        if options["report_file"]:
            _preflight_report.write(options["report_file"], document)
        if document["exit_code"] != _preflight_report.FINE or not_here:
            for line in _preflight_report.table(verdict, before):
                self._display.display(line)
        failures = _preflight_report.fold(one for one in verdict.judgements if one.fails_before(before))
        return {
            "changed": False,
            "failed": bool(failures),
            "msg": "\n".join(failures) or f"{len(facts)} hosts asked, nothing stands in the way of stage {before}",
            "report": document,
            "serving": verdict.serving,
        }


def answers_of(hosts, networks, accelerators):
    """What ``judge`` wants of each host, from the registered results of the three modules; a skipped module was not asked."""
    found = {}
    for name, result in hosts.items():
        results = {"host": result, "network": networks.get(name), "accelerator": accelerators.get(name)}
        lost = next((one for one in results.values() if one and one.get("unreachable")), None)
        if lost:
            found[name] = {"unreachable": words_of_ssh(lost.get("msg", ""))}
        else:
            found[name] = {subject: facts_of(results[subject], subject) for subject in MODULES}
    return found


def words_of_ssh(message):
    """ssh's own words of a login that failed, without ansible-core's around them and what ssh says of a connection that it kept before.

    Of a host key that changed, ssh says a page; kept is what tells the two keys apart.
    """
    said = re.sub(r"^.* (?:over|via) ssh: ", "", message, flags=re.DOTALL)
    if CHANGED_KEY in said:
        sent = re.search(r"SHA256:\S+?(?=\.?\s)", said)
        known = re.search(r"Offending \S+ key in (\S+)", said)
        return (
            f"{OTHER_KEY}: {sent.group() if sent else 'another'} was sent, and not the key in {known.group(1) if known else 'known_hosts'}"
        )
    return re.sub(r"^mux_client_\w+: [^\r\n]*[\r\n]+", "", said)


def facts_of(result, subject):
    """The facts in a module's registered result, None where it was skipped, or ``{"failed": reason}``."""
    if result is not None and subject in result:
        return result[subject]
    if subject != "host" and (not result or result.get("skipped")):
        return None
    return {"failed": result.get("module_stderr") or result.get("msg") or "no answer"}


def needs_of(options, before):
    """What the stages to come need, sizes read from what lies on the controller."""
    archive = options["image_archive"]
    archive_bytes = os.path.getsize(archive) if os.path.isfile(archive) else 0
    try:
        return Needs(
            before=before,
            shm_bytes=parse_size(options["shm_size"]),
            weights_bytes=max(options["weights_bytes"], weights_bytes(options["weights_source"])),
            weights_root=options["weights_root"],
            image_source=archive or options["image_reference"],
            image_bytes=max(options["image_bytes"], archive_bytes),
            image_unpack_factor=options["image_unpack_factor"],
            archive_copy=options["archive_copy"],
            archive_bytes=archive_bytes,
            disk_margin_bytes=parse_size(options["disk_margin"]),
            clock_tolerance_seconds=options["clock_tolerance"],
            clock_spread_seconds=options["clock_spread"],
            limits={name: parse_limit(value) for name, value in options["limits"].items()},
            driver_version=options["driver_version"],
            firmware={part: least_version(version) for part, version in options["firmware"].items()},
            rdma_rate_gbps=options["rdma_rate"],
            idle_bytes=parse_size(options["idle_memory"]),
            wiring=wiring_of(options["plan"]["topology"]),
        )
    except ValueError as error:
        finding = Finding("localhost", "preflight", error, "sizes such as 64g, versions such as 1.48", "mend the variable that has it")
        raise AnsibleActionFail(str(finding)) from None


def wiring_of(topology):
    """How the hosts are wired, as it was recorded. A record that cannot be read was refused with the plan."""
    return (_wiring_record.read(topology["file"], Problems()) or {}) if topology["applies"] else {}


def least_version(version):
    """A version that others can be compared with, as text. ValueError when it is none."""
    if not parse_version(str(version)):
        raise ValueError(f"not a version: {version!r}")
    return str(version)


def take_sources(verdict, options, before):
    """Judge what lies on the controller, where a stage still to come takes it from there."""
    found = missing_sources(options) + lacking_keys(options)
    for variable, stage in NEEDED_BY.items():
        path = options["registry_ca" if variable == "image_registry_ca" else variable]
        if path and STAGES.index(before) <= STAGES.index(stage) and variable not in verdict.not_here:
            verdict.take(variable, "localhost", [one for one in found if one.check == variable], ())
    if STAGES.index(before) <= STAGES.index("weights"):
        verdict.judgements += [one for one in found if one.check not in NEEDED_BY and one.check not in verdict.not_here]


def lacking_keys(options):
    """The keys that the profile wants in a JSON file of the weights, and the source of the weights does not have there."""
    found, source = [], options["weights_source"]
    folder = options["plan"]["model"]["path"] + "/"
    for entry in options["plan"]["profile"].get("checks", []):
        if not source or not entry.get("json", "").startswith(folder):
            continue
        path = os.path.join(source, entry["json"][len(folder) :])
        try:
            with open(path, encoding="utf-8") as stream:
                document = json.load(stream)
        except (OSError, ValueError):  # what the weights are is for their own stage to say
            continue
        if not isinstance(document, dict) or entry["key"] not in document:
            finding = Finding("localhost", entry["name"], f"no {entry['key']} in {path}", entry["key"], entry["remedy"])
            found.append(Judgement(entry["name"], finding, severity=Severity(entry["severity"]), evidence=path))
    return found


def weights_bytes(source):
    """The size of the weights on the controller; 0 where there are none, which `missing_sources` tells."""
    try:
        return sum(status.st_size for status in _weights.scan(source).values()) if source else 0
    except _weights.WeightsError:
        return 0


def has_no_files(folder):
    """Whether there is no folder, or nothing in it but what a download left hidden."""
    return all(name.startswith(".") for _folder, _folders, names in os.walk(folder) for name in names)


def missing_sources(options):
    """What should lie on the controller and does not."""
    found = []
    if options["weights_source"] and options["weights_mirror"] and has_no_files(options["weights_source"]):
        empty = f"nothing in {options['weights_source']}"
        finding = Finding("localhost", "weights_source", empty, "the weights", "run weights.yml, which fetches them from weights_mirror")
        found.append(Judgement("weights_source", finding, stage="weights", evidence=options["weights_source"]))
        options = {**options, "weights_source": ""}
    sources = (
        ("weights_source", options["weights_source"], "folder", os.path.isdir),
        ("image_archive", options["image_archive"], "file", os.path.isfile),
        ("image_registry_ca", options["registry_ca"], "file", os.path.isfile),
    )
    for variable, path, kind, present in sources:
        if path and not present(path):
            finding = Finding("localhost", variable, f"no {kind} {path}", f"a {kind}", f"put it there or mend {variable}")
            found.append(Judgement(variable, finding, evidence=path))
    weights = options["weights_source"]
    if weights and os.path.isdir(weights):
        try:
            _weights.scan(weights)
        except _weights.WeightsError as error:
            finding = Finding("localhost", "weights_source", error.observed, error.expected, "mend the folder, or weights_source")
            found.append(Judgement("weights_source", finding, evidence=weights))
    return found
