"""The lab's programs, which run on the machine with its own Python."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILES = pathlib.Path(__file__).parents[3] / "roles" / "lab" / "files"


def program(name):
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runtime = program("runc_capbnd")
labd = program("labd")
ALL = set(runtime.CAPABILITIES)


def process(capabilities=(), limits=()):
    return {
        "capabilities": {"bounding": list(capabilities), "effective": list(capabilities)},
        "rlimits": [{"type": kind, "soft": soft, "hard": hard} for kind, soft, hard in limits],
    }


def test_the_bounding_set_is_read_by_bit():
    assert runtime.possible_capabilities("Name:\tx\nCapBnd:\t000001fffeffffff\n") == ALL - {"CAP_SYS_RESOURCE"}


def test_impossible_capabilities_go_and_are_named():
    asked = process(["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"])
    assert runtime.lower(asked, ALL - {"CAP_SYS_RESOURCE"}) == ["CAP_SYS_RESOURCE"]
    assert asked["capabilities"] == {"bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]}


@given(st.lists(st.tuples(st.sampled_from(["RLIMIT_MEMLOCK", "RLIMIT_NOFILE"]), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))))
def test_no_limit_is_above_what_the_machine_has_and_none_is_raised(limits):
    asked = process(limits=limits)
    runtime.lower(asked, set(), limit_of=lambda kind: 20000)
    assert [(limit["soft"], limit["hard"]) for limit in asked["rlimits"]] == [
        (min(soft, 20000), min(hard, 20000)) for _kind, soft, hard in limits
    ]


def test_what_is_the_whole_machines_cannot_be_written():
    container = {"linux": {"readonlyPaths": ["/proc/bus"]}}
    runtime.keep_from_writing(container, ["/proc/sys/fs", "/proc/sys/vm"])
    assert container["linux"]["readonlyPaths"] == ["/proc/bus", "/proc/sys/fs", "/proc/sys/vm"]


def test_a_container_that_may_write_none_of_it_stays_as_it_is():
    container = {"linux": {"readonlyPaths": ["/proc/sys"]}}
    runtime.keep_from_writing(container, ["/proc/sys/fs"])
    assert container["linux"]["readonlyPaths"] == ["/proc/sys"]


def test_a_privileged_container_has_no_list_and_gets_one():
    container = {}
    runtime.keep_from_writing(container, ["/proc/sys/fs"])
    assert container == {"linux": {"readonlyPaths": ["/proc/sys/fs"]}}


@given(st.lists(st.sampled_from(sorted(ALL))), st.integers(0, 2**64 - 1))
def test_on_a_machine_that_can_do_all_nothing_changes(capabilities, bound):
    asked = process(capabilities, [("RLIMIT_NOFILE", bound, bound)])
    before = json.dumps(asked)
    assert runtime.lower(asked, ALL, limit_of=lambda kind: 0) == []
    assert json.dumps(asked) == before


@pytest.fixture
def lab(tmp_path):
    config = {"root": str(tmp_path / "root"), "run": str(tmp_path / "run"), "prefix": "10.91", "rails": 4, "link": "lab0", "cgroup": "lab"}
    (tmp_path / "run").mkdir()
    path = tmp_path / "labd.json"
    path.write_text(json.dumps(config))
    return labd.Lab(str(path))


def test_a_pid_file_that_nobody_holds_is_nobodys(lab):
    lab.pid_file.write_text("1")
    assert lab.running_pid() is None


def test_only_one_supervisor_holds_a_lab(lab):
    with labd.lock(lab):
        holder = subprocess.run(
            [
                "python3",
                "-c",
                f"import sys; sys.path.insert(0, {str(FILES)!r}); import labd; print(labd.Lab({lab.config_path!r}).running_pid())",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(holder.stdout) > 0
    assert lab.running_pid() is None


def test_everything_of_docker_is_at_a_place_of_the_labs_own(lab):
    for name, value in json.loads(labd.dockerd_configuration(lab)).items():
        if name.endswith("-root") or name in ("pidfile", "containerd", "deprecated-key-path"):
            assert value.startswith((str(lab.root), str(lab.run)))


def test_what_a_former_run_left_is_forgotten_but_the_lock(lab):
    run = lab.run
    (run / "docker").mkdir()
    (run / "docker.pid").write_text("7")
    with labd.lock(lab):
        labd.forget_last_run(lab)
        assert [entry.name for entry in run.iterdir()] == ["labd.pid"]


def test_that_a_former_run_was_ready_is_no_sign_that_this_one_is(lab, monkeypatch):
    (lab.run / "ready").touch()
    lab.log.mkdir(parents=True)
    monkeypatch.setattr(labd.subprocess, "Popen", lambda *_arguments, **_options: None)
    monkeypatch.setattr(labd, "HOLD_SECONDS", 0.1)
    assert labd.start(lab) == 1
