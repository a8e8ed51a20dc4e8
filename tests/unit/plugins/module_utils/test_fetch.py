"""Weights from a real server on this machine, with the faults that servers and networks have."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import ssl
import subprocess
import threading
import time

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _fetch
from ansible_collections.flagos.kunlunxin.plugins.module_utils._mirror import Mirror, RefusedError

FILES = {"config.json": b"{}", "sub dir/é shard": os.urandom(1_500_000), "empty": b""}
SHARD = "sub dir/é shard"
SIZES = {path: len(content) for path, content in FILES.items()}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


PUBLISHED = {path: {"size": len(content), "sha256": sha256(content)} for path, content in FILES.items()}


@pytest.fixture
def server(mirror_server):
    server = mirror_server()
    server.files = dict(FILES)
    return server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "source"


def fetch(server, folder, published=PUBLISHED, reports=None, **options):
    """Fetch what is lacking; returns how many bytes came."""
    mirror = Mirror(server.url, **options)
    wanted = _fetch.with_sizes(mirror, _fetch.lacking(str(folder), published), 2)
    fetcher = _fetch.Fetcher(mirror, str(folder), lambda *one: (reports if reports is not None else []).append(one), retries=2, pause=0.001)
    fetcher.fetch(wanted, 2)
    return fetcher.received


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keep(folder, data, path=SHARD, of=FILES[SHARD]):
    """Let a run that was broken off have received something."""
    part = _fetch.part_of(str(folder), path, sha256(of))
    os.makedirs(os.path.dirname(part), exist_ok=True)
    with open(part, "wb") as stream:
        stream.write(data)


def test_what_is_lacking_comes_and_the_second_run_asks_nobody(server, folder):
    (folder / "sub dir").mkdir(parents=True)
    (folder / SHARD).write_bytes(b"of another size")
    reports = []
    assert fetch(server, folder, reports=reports) == sum(SIZES.values())
    assert content(folder) == FILES
    assert (folder / SHARD).stat().st_mode & 0o777 == 0o644
    assert max(done for done, _note in reports) == sum(SIZES.values())
    assert {note for _done, note in reports} == {SHARD, "config.json"}
    del server.asked[:]
    assert (fetch(server, folder), server.asked) == (0, [])


@pytest.mark.parametrize(("ranges", "received"), [(True, 500_000), (False, 1_500_000)], ids=["continues", "begins anew"])
def test_what_was_received_is_continued_unless_the_server_ignores_what_it_is_asked(server, folder, ranges, received):
    server.ranges = ranges
    keep(folder, FILES[SHARD][:1_000_000])
    (wanted,) = _fetch.lacking(str(folder), {SHARD: PUBLISHED[SHARD]})
    assert wanted.kept == 1_000_000
    assert fetch(server, folder, {SHARD: PUBLISHED[SHARD]}) == received
    assert content(folder) == {SHARD: FILES[SHARD]}
    assert server.asked == [(SHARD, "bytes=1000000-", "")]


def test_what_was_received_whole_is_proven_and_not_asked_for(server, folder):
    keep(folder, FILES[SHARD])
    assert fetch(server, folder, {SHARD: PUBLISHED[SHARD]}) == 0
    assert (content(folder), server.asked) == ({SHARD: FILES[SHARD]}, [])


def test_a_damaged_part_and_one_of_another_revision_cost_one_file_and_no_failure(server, folder):
    keep(folder, b"x" * 1000)
    keep(folder, b"y" * 1000, of=b"another revision")
    fetch(server, folder, {SHARD: PUBLISHED[SHARD]})
    assert content(folder) == {SHARD: FILES[SHARD]}


def test_a_connection_that_breaks_is_made_again_where_it_broke(server, folder):
    # More often than the retries, because each time something came.
    server.breaks[SHARD] = [400_000, 300_000, 300_000, 300_000]
    server.answers[SHARD] = [503, 429]
    assert fetch(server, folder) == sum(SIZES.values())
    assert content(folder) == FILES
    asked = [part for path, part, _token in server.asked if path == SHARD]
    assert asked == ["", "", "", "bytes=400000-", "bytes=700000-", "bytes=1000000-", "bytes=1300000-"]


def test_a_mirror_that_stays_away_ends_it_and_what_came_is_kept(server, folder):
    server.breaks[SHARD] = [400_000, 0, 0, 0]
    with pytest.raises(_fetch.FetchError, match=f"{SHARD}: the connection broke after 400000 of 1500000 bytes") as failed:
        fetch(server, folder, {SHARD: PUBLISHED[SHARD]})
    assert "what was received is kept" in failed.value.remedy
    assert fetch(server, folder) == sum(SIZES.values()) - 400_000
    assert content(folder) == FILES


def test_a_run_that_is_killed_is_finished_by_the_next_one_and_no_more_than_a_block_of_a_file_comes_twice(server, folder):
    server.breaks[SHARD] = [1_000_000]
    server.stays = True
    part = _fetch.part_of(str(folder), SHARD, sha256(FILES[SHARD]))
    run = multiprocessing.get_context("fork").Process(target=fetch, args=(server, folder, {SHARD: PUBLISHED[SHARD]}))
    run.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (os.path.exists(part) and os.path.getsize(part) > 700_000):
        time.sleep(0.01)
    run.kill()
    run.join()
    server.stays = False
    assert fetch(server, folder, {SHARD: PUBLISHED[SHARD]}) <= 500_000 + 2**18
    assert content(folder) == {SHARD: FILES[SHARD]}


def test_nobody_listens(server, folder):
    server.shutdown()
    server.server_close()
    with pytest.raises(_fetch.FetchError, match=r"http://127\.0\.0\.1: Connection refused"):
        fetch(server, folder)


@pytest.mark.parametrize("given", [b"x" * 1_500_000, FILES[SHARD][:-1], FILES[SHARD] + b"x"], ids=["bytes", "short", "long"])
def test_a_file_that_is_another_is_removed_and_named_and_the_others_come(server, folder, given):
    server.files[SHARD] = given
    with pytest.raises(_fetch.FetchError) as failed:
        fetch(server, folder)
    assert content(folder) == {path: data for path, data in FILES.items() if path != SHARD}
    said = f"{failed.value.observed}; {failed.value.expected}"
    assert said == (
        f"{SHARD}: sha256 {sha256(given)}; {sha256(FILES[SHARD])}, as weights_published says"
        if len(given) == SIZES[SHARD]
        else f"{SHARD}: {len(given)} bytes on the mirror; 1500000 bytes, as weights_published says"
    )


def test_a_file_that_the_mirror_has_not_is_named_and_leaves_nothing(server, folder):
    del server.files[SHARD]
    with pytest.raises(_fetch.FetchError, match=f"{SHARD}: it answered 404 Not Found"):
        fetch(server, folder)
    assert set(content(folder)) == {"config.json", "empty"}


def test_a_list_without_sizes_takes_them_from_the_mirror(server, folder):
    published = {path: {"sha256": entry["sha256"]} for path, entry in PUBLISHED.items()}
    for server.ranges in (True, False):
        found = _fetch.with_sizes(Mirror(server.url), _fetch.lacking(str(folder), published), 2)
        assert {one.path: one.size for one in found} == SIZES
    fetch(server, folder, published)
    assert content(folder) == FILES


def test_a_file_without_a_published_hash_is_never_continued(server, folder):
    server.breaks[SHARD] = [400_000]
    assert fetch(server, folder, {SHARD: {"size": SIZES[SHARD]}}) == 1_900_000
    assert [part for _path, part, _token in server.asked] == ["", ""]
    assert content(folder) == {SHARD: FILES[SHARD]}


def test_the_token_goes_to_the_mirror_and_to_nobody_it_redirects_to(server, folder, mirror_server):
    server.token = "canary-77"
    other = mirror_server("127.0.0.2")
    other.files = {"elsewhere": FILES[SHARD]}
    server.redirects = {SHARD: other.url + "elsewhere", "config.json": "/model/moved"}
    server.files["moved"] = FILES["config.json"]
    keep(folder, FILES[SHARD][:1000])
    fetch(server, folder, token="canary-77")
    assert content(folder) == FILES
    assert {token for _path, _part, token in server.asked} == {"Bearer canary-77"}
    # Where it goes on, and from where in the file, is handed on.
    assert other.asked == [("elsewhere", "bytes=1000-", "")]


@pytest.mark.parametrize(("token", "remedy"), [("", "give weights_mirror_token"), ("canary-77", "mend weights_mirror_token")])
def test_a_token_that_is_missing_or_wrong_is_one_answer_and_not_shown(server, folder, token, remedy):
    server.token = "right"
    with pytest.raises(_fetch.FetchError, match="it answered 401 Unauthorized") as failed:
        fetch(server, folder, {SHARD: PUBLISHED[SHARD]}, token=token)
    assert failed.value.remedy == remedy
    assert "canary" not in f"{failed.value.observed} {failed.value.expected}"
    assert len(server.asked) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/model/config.json"])
def test_a_redirect_to_what_is_no_web_server_or_in_a_circle_is_refused(server, folder, target):
    server.redirects["config.json"] = target
    with pytest.raises(_fetch.FetchError, match=r"config\.json: "):
        fetch(server, folder, {"config.json": PUBLISHED["config.json"]})
    assert content(folder) == {}


@pytest.mark.parametrize("path", ["../out", "/out", "a\0b", "a\ud800", "linked/out"])
def test_a_name_outside_the_folder_is_refused(folder, tmp_path, path):
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(_fetch.FetchError, match="a name outside the folder"):
        _fetch.lacking(str(folder), {path: {"size": 1}})


@pytest.mark.parametrize(
    "base",
    ["ftp://h/x", "file:///etc", "/data", "http://", "http://h:port/", "https://h/x?token=1", "https://user:canary@h/x", "http://[h/"],
)
def test_a_url_that_is_none_or_holds_a_secret_is_refused_without_showing_it(base):
    with pytest.raises(RefusedError) as refused:
        Mirror(base)
    assert "canary" not in refused.value.observed


def test_a_certificate_is_checked_and_may_be_of_an_authority_of_ones_own(server, folder, tmp_path):
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mirror -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    with pytest.raises(_fetch.FetchError, match=r"https://127\.0\.0\.1: self[- ]signed certificate") as failed:
        fetch(server, folder)
    assert failed.value.remedy == "give weights_mirror_ca"
    fetch(server, folder, ca=str(tmp_path / "crt"))
    assert content(folder) == FILES
    # What was promised over TLS is not taken from who speaks without.
    server.redirects["config.json"] = "http://127.0.0.1:9/x"
    (folder / "config.json").unlink()
    with pytest.raises(_fetch.FetchError, match=r"a redirect to http://127\.0\.0\.1"):
        fetch(server, folder, ca=str(tmp_path / "crt"))
    with pytest.raises(RefusedError, match="No such file"):
        Mirror(server.url, ca="/nowhere")


def test_as_many_files_arrive_at_once_as_asked(server, folder):
    arriving, most, lock = set(), [0], threading.Lock()
    server.files = {str(number): os.urandom(300_000) for number in range(6)}
    published = {path: {"size": len(data), "sha256": sha256(data)} for path, data in server.files.items()}

    def report(_done, path):
        with lock:
            arriving.add(path)
            most[0] = max(most[0], len([one for one in arriving if not (folder / one).exists()]))

    fetcher = _fetch.Fetcher(Mirror(server.url), str(folder), report)
    fetcher.fetch(_fetch.lacking(str(folder), published), 3)
    assert content(folder) == server.files
    assert most[0] <= 3
