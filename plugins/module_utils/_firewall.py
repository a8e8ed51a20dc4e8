# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Pure parsers of packet filters: does a host drop packets that come in for itself?

Sources of the formats: iptables(8), nft(8). Rules are not understood, only found: whether one of them meets a cluster's packets is for a
probe to tell. Each parser gives ``{"policy", "drops"}``: what becomes of a packet that no rule takes (``ACCEPT``, ``DROP``, ``REJECT`` or
None where no chain takes packets in), and the rules that drop or reject, in their order.
"""

from __future__ import annotations

import re

INPUT = "INPUT"
REFUSALS = ("DROP", "REJECT")


def parse_iptables(text):
    """``iptables -S``: the chain INPUT and the chains that it jumps to."""
    policy, rules = None, {}
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[:2] == ["-P", INPUT]:
            policy = words[2]
        elif len(words) > 2 and words[0] == "-A":
            rules.setdefault(words[1], []).append(words)
    drops, seen, chains = [], set(), [INPUT]
    while chains:
        chain = chains.pop(0)
        if chain in seen:
            continue
        seen.add(chain)
        for words in rules.get(chain, []):
            target = _target(words)
            if target in REFUSALS:
                drops.append(" ".join(words))
            elif target in rules:
                chains.append(target)
    return {"policy": policy, "drops": drops}


def _target(words):
    """Where a rule sends its packets; None for one that only counts."""
    places = [place for place, flag in enumerate(words[:-1]) if flag in ("-j", "-g")]
    return words[places[0] + 1] if places else None


def parse_nft(text):
    """``nft list ruleset``: every chain at the hook ``input``; the strictest policy of several counts, as for a packet."""
    policy, drops, inside = None, [], False
    for line in (text or "").splitlines():
        words = line.strip()
        if words.startswith("chain "):
            inside = False
        match = re.match(r"type \S+ hook (\S+) .*?(?:policy (\w+);)?$", words)
        if match:
            inside = match.group(1) == "input"
            if inside and policy not in REFUSALS:
                policy = (match.group(2) or "accept").upper()
        elif inside and re.search(r"\b(?:drop|reject)\b", words.partition(" comment ")[0]):
            drops.append(words)
    return {"policy": policy, "drops": drops}
