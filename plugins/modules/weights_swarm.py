#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_swarm
short_description: Start or end one machine's part of the swarm that carries weights
version_added: 0.2.0
description:
  - V(started) starts the machine's lanes, each a process with a torrent of its own. One that runs as it should is left alone, whichever run
    started it.
  - V(stopped) ends them. On a host where every lane was whole, what arrived is moved to its place, known from then on as proven.
  - As root on a machine that systemd runs, a lane is a transient unit of the user C(flagos-swarm), which may write the lane's own
    folders only; elsewhere it is a process of whoever runs the module. Either goes on when the controller ends.
  - What arrives is below C(.incoming) in the folder that it is for, so that nobody who reads that folder meets half a file.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Lanes come and go within one run; what they bring is told by M(flagos.kunlunxin.weights_swarm_wait).
  idempotent:
    support: full
options:
  state:
    description: Whether the lanes run.
    type: str
    choices: [started, stopped]
    required: true
  path:
    description: On a host, the folder that is served, or the link to it. Where weights come from, the folder that holds them.
    type: path
    required: true
  source:
    description: Whether the weights come from here.
    type: bool
    default: false
  manifest:
    description: The weights, as M(flagos.kunlunxin.weights_manifest_info) returns them.
    type: dict
    required: true
  state_dir:
    description: The folder with the machine's state.
    type: path
    required: true
  lanes:
    description: This machine's part of each lane, as the filter P(flagos.kunlunxin.swarm#filter) returns it.
    type: list
    elements: dict
    required: true
    suboptions:
      listen:
        description: Addresses with port that the lane is bound to.
        type: list
        elements: str
        required: true
      peers:
        description: Addresses with port of the others.
        type: list
        elements: str
        required: true
      allow:
        description: Addresses that may have anything.
        type: list
        elements: str
        required: true
  torrents:
    description: The torrent of each lane, as M(flagos.kunlunxin.weights_torrents_info) returns them. Needed with O(state=started).
    type: list
    elements: dict
    default: []
  program:
    description: The lanes' program, as the lookup P(flagos.kunlunxin.program#lookup) returns it. Needed with O(state=started).
    type: str
    default: ""
  engine:
    description: The wheel of libtorrent on this machine. Without it the interpreter must have libtorrent.
    type: path
  certificate:
    description:
      - This machine's certificate, as PEM, of the authority that the torrents name. With it lanes speak TLS alone, and only with members
        that show one of that authority.
      - It and the key are in files that only the lanes' user can read, and go with the lanes.
    type: str
  key:
    description: The certificate's private key, as PEM.
    type: str
  seconds:
    description: After which a lane is ended whatever it does.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Take part
  flagos.kunlunxin.weights_swarm:
    state: started
    path: /models/DeepSeek-R1-INT8
    manifest: "{{ weights.manifest }}"
    state_dir: /var/lib/flagos-kunlunxin
    lanes: "{{ swarm.members[inventory_hostname] }}"
    torrents: "{{ torrents.torrents }}"
    program: "{{ lookup('flagos.kunlunxin.program', 'swarm') }}"
"""

RETURN = r"""
lanes:
  description: The lanes that were started or ended or, in check mode, would be.
  returned: always
  type: list
  elements: str
  sample: [member-0]
moved:
  description: Files that arrived and are now at their place.
  returned: when O(state=stopped)
  type: list
  elements: str
sent_bytes:
  description: What the lanes sent to others, in bytes.
  returned: when O(state=stopped)
  type: int
trouble:
  description: What a lane said when it could not go on, one line each.
  returned: when O(state=stopped)
  type: list
  elements: str
"""

import base64
import os
import zipfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_state, _torrent, _weights, _weights_incoming
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_lanes import Lanes, decoded
from ansible_collections.flagos.kunlunxin.plugins.module_utils._swarm_units import UnitError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_host import HostWeights

# Nobody needs a lane for so long, in seconds: the run that would have ended it is gone.
LINGER_SECONDS = 1800


def folder_and_complete(params, lanes):
    """Where a machine's lanes work, and what they need not read."""
    if params["source"]:
        return os.path.realpath(params["path"]), "everything"
    held = HostWeights(params["path"], params["manifest"], params["state_dir"])
    held.look()
    complete = held.complete()
    if len(complete) == len(params["manifest"]["files"]):
        return held.folder, complete
    there = [path for path in held.absent + held.unread + held.wrong if os.path.lexists(os.path.join(held.folder, path))]
    if there:
        lanes.stop()
        lanes.forget_notes()
    _weights_incoming.prepare(held.folder, complete, there, lanes.units.owner())
    return _weights_incoming.folder_of(held.folder), complete


def start(params, lanes):
    """Start the lanes; returns the names of those that were started."""
    folder, complete = folder_and_complete(params, lanes)
    options = [dict(lane, folder=folder, complete=complete, linger_seconds=LINGER_SECONDS) for lane in params["lanes"]]
    pair = (params["certificate"], params["key"]) if params["certificate"] else None
    program, torrents = base64.b64decode(params["program"]), decoded(params["torrents"])
    return lanes.start(program, params["engine"], torrents, options, params["seconds"], pair)


def stop(params, lanes):
    """End the lanes and take what arrived; returns what was moved, sent, and went wrong."""
    lanes.stop()
    statuses = lanes.statuses()
    trouble = [reason for reason in map(_swarm_state.reason_of, statuses) if reason]
    whole = [status.get("phase") == _swarm_state.COMPLETE for status in statuses]
    moved = []
    if not params["source"]:
        held = HostWeights(params["path"], params["manifest"], params["state_dir"])
        shares = _torrent.lanes(params["manifest"], len(params["lanes"]))
        moved = held.take_arrived([path for lane, share in enumerate(shares) if whole[lane] for path in share])
        for error in (status["error"] for status in statuses if status.get("error")):
            if error["reason"] == _swarm_state.CHANGED:
                held.doubt(error["file"])
    if all(whole):
        lanes.clear()
    return {"moved": moved, "trouble": trouble, "sent_bytes": sum(status.get("sent_bytes", 0) for status in statuses)}


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "required": True},
            "path": {"type": "path", "required": True},
            "source": {"type": "bool", "default": False},
            "manifest": {"type": "dict", "required": True},
            "state_dir": {"type": "path", "required": True},
            "lanes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {name: {"type": "list", "elements": "str", "required": True} for name in ("listen", "peers", "allow")},
            },
            "torrents": {"type": "list", "elements": "dict", "default": []},
            "program": {"type": "str", "default": ""},
            "engine": {"type": "path"},
            "certificate": {"type": "str"},
            "key": {"type": "str", "no_log": True},
            "seconds": {"type": "int", "default": 86400},
        },
        required_together=[["certificate", "key"]],
        supports_check_mode=True,
    )
    params = module.params
    lanes = Lanes(
        params["state_dir"],
        _weights.revision_name(params["manifest"]["root"]),
        "source" if params["source"] else "member",
        len(params["lanes"]),
    )
    result = {"lanes": lanes.names}
    try:
        if module.check_mode:
            result.update({} if params["state"] == "started" else {"moved": [], "trouble": [], "sent_bytes": 0})
        elif params["state"] == "started":
            result["lanes"] = start(params, lanes)
        else:
            result.update(stop(params, lanes))
            if not params["source"]:
                for line in result["trouble"]:
                    module.warn("%s; the next run of weights.yml looks at it" % line)
    except (OSError, UnitError, zipfile.BadZipFile) as error:
        module.fail_json(
            msg=str(
                Finding(
                    "localhost" if params["source"] else os.uname().nodename,
                    "swarm of the weights",
                    error,
                    "lanes that start",
                    "mend the cause and run weights.yml again, or set weights_transport: rsync_tree",
                )
            )
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
