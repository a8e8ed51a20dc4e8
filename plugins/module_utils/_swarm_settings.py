# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How a lane of the swarm is set up: what libtorrent is told, as plain data.

The names are libtorrent's own (https://www.libtorrent.org/reference-Settings.html). A lane serves machines of one owner on one
network, which nobody has to be fair to, so everything that finds, invites or favours strangers is off.
"""

from __future__ import annotations

MIB = 2**20
# What a lane calls itself to the others; by that they know who only gives.
AGENT, SOURCE_AGENT = "flagos-kunlunxin", "flagos-kunlunxin source"
# Between two attempts to reach a peer, in seconds; a host may come back at any time.
RECONNECT_SECONDS = 1
# libtorrent connects in its ticks. With its default, 500 ms, the first byte comes 0.4 s later; with 100 ms it costs a tenth more CPU (both
# measured), so it is quick until it is connected.
BUSY_TICK, IDLE_TICK = 100, 500
# When it is no longer quick, whoever is missing, in seconds.
BUSY_SECONDS = 10
# How long the second of two hosts leaves it to the first to connect: two connections between them carry no more than one.
TURN_SECONDS = 2
# libtorrent wants a group for finite-field Diffie-Hellman beside each certificate, though members whose keys
# are on curves never use one. It is no secret (RFC 7919, ffdhe2048).
DIFFIE_HELLMAN = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


BLOCK = 2**14  # what is asked for at once, by BitTorrent
# What hosts have asked for and not received is lost to them when another host's copy of it arrives first, so it is kept to this share of the
# whole; more than the upper bound fills no link, less than the lower one starves it.
_IN_FLIGHT = 0.002
_FEWEST, _MOST = 16, 500


def queue_length(total_bytes, receivers):
    """How many blocks a host may have asked of another at once.

    :param total_bytes: of the lane.
    :param receivers: how many hosts it goes to.
    """
    return int(max(_FEWEST, min(_MOST, total_bytes * _IN_FLIGHT / max(1, receivers) / BLOCK)))


def settings(listen, members, total_bytes, tls=False, source=False):
    """The settings of one session.

    :param listen: the ``address:port`` that it is bound to; without any it only reaches out.
    :param members: how many others there are.
    :param total_bytes: of the lane.
    :param tls: whether it speaks TLS alone.
    :param source: whether it only gives, so that the others can tell what came from where the weights were.
    :returns: dict for ``libtorrent.session``.
    """
    queue = queue_length(total_bytes, members)
    return {
        "user_agent": SOURCE_AGENT if source else AGENT,
        "listen_interfaces": ",".join(address + "s" if tls else address for address in listen),
        # Libtorrent lets in nobody who came to another address than these, so with two to listen on it must be left to the routes from
        # where connections leave (src/session_impl.cpp, verify_incoming_interface).
        "outgoing_interfaces": listen[0].rpartition(":")[0] if len(listen) == 1 else "",
        # Nobody is looked for: the peers are told.
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_ip_notifier": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": 2,  # obfuscation keeps nobody out and costs CPU
        "out_enc_policy": 2,
        "listen_system_port_fallback": False,
        "max_retry_port_bind": 0,  # a port that is taken is an error, not a reason to take the next
        # Everybody is connected to everybody and never left waiting.
        "connections_limit": 2 * members + 20,
        "unchoke_slots_limit": -1,
        "torrent_connect_boost": members + 1,
        "connection_speed": members + 10,
        "smooth_connects": False,
        "tick_interval": BUSY_TICK,
        "min_reconnect_time": RECONNECT_SECONDS,
        "max_failcount": 1_000_000,
        "peer_turnover": 0,
        "close_redundant_connections": False,
        "seeding_outgoing_connections": True,
        # Two hosts that ask the source for the same piece are the loss of a swarm. The one who is asked has the last word on the queue; and
        # without the third, libtorrent asks for up to 8 MiB of one peer, whatever the queue (src/request_blocks.cpp).
        "request_queue_time": 3,
        "max_out_request_queue": queue,
        "max_allowed_in_request_queue": queue,
        "whole_pieces_threshold": 0,
        # What waits to be sent: 5% of a second's, within these. More costs memory and copies, a third of the processor time (measured).
        "send_buffer_low_watermark": 2**14,
        "send_buffer_watermark": 4 * MIB,
        "send_buffer_watermark_factor": 5,
        "max_queued_disk_bytes": 64 * MIB,
        # Each block wakes them all. One writes and hashes more than a lane's network thread brings; lanes are what makes use of more cores.
        "aio_threads": 1,
        "hashing_threads": 1,
        "file_pool_size": 400,
        "no_atime_storage": True,
        "alert_queue_size": 20000,
        "ssrf_mitigation": False,
        "allow_multiple_connections_per_ip": True,  # a host that is a source, too, has two lanes with one address
        "peer_timeout": 20,
        "inactivity_timeout": 60,
    }
