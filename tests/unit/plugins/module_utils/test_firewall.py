"""Packet filters: found are the rules that may drop what comes in, and none of those that only forward."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _firewall
from hypothesis import given
from hypothesis import strategies as st

# A host with Docker, and one with ufw.
DOCKER = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-ISOLATION-STAGE-2
-A FORWARD -j DOCKER
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
"""
UFW = """\
-P INPUT DROP
-N ufw-before-input
-N ufw-not-local
-A INPUT -j ufw-before-input
-A INPUT -p tcp
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -g ufw-not-local
-A ufw-not-local -m limit --limit 3/min -j LOG
-A ufw-not-local -j DROP
"""
LOOP = "-P INPUT ACCEPT\n-A INPUT -j a\n-A a -j b\n-A b -j a\n-A b -p udp -j REJECT --reject-with icmp-port-unreachable\n"
NFT = """\
table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\ttcp dport 22 accept comment "do not drop"
\t\tip saddr 10.0.0.0/8 reject with icmp type admin-prohibited
\t}
\tchain forward {
\t\ttype filter hook forward priority filter; policy drop;
\t\tcounter drop
\t}
}
table ip nat {
\tchain in {
\t\ttype nat hook input priority 100; policy accept;
\t}
}
"""


@pytest.mark.parametrize(
    ("text", "policy", "drops"),
    [
        (DOCKER, "ACCEPT", []),
        (UFW, "DROP", ["-A ufw-not-local -j DROP"]),
        (LOOP, "ACCEPT", ["-A b -p udp -j REJECT --reject-with icmp-port-unreachable"]),
        ("", None, []),
    ],
)
def test_iptables(text, policy, drops):
    assert _firewall.parse_iptables(text) == {"policy": policy, "drops": drops}


def test_nft():
    found = _firewall.parse_nft(NFT)
    assert found == {"policy": "DROP", "drops": ["ip saddr 10.0.0.0/8 reject with icmp type admin-prohibited"]}
    assert _firewall.parse_nft(None) == {"policy": None, "drops": []}


@given(st.lists(st.sampled_from([*UFW.splitlines(), *NFT.splitlines(), "-A", "-A INPUT -j", "chain", "type x hook input", "drop"])))
def test_no_mixture_of_lines_makes_trouble(lines):
    for parse in (_firewall.parse_iptables, _firewall.parse_nft):
        found = parse("\n".join(lines))
        assert set(found) == {"policy", "drops"}
        assert all(drop.split() and drop in "\n".join(lines) for drop in found["drops"])


@given(st.text())
def test_no_text_makes_trouble(text):
    assert _firewall.parse_iptables(text)["drops"] == _firewall.parse_nft(text)["drops"] == []
