"""The main job on the lab, and what holds while it serves."""

from __future__ import annotations

import json

import attributes
import pytest
from clone import ARTIFACTS, INVENTORY, RequestLoop, Service, play

pytestmark = pytest.mark.serving

HOSTS = {"node1", "node2", "node3", "node4"}
# A stop names the processes that it ends, and an engine's come and go; what a start shows, test_fresh_hosts.py compares.
OF_THE_MOMENT = ("flagos.kunlunxin.serve_unit",)


def test_four_hosts_answer_a_chat(serving):
    assert serving.chat("What is a mixture of experts?").strip()


def test_different_questions_have_different_answers(serving):
    assert len({serving.chat(question) for question in ("Hello", "What is two plus two?", "one two three four five")}) > 1


def test_the_answers_are_those_of_one_process(serving):
    record = json.loads((ARTIFACTS / "flagos-verify.json").read_text())
    assert record["passed"]
    assert record["token_identical"]


def test_a_second_run_changes_nothing_and_disturbs_nobody(serving):
    with RequestLoop(serving) as loop:
        ended = play("site.yml", capture=True)
    assert ended.status == 0, ended.output
    assert set(ended.hosts) == {*HOSTS, "localhost"}
    assert ended.changed == 0, ended.output
    assert not loop.failed
    assert loop.answered > 10


def test_check_mode_finds_nothing_to_change(serving):
    ended = play("site.yml", "--check", "--diff", capture=True)
    assert ended.status == 0, ended.output
    assert ended.changed == 0, ended.output


@pytest.mark.full
def test_rendered_documents_start_and_stop_nothing(serving):
    """A change that is rendered alone is on the hosts, and the service goes on with what it was started with."""
    given = {"serve_state": "rendered", "serve_probe_seconds": 46}
    try:
        with RequestLoop(serving) as loop:
            ended = play("site.yml", "--extra-vars", json.dumps(given), capture=True)
        assert ended.status == 0, ended.output
        assert {role for role, _task, _hosts in ended.changes} == {"serve"}, ended.output
        assert "serve_state is rendered and no service was started" in ended.output
        done = {task["action"] for task in ended.tasks if task.get("ok") or task.get("changed")}
        assert not done & {f"flagos.kunlunxin.{module}" for module in ("serve_unit", "serve_wait", "verify_answers")}
        assert not loop.failed
    finally:
        reverted = play("playbooks/serve.yml", "--extra-vars", json.dumps({"serve_state": "rendered"}), capture=True)
    assert reverted.status == 0, reverted.output
    assert play("site.yml", capture=True).changed == 0


@pytest.mark.full
def test_check_mode_predicts_what_each_of_some_variables_changes(serving):
    """One variable more each time, in the order of the stages, so that all of them are taken back by one run at the end."""
    given = {}
    try:
        for variable, value in (
            ("host_kernel_parameters", {"net.core.somaxconn": 5000}),
            ("serve_probe_seconds", 45),
            ("serve_engine_arguments", {"max_num_seqs": 4}),
        ):
            given[variable] = value
            option = ("--diff", "--extra-vars", json.dumps(given))
            predicted = play("site.yml", "--check", *option, capture=True)
            made = play("site.yml", *option, capture=True)
            assert predicted.status == 0, f"{variable}, predicted:\n{predicted.output}"
            assert made.status == 0, f"{variable}, made:\n{made.output}"
            said = f"{variable}, predicted:\n{predicted.output}\nmade:\n{made.output}"
            assert attributes.changes(predicted, "check_mode") == attributes.changes(made, "check_mode"), said
            assert attributes.diffs(predicted, OF_THE_MOMENT) == attributes.diffs(made, OF_THE_MOMENT), said
            assert made.changes, f"{variable}: a variable that changes nothing proves nothing"
    finally:
        reverted = play("site.yml", capture=True)
    assert reverted.status == 0, reverted.output


@pytest.mark.full
def test_the_order_of_the_inventory_is_the_order_of_the_ranks(serving, lab, tmp_path):
    """Reversed, the inventory's first host is the one with the highest address, and the engine's workers follow."""
    text = (INVENTORY / "hosts.yml").read_text()
    lines = text.splitlines(keepends=True)
    nodes = [index for index, line in enumerate(lines) if line.strip().startswith("node")]
    for index, line in zip(nodes, [lines[index] for index in reversed(nodes)], strict=True):
        lines[index] = line
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "group_vars").symlink_to(INVENTORY / "group_vars")
    (inventory / "hosts.yml").write_text("".join(lines))
    ended = play("site.yml", inventory=inventory, capture=True)
    try:
        assert ended.status == 0, ended.output
        assert Service.of(inventory).url != serving.url
        assert Service.of(inventory).chat("Hello").strip()
        head = lines[nodes[0]].strip().partition(":")[0]
        # What the engine itself said of its workers, kept by the service's coordinator.
        placement = json.loads(lab.execute(head, "cat /var/lib/flagos-kunlunxin/serve/state/placement.json"))
        ranks = {worker["rank"]: worker["host"] for worker in placement["workers"]}
        assert [ranks[rank] for rank in sorted(ranks)] == [lines[index].strip().partition(":")[0] for index in nodes]
    finally:
        assert play("site.yml", capture=True).status == 0
