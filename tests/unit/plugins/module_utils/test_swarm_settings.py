from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_settings import settings


def test_who_comes_to_the_other_address_of_a_lane_is_let_in():
    """libtorrent refuses whoever came to an address that no connection leaves from."""
    assert settings(["192.0.2.11:6900"], 4, 10**9)["outgoing_interfaces"] == "192.0.2.11"
    assert settings(["192.0.2.11:6900", "198.51.100.11:6900"], 4, 10**9)["outgoing_interfaces"] == ""
    assert settings([], 4, 10**9)["outgoing_interfaces"] == ""
