"""A swarm with certificates, by the modules and the very program of the lanes: addresses of the loopback interface stand for hosts."""

from __future__ import annotations

import base64
import datetime
import json
import os
import socket
import time
from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_authority as authorities
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_settings import DIFFIE_HELLMAN, settings
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _zipapp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

lt = pytest.importorskip("libtorrent")
pytestmark = pytest.mark.skipif(os.path.isdir("/run/systemd/system") and not os.geteuid(), reason="here lanes would be units of systemd")

ADDRESS = {"localhost": "127.0.0.21", "node1": "127.0.0.22", "node2": "127.0.0.23", "stranger": "127.0.0.24"}
FILES = {"config.json": b"{}", "sub dir/shard": os.urandom(700_000), "empty": b""}
SIZE = sum(map(len, FILES.values()))
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind((ADDRESS["node1"], 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with the source, and what the stage makes on the controller before anybody takes part."""
    return tmp_path_factory.mktemp("controller")


class Swarm:
    """The stage of one revision, without Ansible."""

    def __init__(self, run_module, folder: Path, shared: Path, port: int) -> None:
        self.run_module, self.folder, self.shared, self.port = run_module, folder, shared, port
        if not (shared / "made.json").exists():
            self._prepare()
        self.manifest, self.certificates, self.torrents, self.plain = json.loads((shared / "made.json").read_text())
        self.started: dict[str, dict[str, object]] = {}

    def _prepare(self):
        for name, content in FILES.items():
            (self.shared / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.shared / "source" / name).write_bytes(content)
        cache = str(self.shared / "weights.json")
        manifest = self.run_module("weights_manifest_info", {"source": str(self.shared / "source"), "cache": cache})["manifest"]
        names = {"folder": str(self.shared / "swarm"), "members": ["localhost", "node1", "node2"]}
        certificates = self.run_module("weights_certificates", names)
        cuts = [
            self.run_module("weights_torrents_info", {"manifest": manifest, "cache": cache, "root_certificate": authority})["torrents"]
            for authority in (certificates["authority"], "")
        ]
        (self.shared / "made.json").write_text(json.dumps([manifest, certificates, *cuts]))

    def pair(self, name):
        return authorities.Pair(**{part: Path(path).read_text() for part, path in self.certificates["members"][name].items()})

    def start(self, name, peers, listens=True, **more):
        source = name == "localhost"
        lane = {
            "listen": [f"{ADDRESS[name]}:{self.port}"] if listens else [],
            "peers": [f"{ADDRESS[peer]}:{self.port}" for peer in peers],
            "allow": [*ADDRESS.values(), "127.0.0.1"],  # whence who listens nowhere dials
        }
        self.started[name] = {
            "path": str(self.shared / "source" if source else self.folder / name / "m"),
            "source": source,
            "manifest": self.manifest,
            "state_dir": str(self.folder / name / "state"),
            "lanes": [lane],
        }
        begun = {
            "torrents": self.torrents,
            "program": base64.b64encode(_zipapp.build("_swarm_program")).decode(),
            **self.pair(name)._asdict(),
        }
        return self.run_module("weights_swarm", {**self.started[name], "state": "started", **begun, **more})

    def stop(self, name):
        return self.run_module("weights_swarm", {**self.started.pop(name), "state": "stopped"})

    def files(self, name):
        """The files of the member's lanes, by name."""
        return {path.name: path for path in (self.folder / name / "state" / "weights").rglob("*-0.*")}

    def status(self, name):
        status = self.files(name).get(f"{'source' if name == 'localhost' else 'member'}-0.status.json")
        return json.loads(status.read_text()) if status else {}

    def await_phase(self, name, phase="complete"):
        until = time.monotonic() + 30
        while self.status(name).get("phase") != phase:
            assert time.monotonic() < until, self.status(name)
            time.sleep(0.05)


@pytest.fixture
def swarm(run_module, tmp_path, shared, port):
    made = Swarm(run_module, tmp_path, shared, port)
    yield made
    for name in list(made.started):
        made.stop(name)


def self_signed():
    """What a stranger makes who knows what members' certificates look like."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW - datetime.timedelta(days=1)).not_valid_after(NOW + datetime.timedelta(days=90))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("*")]), critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return authorities.Pair(signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def expired(swarm):
    key = (swarm.shared / "swarm" / "authority.key").read_text()
    return authorities.member(authorities.Pair(swarm.certificates["authority"], key), "node1", NOW - datetime.timedelta(days=400))


# What ends or begins in vain; a member, too, may have to try twice.
MET = (lt.peer_disconnected_alert, lt.peer_error_alert, lt.incoming_connection_alert)
MORE_TRIES_SECONDS = 1.5
WHO = {
    "member": (lambda swarm: swarm.pair("node2"), True),
    "nothing to show": (lambda swarm: None, True),
    "self-signed": (lambda swarm: self_signed(), True),
    "another authority's": (lambda swarm: authorities.member(authorities.authority(NOW), "node1", NOW), True),
    "expired": (expired, True),
    "plain": (lambda swarm: None, False),
}
EACH = [pytest.param(who, marks=() if who in ("member", "another authority's") else pytest.mark.full) for who in WHO]


class Stranger:
    """libtorrent with a torrent of the swarm's, at an address that is let in."""

    def __init__(self, swarm, tmp_path, who):
        make, tls = WHO[who]
        content = base64.b64decode((swarm.torrents if tls else swarm.plain)[0]["torrent"])
        chosen = settings([f"{ADDRESS['stranger']}:{swarm.port}"], 3, len(content), tls=tls)
        self.session = lt.session({**chosen, "alert_mask": lt.alert.category_t.all_categories})
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(lt.bdecode(content))
        params.save_path = str(tmp_path / "stolen")
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self.handle = self.session.add_torrent(params)
        pair = make(swarm)
        if pair:
            self.handle.set_ssl_certificate_buffer(pair.certificate, pair.key, DIFFIE_HELLMAN)

    def got(self):
        """The bytes of weights that it has once it has all of them, or some time after it first met with the swarm in vain."""
        until, met = time.monotonic() + 30, None
        while not self.handle.status().is_seeding and (met is None or time.monotonic() < met + MORE_TRIES_SECONDS):
            assert time.monotonic() < until, "a stranger that met the swarm"
            if met is None and any(isinstance(alert, MET) for alert in self.session.pop_alerts()):
                met = time.monotonic()
            time.sleep(0.05)
        return self.handle.status().total_payload_download


@pytest.fixture
def stranger(swarm, tmp_path):
    return lambda who: Stranger(swarm, tmp_path, who)


def test_members_get_everything_and_their_keys_go_with_the_lanes(swarm):
    swarm.start("node1", ["node2"])
    swarm.start("node2", ["node1"])
    answer = swarm.start("localhost", ["node1", "node2"], listens=False)  # a controller dials, and nobody can dial it
    for name in ("node1", "node2"):
        swarm.await_phase(name)
        files = swarm.files(name)
        assert {files[f"member-0.{part}"].stat().st_mode & 0o777 for part in ("key", "certificate")} == {0o600}
        told = [path for path in files.values() if path.is_file() and path.suffix != ".key"]
        assert not any("PRIVATE KEY" in path.read_text(errors="replace") for path in told)
    assert "PRIVATE KEY" not in str(answer)
    for name in ("node1", "node2", "localhost"):
        stopped = swarm.stop(name)
        assert stopped["trouble"] == []
        assert not swarm.files(name)
        assert name == "localhost" or sorted(stopped["moved"]) == sorted(FILES)


def test_a_lane_with_its_certificate_is_left_alone_and_begins_anew_with_another(swarm):
    swarm.start("node1", [])
    assert swarm.start("node1", [])["lanes"] == []
    assert swarm.start("node1", [], **swarm.pair("node2")._asdict())["lanes"] == ["member-0"]
    assert swarm.files("node1")["member-0.key"].read_text() == swarm.pair("node2").key


def test_the_key_goes_with_a_lane_that_ends_by_itself(swarm):
    swarm.start("node1", [])
    swarm.await_phase("node1", "receiving")
    os.kill(swarm.status("node1")["pid"], 15)
    until = time.monotonic() + 20
    while "member-0.key" in swarm.files("node1"):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("who", EACH)
def test_who_dials_and_is_no_member_gets_no_byte(swarm, stranger, who):
    swarm.start("localhost", [])
    swarm.await_phase("localhost")
    thief = stranger(who)
    thief.handle.connect_peer((ADDRESS["localhost"], swarm.port))
    assert thief.got() >= SIZE if who == "member" else thief.got() == 0


@pytest.mark.parametrize("who", EACH)
def test_who_is_dialled_and_is_no_member_gets_no_byte(swarm, stranger, who):
    thief = stranger(who)
    swarm.start("localhost", ["stranger"], listens=False)
    swarm.await_phase("localhost")
    assert thief.got() >= SIZE if who == "member" else thief.got() == 0


def test_who_speaks_plainly_is_told_nothing(swarm):
    swarm.start("localhost", [])
    swarm.await_phase("localhost")
    known = lt.torrent_info(lt.bdecode(base64.b64decode(swarm.torrents[0]["torrent"]))).info_hashes().v2.to_bytes()[:20]
    with socket.create_connection((ADDRESS["localhost"], swarm.port), source_address=(ADDRESS["stranger"], 0), timeout=10) as line:
        line.sendall(b"\x13BitTorrent protocol" + bytes(8) + known + b"-XX0000-0123456789ab")
        told = line.recv(4096)
    assert told[:1] in (b"", b"\x15")  # the end, or an alert of TLS (RFC 8446, 5.1)


def test_a_lane_with_a_certificate_takes_no_torrent_that_lets_in_everybody(swarm):
    swarm.start("localhost", [], torrents=swarm.plain)
    swarm.await_phase("localhost", "failed")
    assert swarm.status("localhost")["error"]["reason"] == "the torrent names no authority, and the lane has a certificate"
