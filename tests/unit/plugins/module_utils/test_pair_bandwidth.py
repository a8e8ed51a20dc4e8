"""One test at a time on every host, with a stand-in for the tool, and what the tools' answers say."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_bandwidth as bandwidth
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_listener as listener
from hypothesis import given
from hypothesis import strategies as st

# Three hosts on loopback, each with a listening process of its own: the processes are threads here, for there is one network only.
HOSTS = {"a": "127.0.0.31", "b": "127.0.0.32", "c": "127.0.0.33"}

SERVER = """#!/bin/sh
# serves until it is killed, and says so in the folder
echo $$ >> {folder}/serving-{address}
exec sleep 60
"""
CLIENT = """#!/bin/sh
# $2 is the destination, $4 the source; both must have no other test
for one in $2 $4; do mkdir {folder}/busy-$one || echo $one >> {folder}/clash; done
sleep 0.1
rmdir {folder}/busy-$2 {folder}/busy-$4
echo '{{"end": {{"sum_received": {{"bits_per_second": 5e9}}}}}}'
"""


class Host:
    """The listening process of a host, as a thread."""

    def __init__(self, address, command):
        self.control, self.peer = listener.socket.socketpair()
        self.process = listener.Listener(self.control)
        wanted = {"name": address, "run": "r", "awaited": ["end"], "seconds": 30, "servers": {address: {"iperf3": command}}}
        wanted["addresses"] = {address: {"fixed": [], "nearby": [], "any": True}}
        self.port = self.process._open(wanted)[address]["any"]
        self.address = address
        self.thread = threading.Thread(target=self.process.serve, daemon=True)
        self.thread.start()

    def end(self):
        with contextlib.suppress(OSError), listener.socket.create_connection((self.address, self.port), timeout=5) as one:
            one.sendall(listener.line({"say": "done", "run": "r", "name": "end"}))
            one.recv(100)
        self.thread.join(5)
        self.control.close()
        self.peer.close()


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    client = tmp_path / "iperf3"
    client.write_text(CLIENT.format(folder=tmp_path))
    client.chmod(0o755)
    monkeypatch.setattr(bandwidth, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = {}
    for name, address in HOSTS.items():
        server = tmp_path / f"server-{name}"
        server.write_text(SERVER.format(folder=tmp_path, address=address))
        server.chmod(0o755)
        found[name] = Host(address, [str(server)])
    yield found
    for host in found.values():
        host.end()
    assert not any(host.thread.is_alive() for host in found.values())


def made_tests(hosts, name):
    return [
        {
            "peer": peer,
            "rail": "lo",
            "tool": "iperf3",
            "source": HOSTS[name],
            "destination": HOSTS[peer],
            "port": hosts[peer].port,
            "own_port": hosts[name].port,
            "seconds": 1,
        }
        for peer in HOSTS
        if peer != name
    ]


def test_no_host_ever_has_two_tests_at_once(hosts, tmp_path):
    found = {}
    threads = [
        threading.Thread(target=lambda one=name: found.update({one: bandwidth.measure(one, made_tests(hosts, one), 20)})) for name in HOSTS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not (tmp_path / "clash").exists()
    assert [(one["peer"], one["gbps"], one["error"]) for one in found["a"]] == [("b", 5.0, ""), ("c", 5.0, "")]
    assert all(one["gbps"] == 5.0 for all_of in found.values() for one in all_of)
    # No server outlives its test.
    time.sleep(0.2)
    served = [int(pid) for file in tmp_path.glob("serving-*") for pid in file.read_text().split()]
    assert 0 < len(served) <= len(HOSTS) * (len(HOSTS) - 1)  # one may be killed before it says a word
    for process in served:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize(("name", "peer"), [("a", "b"), ("b", "a")])
def test_two_hosts_are_taken_in_the_same_order_by_both(hosts, monkeypatch, name, peer):
    """Else each would have itself and wait for the other one."""
    taken = []
    held = bandwidth._held
    monkeypatch.setattr(bandwidth, "_held", lambda source, what, seconds: taken.append(what[0]) or held(source, what, seconds))
    (test,) = (one for one in made_tests(hosts, name) if one["peer"] == peer)
    (found,) = bandwidth.measure(name, [test], 5)
    assert found["gbps"] == 5.0
    assert taken == [HOSTS["a"], HOSTS["b"]]


def test_a_host_that_died_while_it_had_another_one_frees_it(hosts):
    connection = listener.socket.create_connection((HOSTS["b"], hosts["b"].port), timeout=5)
    connection.sendall(listener.line({"say": "hold", "serve": None, "seconds": 1, "name": "c"}))
    assert listener.read_line(connection) == {"name": HOSTS["b"], "port": None}
    connection.close()
    (found, *_rest) = bandwidth.measure("a", made_tests(hosts, "a")[:1], 10)
    assert found["gbps"] == 5.0


def test_a_peer_that_does_not_take_part_is_named(hosts):
    test = dict(made_tests(hosts, "a")[0], port=1)
    (found,) = bandwidth.measure("a", [test], 5)
    assert (found["gbps"], found["error"]) == (None, "b does not take part: Connection refused")


def test_a_peer_that_has_no_server_is_named(hosts):
    hosts["b"].process._servers.clear()
    (found,) = bandwidth.measure("a", made_tests(hosts, "a")[:1], 5)
    assert (found["gbps"], found["error"]) == (None, "b does not start iperf3")


def test_a_server_that_is_not_there_yet_is_asked_again(hosts, tmp_path):
    (tmp_path / "iperf3").write_text(
        f'#!/bin/sh\nif mkdir {tmp_path}/once 2>/dev/null; then echo \'{{"error": "unable to connect to server: Connection refused"}}\'\n'
        'else echo \'{"end": {"sum_received": {"bits_per_second": 1e9}}}\'; fi\n'
    )
    (found,) = bandwidth.measure("a", made_tests(hosts, "a")[:1], 5)
    assert found["gbps"] == 1.0


def test_a_tool_that_never_ends_is_given_up(hosts, tmp_path, monkeypatch):
    monkeypatch.setattr(bandwidth, "MORE_SECONDS", -0.5)
    (tmp_path / "iperf3").write_text("#!/bin/sh\nexec sleep 60\n")
    (found,) = bandwidth.measure("a", made_tests(hosts, "a")[:1], 5)
    assert (found["gbps"], found["error"]) == (None, "iperf3 does not end")


# ---- commands and answers

VERBS = {
    "tool": "ib_write_bw",
    "device": "mlx5_1",
    "device_port": "1",
    "gid": 3,
    "destination": "10.0.1.2",
    "source": "10.0.1.1",
    "seconds": 3,
}


def test_the_commands_are_those_that_operators_type():
    assert " ".join(bandwidth.client(VERBS, 4001)) == "ib_write_bw -d mlx5_1 -i 1 -x 3 -F --report_gbits -p 4001 -D 3 10.0.1.2"
    tcp = {"tool": "iperf3", "destination": "10.0.1.2", "source": "10.0.1.1", "seconds": 3}
    assert " ".join(bandwidth.client(tcp, 4001)) == "iperf3 -c 10.0.1.2 -B 10.0.1.1 -p 4001 -t 3 -J"


def test_a_server_is_offered_for_the_tools_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(bandwidth, "PATH", str(tmp_path))
    assert bandwidth.servers("10.0.1.1", VERBS) == {}
    for name in bandwidth.TOOLS:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert bandwidth.tools() == ["iperf3", "ib_write_bw"]
    assert bandwidth.servers("10.0.1.1", None) == {"iperf3": [f"{tmp_path}/iperf3", "-s", "-1", "-B", "10.0.1.1", "-p", "{port}"]}
    assert bandwidth.servers("10.0.1.1", VERBS)["ib_write_bw"][-2:] == ["-p", "{port}"]


# perftest's layout with --report_gbits, as its source prints it (src/perftest_parameters.h).
PERFTEST = """---------------------------------------------------------------------------------------
                    RDMA_Write BW Test
 local address: LID 0000 QPN 0x0127 PSN 0xb0c1c1
---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 65536      841500           0.00               {average}              0.280498
---------------------------------------------------------------------------------------
"""


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (bandwidth.parse_verbs, PERFTEST.format(average="147.06"), (147.06, "")),
        (
            bandwidth.parse_verbs,
            PERFTEST.format(average="nan"),
            (None, "no figure in '65536      841500           0.00               nan              0.280498'"),
        ),
        (bandwidth.parse_verbs, "Couldn't connect to 10.0.1.2:4001\n", (None, "Couldn't connect to 10.0.1.2:4001")),
        (bandwidth.parse_verbs, "", (None, "no answer")),
        (bandwidth.parse_iperf3, json.dumps({"end": {"sum_received": {"bits_per_second": 9.4121e9}}}), (9.412, "")),
        (bandwidth.parse_iperf3, '{"end": {"sum_received": {"bits_per_second": NaN}}}', (None, "no figure in iperf3's answer")),
        (bandwidth.parse_iperf3, '{"end": {}, "error": "unable to connect to server"}', (None, "unable to connect to server")),
        (bandwidth.parse_iperf3, "iperf3: command not found", (None, "iperf3: command not found")),
        (bandwidth.parse_iperf3, "[]", (None, "no figure in iperf3's answer")),
    ],
)
def test_what_the_tools_say_is_a_figure_or_an_error(parse, text, expected):
    assert parse(text) == expected


@given(
    st.text() | st.binary().map(lambda one: one.decode("utf-8", "replace")), st.integers(0, len(PERFTEST)), st.integers(0, len(PERFTEST))
)
def test_strange_answers_are_errors_and_never_raise(text, start, end):
    mutated = PERFTEST[:start] + text + PERFTEST[end:]
    for parse in (bandwidth.parse_verbs, bandwidth.parse_iperf3):
        for one in (text, mutated):
            gbps, error = parse(one)
            assert (gbps is None) == bool(error)
