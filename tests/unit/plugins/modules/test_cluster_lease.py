from __future__ import annotations

import json

import pytest


@pytest.fixture
def ask(run_module, tmp_path):
    def call(controller="a", process="1", check=False, **more):
        holder = {
            "controller": controller,
            "process": process,
            "who": f"root@{controller}",
            "doing": "site.yml",
            "ended": more.pop("ended", ""),
        }
        answer = run_module("cluster_lease", {"path": str(tmp_path / "run" / "lease.json"), "holder": holder, **more}, check)
        assert answer["changed"] is False
        return answer

    return call


def written(tmp_path):
    path = tmp_path / "run" / "lease.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_taken_renewed_refused_released(ask, tmp_path):
    assert ask()["state"] == "free"
    assert ask()["state"] == "held"
    refused = ask("b")
    assert (refused["state"], refused["lease"]["who"]) == ("foreign", "root@a")
    assert ask("b", state="released")["lease"]["who"] == "root@a"
    assert ask(state="released")["lease"] == {}
    assert written(tmp_path) == {}
    assert ask("b")["state"] == "free"


def test_check_mode_takes_and_gives_back_nothing(ask, tmp_path):
    assert ask(check=True)["state"] == "free"
    assert not (tmp_path / "run").exists()
    ask()
    before = written(tmp_path)
    assert ask("b", check=True)["state"] == "foreign"
    ask(check=True, state="released")
    assert written(tmp_path) == before


def test_a_run_that_died_or_that_is_overruled_is_no_hindrance(ask, tmp_path):
    ask("a", "1")
    assert "has ended" in ask("a", "2", ended="1")["note"]
    assert "insists" in ask("b", "3", insist=True)["note"]
    assert written(tmp_path)["who"] == "root@b"


def test_without_its_action_plugin_it_says_so(run_module, tmp_path):
    answer = run_module("cluster_lease", {"path": str(tmp_path / "lease.json")})
    assert "action plugin" in answer["msg"]
