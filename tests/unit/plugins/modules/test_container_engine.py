"""The module container_engine on a made-up host: check mode, the real run and the second run tell one story."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _changes, _registry
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from ansible_collections.flagos.kunlunxin.plugins.modules import container_engine

OURS = {"name": "serve", "labels": {container_engine.LABEL: "lab"}}
FOREIGN = {"name": "shop", "labels": {}}
REGISTRY = {"address": "lab:5443", "ca": "-----BEGIN-----", "username": "puller", "password": "s3cr3t-canary"}


class Host:
    """A host with an engine, and the module that runs on it."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.tmpdir, self.check_mode = folder, str(folder), False
        self.installed, self.enabled, self.version = True, True, "20.10.24"
        self.live_restore, self.containers, self.unknown = False, {}, None
        self.commands = []
        self.refused, self.down = set(), False  # options that keep the engine from starting, and whether it is down
        self.outcome = _registry.Outcome(_registry.OK, "")
        self.probed = []
        self.params = {
            "package": "docker.io",
            "minimum_version": "20.10",
            "daemon_options": {},
            "cluster": "lab",
            "restart_with_foreign_containers": False,
            "registry": None,
            "client_config": str(folder / "config.json"),
        }
        for name, file in (("DAEMON_JSON", "daemon.json"), ("CERTIFICATES", "certs.d"), ("PENDING", "pending")):
            monkeypatch.setattr(container_engine, name, str(folder / file))
        monkeypatch.setattr(container_engine, "has_apt", lambda: True)
        monkeypatch.setattr(container_engine, "wait_for_engine", self.answer)
        monkeypatch.setattr(container_engine, "trusted_authorities", lambda address: "")
        monkeypatch.setattr(container_engine._registry, "probe", self.probe)
        monkeypatch.setattr(
            container_engine, "install_change", lambda package: _changes.Change(f"install {package}", "", "", "", self.install)
        )

    def install(self, module):
        self.installed = self.enabled = True

    def probe(self, *arguments):
        self.probed.append(arguments)
        return self.outcome

    def get_bin_path(self, name, opt_dirs):
        return "/usr/sbin/dockerd" if self.installed else None

    def answer(self):
        if self.down:
            raise EngineError("no answer")
        return self.version

    def run_command(self, argv, check_rc=False):
        self.commands.append(" ".join(argv))
        if argv[0] == "journalctl":
            return 0, "Starting up\nno such option\nno such option\n", ""
        if argv[1] in ("start", "restart", "reload-or-restart") or argv[:3] == ["systemctl", "enable", "--now"]:
            options = self.folder / "daemon.json"
            self.down = options.exists() and bool(self.refused & set(json.loads(options.read_text())))
            return int(self.down), "", "Job failed"
        if argv[1:2] == ["enable"]:
            self.enabled = True
        if argv == ["systemctl", "is-enabled", "docker"]:
            return (0 if self.enabled else 1), "", ""
        return 0, "", ""

    def atomic_move(self, source, target, unsafe_writes):
        shutil.move(source, target)

    def observed(self):
        observed = container_engine.Observed.__new__(container_engine.Observed)
        observed.installed, observed.version = self.installed, self.version if self.installed else None
        observed.running = observed.version is not None
        observed.live_restore, observed.containers, observed.enabled = self.live_restore, self.containers, self.enabled
        observed.unknown = self.unknown
        return observed

    def run(self, **params):
        self.params.update(params)
        observed = self.observed()
        container_engine.check_engine(observed, self.params)
        changes = container_engine.engine_changes(observed, self.params)
        changes += container_engine.registry_changes(self.params["registry"], self.params["client_config"])
        return container_engine.settle_engine(self, observed, changes)[0]

    def contents(self):
        return {str(path.relative_to(self.folder)): path.read_text() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def test_the_module_declares_what_these_tests_prove():
    attributes = yaml.safe_load(container_engine.DOCUMENTATION)["attributes"]
    assert {attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")} == {"full"}


def test_an_engine_that_is_there_is_used_as_it_is(host):
    assert host.run() == {"changed": False, "actions": [], "diff": []}


@pytest.mark.parametrize("installed", [True, False])
def test_check_mode_predicts_the_run_and_a_second_run_changes_nothing(host, installed):
    host.installed = installed
    host.check_mode = True
    predicted = host.run(daemon_options={"mtu": 1400}, registry=REGISTRY)
    assert host.contents() == {}
    host.check_mode = False
    assert host.run() == predicted
    assert host.run() == {"changed": False, "actions": [], "diff": []}


def test_an_absent_engine_is_installed_before_its_options_are_written(host):
    host.installed = False
    actions = host.run(daemon_options={"debug": True})["actions"]
    assert actions[0] == "install docker.io"
    assert actions[-1] == "systemctl restart docker"


def test_options_are_merged_and_what_is_reloadable_is_reloaded(host):
    (host.folder / "daemon.json").write_text('{"mtu": 1500}')
    assert host.run(daemon_options={"debug": True})["actions"][-1] == "systemctl reload docker"
    assert json.loads((host.folder / "daemon.json").read_text()) == {"mtu": 1500, "debug": True}
    assert not (host.folder / "pending").exists()


def test_a_run_killed_before_the_reload_is_made_good_by_the_next(host, monkeypatch):
    def die(argv, check_rc=False):
        raise KeyboardInterrupt

    whole = host.run_command
    host.run_command = die
    with pytest.raises(KeyboardInterrupt):
        host.run(daemon_options={"mtu": 1400})
    host.run_command = whole
    assert host.run()["actions"] == ["systemctl restart docker"]
    assert host.run()["actions"] == []


def test_no_restart_under_foreign_containers_unless_allowed(host):
    host.containers = {"1": FOREIGN, "2": OURS}
    with pytest.raises(container_engine.UnfitError, match="foreign containers run: shop; expected none at a restart"):
        host.run(daemon_options={"mtu": 1400})
    assert host.contents() == {}
    assert host.run(restart_with_foreign_containers=True)["changed"]


@pytest.mark.parametrize("kept", ["ours", "live_restore"])
def test_a_restart_that_harms_nobody(host, kept):
    host.containers = {"2": OURS} if kept == "ours" else {"1": FOREIGN}
    host.live_restore = kept == "live_restore"
    assert host.run(daemon_options={"mtu": 1400})["actions"][-1] == "systemctl restart docker"


class Stuck:
    """An engine that tells its version and then no more."""

    def version(self):
        return "20.10.24"

    def information(self):
        raise EngineError("no answer: timed out")


def test_an_engine_that_does_not_tell_its_containers_is_not_restarted_unless_allowed(host, monkeypatch):
    monkeypatch.setattr(container_engine, "EngineClient", Stuck)
    observed = container_engine.Observed(host)
    assert (observed.running, observed.version, observed.unknown) == (True, "20.10.24", "no answer: timed out")
    host.unknown = observed.unknown
    with pytest.raises(container_engine.UnfitError, match="containers are not known: no answer: timed out; expected none foreign"):
        host.run(daemon_options={"mtu": 1400})
    assert host.contents() == {}
    assert host.run(daemon_options={"debug": True})["actions"][-1] == "systemctl reload docker"
    assert host.run(daemon_options={"mtu": 1400}, restart_with_foreign_containers=True)["changed"]


def test_a_reload_disturbs_no_container(host):
    host.containers = {"1": FOREIGN}
    assert host.run(daemon_options={"debug": True})["changed"]


@pytest.mark.parametrize(("version", "fits"), [("19.03.5", False), ("20.10.0", True), ("28.2.2", True)])
def test_an_old_engine_is_refused_not_replaced(host, version, fits):
    host.version = version
    if fits:
        assert not host.run()["changed"]
    else:
        with pytest.raises(container_engine.UnfitError, match=r"container engine version: 19\.03\.5; expected 20\.10 or newer"):
            host.run()


def test_no_engine_and_no_way_to_get_one(host, monkeypatch):
    host.installed = False
    monkeypatch.setattr(container_engine, "has_apt", lambda: False)
    with pytest.raises(container_engine.UnfitError, match="container engine: none"):
        host.run()


def test_an_engine_that_is_off_is_started_and_kept(host):
    host.version = None
    assert host.run()["actions"] == ["systemctl enable --now docker"]


def test_an_engine_that_would_not_start_at_boot_is_enabled(host):
    host.enabled = False
    assert host.run()["actions"] == ["systemctl enable docker"]
    assert host.run()["actions"] == []


def test_a_broken_daemon_json_is_refused(host):
    (host.folder / "daemon.json").write_text("{")
    with pytest.raises(container_engine.UnfitError, match=r"daemon\.json: no JSON"):
        host.run(daemon_options={"debug": True})


@pytest.mark.parametrize("state", [_registry.UNKNOWN_CA, _registry.MISSING_PASSWORD, _registry.WRONG_PASSWORD, _registry.UNREACHABLE])
def test_a_registry_that_refuses_is_one_line_and_nothing_is_changed(host, state):
    host.outcome = _registry.Outcome(state, "its own words")
    with pytest.raises(container_engine.UnfitError) as error:
        host.run(daemon_options={"debug": True}, registry=REGISTRY)
    assert f"registry lab:5443: {state.replace('_', ' ')}: its own words; expected a login over TLS; " in str(error.value)
    assert host.contents() == {}


def test_the_login_is_kept_for_its_owner_alone_and_shown_to_nobody(host):
    result = host.run(registry=REGISTRY)
    assert (host.folder / "config.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((host.folder / "config.json").read_text())["auths"]["lab:5443"]["auth"]
    shown = json.dumps(result)
    assert REGISTRY["password"] not in shown
    assert _registry.basic("puller", REGISTRY["password"]) not in shown


def test_a_login_that_others_could_read_is_closed(host):
    host.run(registry=REGISTRY)
    (host.folder / "config.json").chmod(0o644)
    assert host.run()["changed"]
    assert (host.folder / "config.json").stat().st_mode & 0o777 == 0o600
    assert not host.run()["changed"]


def test_a_registry_that_asks_for_no_password_leaves_no_login(host):
    result = host.run(registry={"address": "lab:5443", "ca": None, "username": None, "password": None})
    assert result["actions"] == []
    assert len(host.probed) == 1


@pytest.mark.parametrize("former", [None, '{"mtu": 1500}'])
@pytest.mark.parametrize(
    ("engine", "back"),
    [("running", "systemctl restart docker"), ("off", "systemctl start docker"), ("absent", "systemctl restart docker")],
)
def test_options_that_keep_the_engine_down_are_taken_back(host, former, engine, back):
    host.installed, host.version = engine != "absent", None if engine == "off" else host.version
    host.refused = {"nonsense"}
    if former:
        (host.folder / "daemon.json").write_text(former)
    with pytest.raises(container_engine.UnfitError) as error:
        host.run(daemon_options={"nonsense": 1})
    assert "container engine options nonsense: systemctl " in str(error.value)
    assert "its log ends: Starting up | no such option; expected options that this engine takes" in str(error.value)
    assert str(error.value).endswith("the former daemon.json is back and the engine runs with it")
    assert host.contents() == ({"daemon.json": former} if former else {})
    assert host.commands[-2:] == ["systemctl reset-failed docker", back]
    host.version = "20.10.24"
    assert host.run(daemon_options={})["actions"] == []


def test_an_engine_that_dies_of_a_reload_gets_its_options_back_without_a_restart(host, monkeypatch):
    answers = [EngineError("no answer"), "20.10.24"]

    def answer():
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(container_engine, "wait_for_engine", answer)
    with pytest.raises(container_engine.UnfitError, match="container engine options debug: no answer"):
        host.run(daemon_options={"debug": True})
    assert host.commands[-1] == "systemctl reload-or-restart docker"
    assert host.contents() == {}


def test_an_engine_that_does_not_come_up_for_another_cause_keeps_its_file_and_what_it_owes(host):
    (host.folder / "daemon.json").write_text('{"nonsense": 1}')
    (host.folder / "pending").write_text("restart\n")
    host.refused = {"nonsense"}
    with pytest.raises(container_engine.UnfitError, match="container engine: systemctl restart docker: Job failed; its log ends: "):
        host.run()
    assert host.contents() == {"daemon.json": '{"nonsense": 1}', "pending": "restart\n"}


def test_an_engine_that_does_not_answer_with_its_former_options_either_keeps_what_it_owes(host):
    (host.folder / "daemon.json").write_text('{"mtu": 1500}')
    host.refused = {"mtu"}
    with pytest.raises(
        container_engine.UnfitError, match=r"options nonsense: .*; the former daemon.json is back and the engine does not start"
    ):
        host.run(daemon_options={"nonsense": 1})
    assert host.contents() == {"daemon.json": '{"mtu": 1500}', "pending": "restart\n"}
