# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Who may change the cluster now: a lease, as a pure function of what is written down and who asks.

One run of Ansible holds the lease, on the cluster's first host. It runs out by itself, measured by that host's clock alone, so that a
controller which is gone for good blocks nobody for ever. A controller knows its own processes, so a run of its own that died blocks
it not at all.
"""

from __future__ import annotations

import time

HELD = "held"
FREE = "free"
FOREIGN = "foreign"


def decide(record, holder, now):
    """What a request for the lease meets.

    :param record: what is written down, as :func:`grant` returns it; empty when nobody holds the lease.
    :param holder: who asks: a dict with ``controller`` (identity of the machine), ``process`` (identity of the run), ``ended`` (a process
        of the same controller that is known to have ended, else empty) and ``insists`` (whether to take the lease from anybody).
    :param now: seconds since the epoch, by the clock of the host with the lease.
    :returns: (state, note): :data:`HELD` by this very run, :data:`FREE` to take, or :data:`FOREIGN`; the note says in words why a
        lease that somebody left behind is free, and is empty otherwise.
    """
    if not record:
        return FREE, ""
    if is_of(record, holder):
        return HELD, ""
    for free, why in (
        (record["controller"] == holder["controller"] and record["process"] == holder["ended"], "whose process has ended"),
        (record["expires"] <= now, "which ran out"),
        (holder["insists"], "because this run insists"),
    ):
        if free:
            return FREE, "took over the lease of %s, %s" % (record["who"], why)
    return FOREIGN, ""


def is_of(record, holder):
    """Whether a record is of this very run."""
    return bool(record) and (record["controller"], record["process"]) == (holder["controller"], holder["process"])


def grant(record, holder, now, ttl):
    """The record to write down for a holder.

    :param record: what is written down now; its ``since`` stays when it is this holder's already.
    :param ttl: seconds until the lease runs out unless it is renewed.
    """
    return {
        "controller": holder["controller"],
        "process": holder["process"],
        "who": holder["who"],
        "doing": holder["doing"],
        "since": record["since"] if is_of(record, holder) else int(now),
        "expires": int(now) + ttl,
    }


def describe(record):
    """Who holds a lease, since when and until when, in words."""
    since, expires = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record[key])) for key in ("since", "expires"))
    return "held by %s since %s, running %s; it runs out at %s unless renewed" % (record["who"], since, record["doing"], expires)


def parse(document):
    """A record read from a file; empty when it is none, for a damaged record must block nobody."""
    texts = ("controller", "process", "who", "doing")
    numbers = ("since", "expires")
    whole = isinstance(document, dict) and all(isinstance(document.get(key), str) for key in texts)
    return document if whole and all(isinstance(document.get(key), int) for key in numbers) else {}
