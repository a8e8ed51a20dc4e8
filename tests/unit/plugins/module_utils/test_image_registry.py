"""A registry's answers, over real TLS on localhost, and what the engine's words mean."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import ssl
import threading

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_identity as identity
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_registry as image_registry
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RIGHT = "right"
BASIC = "Basic " + base64.b64encode(b"puller:" + RIGHT.encode()).decode()
MANIFEST = json.dumps({"config": {"digest": "sha256:" + "c" * 64}, "layers": [{"size": 7}]}).encode()
MANIFEST_DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
INDEX = json.dumps({"manifests": [{"digest": MANIFEST_DIGEST, "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A self-signed authority for 127.0.0.1 that is its own server; returns the path of its certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("pki") / "both.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + secret)
    return path


class _Answers(http.server.BaseHTTPRequestHandler):
    scheme = "Basic"
    documents = None

    def do_GET(self):
        authorization = self.headers.get("Authorization")
        if self.path.startswith("/token?"):
            assert "scope=repository%3Aflagos%2Fserve%3Apull" in self.path
            return self.answer(200, b'{"token": "t"}') if authorization in (None, BASIC) else self.answer(401)
        wanted = BASIC if self.scheme == "Basic" else "Bearer t"
        if authorization != wanted:
            where = f"https://{self.headers['Host']}/token"
            challenge = 'Basic realm="x"' if self.scheme == "Basic" else f'Bearer realm="{where}",service="registry"'
            return self.answer(401, challenge=challenge)
        name = self.path.rpartition("/")[2]
        return self.answer(200, self.documents[name]) if name in self.documents else self.answer(404)

    def answer(self, status, body=b"", challenge=None, location=None):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Tests are quiet."""


@contextlib.contextmanager
def serving(authority, scheme, documents, answers=_Answers):
    handler = type("Answers", (answers,), {"scheme": scheme, "documents": documents})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(address, authority, wanted=":1", password=RIGHT, trusted=True):
    reference = identity.parse_reference(f"{address}/flagos/serve{wanted}")
    username = "puller" if password else ""
    return image_registry.Registry(reference, username, password, authority.read_text() if trusted else "").identity("amd64")


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
@pytest.mark.parametrize("documents", [{"1": MANIFEST}, {"1": INDEX, MANIFEST_DIGEST: MANIFEST}], ids=["manifest", "index"])
def test_a_tag_is_told_as_digests(authority, scheme, documents):
    with serving(authority, scheme, documents) as address:
        found = ask(address, authority)
    assert found == {"config_digest": "sha256:" + "c" * 64, "manifest_digest": MANIFEST_DIGEST, "bytes": 7}


def test_a_token_server_may_let_anybody_pull(authority):
    with serving(authority, "Bearer", {"1": MANIFEST}) as address:
        assert ask(address, authority, password="")["bytes"] == 7


@pytest.mark.parametrize(
    ("scheme", "options", "reason"),
    [
        ("Basic", {"password": ""}, "missing_password"),
        ("Basic", {"password": "wrong"}, "wrong_password"),
        ("Bearer", {"password": "wrong"}, "wrong_password"),
        ("Basic", {"wanted": ":2"}, "not_found"),
        ("Basic", {"trusted": False}, "unknown_ca"),
    ],
)
def test_each_refusal_has_its_reason_and_remedy(authority, scheme, options, reason):
    with serving(authority, scheme, {"1": MANIFEST}) as address, pytest.raises(image_registry.RegistryError) as refused:
        ask(address, authority, **options)
    assert refused.value.reason == reason
    assert image_registry.REMEDIES[reason]
    assert "right" not in refused.value.detail


@pytest.mark.parametrize(
    ("wanted", "password", "measured"),
    [
        (":1", RIGHT, (("ok", ""), 7)),
        (":2", RIGHT, (("not_found", "it answered 404 Not Found"), None)),
        (":1", "wrong", (("wrong_password", "it answered 401 Unauthorized"), None)),
    ],
)
def test_an_image_is_measured_without_being_pulled(authority, monkeypatch, wanted, password, measured):
    monkeypatch.setattr(identity, "architecture", lambda: "amd64")
    with serving(authority, "Basic", {"1": INDEX, MANIFEST_DIGEST: MANIFEST}) as address:
        found = image_registry.measure(f"{address}/flagos/serve{wanted}", {}, authority.read_text(), "puller", password)
    assert (tuple(found[0]), found[1]) == measured


def test_a_tag_that_has_moved_is_measured_as_the_lock_pinned_it(authority):
    moved = json.dumps({"config": {"digest": "sha256:" + "d" * 64}, "layers": [{"size": 9}]}).encode()
    pinned = {"config_digest": "sha256:" + "c" * 64, "manifest_digest": MANIFEST_DIGEST}
    with serving(authority, "Basic", {"1": moved, MANIFEST_DIGEST: MANIFEST}) as address:
        sizes = [
            image_registry.measure(f"{address}/flagos/serve:1", lock, authority.read_text(), "puller", RIGHT)[1] for lock in ({}, pinned)
        ]
    assert sizes == [9, 7]


def test_an_image_for_another_machine_and_a_word_that_is_no_reference_are_not_found(authority, monkeypatch):
    monkeypatch.setattr(identity, "architecture", lambda: "arm64")
    with serving(authority, "Basic", {"1": INDEX}) as address:
        outcome, size = image_registry.measure(f"{address}/flagos/serve:1", {}, authority.read_text(), "puller", RIGHT)
    assert (outcome.state, size) == ("not_found", None)
    assert "amd64" in outcome.detail
    assert image_registry.measure("registry.lab/Not A Reference", {})[0].state == "not_found"


def test_a_registry_that_is_not_there_is_unreachable(authority):
    with serving(authority, "Basic", {}) as address:
        pass
    with pytest.raises(image_registry.RegistryError) as refused:
        ask(address, authority)
    assert refused.value.reason == "unreachable"


def test_a_manifest_must_have_the_hash_that_was_asked_for(authority):
    other = "sha256:" + "0" * 64
    with serving(authority, "Basic", {other: MANIFEST}) as address, pytest.raises(identity.IdentityError, match=MANIFEST_DIGEST):
        ask(address, authority, wanted="@" + other)


def test_what_is_no_manifest_is_refused(authority):
    with serving(authority, "Basic", {"1": b"<html>"}) as address, pytest.raises(identity.IdentityError, match="not JSON"):
        ask(address, authority)


def test_a_damaged_authority_is_said(tmp_path):
    folder = tmp_path / "certs.d" / "r.io:5000"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    with pytest.raises(image_registry.RegistryError) as refused:
        authorities = image_registry.trusted_authorities("r.io:5000", str(tmp_path / "certs.d"))
        image_registry.Registry(identity.parse_reference("r.io:5000/a:1"), authorities=authorities)
    assert refused.value.reason == "bad_certificate"


@pytest.mark.parametrize(("scheme", "authorization"), [("Basic", BASIC), ("Bearer", "Bearer t")])
def test_neither_password_nor_token_follows_a_redirect(authority, scheme, authorization):
    seen = []

    class Elsewhere(_Answers):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.answer(200, MANIFEST)

    class Redirecting(_Answers):
        def do_GET(self):
            if self.path.startswith("/token?") or self.headers.get("Authorization") != authorization:
                return super().do_GET()
            return self.answer(307, location=f"https://{self.documents['elsewhere']}/x")

    with (
        serving(authority, scheme, {}, Elsewhere) as elsewhere,
        serving(authority, scheme, {"elsewhere": elsewhere}, Redirecting) as address,
    ):
        assert ask(address, authority)["bytes"] == 7
    assert seen == [None]


def test_an_authority_with_comments_in_any_language_is_trusted(authority, tmp_path):
    with serving(authority, "Basic", {"1": MANIFEST}) as address:
        folder = tmp_path / "certs.d" / address
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(b"# Autorit\xe9\n" + "# 内部\n".encode() + authority.read_bytes())
        reference = identity.parse_reference(f"{address}/flagos/serve:1")
        trusted = image_registry.trusted_authorities(address, str(tmp_path / "certs.d"))
        assert image_registry.Registry(reference, "puller", RIGHT, trusted).identity("amd64")["bytes"] == 7


def test_no_authorities_of_the_engine_are_no_fault(tmp_path):
    assert image_registry.trusted_authorities("r.io:5000", str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('Get "https://registry.lab:5443/v2/": x509: certificate signed by unknown authority', "unknown_ca"),
        ('Get "https://r/v2/": x509: certificate is valid for a, not b', "bad_certificate"),
        ('Head "https://registry.lab:5443/v2/x/manifests/1": no basic auth credentials', "missing_password"),
        ("unauthorized: authentication required", "wrong_password"),
        ("manifest for r/x@sha256:0 not found: manifest unknown: manifest unknown", "not_found"),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "disk_full"),
        ("dial tcp 10.91.0.1:5443: connect: connection refused", "unreachable"),
        ("something new", "engine"),
    ],
)
def test_the_engines_words_have_a_reason(message, reason):
    assert image_registry.reason_of_engine(message, with_password=True) == reason
    assert reason in image_registry.REMEDIES


def test_unauthorized_without_a_password_means_that_one_is_missing():
    assert image_registry.reason_of_engine("unauthorized: authentication required", with_password=False) == "missing_password"
