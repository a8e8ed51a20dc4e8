# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What answers the other hosts' questions: listeners on a host's own addresses, held by one process that ends by itself.

The process is started by whoever first asks for listeners and serves everyone after: two runs of the checks at the same time share it,
and one that follows a broken run finds it. It takes requests at an abstract socket, which leaves no file behind, from its own user only.

It ends when every host that it waits for has said "done", when a service is about to take its ports, and at a deadline in any case. A port
that somebody holds is left alone.

Who connects to a listener says in one line of JSON who it is, and reads in one line who answers: an address that leads to another host
than it should is told from one that leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import time

# The number is that of the protocol: a process of another version of it is left to end by itself.
CONTROL = "\0flagos-kunlunxin-pairs-1"
PROGRAM = b"flagos-pairs"  # what ps and the list of a port's holders show
LINE_BYTES = 65536
BACKLOG = 512
FIRST_REQUEST_SECONDS = 10
HOLD_SECONDS = 20  # and the test's own: then a host that is held is free again
SPEAK_SECONDS = 10  # for the line of whoever connects
LISTENING, HELD = "listening", "held"


def request(wanted):
    """Have listeners opened, by the process that is there or by a new one.

    :param wanted: ``name`` (this host's), ``run`` (any text that is the run's own), ``awaited`` (the hosts that will say "done"),
        ``seconds`` (how long to wait for them), ``addresses``: for each address ``fixed`` (ports), ``nearby`` (ports, of which the
        first free one from there on is taken) and ``any`` (whether to take a port of the system's choice), and ``servers``: for each
        address the command that serves a test of bandwidth, by tool, with ``{port}`` in it; none where none is wanted.
    :returns: for each address ``{"ports": {port: "listening", "held" or why not}, "nearby": {wanted: taken}, "any": port or None}``.
        Ports that are keys are text, as in JSON.
    """
    for _attempt in range(20):
        control = _bound()
        if control is not None:
            _start(control)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(FIRST_REQUEST_SECONDS)
            try:
                channel.connect(CONTROL)
                channel.sendall(line(wanted))
                answer = read_line(channel)
            except OSError:
                answer = None
        if answer is not None:
            return answer["addresses"]
        time.sleep(0.05)  # it was just ending
    raise OSError(errno.EAGAIN, "the listening process does not answer")


def dismiss():
    """Have the process end now, whoever it waits for, and wait until its ports are free. Without one there is nothing to do.

    A run that was killed says no "done": until the deadline the process would hold the ports of the service that the next run starts.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, contextlib.suppress(OSError):
        channel.settimeout(FIRST_REQUEST_SECONDS)
        channel.connect(CONTROL)
        channel.sendall(line({"end": True}))
        channel.recv(1)  # the end of the stream


def line(message):
    """A message as it is sent."""
    return (json.dumps(message) + "\n").encode()


def read_line(channel):
    """The message that comes next; None at the end of the stream and for what is no message."""
    received = b""
    while not received.endswith(b"\n") and len(received) < LINE_BYTES:
        part = channel.recv(4096)
        if not part:
            break
        received += part
    return parse(received)


def parse(received):
    """The message in these bytes; None where there is none."""
    try:
        message = json.loads(received.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _bound():
    """The socket for requests; None where a process has it already."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        control.bind(CONTROL)
    except OSError:
        control.close()
        return None
    control.listen(16)
    return control


def _start(control):
    """Leave a process behind that is nobody's child and holds nothing of ours, so that the login can end."""
    child = os.fork()
    if child:
        control.close()
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > 2 and descriptor != control.fileno():
                with contextlib.suppress(OSError):  # the listing's own
                    os.close(descriptor)
        with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as name:
            name.write(PROGRAM)
        Listener(control).serve()
    finally:
        os._exit(0)


class Listener(object):
    """The process: all sockets in one loop, no thread."""

    def __init__(self, control):
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._accept_request)
        self._name = ""
        self._sockets = {}  # (address, port): socket
        self._any = {}  # address: port
        self._awaited = {}  # run: hosts that have not said "done"
        self._deadlines = {"": time.monotonic() + FIRST_REQUEST_SECONDS}  # run: when it is given up
        self._speaking = {}  # connection: when it must have spoken
        self._servers = {}  # address: tool: command
        self._queue = []  # (connection, message): who wants this host for itself, the first one has it
        self._server = None  # the process that serves the test of the first one

    def serve(self):
        """Until nobody is waited for any more."""
        while self._deadlines or self._speaking:
            now = time.monotonic()
            next_deadline = min(list(self._deadlines.values()) + list(self._speaking.values()))
            for key, _events in self._selector.select(max(0.0, next_deadline - now)):
                key.data(key.fileobj)
            self._forget(time.monotonic())

    def _forget(self, now):
        for run in [run for run, deadline in self._deadlines.items() if deadline <= now or not self._awaited.get(run, True)]:
            del self._deadlines[run]
            self._awaited.pop(run, None)
        for connection in [one for one, deadline in self._speaking.items() if deadline <= now]:
            self._cut(connection)

    def _accept_request(self, control):
        channel, _address = control.accept()
        with channel:
            channel.settimeout(SPEAK_SECONDS)
            user = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1]
            if user != os.geteuid():
                return
            with contextlib.suppress(OSError):
                wanted = read_line(channel)
                if wanted == {"end": True}:
                    self._close()
                elif wanted is not None:
                    channel.sendall(line({"addresses": self._open(wanted)}))

    def _close(self):
        """Free all ports; nothing is waited for any more."""
        for one in self._sockets.values():
            self._selector.unregister(one)
            one.close()
        self._sockets, self._any = {}, {}
        self._deadlines.clear()
        for connection in list(self._speaking):
            self._cut(connection)

    def _open(self, wanted):
        self._name = wanted["name"]
        self._servers.update(wanted["servers"])
        self._deadlines.pop("", None)
        self._deadlines[wanted["run"]] = time.monotonic() + wanted["seconds"]
        self._awaited[wanted["run"]] = set(wanted["awaited"])
        return {address: self._open_address(address, ports) for address, ports in wanted["addresses"].items()}

    def _open_address(self, address, ports):
        found = {str(port): self._listen(address, port) for port in ports["fixed"]}
        nearby = {}
        for first in ports["nearby"]:
            for port in range(first, min(first + 64, 65536)):
                state = self._listen(address, port)
                if state != HELD:
                    found[str(port)] = state
                    nearby[str(first)] = port
                    break
        if ports["any"]:
            state = LISTENING if address in self._any else self._listen(address, 0)
            found[str(self._any.get(address, 0))] = state
        return {"ports": found, "nearby": nearby, "any": self._any.get(address)}

    def _listen(self, address, port):
        if (address, port) in self._sockets:
            return LISTENING
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Connections of a service that ended a moment ago do not hold its port.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, port))
            one.listen(BACKLOG)
        except OSError as error:
            one.close()
            return HELD if error.errno == errno.EADDRINUSE else os.strerror(error.errno)
        one.setblocking(False)
        taken = one.getsockname()[1]
        if port == 0:
            self._any[address] = taken
        self._sockets[address, taken] = one
        self._selector.register(one, selectors.EVENT_READ, self._accept)
        return LISTENING

    def _accept(self, one):
        try:
            connection, _address = one.accept()
        except OSError:  # whoever connected is gone, or too many are here at once
            return
        connection.setblocking(False)
        self._speaking[connection] = time.monotonic() + SPEAK_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, self._hear)

    def _hear(self, connection):
        """A line fits in one packet, so that what came with the first bytes is all of it.

        Whoever connected hangs up first: the end that does keeps its port for a minute, and these are the ports of a service to come.
        """
        try:
            received = connection.recv(4096)
            message = parse(received)
            if any(one is connection for one, _message in self._queue):
                message = None  # who has the host or waits for it has said all there is to say
            elif message is not None and message.get("say") == "hold":
                self._queue.append((connection, message))
                self._speaking[connection] = max(self._deadlines.values(), default=0.0)
                self._serve_first()
                return
            if message is not None:
                connection.sendall(line({"name": self._name}))
                if message.get("say") == "done":
                    self._awaited.get(str(message.get("run")), set()).discard(str(message.get("name")))
        except OSError:  # it asks again, or counts as one that got no answer
            received, message = b"?", None
        if not received:
            self._end(connection)
        elif message is None:
            self._cut(connection)

    def _serve_first(self):
        """Give the host to the first in the queue, unless somebody has it."""
        if self._server is not None or not self._queue:
            return
        connection, message = self._queue[0]
        self._server = _Server(self._servers.get(connection.getsockname()[0], {}).get(str(message.get("serve"))), connection)
        seconds = message.get("seconds")
        self._speaking[connection] = time.monotonic() + HOLD_SECONDS + (seconds if isinstance(seconds, int) and 0 < seconds < 600 else 0)
        try:
            connection.sendall(line({"name": self._name, "port": self._server.port}))
        except OSError:
            self._cut(connection)

    def _cut(self, connection):
        """End a connection without waiting for the other end, and without keeping the port."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end(connection)

    def _end(self, connection):
        self._speaking.pop(connection, None)
        self._selector.unregister(connection)
        connection.close()
        if self._server is not None and self._server.connection is connection:
            self._server.stop()
            self._server = None
        self._queue = [one for one in self._queue if one[0] is not connection]
        self._serve_first()


class _Server(object):
    """The tool that serves the test of whoever has the host; no process where the test only wants the host quiet.

    :ivar port: where it listens, or None.
    """

    def __init__(self, command, connection):
        self.connection, self.port, self._process = connection, None, None
        if command is None:
            return
        with socket.socket(connection.family, socket.SOCK_STREAM) as one:
            one.bind((connection.getsockname()[0], 0))
            port = one.getsockname()[1]
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(  # pylint: disable=consider-using-with
                [part.replace("{port}", str(port)) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self.port = port

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
