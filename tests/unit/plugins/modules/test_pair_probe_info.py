"""Hosts on loopback addresses, with real sockets: one listens, another asks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_listener
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_questions as questions

HOST, PEER = "127.0.0.21", "127.0.0.22"


def processes():
    """The listening processes that share this test's network; those of other hosts on this machine do not."""
    own, found = Path("/proc/self/ns/net").readlink(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            named = (folder / "comm").read_bytes().strip() == _pair_listener.PROGRAM
            if named and (folder / "ns/net").readlink() == own and (folder / "stat").read_text().split()[2] != "Z":
                found.append(int(folder.name))
    return found


def ended(within=5.0):
    deadline = time.monotonic() + within
    while processes() and time.monotonic() < deadline:
        time.sleep(0.02)
    return processes() == []


@pytest.fixture(autouse=True)
def nothing_left():
    """A machine has one listening process: cases that ansible-test runs side by side take turns."""
    with open(Path(tempfile.gettempdir()) / "flagos-pairs-test.lock", "w", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        assert ended(), "somebody else listens on this machine"
        yield
        for process in processes():
            os.kill(process, signal.SIGKILL)
        assert ended()


def free_port(address=HOST):
    with socket.socket() as one:
        one.bind((address, 0))
        return one.getsockname()[1]


@pytest.fixture
def listen(run_module):
    def call(check=False, **options):
        arguments = {"mode": "listen", "name": "host", "interfaces": ["lo"], "address": HOST, "awaited": ["peer"], "seconds": 20}
        return run_module("pair_probe_info", {**arguments, **options}, check=check)

    return call


def question(answer, *ports, peer="host"):
    """What the peer asks about everything that listens, and more ports."""
    found = answer["listening"]["lo"]
    asked = [{"port": int(port), "held": state == "held"} for port, state in found["ports"].items()]
    asked += [{"port": port, "held": False} for port in ports]
    way = {"rail": "lo", "source": PEER, "destination": HOST, "mtu": 1500, "ports": asked}
    return {"peer": peer, "run": answer["run"], "done": [[HOST, found["any"]]], "ways": [way]}


@pytest.mark.parametrize("check", [False, True])
def test_what_listens_is_asked_and_ends_when_everyone_asked(listen, run_module, check):
    port, closed = free_port(), free_port()
    told = listen(check=check, ports=[port])
    found = told["listening"]["lo"]
    assert told["changed"] is False
    assert found["ports"] == {str(port): "listening", str(found["any"]): "listening"}
    assert "lo" in told["network"]["interfaces"]
    assert len(processes()) == 1

    asked = run_module("pair_probe_info", {"mode": "ask", "name": "peer", "questions": [question(told, closed)]}, check=check)
    (answer,) = asked["answers"]
    assert asked["changed"] is False
    assert answer["ports"] == {str(port): "ok", str(found["any"]): "ok", str(closed): "refused"}
    assert (answer["peer"], answer["rail"]) == ("host", "lo")
    assert ended()
    with socket.socket() as one:
        one.bind((HOST, port))  # the port is free again


def test_it_ends_at_the_deadline_when_nobody_asks(listen):
    started = time.monotonic()
    listen(seconds=1)
    assert len(processes()) == 1
    assert ended(4)
    assert time.monotonic() - started > 1


def test_it_waits_for_everyone_it_waits_for(listen):
    told = listen(awaited=["peer", "third"])
    questions.ask("peer", [question(told)])
    questions.ask("peer", [question(told)])
    time.sleep(0.3)
    assert len(processes()) == 1
    questions.ask("third", [question(told)])
    assert ended()


def test_a_single_host_leaves_nothing_behind(listen):
    listen(awaited=[])
    assert ended()


def test_a_port_that_a_service_holds_is_left_to_it_and_asked_as_it_is(listen):
    with socket.socket() as service:
        service.bind(("0.0.0.0", 0))
        service.listen(8)
        port = service.getsockname()[1]
        told = listen(ports=[port])
        assert told["listening"]["lo"]["ports"][str(port)] == "held"
        (answer,) = questions.ask("peer", [question(told)])
        assert answer["ports"][str(port)] == "ok"
        service.settimeout(2)
        connection, _address = service.accept()
        with connection:
            connection.settimeout(2)
            assert connection.recv(1) == b""  # nobody speaks to a service


def test_of_a_range_the_first_free_port_is_taken(listen):
    with socket.socket() as service:
        service.bind((HOST, 18000))
        service.listen(8)
        found = listen(nearby_ports=[18000])["listening"]["lo"]
    assert found["nearby"] == {"18000": 18001}
    assert found["ports"]["18001"] == "listening"


def test_an_address_that_the_host_lacks_is_told(listen):
    found = listen(address="192.0.2.1", ports=[8000])["listening"]["lo"]
    assert found["ports"]["8000"] == "Cannot assign requested address"
    assert found["any"] is None


def test_two_runs_share_the_process_and_each_is_waited_for(listen):
    port = free_port()
    first, second = listen(ports=[port]), listen(ports=[port], awaited=["other"])
    assert len(processes()) == 1
    assert first["listening"] == second["listening"]
    questions.ask("peer", [question(first)])
    time.sleep(0.3)
    (answer,) = questions.ask("other", [question(second)])
    assert answer["ports"][str(port)] == "ok"
    assert ended()


def test_a_service_that_starts_gets_its_ports_whoever_is_still_waited_for(listen):
    """As after a run that was killed before everyone had asked."""
    _pair_listener.dismiss()
    port = free_port()
    listen(ports=[port])
    with socket.create_connection((HOST, port)):
        _pair_listener.dismiss()
        with socket.socket() as service:
            service.bind((HOST, port))
            service.listen()
    assert ended()


def test_another_host_that_answers_is_named(listen):
    told = listen(ports=[])
    (answer,) = questions.ask("peer", [question(told, peer="somebody else")])
    assert set(answer["ports"].values()) == {"answered by host"}


def test_a_port_that_drops_everything_costs_seconds_and_only_once(listen, monkeypatch):
    monkeypatch.setattr(questions, "_ping_all", lambda ways: [{"large": False, "small": False, "error": ""} for _way in ways])
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind((HOST, 0))
        full.listen(0)
        port = full.getsockname()[1]
        for filler in (one, two):  # the kernel drops what comes to a full queue
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        way = {"rail": "lo", "source": PEER, "destination": HOST, "mtu": 1500}
        way["ports"] = [{"port": port, "held": False}, {"port": port + 1, "held": False}]
        started = time.monotonic()
        (answer,) = questions.ask("peer", [{"peer": "host", "run": "r", "done": [[HOST, port]], "ways": [way]}])
    assert answer["ports"] == {str(port): "timeout", str(port + 1): "not asked"}
    assert time.monotonic() - started < 2 * questions.CONNECT_SECONDS


def test_somebody_who_listens_and_does_not_speak_is_told(listen, monkeypatch):
    monkeypatch.setattr(questions, "REPLY_SECONDS", 0.3)
    with socket.socket() as mute:
        mute.bind((HOST, 0))
        mute.listen(4)
        way = {"rail": "lo", "source": PEER, "destination": HOST, "mtu": 1500, "ports": [{"port": mute.getsockname()[1], "held": False}]}
        (answer,) = questions.ask("peer", [{"peer": "host", "run": "r", "done": [], "ways": [way]}])
    assert list(answer["ports"].values()) == ["silent"]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\x00" * 100,
        b"[" * 4000,
        b'{"say": "done", "run": [], "name": {}}\n',
        b'{"say": "done", "run": "nobody\'s", "name": "peer"}\n',
        b'["done"]\n',
        json.dumps({"say": "hello", "name": "x" * 3000}).encode(),
    ],
)
def test_strange_words_do_not_end_it(listen, sent):
    told = listen()
    port = told["listening"]["lo"]["any"]
    with socket.create_connection((HOST, port), timeout=5) as stranger, contextlib.suppress(OSError):  # it may hang up at once
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        stranger.recv(100)
    (answer,) = questions.ask("peer", [question(told)])
    assert answer["ports"] == {str(port): "ok"}
    assert ended()


def test_it_holds_no_file_of_whoever_started_it_and_no_folder(listen):
    listen()
    (process,) = processes()
    held = {os.readlink(str(one)) for one in Path(f"/proc/{process}/fd").iterdir()}
    assert {one for one in held if not one.startswith(("socket:", "anon_inode:"))} == {"/dev/null"}
    assert Path(f"/proc/{process}/cwd").readlink() == Path("/")


def test_requests_are_answered_where_it_listens_already(listen):
    listen()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(_pair_listener.CONTROL)
        channel.settimeout(5)
        channel.sendall(
            _pair_listener.line({"name": "host", "run": str(uuid.uuid4()), "awaited": [], "seconds": 1, "addresses": {}, "servers": {}})
        )
        assert _pair_listener.read_line(channel) == {"addresses": {}}


# ---- what ping and ip say


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            "PING 10.91.1.14 (10.91.1.14) from 10.91.1.13 : 1472(1500) bytes of data.\n\n1 packets transmitted, 0 received, 100% packet loss\n",
            "",
        ),
        ("ping: local error: message too long, mtu=1400\n", "local error: message too long, mtu=1400"),
        ("From 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)\n", "From 10.0.0.1 Frag needed and DF set (mtu = 1400)"),
        ("From 10.91.1.13 icmp_seq=1 Destination Host Unreachable\n", "From 10.91.1.13 Destination Host Unreachable"),
        ("ping: connect: Network is unreachable\n", "connect: Network is unreachable"),
        ("", ""),
    ],
)
def test_ping_s_words_are_kept(said, error):
    assert questions.ping_error(said) == error


def fake_ping(folder, body):
    program = folder / "ping"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


WAY = {"rail": "eth1", "source": "10.0.0.1", "destination": "10.0.0.2", "mtu": 9000}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("exit 0", {"large": True, "small": True, "error": ""}),
        ("exit 1", {"large": False, "small": False, "error": ""}),
        ('case "$*" in *"-s 8972"*) echo "ping: local error: message too long, mtu=1500"; exit 1;; esac', None),
        ('case "$*" in *"-c 1"*) exit 1;; esac', {"large": True, "small": True, "error": ""}),  # one lost packet is none
    ],
)
def test_a_large_packet_that_does_not_arrive_is_asked_again_beside_a_small_one(tmp_path, monkeypatch, body, expected):
    fake_ping(tmp_path, body)
    monkeypatch.setattr(questions, "_environment", lambda: {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    expected = expected or {"large": False, "small": True, "error": "local error: message too long, mtu=1500"}
    assert questions._ping_all([WAY]) == [expected]


def test_a_packet_is_as_large_as_the_mtu_without_its_headers_and_not_to_be_fragmented(tmp_path, monkeypatch):
    fake_ping(tmp_path, f'echo "$*" >> {tmp_path}/asked')
    monkeypatch.setattr(questions, "_environment", lambda: {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    questions._ping_all([WAY, {**WAY, "source": "fd00::1", "destination": "fd00::2", "mtu": 1500}])
    asked = sorted((tmp_path / "asked").read_text().splitlines())
    assert asked == [
        "-n -c 1 -i 0.2 -W 1 -I 10.0.0.1 -M do -s 8972 10.0.0.2",
        "-n -c 1 -i 0.2 -W 1 -I fd00::1 -M do -s 1452 fd00::2",
    ]


def test_without_ping_that_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "_environment", lambda: {"PATH": str(tmp_path)})
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = questions._ping_all([WAY])
    assert found == {"large": False, "small": False, "error": "ping: No such file or directory"}


def test_routes_are_known_by_destination_and_source():
    text = (
        "10.91.1.14 from 10.91.1.13 dev eth1 uid 0 \n    cache \n"
        "10.91.2.14 from 10.91.2.13 via 10.91.0.1 dev eth0 table 101 uid 0 \n    cache \n"
        "local 127.0.0.2 from 127.0.0.1 dev lo uid 0 \n    cache <local> \n"
        "RTNETLINK answers: Network is unreachable\nCommand failed -:3\n"
    )
    assert questions.parse_routes(text) == {
        ("10.91.1.14", "10.91.1.13"): {"interface": "eth1", "gateway": None},
        ("10.91.2.14", "10.91.2.13"): {"interface": "eth0", "gateway": "10.91.0.1"},
        ("127.0.0.2", "127.0.0.1"): {"interface": "lo", "gateway": None},
    }
