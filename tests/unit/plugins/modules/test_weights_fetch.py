"""The first hop of weights: from a mirror into the folder that they are sent from."""

from __future__ import annotations

import hashlib
import json

import pytest

FILES = {"config.json": b"{}", "sub/shard": b"x" * 300_000}


@pytest.fixture
def server(mirror_server):
    server = mirror_server()
    server.files = dict(FILES)
    return server


@pytest.fixture
def asked(server, tmp_path):
    """The module's arguments."""
    published = tmp_path / "SHA256SUMS"
    published.write_text("".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in FILES.items()))
    common = {"mirror": server.url, "published": str(published), "turns": str(tmp_path / "turns")}
    return {**common, "folder": str(tmp_path / "data" / "model")}


def test_every_attribute_holds_and_the_prediction_is_exact(run_module, attributes_hold, asked, tmp_path):
    predicted = run_module("weights_fetch", asked, check=True)
    assert (predicted["files"], predicted["bytes"], predicted["total_bytes"]) == (["config.json", "sub/shard"], 300_002, 300_002)
    made = attributes_hold("weights_fetch", asked, lambda: sorted(str(path) for path in tmp_path.rglob("*")))
    assert {name: made[name] for name in ("files", "bytes", "total_bytes")} == {
        name: predicted[name] for name in ("files", "bytes", "total_bytes")
    }
    assert made["received_bytes"] == 300_002
    again = run_module("weights_fetch", asked)
    assert (again["files"], again["bytes"], again["total_bytes"], again["received_bytes"]) == ([], 0, 300_002, 0)
    # What came is what the next stage takes, by a list given as text as well.
    text = json.dumps([{"type": "file", "path": "config.json", "size": 2}])
    source = {"source": asked["folder"], "published_text": text, "cache": str(tmp_path / "cache" / "w.json")}
    assert run_module("weights_manifest_info", source)["manifest"]["bytes"] == 300_002


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"published": ""}, "weights_published: empty; expected the list of the files that weights_mirror has; set it; "),
        ({"published": "/nowhere"}, "weights_published: /nowhere: No such file or directory; expected the publisher's list of files; "),
        ({"folder": ""}, "weights_source: empty; expected the folder that is to be filled from weights_mirror; "),
        ({"mirror": "https://me:canary@h/"}, "weights from https://h/: https://h/: a login in the URL; expected a URL without; "),
    ],
)
def test_what_cannot_be_fetched_is_one_line_in_check_mode_too(run_module, asked, changes, line):
    for check in (True, False):
        answer = run_module("weights_fetch", {**asked, **changes}, check=check)
        assert answer["msg"].startswith(f"localhost: {line}")
        assert "\n" not in answer["msg"]
        assert "canary" not in answer["msg"]


def test_check_mode_asks_the_mirror_so_that_a_wrong_address_or_token_is_told_early(run_module, asked, server):
    sizes = json.dumps([{"type": "file", "path": "config.json", "size": 2}])
    del asked["published"]
    asked |= {"published_text": sizes, "token": "canary-77"}
    server.token = "right"
    answer = run_module("weights_fetch", asked, check=True)
    assert answer["msg"] == (
        f"localhost: weights from {server.url}: config.json: it answered 401 Unauthorized; expected to be let in; mend weights_mirror_token"
    )
    assert "canary" not in json.dumps(answer)
    assert "canary-77" in str(server.asked)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_downloaded(run_module, asked, server):
    sizes = json.dumps([{"type": "file", "path": "config.json", "size": 10**18}])
    del asked["published"]
    answer = run_module("weights_fetch", {**asked, "published_text": sizes, "host": "node1"})
    assert answer["msg"].startswith("node1: disk for the weights: ")
    assert "expected 1020000000.0 GB; make room there" in answer["msg"]
    assert server.asked == []
