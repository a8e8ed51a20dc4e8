#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_swarm_wait
short_description: Wait until the swarm has brought the weights to a host
version_added: 0.2.0
description:
  - Waits until every lane of the host has all its files, flushed to the disk and proven by hash.
  - Where no byte arrives it says what is lacking and waits up to O(patience), for a source may come back; what was received is kept.
  - Fails at once, naming the file and the reason, when a lane cannot go on.
  - An asynchronous run reports how far it is.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  folder:
    description: The folder that the weights are for, as M(flagos.kunlunxin.weights_info) returns it.
    type: path
    required: true
  files:
    description: The files that the host lacks or that are damaged there. Without any nothing is waited for.
    type: list
    elements: str
    required: true
  bytes:
    description: What the host lacks of them, in bytes.
    type: int
    required: true
  total_bytes:
    description: The size of all files of the weights, in bytes.
    type: int
    required: true
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
  revision:
    description: The name of the revision, as M(flagos.kunlunxin.weights_info) returns it.
    type: str
    required: true
  lanes:
    description: How many lanes there are.
    type: int
    required: true
  patience:
    description: How long to wait while no byte arrives, in seconds.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Wait for the weights
  flagos.kunlunxin.weights_swarm_wait:
    folder: "{{ held.folder }}"
    files: "{{ held.absent + held.wrong }}"
    bytes: "{{ held.missing_bytes }}"
    total_bytes: "{{ weights.manifest.bytes }}"
    state_dir: /var/lib/flagos-kunlunxin
    revision: "{{ held.revision }}"
    lanes: 4
  async: 86400
  poll: 5
"""

RETURN = r"""
files:
  description: Files that were brought or repaired or, in check mode, would be.
  returned: always
  type: list
  elements: str
bytes:
  description: What the host lacked, in bytes.
  returned: always
  type: int
received_bytes:
  description: What came over the network, in bytes; what arrived twice included.
  returned: unless in check mode
  type: int
sent_bytes:
  description: What the host sent to others, in bytes.
  returned: unless in check mode
  type: int
liars:
  description:
    - Addresses of hosts that are suspected of bytes which are not those of the weights; none was accepted. There is also a warning.
  returned: unless in check mode
  type: list
  elements: str
seconds:
  description: How long it took from the start of the lanes.
  returned: unless in check mode
  type: float
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_lanes import Lanes

LOOK_SECONDS = 0.5
# No byte for so long is told, in seconds; a moment without is nothing.
QUIET_SECONDS = 10
# How often it is asked whether the lanes run, in seconds: that takes a process for each lane.
ASK_SECONDS = 5
# A lane that just ended may have been started again by systemd: it must be seen down for so long, in seconds.
DOWN_SECONDS = 15


class WaitError(Exception):
    """The weights do not arrive.

    :ivar observed: what is seen.
    :ivar expected: what should be.
    :ivar remedy: what helps.
    """

    def __init__(self, observed, expected, remedy):
        super().__init__(observed)
        self.observed = observed
        self.expected = expected
        self.remedy = remedy


def trouble(statuses):
    """What a lane says that cannot go on, as WaitError; ``None`` while all go on."""
    for reason in map(_swarm_state.reason_of, statuses):
        if reason:
            full = "No space left" in reason
            return WaitError(
                reason,
                "files that can be written",
                "make room, then run weights.yml again; what was received is kept" if full else "mend it, then run weights.yml again",
            )
    return None


def best_peer(statuses):
    """How much the best of all peers has, from 0 to 1, by lane; the least of them counts."""
    return min([max([peer["progress"] for peer in status.get("peers", {}).values()] or [0.0]) for status in statuses] or [0.0])


def note(statuses, quiet):
    """What goes on, in a few words."""
    phases = {status.get("phase") for status in statuses}
    if _swarm_state.CHECKING in phases:
        return "reading %s" % next(status.get("file", "") for status in statuses if status.get("phase") == _swarm_state.CHECKING)
    if phases <= {_swarm_state.FLUSHING, _swarm_state.COMPLETE}:
        return "writing to the disk"
    if quiet > QUIET_SECONDS:
        return "no byte for %d s, waiting for a source: the best peer has %.1f%%" % (quiet, 100 * best_peer(statuses))
    return "receiving from %d" % max(len(status.get("peers", {})) for status in statuses)


def wait(lanes, patience, report, now=time.monotonic, sleep=time.sleep):
    """Wait until every lane is whole.

    :param report: called with (bytes there, a note, bytes of them that came from a source since the lanes began).
    :returns: the lanes' last statuses.
    :raises WaitError: when they will not be.
    """
    last_done, last_news, asked, down_since = -1, now(), float("-inf"), None
    while True:
        statuses = lanes.statuses()
        if statuses and all(status.get("phase") == _swarm_state.COMPLETE for status in statuses):
            return statuses
        failed = trouble(statuses)
        if failed:
            raise failed
        done = sum(status.get("done_bytes", 0) for status in statuses)
        if done != last_done or any(status.get("phase") in (_swarm_state.CHECKING, _swarm_state.FLUSHING) for status in statuses):
            last_done, last_news = done, now()
        quiet = now() - last_news
        if quiet > patience:
            raise WaitError(
                "no byte for %d s; the best peer has %.1f%%" % (quiet, 100 * best_peer(statuses)),
                "a source, or hosts that together have all of it",
                "see that the source runs and reaches this host, then run weights.yml again; what was received is kept",
            )
        report(done, note(statuses, quiet), sum(status.get("source_bytes", 0) for status in statuses))
        if now() - asked >= ASK_SECONDS:
            asked = now()
            if all(lanes.active()):
                down_since = None
            elif down_since is None:
                down_since = asked
        if down_since is not None and now() - down_since > DOWN_SECONDS:
            raise WaitError(
                "a lane ended and said nothing",
                "lanes that run",
                "see journalctl -u 'flagos-kunlunxin-weights-*', then run weights.yml again",
            )
        sleep(LOOK_SECONDS)


def main():
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "str", "required": True},
            "bytes": {"type": "int", "required": True},
            "total_bytes": {"type": "int", "required": True},
            "state_dir": {"type": "path", "required": True},
            "revision": {"type": "str", "required": True},
            "lanes": {"type": "int", "required": True},
            "patience": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    files = params["files"]
    result = {"files": files, "bytes": params["bytes"]}
    if files and not module.check_mode:
        lanes = Lanes(params["state_dir"], params["revision"], "member", params["lanes"])
        try:
            statuses = wait(lanes, params["patience"], Progress(total=params["total_bytes"]).report)
        except WaitError as error:
            finding = Finding(os.uname().nodename, "weights for %s" % params["folder"], error.observed, error.expected, error.remedy)
            module.fail_json(msg=str(finding))
        for name in ("received_bytes", "sent_bytes"):
            result[name] = sum(status.get(name, 0) for status in statuses)
        result["liars"] = sorted({address for status in statuses for address in status.get("liars", [])})
        if result["liars"]:
            module.warn(
                "bytes that are not those of the weights came from %s, and were refused; a disk or a memory may be at fault: "
                "run weights.yml with weights_verify=full" % " or ".join(result["liars"])
            )
        result["seconds"] = max(status["seconds"] for status in statuses)
    module.exit_json(
        changed=bool(files),
        diff={
            "before_header": params["folder"],
            "after_header": params["folder"],
            "before": "",
            "after": "".join("%s\n" % path for path in files),
        },
        **result,
    )


if __name__ == "__main__":
    main()
