# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The program that keeps a host's RDMA settings, packed as a zipapp.

``boot FOLDER``
    replays the batch; run by a unit of ours at every boot. A change that nobody confirmed before the boot is given up first.
``restore FOLDER``
    undoes the change that waits for its confirmation; run by the dead-man timer.
"""

from __future__ import annotations

import sys
import time

from . import _rdma_state as state
from ._host_tree import HostTree

# For interfaces and addresses that come up late: links of 200 Gb/s train for tens of seconds.
WAIT_SECONDS = 90


def main(argv=None):
    arguments = sys.argv[1:] if argv is None else argv
    actions = {"boot": boot, "restore": state.restore}
    if len(arguments) != 2 or arguments[0] not in actions:
        sys.stderr.write(__doc__)
        return 2
    with state.alone():
        try:
            refused = actions[arguments[0]](state.Folder(arguments[1]))
        except state.UnreadableError as error:
            refused = [str(error)]
    sys.stderr.write("".join(line + "\n" for line in refused))
    return 1 if refused else 0


def boot(folder, wait_seconds=WAIT_SECONDS):
    """Replay the batch; returns a line for each thing that is missing or refused."""
    refused = state.restore(folder, with_settings=False)
    batch = folder.load(folder.batch)
    if batch is None:
        return refused
    tree = HostTree("/", batch["overlay"])
    deadline = time.monotonic() + wait_seconds
    missing = state.waiting_for(batch["settings"], tree)
    while missing and time.monotonic() < deadline:
        time.sleep(1)
        missing = state.waiting_for(batch["settings"], tree)
    return refused + ["%s is not there after %d s" % (name, wait_seconds) for name in missing] + state.settle(batch["settings"], tree)
