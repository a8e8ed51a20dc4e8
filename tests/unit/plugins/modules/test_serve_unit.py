"""What counts as ours on a host."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.modules import serve_unit


def process(proc, pid, command, *environment):
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "environ").write_bytes(b"".join(item.encode() + b"\0" for item in environment))
    (folder / "comm").write_text(command + "\n")


def test_only_processes_with_the_clusters_own_mark_are_ours(tmp_path):
    process(tmp_path, 10, "raylet", "PATH=/bin", "FLAGOS_KUNLUNXIN_CLUSTER=flagos")
    process(tmp_path, 11, "raylet", "FLAGOS_KUNLUNXIN_CLUSTER=flagos2")
    process(tmp_path, 12, "python", "OTHER_FLAGOS_KUNLUNXIN_CLUSTER=flagos")
    process(tmp_path, 13, "bash")
    (tmp_path / "14").mkdir()
    (tmp_path / "self").mkdir()
    assert serve_unit.our_processes("flagos", str(tmp_path)) == {10: "raylet"}


def test_a_host_without_an_engine_has_no_containers(monkeypatch):
    class NoEngine:
        def containers(self, running_only):
            raise serve_unit.EngineError("no answer")

    monkeypatch.setattr(serve_unit, "EngineClient", NoEngine)
    assert serve_unit.our_containers("flagos") == {}


def test_containers_are_found_by_their_label(monkeypatch):
    class Engine:
        def containers(self, running_only):
            assert not running_only
            label = {"io.flagos.kunlunxin.cluster": "flagos"}
            return {
                "a": {"name": "flagos-kunlunxin-serve", "labels": label, "running": False},
                "b": {"name": "flagos-kunlunxin-serve-2", "labels": {"io.flagos.kunlunxin.cluster": "other"}, "running": True},
                "c": {"name": "nginx", "labels": {}, "running": True},
            }

    monkeypatch.setattr(serve_unit, "EngineClient", Engine)
    assert serve_unit.our_containers("flagos") == {"a": "flagos-kunlunxin-serve"}


def test_a_start_forgets_what_was_before_and_gets_its_ports(tmp_path, monkeypatch):
    """Or a wait for this start would take an old "ready", or an old failure, for its own."""
    for name in ("state.json", "placement.json", "kept"):
        (tmp_path / name).write_text("{}")
    ran = []
    monkeypatch.setattr(serve_unit._pair_listener, "dismiss", lambda: ran.append("the checks' listeners end"))

    class Module:
        def run_command(self, command, check_rc=False):
            assert [path.name for path in tmp_path.iterdir()] == ["kept"], "forgotten only after the start"
            ran.append(command)

    serve_unit.start_change(str(tmp_path)).make(Module())
    # An operator's start is none of those that systemd counts against a unit that fails.
    assert ran == ["the checks' listeners end", ["systemctl", "reset-failed", serve_unit.UNIT], ["systemctl", "start", serve_unit.UNIT]]
