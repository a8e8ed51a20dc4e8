# SPDX-License-Identifier: MIT
"""SIMULATOR: perftest's ib_write_bw. Two of them meet over TCP as the real ones do; no RDMA is done, and the figures are the ones set.

The smaller of both sides' figures counts, as that of a slow adapter would.
"""

from __future__ import annotations

import json
import socket
from typing import Sequence

from .base import Answer, Program, Session, option, refusal

PORT = 18515
SECONDS = 30
SIZE, ITERATIONS = 65536, 5000
_WITHOUT_VALUE = {"-F", "-R", "-a", "-b", "--report_gbits", "--bidirectional", "--all", "-N", "--CPU-freq"}


def answer(session: Session, argv: Sequence[str]) -> Answer:
    nic = session.rdma(option(argv, "-d", "--ib-dev") or "mlx5_0")
    if nic is None:
        return refusal(" IB device %s not found\n Unable to find the Infiniband/RoCE device" % option(argv, "-d", "--ib-dev"))
    if nic.state != "ACTIVE":
        return refusal(" Port number 1 state is Down\n Couldn't set the link layer")
    index = option(argv, "-x", "--gid-index")
    if index is not None and index not in [str(gid.index) for gid in nic.gids]:
        return refusal("Failed to modify QP to RTR: GID index %s is empty (p800-simulator)" % index)
    port = int(option(argv, "-p", "--port") or PORT)
    peer = _peer(argv)
    own = {"gbps": nic.bandwidth}
    try:
        other = _meet(peer, port, own)
    except OSError as error:
        return refusal("Couldn't connect to %s:%d: %s" % (peer or "client", port, error))
    return Answer(_text(nic.rdma or "", min(nic.bandwidth, float(other["gbps"])), "--report_gbits" in argv))


def _peer(argv: Sequence[str]) -> str:
    """The last word that is no option and no option's value."""
    words = list(argv)
    last = words[-1] if words else ""
    before = words[-2] if len(words) > 1 else ""
    takes_it = before.startswith("-") and before not in _WITHOUT_VALUE and "=" not in before
    return "" if not last or last.startswith("-") or takes_it else last


def _meet(peer: str, port: int, own: "dict[str, float]") -> "dict[str, float]":
    if peer:
        connection = socket.create_connection((peer, port), timeout=SECONDS)
    else:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.settimeout(SECONDS)
            server.bind(("", port))
            server.listen(1)
            connection = server.accept()[0]
    with connection:
        connection.settimeout(SECONDS)
        connection.sendall(json.dumps(own).encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as stream:
            told = stream.readline()
    if not told:
        raise OSError("the other side went away")
    return dict(json.loads(told))


def _text(device: str, gbps: float, in_gbits: bool) -> str:
    rule = "-" * 87
    unit, value = ("Gb/sec", gbps) if in_gbits else ("MB/sec", gbps * 1e9 / 8 / 1048576)
    rate = gbps * 1e9 / 8 / SIZE / 1e6
    return "\n".join(
        [
            rule,
            "                    RDMA_Write BW Test (p800-simulator: no RDMA, the figures are settings)",
            " Dual-port       : OFF\t\tDevice         : %s" % device,
            " Number of qps   : 1\t\tTransport type : IB",
            " Connection type : RC\t\tUsing SRQ      : OFF",
            " Link type       : Ethernet",
            rule,
            " #bytes     #iterations    BW peak[%s]    BW average[%s]   MsgRate[Mpps]" % (unit, unit),
            " %-10d %-14d %-18.2f %-18.2f %.6f" % (SIZE, ITERATIONS, value, value, rate),
            rule,
            "",
        ]
    )


PROGRAM = Program("ib_write_bw", "/usr/bin/ib_write_bw", "perftest's ib_write_bw", answer, reads_addresses=True)
