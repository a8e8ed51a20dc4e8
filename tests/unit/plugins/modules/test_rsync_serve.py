"""One host gives, another takes: two addresses of the loopback interface stand for them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")

GIVER, TAKER, STRANGER = "127.0.0.11", "127.0.0.12", "127.0.0.13"
SECRET = "canary5b0d3a"
FILES = {"config.json": b"{}", "sub dir/größe": b"x" * 300_000, "empty": b""}


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind((GIVER, 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(run_module, tmp_path, port):
    folder = tmp_path / "giver's" / "m.revisions" / "1"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "link").symlink_to(folder / "config.json")
    state = {"state_dir": str(tmp_path / "giver's" / "state")}

    def ask(check=False, **more):
        given = {"state": "started", "folder": str(folder), "files": [*FILES], "address": GIVER, "port": port}
        return run_module("rsync_serve", {**given, "allow": [TAKER], "secret": SECRET, **state, **more}, check)

    yield ask
    run_module("rsync_serve", {"state": "stopped", **state})


@pytest.fixture
def pull(tmp_path, port):
    def arguments(**more):
        given = {"giver": "node1", "address": GIVER, "port": port, "own_address": TAKER, "secret": SECRET, "files": [*FILES]}
        place = {"destination": str(tmp_path / "taker's" / "m"), "state_dir": str(tmp_path / "taker's" / "state")}
        return {**given, **place, "bytes": 300_002, **more}

    return arguments


def tree(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def command_lines():
    for process in os.listdir("/proc"):
        if process.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as stream:
                yield stream.read()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex((GIVER, port)) == 0


def test_files_go_from_host_to_host_and_every_attribute_holds(serve, attributes_hold, pull, tmp_path):
    assert serve()["daemon"] == "started"
    made = attributes_hold("rsync_pull", pull(), lambda: tree(tmp_path / "taker's") if (tmp_path / "taker's").exists() else [])
    assert (made["received"], made["bytes"]) == (3, 300_002)
    target = tmp_path / "taker's" / "m"
    assert {name: (target / name).read_bytes() for name in FILES} == FILES
    assert stat.S_IMODE((target / "config.json").stat().st_mode) == 0o644


def test_what_was_cut_is_continued_and_what_was_damaged_is_found_by_content(serve, run_module, pull, tmp_path):
    serve()
    run_module("rsync_pull", pull())
    shard = tmp_path / "taker's" / "m" / "sub dir" / "größe"
    before = shard.stat()
    with shard.open("r+b") as stream:
        stream.write(b"damage")
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_module("rsync_pull", pull())["received"] == 0
    assert run_module("rsync_pull", pull(files=[], damaged=["sub dir/größe"]))["received"] == 1
    assert shard.read_bytes() == FILES["sub dir/größe"]
    os.truncate(shard, 100_000)
    assert run_module("rsync_pull", pull())["received"] == 1
    assert shard.stat().st_ino == before.st_ino


def test_nobody_else_gets_anything(serve, run_module, pull, tmp_path):
    serve()
    for other in ({"own_address": STRANGER}, {"secret": "another"}):
        answer = run_module("rsync_pull", pull(**other))
        assert answer["msg"].startswith(f"{os.uname().nodename}: rsync from node1 to {tmp_path}/taker's/m: @ERROR: ")
        assert answer["msg"].endswith("expected all files received; mend the cause and run weights.yml again; what was received is kept")
        assert "\n" not in answer["msg"]
    assert not list((tmp_path / "taker's" / "m").iterdir())
    # Nor is the folder named to who asks, written to, or left.
    listing = subprocess.run(
        ["rsync", "--address=" + TAKER, f"rsync://{pull()['address']}:{pull()['port']}/"], capture_output=True, check=True
    )
    assert listing.stdout == b""
    target = f"rsync://weights@{GIVER}:{pull()['port']}/weights/"
    environment = {**os.environ, "RSYNC_PASSWORD": SECRET}
    write = subprocess.run(["rsync", "--address=" + TAKER, __file__, target], env=environment, capture_output=True, check=False, text=True)
    assert "read only" in write.stderr
    above = run_module("rsync_pull", pull(files=["../../state/weights/rsync/rsyncd.secrets"]))
    assert above["failed"]
    assert SECRET not in "".join(path.read_text() for path in (tmp_path / "taker's").rglob("*") if path.is_file())


def test_the_secret_is_in_one_file_that_its_daemon_alone_can_read_and_gone_with_it(serve, port, tmp_path):
    answer = serve()
    assert answer["invocation"]["module_args"]["secret"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert SECRET not in str(answer)
    having = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in having] == [("rsyncd.secrets", 0o600)]
    assert not [line for line in command_lines() if SECRET.encode() in line]
    assert listens(port)
    assert serve(state="stopped")["daemon"] == "stopped"
    assert not listens(port)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
    assert serve(state="stopped")["daemon"] == "was stopped"


def test_it_is_left_alone_while_it_does_what_it_should_and_check_mode_starts_none(serve, run_module, pull, port):
    assert serve(check=True)["daemon"] == "started"
    assert not listens(port)
    assert [serve()["daemon"] for _again in range(2)] == ["started", "was started"]
    assert run_module("rsync_pull", pull(own_address=STRANGER))["failed"]
    assert serve(allow=[STRANGER])["daemon"] == "started"
    assert run_module("rsync_pull", pull(own_address=STRANGER))["received"] == 3


def test_what_keeps_a_host_from_giving_is_one_line(serve, run_module, pull, port):
    with socket.socket() as other:
        other.bind((GIVER, port))
        other.listen()
        assert serve()["msg"] == (
            f"{os.uname().nodename}: rsync from this host: {GIVER} port {port}: Address already in use; expected a free port; "
            "see what listens with ss -ltnp, or set weights_port"
        )
    assert "m.revisions/1/link is a link; expected files" in serve(files=["config.json", "link"])["msg"]
    assert "192.0.2.77 port" in serve(address="192.0.2.77")["msg"]
    refused = run_module("rsync_pull", pull())
    assert "rsync from node1 to" in refused["msg"]
    assert "Connection refused" in refused["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_files_that_the_daemons_user_cannot_read_are_named(tmp_path):
    from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rsync_daemon as daemon
    from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError

    (tmp_path / "secret").touch(mode=0o600)
    with pytest.raises(UnfitError) as refused:
        daemon._check_readable(str(tmp_path), ["secret"], (65534, 65534))
    assert refused.value.finding.observed == f"{tmp_path}/secret: Permission denied"
    assert refused.value.finding.remedy == f"chmod -R a+rX {tmp_path}, and a+x the folders above it"
    daemon._check_readable("/", ["etc/hostname"], (65534, 65534))
