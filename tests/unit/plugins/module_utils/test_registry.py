"""What a registry answers, asked over real TLS on localhost."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import ipaddress
import json
import ssl
import threading

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _registry as registry
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GOOD = "Basic " + base64.b64encode(b"puller:right").decode()


def certificate(address):
    """A self-signed authority that is its own server, as ``(certificate, key)`` in PEM."""
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
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@contextlib.contextmanager
def serving(tmp_path, respond, address="127.0.0.1"):
    """A TLS server on a free port; ``respond(path, authorization)`` gives status and headers. Yields (HOST:PORT, CA)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers = respond(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value.replace("HERE", f"127.0.0.1:{self.server.server_port}"))
            self.end_headers()

        def log_message(self, *unused):
            pass

    public, private = certificate(address)
    (tmp_path / "pair.pem").write_text(public + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", public
        server.shutdown()


def basic(unused, authorization):
    return (200, {}) if authorization == GOOD else (401, {"WWW-Authenticate": 'Basic realm="lab"'})


def bearer(path, authorization):
    if path.startswith("/token"):
        return (200 if authorization == GOOD else 401), {}
    return 401, {"WWW-Authenticate": 'Bearer realm="https://HERE/token",service="registry"'}


@pytest.mark.parametrize("respond", [basic, bearer])
@pytest.mark.parametrize(("password", "state"), [("right", registry.OK), ("wrong", registry.WRONG_PASSWORD)])
def test_a_password_is_right_or_wrong(tmp_path, respond, password, state):
    with serving(tmp_path, respond) as (address, authority):
        outcome = registry.probe(address, authority, "puller", password)
    assert outcome.state == state
    assert password not in outcome.detail


def test_a_password_that_is_missing(tmp_path):
    with serving(tmp_path, basic) as (address, authority):
        assert registry.probe(address, authority).state == registry.MISSING_PASSWORD


def test_a_registry_that_asks_for_none(tmp_path):
    with serving(tmp_path, lambda *unused: (200, {})) as (address, authority):
        assert registry.probe(address, authority).state == registry.OK


def test_a_password_never_follows_a_token_server_into_the_clear(tmp_path):
    asked = []

    def respond(path, authorization):
        asked.append(path)
        return 401, {"WWW-Authenticate": 'Bearer realm="http://HERE/token"'}

    with serving(tmp_path, respond) as (address, authority):
        assert registry.probe(address, authority, "puller", "right").state == registry.WRONG_PASSWORD
    assert asked == ["/v2/"]


def test_an_authority_that_is_not_known(tmp_path):
    with serving(tmp_path, basic) as (address, _authority):
        assert registry.probe(address).state == registry.UNKNOWN_CA


def test_a_certificate_for_another_name(tmp_path):
    with serving(tmp_path, basic, address="192.0.2.7") as (address, authority):
        assert registry.probe(address, authority).state == registry.BAD_CERTIFICATE


def test_an_authority_that_is_no_certificate():
    assert registry.probe("127.0.0.1:1", "no PEM").state == registry.BAD_CERTIFICATE


def test_an_authority_between_comments_in_any_language(tmp_path):
    with serving(tmp_path, basic) as (address, authority):
        assert registry.probe(address, f"# Autorité de l'intérieur 内部\n{authority}# fin à", "puller", "right").state == registry.OK


def test_a_damaged_authority_is_no_traceback():
    damaged = "-----BEGIN CERTIFICATE-----\nà\n-----END CERTIFICATE-----\n"
    assert registry.probe("127.0.0.1:1", damaged).state == registry.BAD_CERTIFICATE


def test_a_password_does_not_follow_a_redirect(tmp_path):
    asked = []

    def respond(path, authorization):
        asked.append((path, authorization))
        return (307, {"Location": "https://HERE/elsewhere"}) if path == "/v2/" else (200, {})

    with serving(tmp_path, respond) as (address, authority):
        assert registry.probe(address, authority, "puller", "right").state == registry.OK
    assert asked == [("/v2/", GOOD), ("/elsewhere", None)]


def test_a_registry_that_is_not_there():
    assert registry.probe("127.0.0.1:1", timeout=2).state == registry.UNREACHABLE


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("registry.lab:5443/flagos/serve:1", "registry.lab:5443"),
        ("registry.example.com/a@sha256:00", "registry.example.com"),
        ("localhost/a", "localhost"),
        ("library/debian:12", None),
        ("debian:12", None),
        ("", None),
        (None, None),
    ],
)
def test_the_registry_in_a_reference(reference, address):
    assert registry.registry_of(reference) == address


def test_a_login_joins_what_is_there():
    before = json.dumps({"auths": {"other:5000": {"auth": "x"}}, "credHelpers": {}})
    after = json.loads(registry.merge_login(before, "lab:5443", "puller", "right"))
    assert after["auths"]["other:5000"] == {"auth": "x"}
    assert "Basic " + after["auths"]["lab:5443"]["auth"] == GOOD
    assert "credHelpers" in after


def test_a_login_that_is_there_changes_no_byte():
    text = registry.merge_login(None, "lab:5443", "puller", "right")
    assert registry.merge_login(text, "lab:5443", "puller", "right") == text
    assert registry.merge_login(text, "lab:5443", "puller", "new") != text


def test_a_client_configuration_that_is_no_object():
    with pytest.raises(ValueError, match="no JSON object"):
        registry.merge_login("[]", "lab:5443", "puller", "right")
