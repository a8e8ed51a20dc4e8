"""The keys that hosts offer, by real exchanges of keys."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import closing

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _ssh_session
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._ssh_session import offered_keys


def fingerprint(path):
    """As ssh-keygen prints it."""
    return subprocess.run(["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True).stdout.split()[1]


def refused(port, seconds=5):
    with pytest.raises(Refused) as caught:
        offered_keys("127.0.0.1", port, seconds)
    return caught.value.args


def test_openssh_shows_every_type_and_nobody_logs_in(openssh):
    host = openssh()
    host.start()
    keys = offered_keys("127.0.0.1", host.port, 10)
    assert {key.type for key in keys} == {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"}
    assert {key.fingerprint for key in keys} == {fingerprint(path) for path in host.host_keys}
    assert "Failed" not in host.log()


def test_a_host_with_one_type_shows_one(paramiko_host):
    (key,) = offered_keys("127.0.0.1", paramiko_host().port, 10)
    assert key.type == "ssh-ed25519"


def test_no_sshd_is_told():
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        port = gone.getsockname()[1]
    assert refused(port)[:2] == ("sshd", f"nothing listens on port {port} of 127.0.0.1")


def test_a_name_that_does_not_resolve_is_told():
    with pytest.raises(Refused) as caught:
        offered_keys("no-such-host.invalid", 22, 5)
    assert caught.value.args[0] == "reachable"


def test_a_host_that_does_not_answer_is_unreachable_and_not_waited_for(monkeypatch):
    def silent(_address, timeout):
        raise TimeoutError

    monkeypatch.setattr(_ssh_session.socket, "create_connection", silent)
    assert refused(22, 7)[:2] == ("reachable", "127.0.0.1 port 22: no answer in 7 s")


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_something_else_than_sshd_is_told(greeting):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer():
            connection, _peer = listener.accept()
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert refused(listener.getsockname()[1])[0] == "sshd"
        thread.join()


def test_without_paramiko_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(_ssh_session, "paramiko", None)
    assert refused(22)[:2] == ("paramiko", "not installed")
