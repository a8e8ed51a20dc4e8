# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Where the engine put its workers, against where the plan has them."""

from __future__ import annotations

import collections

Difference = collections.namedtuple("Difference", "host observed expected")


def differences(planned, workers):
    """Every rank that is not where the plan has it.

    :param planned: the plan's ``ranks``.
    :param workers: what the engine says: dicts with ``rank``, ``local_rank``, ``host`` and ``device``; a device of ``None`` is no
        statement (a CPU has no node to hold open) and differs from nothing.
    :returns: a list of :class:`Difference`, in the order of the ranks.
    """
    by_rank = collections.defaultdict(list)
    for item in workers:
        by_rank[item["rank"]].append(item)
    found = []
    for rank in planned:
        seen = by_rank.pop(rank["rank"], [])
        if len(seen) == 1 and _same(rank, seen[0]):
            continue
        observed = " and ".join(_words(item) for item in seen) if seen else "no worker says that it is this rank"
        found.append(Difference(rank["host"], "rank %d: %s" % (rank["rank"], observed), _words(rank)))
    for number in sorted(by_rank):
        found += [Difference(item["host"], "rank %d: %s" % (number, _words(item)), "no such rank") for item in by_rank[number]]
    return found


def _same(rank, item):
    same_place = (item["host"], item["local_rank"]) == (rank["host"], rank["local_rank"])
    return same_place and item.get("device") in (None, rank["device"])


def _words(item):
    device = " on %s" % item["device"] if item.get("device") else ""
    return "local rank %d of %s%s" % (item["local_rank"], item["host"], device)
