"""The module against a socket that keeps images as dockerd does; the lab's scenario has the real engine."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
import urllib.parse

import pytest

CONFIG = "sha256:" + "c" * 64
MANIFEST = "sha256:" + "d" * 64
OURS = "flagos-kunlunxin/image:" + "c" * 12


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "socket"

    def log_message(self, *_arguments):
        """Tests are quiet."""

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.endswith(self.server.broken):
            return self.answer(500, {"message": "server\nmisbehaves"})
        if self.path == "/info":
            return self.answer(200, {"DockerRootDir": "/"})
        image = self.server.images.get(urllib.parse.unquote(self.path.split("/")[2]))
        return self.answer(200, image) if image else self.answer(404, {"message": "No such image"})

    def do_POST(self):
        path, _mark, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        self.server.posts.append(path)
        if path.endswith(self.server.broken):
            return self.answer(500, {"message": "server\nmisbehaves"})
        if self.server.refusal:
            return self.answer(500, {"message": self.server.refusal})
        if path == "/images/create":
            self.server.images[self.server.brings] = {"Id": self.server.brings, "RepoTags": []}
        elif path == "/images/load":
            while int(self.rfile.readline(), 16):
                self.rfile.readline()
            self.rfile.readline()
            self.server.images[self.server.brings] = {"Id": self.server.brings, "RepoTags": ["other:1"]}
        else:
            self.server.images[urllib.parse.unquote(path.split("/")[2])]["RepoTags"].append(f"{asked['repo']}:{asked['tag']}")
        return self.answer(200, {"status": "done"})


@pytest.fixture
def engine(tmp_path):
    with _Server(str(tmp_path / "docker.sock"), _Engine) as server:
        server.images, server.posts, server.brings, server.refusal, server.broken = {}, [], CONFIG, "", "never"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def arguments(tmp_path):
    image = {
        "name": "r.io/serve",
        "source": {"reference": "r.io/serve:1"},
        "config_digest": CONFIG,
        "manifest_digest": MANIFEST,
        "bytes": 10,
    }
    return {
        "image": image,
        "socket": str(tmp_path / "docker.sock"),
        "state_dir": str(tmp_path / "state"),
        "password": "canary",
        "username": "puller",
    }


def receipt(tmp_path):
    return json.loads((tmp_path / "state" / "receipts" / "image.json").read_text())


def test_attributes(engine, attributes_hold, arguments, tmp_path):
    made = attributes_hold("serving_image", arguments, lambda: ((tmp_path / "state").exists(), list(engine.posts)))
    assert made["image_id"] == CONFIG
    assert engine.posts == ["/images/create", f"/images/{CONFIG}/tag"]
    assert receipt(tmp_path) == {
        "stage": "image", "reference": "r.io/serve:1", "config_digest": CONFIG, "manifest_digest": MANIFEST, "image_id": CONFIG,
    }  # fmt: skip
    assert "canary" not in json.dumps(made)


def test_an_image_that_is_there_is_only_named_and_receipted(engine, run_module, arguments):
    engine.images[CONFIG] = {"Id": CONFIG, "RepoTags": None}
    engine.images[CONFIG]["RepoTags"] = []
    made = run_module("serving_image", arguments)
    assert (made["held"], [action.split()[0] for action in made["actions"]]) == (True, ["name", "write"])


def test_an_engine_with_containerds_store_knows_the_image_by_its_manifest(engine, run_module, arguments, tmp_path):
    engine.brings = MANIFEST
    assert run_module("serving_image", arguments)["image_id"] == MANIFEST
    assert receipt(tmp_path)["config_digest"] == CONFIG
    assert run_module("serving_image", arguments, check=True)["changed"] is False


def test_an_archive_is_loaded_and_removed(engine, run_module, arguments, tmp_path):
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"x" * 100)
    made = run_module("serving_image", {**arguments, "archive": str(archive), "remove_archive": True})
    assert made["actions"][0] == f"load {archive}"
    assert engine.posts[0] == "/images/load"
    assert not archive.exists()


def test_an_archive_that_a_killed_run_left_is_removed(engine, attributes_hold, run_module, arguments, tmp_path):
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"x" * 100)
    arguments.update(archive=str(archive), remove_archive=True)
    run_module("serving_image", arguments)
    archive.write_bytes(b"x" * 100)
    made = attributes_hold("serving_image", arguments, lambda: (archive.exists(), list(engine.posts)))
    assert (made["held"], made["actions"]) == (True, [f"remove {archive}"])
    assert engine.posts.count("/images/load") == 1
    assert not archive.exists()


def test_an_archive_that_is_not_on_the_host_is_said_in_one_line(engine, run_module, arguments, tmp_path):
    answer = run_module("serving_image", {**arguments, "archive": str(tmp_path / "gone.tar")})
    assert f"image archive: no file {tmp_path / 'gone.tar'}; expected the archive on this host" in answer["msg"]
    assert engine.posts == []


@pytest.mark.parametrize("broken", ["/info", "/tag"])
def test_an_engine_that_breaks_between_two_questions_is_said_in_one_line(engine, run_module, arguments, broken):
    engine.broken = broken
    message = run_module("serving_image", arguments)["msg"]
    assert "container engine: server misbehaves; expected an answer on" in message
    assert "\n" not in message


def test_another_image_than_was_meant_is_refused(engine, run_module, arguments, tmp_path):
    engine.brings = "sha256:" + "e" * 64
    answer = run_module("serving_image", arguments)
    assert f"image identity: r.io/serve@{MANIFEST} was brought but is not this image; expected configuration {CONFIG}" in answer["msg"]
    assert not (tmp_path / "state" / "receipts").exists()


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ("x509: certificate signed by unknown authority", "give image_registry_ca"),
        ("unauthorized: authentication required", "mend image_registry_username and image_registry_password"),
        ("write /x: no space left on device", "make room in the engine's data folder"),
    ],
)
def test_what_the_engine_refuses_has_its_remedy(engine, run_module, arguments, refusal, remedy):
    engine.refusal = refusal
    message = run_module("serving_image", arguments)["msg"]
    assert refusal in message
    assert remedy in message
    assert "\n" not in message and "canary" not in message


def test_too_little_disk_is_refused_before_the_pull(engine, run_module, arguments):
    arguments["image"]["bytes"] = 10**17
    for check in (True, False):
        assert "disk for the image" in run_module("serving_image", arguments, check)["msg"]
    assert engine.posts == []
    assert not run_module("serving_image", {**arguments, "unpack_factor": 0}).get("failed")


def test_without_an_engine_check_mode_names_the_stage_before(run_module, arguments):
    answer = run_module("serving_image", arguments, check=True)
    assert (answer["changed"], answer["runs_after"]) == (False, "container_engine")
    assert answer["warnings"]
    assert "expected an answer on" in run_module("serving_image", arguments)["msg"]
    assert "expected an answer on" in run_module("serving_image", {**arguments, "engine_expected": True}, check=True)["msg"]
