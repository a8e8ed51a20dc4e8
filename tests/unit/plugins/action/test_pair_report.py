"""What the controller makes of hosts that did not do their part."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.action import pair_report
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._judgement import Judgement


def test_a_host_that_could_not_do_its_part_is_no_good_news():
    results = {
        "node1": {"listening": {}},
        "node2": {"unreachable": True, "msg": "ssh: no route"},
        "node3": {"module_stderr": "python3: not found", "msg": "MODULE FAILURE"},
        "node4": {},
    }
    lines = [str(one.finding) for one in pair_report.silent(results, {"node1"}, "listen for the other hosts")]
    assert [line.split(";")[0] for line in lines] == [
        "node2: pairs: did not listen for the other hosts: ssh: no route",
        "node3: pairs: did not listen for the other hosts: python3: not found",
        "node4: pairs: did not listen for the other hosts: no answer",
    ]


def test_figures_are_plain_data():
    figures = {"eth1": {("a", "b"): 9.5, ("b", "a"): None}}
    assert pair_report.nested(figures) == {"eth1": {"a": {"b": 9.5}, "b": {"a": None}}}


def test_a_host_that_is_named_did_not_pass_and_the_others_did():
    finding = Finding("node1, node2", "rail eth1", "no answer between node1 and node2", "answers", "look")
    verdict = pair_report.verdict_of(("pairs", "rail"), ["node1", "node2", "node3"], [Judgement("rail", finding)])
    assert verdict.passed == {"pairs": ["node1", "node2", "node3"], "rail": ["node3"]}
