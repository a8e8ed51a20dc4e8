# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""One host's questions to the others: how a packet would leave, whether the largest one arrives, and who answers at which port.

Of every other host the ways to it are pinged at once and its ports are asked one after another, so that a host has no more
than one connection open to another host. A host that drops everything costs seconds, because after the first sign of life that fails to
come the rest is not asked.

Sources: ping(8) of iputils (``-M do`` forbids fragments; the size is without the headers), ip-route(8), ip(8) on ``-batch``.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pair_listener

HEADERS = {4: 28, 6: 48}  # bytes of IP and ICMP
SMALL_BYTES = 56  # ping's own default
CONNECT_SECONDS = 1.5  # one lost SYN is sent again after a second
REPLY_SECONDS = 5  # by a process on a machine that may be busy
PING_SECONDS = 1
PEER_SECONDS = 14  # after which nothing more of a host is asked
PEERS_AT_ONCE = 16
COMMAND_SECONDS = 20
# What is known of a port beside the errors that the kernel tells.
OK, TIMEOUT, REFUSED, SILENT, NOT_ASKED = "ok", "timeout", "refused", "silent", "not asked"


def ask(name, questions, finish=True):
    """All answers, in the order of the questions.

    :param name: this host's name, which the others are told.
    :param questions: one for each peer, as the option ``questions`` of the module has them. A port that is ``held`` by a service is
        connected to, and not spoken with.
    :param finish: whether to tell every peer that this host has no more questions.
    :returns: for each way what the module returns as ``answers``.
    """
    routes = ask_routes([(way["destination"], way["source"]) for one in questions for way in one["ways"]])

    def ask_peer(question):
        answers = _ask_peer(name, question, routes)
        if finish:
            _say_done(name, question, answers)
        return answers

    with ThreadPoolExecutor(max_workers=PEERS_AT_ONCE) as pool:
        return [answer for answers in pool.map(ask_peer, questions) for answer in answers]


def ask_routes(ways):
    """How the kernel would send to each destination from each source: ``{(destination, source): {"interface", "gateway"}}``.

    A way without a route is left out. One process for all: with many hosts and rails there are hundreds.
    """
    asked = "".join("route get %s from %s\n" % way for way in ways)
    try:
        done = subprocess.run(  # pylint: disable=subprocess-run-check
            ["ip", "-force", "-batch", "-"],
            input=asked.encode(),
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_routes(done.stdout.decode("utf-8", "replace"))


def parse_routes(text):
    """What ``ip route get`` printed for several ways, as :func:`ask_routes` gives it. A line that says something else is no route."""
    found = {}
    for one in text.splitlines():
        match = re.match(r"(?:(?:local|unicast) )?([0-9a-f.:]+) from ([0-9a-f.:]+) (?:via (?:inet6? )?([0-9a-f.:]+) )?dev (\S+)", one)
        if match:
            destination, source, gateway, interface = match.groups()
            found[destination, source] = {"interface": interface, "gateway": gateway}
    return found


def _environment():
    return dict(os.environ, LC_ALL="C", PATH="/usr/sbin:/usr/bin:/sbin:/bin")


def _ask_peer(name, question, routes):
    deadline = time.monotonic() + PEER_SECONDS
    ways = question["ways"]
    pings = _ping_all(ways)
    answers = []
    for place, way in enumerate(ways):
        ping = pings[place]
        alive = ping["large"] or ping["small"]
        ports = {}
        for one in way["ports"]:
            dead = not alive and any(state == TIMEOUT for state in ports.values())
            late = time.monotonic() > deadline
            ports[str(one["port"])] = NOT_ASKED if dead or late else ask_port(name, way, one, question["peer"])
        route = routes.get((way["destination"], way["source"]))
        answers.append({"peer": question["peer"], "rail": way["rail"], "route": route, "ping": ping, "ports": ports})
    return answers


def _ping_all(ways):
    """The largest packet on every way; where it does not come back it is sent again, and beside it a small one."""
    largest = [(way, way["mtu"] - HEADERS[6 if ":" in way["destination"] else 4]) for way in ways]
    first = _pings([(way, size, 1) for way, size in largest])
    failed = [place for place, (arrived, _error) in enumerate(first) if not arrived]
    again = _pings([(*largest[place], 2) for place in failed] + [(ways[place], SMALL_BYTES, 2) for place in failed])
    found = [{"large": True, "small": True, "error": ""} for _way in ways]
    for number, place in enumerate(failed):
        (large, error), (small, _error) = again[number], again[number + len(failed)]
        found[place] = {"large": large, "small": large or small, "error": "" if large else error}
    return found


def _pings(wanted):
    """For each (way, size, packets): whether a packet came back, and what ping says of an error. All at once."""
    processes = [_start_ping(way, size, packets) for way, size, packets in wanted]
    return [_ended(process) for process in processes]


def _start_ping(way, size, packets):
    options = ["-n", "-c", str(packets), "-i", "0.2", "-W", str(PING_SECONDS), "-I", way["source"], "-M", "do", "-s", str(size)]
    try:
        return subprocess.Popen(  # pylint: disable=consider-using-with
            ["ping"] + options + [way["destination"]],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        return error


def _ended(process):
    if isinstance(process, OSError):
        return False, "ping: %s" % process.strerror
    try:
        said = process.communicate(timeout=COMMAND_SECONDS)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[0].decode("utf-8", "replace")
    return process.returncode == 0, ping_error(said)


def ping_error(said):
    """What ping prints of an error, in its words; empty where a packet just did not come back.

    Such as ``local error: message too long, mtu=1400``, ``From 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)`` and
    ``connect: Network is unreachable``.
    """
    for one in said.splitlines():
        if re.search(r"\berror:|^ping: |^From |^connect: |^bind: |unreachable$", one):
            return re.sub(r"^ping: |icmp_seq=\d+ ", "", one).strip()
    return ""


def ask_port(name, way, port, peer):
    """Who answers at a port of a peer."""
    try:
        connection = _connected(way["source"], way["destination"], port["port"])
    except socket.timeout:
        return TIMEOUT
    except ConnectionRefusedError:
        return REFUSED
    except OSError as error:
        return error.strerror or str(error)
    with connection:
        if port["held"]:
            return OK
        answer = _said(connection, {"say": "hello", "name": name})
    if answer is None:
        return SILENT
    return OK if answer.get("name") == peer else "answered by %s" % answer.get("name")


def _said(connection, message):
    """The answer to a message; None where none comes."""
    try:
        connection.settimeout(REPLY_SECONDS)
        connection.sendall(_pair_listener.line(message))
        return _pair_listener.read_line(connection)
    except OSError:
        return None


def _connected(source, destination, port):
    connection = socket.socket(socket.AF_INET6 if ":" in destination else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.bind((source, 0))
        connection.connect((destination, port))
    except OSError:
        connection.close()
        raise
    return connection


def say_done(name, questions):
    """Tell every peer that this host has no more questions, over the ways that are known to work."""
    for question in questions:
        _say_done(name, question, None)


def _say_done(name, question, answers):
    """At the first address that answered and takes it; where none does, the peer waits until its deadline."""
    for place, way in enumerate(question["ways"]):
        for address, port in question["done"]:
            if address != way["destination"] or (answers is not None and answers[place]["ports"].get(str(port)) != OK):
                continue
            with contextlib.suppress(OSError), _connected(way["source"], address, port) as connection:
                if _said(connection, {"say": "done", "run": question["run"], "name": name}) is not None:
                    return
