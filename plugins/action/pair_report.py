# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module pair_report: it runs on the controller and asks no host anything."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _bandwidth, _preflight_report
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import STAGES
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._pairs import BANDWIDTH, CHECKS, COUNTERS, PAIRS, judge, judged
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._preflight import Verdict


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "dict", "required": True},
                "listening": {"type": "dict", "required": True},
                "answers": {"type": "dict", "required": True},
                "rails": {"type": "list", "elements": "str", "default": []},
                "bandwidth": {"type": "dict"},
                "networks": {"type": "dict", "default": {}},
                "bandwidth_ratio": {"type": "float", "default": 0.7},
                "bandwidth_gbps": {"type": "float", "default": 0},
                "before": {"type": "str", "choices": list(STAGES), "default": "host"},
                "report": {"type": "dict", "default": {}},
                "report_file": {"type": "path", "default": ""},
            }
        )
        told = {name: one for name, one in options["listening"].items() if "listening" in one}
        answers = {name: one["answers"] for name, one in options["answers"].items() if "answers" in one}
        judgements = [
            *silent(options["listening"], told, "listen for the other hosts"),
            *silent({name: options["answers"].get(name, {}) for name in told}, answers, "ask the other hosts"),
            *judge(options["plan"], told, answers, options["rails"]),
        ]
        figures = {}
        if options["bandwidth"] is not None:
            measured = {name: one["bandwidth"] for name, one in options["bandwidth"].items() if "bandwidth" in one}
            networks = {name: one["network"] for name, one in options["networks"].items() if "network" in one}
            request = _bandwidth.Request(ratio=options["bandwidth_ratio"], gbps=options["bandwidth_gbps"])
            hosts = [host for host in options["plan"]["hosts"] if host["name"] in told]
            rails = dict.fromkeys(rail for host in hosts for rail in _bandwidth.measured_rails(options["plan"], host, options["rails"]))
            judgements += silent({name: options["bandwidth"].get(name, {}) for name in told}, measured, "measure the bandwidth")
            judgements += silent({name: options["networks"].get(name, {}) for name in told}, networks, "tell its counters")
            judgements += _bandwidth.judge(told, measured, networks, request, list(rails))
            figures = _bandwidth.matrix(measured)
            for line in _bandwidth.table(figures, [host["name"] for host in hosts]):
                self._display.display(line)
        before = options["before"]
        checks = [one for one in CHECKS if options["bandwidth"] is not None or one not in (BANDWIDTH, COUNTERS)]
        verdict = verdict_of(checks, answers, judgements)
        document = _preflight_report.document(verdict, before)
        if document["exit_code"] != _preflight_report.FINE:
            for line in _preflight_report.table(verdict, before):
                self._display.display(line)
        if options["report"]:
            document = _preflight_report.joined(options["report"], document)
        if options["report_file"]:
            _preflight_report.write(options["report_file"], document)
        failures = _preflight_report.fold(one for one in judgements if one.fails_before(before))
        return dict(
            result,
            changed=False,
            failed=bool(failures),
            msg="\n".join(failures) or f"{len(told)} hosts asked each other, nothing stands in the way of stage {before}",
            bandwidth=nested(figures),
            report=document,
        )


def verdict_of(checks, hosts, judgements):
    """What the checks say of the hosts that asked; a judgement may name several hosts in one."""
    blamed = {(one.check, host) for one in judgements for host in one.finding.host.split(", ")}
    passed = {check: [host for host in hosts if (check, host) not in blamed] for check in checks}
    return Verdict(judgements=judgements, passed={check: fine for check, fine in passed.items() if fine})


def nested(figures):
    """The figures as plain data: ``{rail: {sender: {receiver: figure or None}}}``."""
    found = {}
    for rail, values in figures.items():
        for (sender, receiver), value in values.items():
            found.setdefault(rail, {}).setdefault(sender, {})[receiver] = value
    return found


def silent(results, known, errand):
    """The hosts that could not do their part, so that what they do not say is not taken for good news."""
    for name in [name for name in results if name not in known]:
        one = results[name]
        why = one.get("module_stderr") or one.get("msg") or "no answer"
        yield judged(PAIRS, name, "", f"did not {errand}: {why}", "an answer", "bring the host up, or mend what it says")
