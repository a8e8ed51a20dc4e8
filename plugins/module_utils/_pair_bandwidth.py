# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How fast one host sends to another: one test after another, with the tools that operators use.

No host has two tests at once: whoever tests holds both hosts as long as it does, which the hosts' listening processes see to. They are
taken in alphabetical order, so that two that want the same two never wait for each other for good.

Sources: iperf3(1) on ``--json``; perftest's README and output for ``ib_write_bw --report_gbits``.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import time

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_listener

IPERF3, IB_WRITE_BW = "iperf3", "ib_write_bw"
TOOLS = (IPERF3, IB_WRITE_BW)
MORE_SECONDS = 10  # for a test to start and end
STARTING_SECONDS = 3  # for its server
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"
# What the tools say while the server is not there yet.
NOT_YET = re.compile(r"refused|unable to connect|couldn't connect", re.IGNORECASE)


def tools():
    """Those of the tools that the host has."""
    return [name for name in TOOLS if shutil.which(name, path=PATH)]


def servers(address, verbs):
    """The commands that serve one test, by tool, with ``{port}`` for the port.

    :param verbs: as :func:`verbs_of` gives it for the address's interface.
    """
    found = {IPERF3: [IPERF3, "-s", "-1", "-B", address, "-p", "{port}"]}
    if verbs is not None:
        found[IB_WRITE_BW] = _verbs(verbs, "{port}")
    here = tools()
    return {tool: [shutil.which(tool, path=PATH)] + command[1:] for tool, command in found.items() if tool in here}


def verbs_of(interface, rdma):
    """The RDMA device of an interface, its port, its rate and the index of the GID to use; None where it has no active port for RoCE v2 and IPv4.

    :param interface: its facts, and ``rdma`` the devices', as :func:`_network_facts.network` gives them.
    """
    device = rdma.get(interface["rdma"] or "")
    addresses = [one["address"] for one in interface["addresses"]]
    for number, port in device["ports"].items() if device else ():
        gids = [gid["index"] for gid in port["gids"] if gid["type"] == "RoCE v2" and gid["ipv4"] in addresses]
        if port["state"] == "ACTIVE" and gids:
            return {"device": interface["rdma"], "device_port": number, "gid": gids[0], "rate_gbps": port["rate_gbps"]}
    return None


def _verbs(one, port):
    return [IB_WRITE_BW, "-d", one["device"], "-i", one["device_port"], "-x", str(one["gid"]), "-F", "--report_gbits", "-p", str(port)]


def client(test, port):
    """The command that makes a test."""
    seconds = str(test["seconds"])
    if test["tool"] == IB_WRITE_BW:
        return _verbs(test, port) + ["-D", seconds, test["destination"]]
    return [IPERF3, "-c", test["destination"], "-B", test["source"], "-p", str(port), "-t", seconds, "-J"]


def measure(name, tests, wait_seconds):
    """All tests of a host, in their order.

    :param tests: each with ``peer``, ``rail``, ``tool``, ``source``, ``destination``, ``port`` (of the peer's listening process),
        ``own_port`` (of this host's), ``seconds``, and for RDMA ``device``, ``device_port`` and ``gid`` of this host.
    :param wait_seconds: how long to wait for the two hosts of a test to be free.
    :returns: for each ``{"peer", "rail", "tool", "gbps" (None where it cannot be told), "error"}``.
    """
    return [dict(_one(name, test, wait_seconds), peer=test["peer"], rail=test["rail"], tool=test["tool"]) for test in tests]


def _one(name, test, wait_seconds):
    serve = {"say": "hold", "serve": test["tool"], "seconds": test["seconds"], "name": name}
    own = (test["source"], test["own_port"], dict(serve, serve=None))
    other = (test["destination"], test["port"], serve)
    first, second = (own, other) if name < test["peer"] else (other, own)
    try:
        with _held(test["source"], first, wait_seconds) as one, _held(test["source"], second, wait_seconds) as two:
            port = (two if first is own else one).answer.get("port")
            if not port:
                return {"gbps": None, "error": "%s does not start %s" % (test["peer"], test["tool"])}
            return _run(test, port)
    except OSError as error:
        return {"gbps": None, "error": "%s does not take part: %s" % (test["peer"], error.strerror or error)}


class _held(object):  # noqa: N801 - used as a function
    """A host that has no other test as long as this lasts."""

    def __init__(self, source, what, seconds):
        address, port, message = what
        self._connection = socket.create_connection((address, port), timeout=seconds, source_address=(source, 0))
        try:
            self._connection.sendall(_pair_listener.line(message))
            self.answer = _pair_listener.read_line(self._connection)
            if self.answer is None:
                raise OSError("no answer")
        except OSError:
            self._connection.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._connection.close()


def _run(test, port):
    parse = parse_verbs if test["tool"] == IB_WRITE_BW else parse_iperf3
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            done = subprocess.run(  # pylint: disable=subprocess-run-check
                client(test, port),
                env=dict(os.environ, LC_ALL="C", PATH=PATH),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=test["seconds"] + MORE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"gbps": None, "error": "%s does not end" % test["tool"]}
        gbps, error = parse(done.stdout.decode("utf-8", "replace"))
        if gbps is not None or not NOT_YET.search(error) or time.monotonic() > deadline:
            return {"gbps": gbps, "error": error}
        time.sleep(0.1)


def _figure(value):
    """A bandwidth; None for what is no finite number, which is no bandwidth either."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def parse_iperf3(text):
    """Gigabits per second that arrived, and the error where there are none."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None, _last_line(text)
    found = answer if isinstance(answer, dict) else {}
    for key in ("end", "sum_received"):
        inner = found.get(key)
        found = inner if isinstance(inner, dict) else {}
    bits = _figure(found.get("bits_per_second"))
    if bits is None:
        error = answer.get("error") if isinstance(answer, dict) else None
        return None, str(error or "no figure in iperf3's answer")
    return round(bits / 1e9, 3), ""


def parse_verbs(text):
    """Gigabits per second on average, and the error where there are none."""
    header = None
    for one in text.splitlines():
        if "BW average[Gb/sec]" in one:
            header = [part for part in re.split(r"\s{2,}", one.strip()) if part]
        elif header and re.match(r"\s*\d+\s", one):
            columns = one.split()
            place = header.index("BW average[Gb/sec]") if "BW average[Gb/sec]" in header else len(columns)
            gbps = _figure(columns[place]) if place < len(columns) else None
            return gbps, "" if gbps is not None else "no figure in %r" % one.strip()
    return None, _last_line(text)


def _last_line(text):
    lines = [one.strip() for one in text.splitlines() if one.strip()]
    return lines[-1][:200] if lines else "no answer"
