"""Processes and workers of a container, read from a made-up /proc."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_container

LINE = "INFO [parallel_state.py:1906] world_size=4 rank=%d local_rank=%d distributed_init_method=tcp://x:1 backend=gloo\n"


def process(proc, pid, parent, command, state="S", files=()):
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({command}) {state} {parent} 1 1 0")
    for number, target in enumerate(files):
        (folder / "fd" / str(number)).symlink_to(target)


def fresh(proc):
    process(proc, 1, 0, "docker-init")
    process(proc, 7, 1, "python3")
    process(proc, 8, 7, "sshd")
    process(proc, 20, 8, "sshd: root (x) [priv]")
    process(proc, 21, 20, "python3")


def test_a_fresh_container_has_nothing_left_over(tmp_path):
    fresh(tmp_path)
    assert _serve_container.left_over(_serve_container.processes(str(tmp_path)), 7) == []


def test_what_init_adopted_is_left_over_unless_it_is_dead(tmp_path):
    fresh(tmp_path)
    process(tmp_path, 30, 1, "raylet")
    process(tmp_path, 31, 1, "gcs_server", state="Z")
    process(tmp_path, 32, 30, "ray::RayWorkerProc.run")
    assert _serve_container.left_over(_serve_container.processes(str(tmp_path)), 7) == ["raylet"]


def test_a_zombie_is_not_alive(tmp_path):
    process(tmp_path, 5, 1, "bash", state="Z")
    process(tmp_path, 6, 1, "bash")
    assert not _serve_container.alive(5, str(tmp_path))
    assert _serve_container.alive(6, str(tmp_path))
    assert not _serve_container.alive(7, str(tmp_path))


def test_placement_is_that_of_living_workers(tmp_path):
    proc, logs = tmp_path / "proc", tmp_path / "logs"
    logs.mkdir()
    process(proc, 112, 30, "ray::RayWorkerProc.run", files=["/dev/xpuctrl", "/dev/xpu3", "/dev/xpu3", "/dev/null"])
    process(proc, 113, 30, "ray::RayWorkerProc.run", files=["/dev/null"])
    process(proc, 114, 30, "ray::IDLE")
    (logs / "worker-a1-01000000-112.out").write_text(LINE % (3, 1))
    (logs / "worker-a1-01000000-113.err").write_text(LINE % (2, 0))
    (logs / "worker-a1-01000000-99.out").write_text(LINE % (0, 0))
    (logs / "worker-a1-01000000-114.out").write_text("idle\n")
    (logs / "python-core-worker-a1_112.log").write_text(LINE % (9, 9))
    assert _serve_container.placement(str(proc), str(logs)) == [
        {"rank": 2, "local_rank": 0, "pid": 113, "device": None},
        {"rank": 3, "local_rank": 1, "pid": 112, "device": "/dev/xpu3"},
    ]
