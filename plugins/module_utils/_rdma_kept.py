# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Whether a host still has what the stage rdma set on it: every knob of the stage's batch is read back. Nothing is changed.

What is not mlx5's own file, such as trust and flow control of priorities, only the vendor's tools tell (``mlnx_qos -i``, ``cma_roce_tos
-d``); they are asked without anything to set. Access control of PCI bridges is left out: the module host_info tells it of all bridges.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from . import _rdma_knobs as knobs
from . import _rdma_state as state
from ._pci import ACS_CONTROL

FOLDER = "rdma"  # below the folder of the collection's state
ASKED_AT_ONCE = 8


def kept(tree, state_dir):
    """What the stage rdma declared and what of it is not so.

    :param tree: remembers what commands answered, as :class:`_rdma_host.Remembered` does: one may tell several settings.
    :returns: ``{"count", "starts_at_boot", "different", "problem"}``, ``different`` with ``what``, ``now`` and ``wanted`` as text; None
        where the stage has set nothing.
    """
    folder = state.Folder(os.path.join(tree.path(state_dir), FOLDER))
    try:
        settings = [entry for entry in folder.settings(folder.batch) if entry["knob"].get("register") != ACS_CONTROL]
        found = different(tree, settings)
    except state.UnreadableError as error:
        return {"count": 0, "starts_at_boot": None, "different": [], "problem": str(error)}
    except (KeyError, TypeError, AttributeError):  # knobs that this version does not know, or none at all
        problem = str(state.UnreadableError(folder.batch))
        return {"count": 0, "starts_at_boot": None, "different": [], "problem": problem}
    if not settings:
        return None
    return {
        "count": len(settings),
        "starts_at_boot": tree.link(state.unit_link()) is not None,
        "different": found,
        "problem": None,
    }


def different(tree, settings):
    """The settings that do not hold, in the order of the batch."""
    groups = {}  # what one command tells is read by one thread, so that the command runs once
    for entry in settings:
        groups.setdefault(_asked_of(entry["knob"]), []).append(entry)

    def read(group):
        return [(knobs.name(entry["knob"]), knobs.read(entry["knob"], tree)) for entry in group]

    with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:
        now = {name: value for answers in pool.map(read, groups.values()) for name, value in answers}
    return [
        {"what": name, "now": knobs.shown(now[name]), "wanted": knobs.shown(entry["value"])}
        for name, entry in ((knobs.name(entry["knob"]), entry) for entry in settings)
        if not knobs.is_settled(entry["knob"], now[name], entry["value"])
    ]


def _asked_of(knob):
    """Knobs that one command tells go together."""
    if knob["kind"] in ("trust", "pfc"):
        return "mlnx_qos", knob["interface"]
    if "address" in knob:
        return knob["kind"], knob["address"]
    return knob["kind"], None if knob["kind"] in ("file", "mtu", "rule") else knobs.name(knob)
