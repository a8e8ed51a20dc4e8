#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_torrents_info
short_description: Make the torrents of weights
version_added: 0.2.0
description:
  - Cuts a manifest into lanes, groups of files of about the same size, and makes a torrent of each.
  - The torrents are of BitTorrent v2 alone and private. They are made from what M(flagos.kunlunxin.weights_manifest_info) kept when it read
    the files; no file of weights is read, and the same arguments give the same torrents.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Changes nothing.
  idempotent:
    support: full
options:
  manifest:
    description: The weights, as M(flagos.kunlunxin.weights_manifest_info) returns them, with the C(merkle_root) of every file.
    type: dict
    required: true
  cache:
    description: The file that M(flagos.kunlunxin.weights_manifest_info) was given as O(cache).
    type: path
    required: true
  lanes:
    description: How many torrents to make. There are never more than files that are not empty.
    type: int
    default: 1
  name:
    description: The name in the torrents. The first 16 digits of the manifest's root unless given.
    type: str
  root_certificate:
    description: The certificate, as PEM, of the authority that signed those of all members. Members without one are then refused.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Make torrents for four lanes
  flagos.kunlunxin.weights_torrents_info:
    manifest: "{{ weights.manifest }}"
    cache: ~/.cache/flagos-kunlunxin/weights.json
    lanes: 4
  delegate_to: localhost
  run_once: true
  register: cut
"""

RETURN = r"""
torrents:
  description: The torrents, one for each lane.
  returned: always
  type: list
  elements: dict
  contains:
    lane:
      description: Number of the lane, from 0.
      type: int
    bytes:
      description: Size of its files, in bytes.
      type: int
    files:
      description: How many files it has.
      type: int
    torrent:
      description: The torrent, in base64.
      type: str
piece_length:
  description: Length of a piece, in bytes, the same in all of them.
  returned: always
  type: int
  sample: 4194304
"""

import base64

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _merkle, _torrent, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._piece_layers import PieceLayers


def make_torrents(options):
    """The torrents as the module returns them; TorrentError where one cannot be made."""
    manifest = options["manifest"]
    name = options["name"] or _weights.revision_name(manifest["root"])
    layers = PieceLayers(options["cache"]).get
    made = []
    for lane, paths in enumerate(_torrent.lanes(manifest, options["lanes"])):
        content = _torrent.torrent(manifest, paths, layers, name, options["root_certificate"])
        made.append(
            {
                "lane": lane,
                "bytes": sum(manifest["files"][path]["size"] for path in paths),
                "files": len(paths),
                "torrent": base64.b64encode(content).decode("ascii"),
            }
        )
    return made


def main():
    module = AnsibleModule(
        argument_spec={
            "manifest": {"type": "dict", "required": True},
            "cache": {"type": "path", "required": True},
            "lanes": {"type": "int", "default": 1},
            "name": {"type": "str"},
            "root_certificate": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        made = make_torrents(options)
    except _torrent.TorrentError as error:
        module.fail_json(msg=str(Finding("localhost", "torrents of the weights", error.observed, error.expected, error.remedy)))
    module.exit_json(changed=False, torrents=made, piece_length=_merkle.piece_length(options["manifest"]["bytes"]))


if __name__ == "__main__":
    main()
