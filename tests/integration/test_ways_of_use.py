"""The collection works from the tarball, from the wheel, from Python and from a clone, and says so where a clone is not set up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from clone import BIN, INVENTORY, ROOT

COLLECTIONS = ROOT / "collections" / "ansible_collections"
CONSTRAINTS = ROOT / "tools" / "constraints.txt"


class Environment:
    """An empty Python environment and an empty folder for collections; the clone is not on its paths."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.collections = folder / "collections"
        venv.create(folder / "venv", with_pip=True)
        # What Galaxy would bring: taken from set-up's, so that the test needs no network for it.
        for namespace in ("ansible", "community"):
            shutil.copytree(COLLECTIONS / namespace, self.collections / "ansible_collections" / namespace)

    def run(self, *command: str | Path, timeout: float = 900) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "FLAGOS_"))}
        environment |= {"ANSIBLE_COLLECTIONS_PATH": str(self.collections), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        ended = subprocess.run(
            [str(self.bin / command[0]), *map(str, command[1:])],
            check=False,
            cwd=self.collections,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def pip(self, *packages: str | Path) -> None:
        self.run("pip", "--disable-pip-version-check", "-qq", "install", *packages)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the files that git knows or would add: what is built must not depend on what lies about in a clone."""
    folder = tmp_path_factory.mktemp("source")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tarball(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([BIN / "ansible-galaxy", "collection", "build", "--output-path", folder], cwd=source, check=True)
    return next(folder.glob("*.tar.gz"))


def with_tarball(folder, tarball, core):
    """An environment with that release of ansible-core and the tarball, and nothing else."""
    environment = Environment(folder)
    environment.pip(core)
    environment.run("ansible-galaxy", "collection", "install", "--offline", tarball, "-p", environment.collections)
    return environment


@pytest.fixture(scope="module")
def from_tarball(tarball, tmp_path_factory):
    core = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("ansible-core=="))
    return with_tarball(tmp_path_factory.mktemp("tarball"), tarball, core)


@pytest.fixture(scope="module")
def from_tarball_on_the_oldest_core(tarball, tmp_path_factory):
    return with_tarball(tmp_path_factory.mktemp("oldest"), tarball, "ansible-core==2.18.*")


@pytest.fixture(scope="module")
def from_wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, source], check=True, stdout=subprocess.DEVNULL)
    environment = Environment(folder)
    environment.pip("--constraint", CONSTRAINTS, next(folder.glob("*.whl")))
    return environment


@pytest.fixture(
    params=["from_tarball", *(pytest.param(f"from_{way}", marks=pytest.mark.full) for way in ("wheel", "tarball_on_the_oldest_core"))]
)
def installed(request):
    return request.getfixturevalue(request.param)


def test_the_collection_is_where_ansible_finds_it(installed):
    listed = json.loads(installed.run("ansible-galaxy", "collection", "list", "--format", "json"))
    versions = {version["version"] for folder in listed.values() for name, version in folder.items() if name == "flagos.kunlunxin"}
    assert versions == {yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]}


def test_its_plugins_are_documented_there(installed):
    documented = json.loads(installed.run("ansible-doc", "--list", "--type", "lookup", "--json", "flagos.kunlunxin"))
    assert "flagos.kunlunxin.rank_env" in documented


def test_it_plans_without_any_host(installed):
    output = installed.run("ansible-playbook", "flagos.kunlunxin.validate", "--inventory", INVENTORY)
    assert "TP2 x PP2" in output


@pytest.mark.serving
def test_it_plays_the_site_and_finds_nothing_to_change(installed, serving):
    output = installed.run("ansible-playbook", "flagos.kunlunxin.site", "--inventory", INVENTORY)
    recap = output[output.index("PLAY RECAP") :].splitlines()[1:]
    assert len([line for line in recap if "changed=0" in line and "failed=0" in line and "unreachable=0" in line]) == 5, output


def test_the_tarball_holds_what_a_controller_needs_and_no_more(tarball):
    listing = subprocess.run(["tar", "--list", "--gzip", "--file", tarball], check=True, capture_output=True, text=True).stdout.split()
    present = {Path(name).parts[0] for name in listing}
    assert {"plugins", "roles", "playbooks", "inventory", "examples", "docs", "meta", "README.md", "LICENSE", "CHANGELOG.rst"} <= present
    assert not present & {"tools", "collections", "Makefile", "ansible.cfg", ".ci", ".git", ".venv", "artifacts"}


def test_declared_collections_are_one_list():
    declared = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    required = {entry["name"]: entry["version"] for entry in yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]}
    assert required == declared


@pytest.mark.serving
def test_python_drives_the_site(serving):
    from ansible_collections.flagos.kunlunxin.plugins.plugin_utils.runner import run_playbook

    events = []
    result = run_playbook("site", inventory=INVENTORY, on_event=events.append)
    assert result.ok, result.failures
    assert result.changed == 0
    stages = list(dict.fromkeys(event.stage for event in events if event.kind == "stage"))
    assert stages == list(result.stages)
    assert {"validate", "preflight", "serve", "verify"} <= set(stages)
    assert result.seconds == pytest.approx(sum(result.stages.values()), rel=0.2)
    assert {event.host for event in events if event.host} >= {"node1", "node2", "node3", "node4"}


def test_python_gets_a_failure_as_one_line():
    from ansible_collections.flagos.kunlunxin.plugins.plugin_utils.runner import run_playbook

    secret = "canary-5d1c"
    before = set(Path("/dev/shm").iterdir())
    result = run_playbook(
        "validate", inventory=INVENTORY, extra_vars={"serve_pipeline_parallel_size": 3, "image_registry_password": secret}
    )
    assert (result.ok, result.status) == (False, "failed")
    assert len(result.failures) == 1
    assert "\n" not in result.failures[0].message
    assert secret not in str(result)
    assert set(Path("/dev/shm").iterdir()) == before, "a run leaves nothing behind"


def test_a_clone_that_was_not_set_up_says_so(source):
    ended = subprocess.run(
        [BIN / "ansible-playbook", "site.yml", "--inventory", "inventory/"],
        check=False,
        cwd=source,
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    told = [line for line in (ended.stdout + ended.stderr).splitlines() if "make environment" in line]
    assert len(told) == 1, ended.stdout + ended.stderr
    assert "collections/ansible_collections/flagos/kunlunxin" in told[0]
