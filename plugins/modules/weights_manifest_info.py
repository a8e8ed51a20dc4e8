#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_manifest_info
short_description: Read a folder of model weights and say what it is
version_added: 0.1.0
description:
  - Makes the manifest of a folder, the size, SHA-256 and BitTorrent v2 root of every file, and its root, one hash over paths, sizes and
    SHA-256, which is the identity of the weights.
  - A file is read once, by as many processes as there are processors, and then only when it changed; O(cache) keeps what was read.
  - Refuses a folder in which a file is missing or of another size than a publisher's list or the lock says, or whose configuration lacks
    what the accelerator needs, before it reads any file of weights; then one whose safetensors are not a whole model; then one whose bytes are
    others than they should be.
  - Hidden files are left out.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Changes nothing but its own cache.
  idempotent:
    support: full
options:
  source:
    description: The folder.
    type: path
    required: true
  published:
    description:
      - A publisher's list of the files. It is a manifest of ours as JSON, the output of C(sha256sum), Hugging Face's listing of a
        repository (C(/api/models/OWNER/NAME/tree/REVISION?recursive=true)) or ModelScope's
        (C(/api/v1/models/OWNER/NAME/repo/files?Revision=REVISION&Recursive=true)).
      - Hugging Face tells the SHA-256 of large files only; of the others the size is compared.
    type: path
  published_text:
    description: The text of such a list, for a list that lies elsewhere than the folder.
    type: json
    version_added: 0.2.0
  expected_config:
    description: Keys that the model's C(config.json) must have, such as C(quantization_config) for an accelerator that takes quantized weights.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  pinned:
    description: The manifest that the cluster is pinned to; may be empty.
    type: dict
    default: {}
  cache:
    description: A file that keeps the hashes of files that were read. What torrents are made of is kept in the folder C(layers) beside it.
    type: path
    required: true
  only_cached:
    description: Read no file. RV(manifest) is then returned only when every file's hash is known already.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the weights
  flagos.kunlunxin.weights_manifest_info:
    source: /data/DeepSeek-R1-INT8
    cache: ~/.cache/flagos-kunlunxin/weights.json
  delegate_to: localhost
  run_once: true
  async: 7200
  poll: 5
  register: weights
"""

RETURN = r"""
manifest:
  description: What the folder is.
  returned: unless O(only_cached=true) and files have to be read
  type: dict
  contains:
    root:
      description: The identity of the weights.
      type: str
      sample: sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4
    bytes:
      description: Size of all files, in bytes.
      type: int
    files:
      description:
        - The files by path, each with C(size) in bytes, and C(sha256) and C(merkle_root) in hex.
        - The latter is the C(pieces root) of BEP 52, and empty for an empty file.
      type: dict
read_bytes:
  description: How many bytes were read or, with O(only_cached=true), would have to be, to hash them.
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _published_list, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights_source import WeightsSource

ARGUMENTS = {
    "source": {"type": "path", "required": True},
    "published": {"type": "path"},
    "published_text": {"type": "json"},
    "expected_config": {"type": "list", "elements": "str", "default": []},
    "pinned": {"type": "dict", "default": {}},
    "cache": {"type": "path", "required": True},
    "only_cached": {"type": "bool", "default": False},
}
EXCLUSIVE = [["published", "published_text"]]


def read_manifest(options):
    """What the module returns; WeightsError where the folder is not what it should be."""
    if not options["source"]:
        raise _weights.WeightsError("weights_source is empty", "the folder on the controller that holds the weights")
    source = WeightsSource(options["source"], options["cache"])
    published = _published_list.of(options)
    pinned = options["pinned"]
    for expected in (published, pinned.get("files", {})):
        _weights.compare_sizes(source.files, expected)
    _weights.check_config(source.folder, source.files, options["expected_config"])

    read_bytes = source.unread_bytes()
    if source.unread:
        if options["only_cached"]:
            return {"read_bytes": read_bytes}
        _weights.check_model(source.folder, source.files)
        source.read(Progress(total=read_bytes).report)

    manifest = source.manifest()
    _weights.compare_hashes(manifest, published)
    if pinned:
        _weights.compare_with_pinned(manifest, pinned)
    return {"manifest": manifest, "read_bytes": read_bytes}


def outcome(options):
    """What the module ends with, as a dict; where the folder is not what it should be, ``failed`` with the finding."""
    try:
        return dict(read_manifest(options), changed=False)
    except _weights.WeightsError as error:
        remedy = "mend weights_source, or fetch the files again"
        if options["pinned"]:
            remedy += ", or run lock.yml where these are the weights to pin"
        finding = Finding("localhost", "weights in %s" % options["source"], error.observed, error.expected, remedy)
        return {"changed": False, "failed": True, "msg": str(finding)}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, mutually_exclusive=EXCLUSIVE, supports_check_mode=True)
    result = outcome(module.params)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
