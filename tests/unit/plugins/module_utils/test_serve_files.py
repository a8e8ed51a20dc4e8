"""The files of one host: what the engine is told to run, and what makes a deployment another one."""

from __future__ import annotations

import copy
import json
import shlex

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_files
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import Installation

IMAGE = "sha256:" + "a" * 64
PLAN = {
    "name": "flagos",
    "state_dir": "/var/lib/flagos-kunlunxin",
    "head": {"name": "node1", "address": "10.0.0.1"},
    "hosts": [
        {
            "name": f"node{n}",
            "address": f"10.0.0.{n}",
            "slots": 8,
            "environment": {"VLLM_HOST_IP": f"10.0.0.{n}", "USE_FLAGGEMS": "1"},
            "device_nodes": ["/dev/xpu0", "/dev/xpuctrl"],
        }
        for n in (1, 2)
    ],
    "ports": {"api": 8000, "container_ssh": 2222},
    "before_start": "",
    "model": {"name": "deepseek_r1", "path": "/models/deepseek_r1"},
    "documents": {"serve.yaml": "a: 1\n", "serve/deepseek_r1.yaml": "b: 2\n", "hostfile.txt": "10.0.0.1 slots=8 type=gpu\n"},
    "limits": {"ready_seconds": 3600, "probe_seconds": 30},
    "container": {
        "privileged": True,
        "network": "host",
        "uts": "host",
        "ipc": "host",
        "cap_add": ["SYS_PTRACE"],
        "security_opt": ["seccomp=unconfined"],
        "shm_size": "64g",
        "tmpfs": {"/dev/shm": "rw,size=64g"},
        "ulimits": {"memlock": -1},
        "pids_limit": -1,
        "mounts": [{"source": "/ssd1", "target": "/ssd1", "read_only": False}],
    },
}


def installation(host="node1", plan=None, **changes):
    given = {
        "image": IMAGE,
        "weights": "sha256:w",
        "program": "p",
        "host_keys": {"node1": "ssh-ed25519 AAAA x", "node2": "ssh-ed25519 BBBB x"},
        "group_key": "ssh-ed25519 CCCC x\n",
    }
    return Installation(plan or PLAN, host, **{**given, **changes})


def files(made):
    return {item.path: item for item in made.files()}


def launched(made):
    script = files(made)["/var/lib/flagos-kunlunxin/serve/run"].text
    return shlex.split(script.partition("exec ")[2].replace("\\\n", " "))


def test_the_container_runs_with_the_profiles_options_in_the_foreground():
    arguments = launched(installation())
    assert {
        "--rm",
        "--init",
        "--privileged",
        "--network=host",
        "--ipc=host",
        "--uts=host",
        "--cap-add=SYS_PTRACE",
        "--pids-limit=-1",
        "--security-opt=seccomp=unconfined",
        "--ulimit=memlock=-1",
        "--tmpfs=/dev/shm:rw,size=64g",
        "--device=/dev/xpu0",
        "--device=/dev/xpuctrl",
        "--volume=/ssd1:/ssd1",
        "--volume=/models/deepseek_r1:/models/deepseek_r1:ro",
        "--name=flagos-kunlunxin-serve",
        "--label=io.flagos.kunlunxin.cluster=flagos",
        "--pull=never",
    } <= set(arguments)
    assert not any(argument.startswith(("--detach", "-d", "--restart", "--pid=", "--shm-size")) for argument in arguments)
    program = "/var/lib/flagos-kunlunxin/serve/program.pyz"
    assert arguments[-4:] == [IMAGE, program, "run", "/var/lib/flagos-kunlunxin/serve/deployment.json"]


def test_no_value_of_the_environment_is_on_the_command_line():
    plan = copy.deepcopy(PLAN)
    plan["hosts"][0]["environment"]["HF_TOKEN"] = "canary"
    made = installation(plan=plan)
    holding = [item for item in made.files() if "canary" in item.text]
    assert [(item.path.rsplit("/", 1)[1], item.mode, item.secret) for item in holding] == [("environment", 0o600, True)]


def test_processes_are_marked_with_the_clusters_name():
    assert "FLAGOS_KUNLUNXIN_CLUSTER=flagos\n" in installation().environment()


def test_only_the_first_host_coordinates():
    first, second = (json.loads(installation(host).description()) for host in ("node1", "node2"))
    assert (first["head"], second["head"]) == (True, False)
    assert first["deployment"] == second["deployment"]
    assert "Restart=on-failure" in installation("node1").unit()
    assert "Restart=always" in installation("node2").unit()


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["hosts"][1]["environment"].update(USE_FLAGGEMS="0"),
        lambda plan: plan["documents"].update({"serve.yaml": "a: 2\n"}),
        lambda plan: plan["container"].update(privileged=False),
        lambda plan: plan["limits"].update(ready_seconds=60),
        lambda plan: plan["hosts"].reverse(),
    ],
)
def test_a_change_anywhere_makes_another_deployment_everywhere(change):
    plan = copy.deepcopy(PLAN)
    change(plan)
    for host in ("node1", "node2"):
        assert installation(host, plan).deployment != installation(host).deployment


@pytest.mark.parametrize("name", ["image", "weights", "program", "group_key"])
def test_another_identity_makes_another_deployment(name):
    assert installation(**{name: "other"}).deployment != installation().deployment


def test_notes_and_what_is_not_served_make_no_other_deployment():
    assert installation(plan=dict(PLAN, notes=["x"], lease={})).deployment == installation().deployment


def test_documents_lie_where_flagscale_looks_for_them():
    folder = "/var/lib/flagos-kunlunxin/serve/documents/"
    assert {path[len(folder) :] for path in files(installation()) if path.startswith(folder)} == set(PLAN["documents"])


def test_every_option_of_the_plan_is_optional():
    bare = {
        "privileged": False,
        "network": None,
        "uts": None,
        "ipc": None,
        "cap_add": [],
        "security_opt": [],
        "tmpfs": {},
        "ulimits": {},
        "pids_limit": 100,
        "mounts": [],
        "shm_size": "1g",
    }
    assert _serve_files.container_options(bare) == ["--pids-limit=100"]
