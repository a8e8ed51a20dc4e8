"""What a lane counts; what it does with libtorrent is shown in beds of network namespaces (tests/faults/test_weights_swarm.py)."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_lane import Tally


def test_what_an_ended_connection_brought_stays_counted():
    tally = Tally()
    assert tally.bytes == 0
    tally.take({("192.0.2.1", 7000): 5, ("192.0.2.2", 7000): 1})
    tally.take({("192.0.2.1", 7000): 9, ("192.0.2.2", 7000): 1})
    assert tally.bytes == 10
    tally.take({("192.0.2.2", 7000): 2})
    assert tally.bytes == 11
    tally.take({("192.0.2.1", 7000): 3, ("192.0.2.2", 7000): 2})
    assert tally.bytes == 14, "the same end, connected anew"
    tally.take({("192.0.2.1", 7000): 1, ("192.0.2.2", 7000): 2})
    assert tally.bytes == 15, "and again between two looks"
