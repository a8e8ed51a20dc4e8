"""The main job on the lab, and what holds while it serves."""

from __future__ import annotations

import json

import pytest
from clone import ARTIFACTS, INVENTORY, RequestLoop, Service, play

pytestmark = pytest.mark.serving

HOSTS = {"node1", "node2", "node3", "node4"}


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
@pytest.mark.parametrize(
    "variable",
    [
        pytest.param({"host_kernel_parameters": {"net.core.somaxconn": 5000}}, id="kernel parameter"),
        pytest.param({"serve_probe_seconds": 45}, id="probe"),
        pytest.param({"serve_engine_arguments": {"max_num_seqs": 4}}, id="engine"),
    ],
)
def test_check_mode_predicts_what_one_variable_changes(serving, variable):
    option = ("--extra-vars", json.dumps(variable))
    predicted = play("site.yml", "--check", *option, capture=True)
    made = play("site.yml", *option, capture=True)
    assert predicted.status == 0, predicted.output
    assert made.status == 0, made.output
    assert predicted.changes == made.changes
    assert made.changes, "a variable that changes nothing proves nothing"
    assert play("site.yml", capture=True).status == 0


@pytest.mark.full
def test_the_order_of_the_inventory_is_the_order_of_the_ranks(serving, tmp_path):
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
    finally:
        assert play("site.yml", capture=True).status == 0
