#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_manifest_info
short_description: Read a folder of model weights and say what it is
version_added: 0.1.0
description:
  - Makes the manifest of a folder, the size and SHA-256 of every file, and its root, one hash over all of it, which is the identity of the
    weights.
  - A file is read once and then only when it changed; O(cache) keeps what was read.
  - Refuses a folder in which a file is missing or of another size than a publisher's list or the lock says, before it reads any file;
    then one whose safetensors are not a whole model; then one whose bytes are others than they should be.
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
    description: A publisher's list of the files, either a manifest of ours as JSON or the output of C(sha256sum).
    type: path
  pinned:
    description: The manifest that the cluster is pinned to; may be empty.
    type: dict
    default: {}
  cache:
    description: A file that keeps the hashes of files that were read.
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
      description: The files by path, each with C(size) in bytes and C(sha256) in hex.
      type: dict
read_bytes:
  description: How many bytes were read or, with O(only_cached=true), would have to be, to hash them.
  returned: always
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import StatCache


def read_manifest(options):
    """What the module returns; WeightsError where the folder is not what it should be."""
    if not options["source"]:
        raise _weights.WeightsError("weights_source is empty", "the folder on the controller that holds the weights")
    source = os.path.realpath(options["source"])
    files = _weights.scan(source)
    published = _published(options["published"])
    pinned = options["pinned"]
    for expected in (published, pinned.get("files", {})):
        _weights.compare_sizes(files, expected)

    cache = StatCache(options["cache"])
    known = {path: cache.get(os.path.join(source, path), status) for path, status in files.items()}
    unread = [path for path in sorted(files) if known[path] is None]
    read_bytes = sum(files[path].st_size for path in unread)
    if unread:
        if options["only_cached"]:
            return {"read_bytes": read_bytes}
        _weights.check_model(source, files)
        _read(source, files, unread, cache, known, read_bytes)

    manifest = _weights.manifest_of({path: {"size": files[path].st_size, "sha256": known[path]} for path in files})
    _weights.compare_hashes(manifest, published)
    if pinned:
        _weights.compare_with_pinned(manifest, pinned)
    return {"manifest": manifest, "read_bytes": read_bytes}


def _published(path):
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            return _weights.parse_published(stream.read())
    except OSError as error:
        raise _weights.WeightsError("%s: %s" % (path, error.strerror), "the publisher's list of files") from error


def _read(source, files, unread, cache, known, total):
    def done(path, sha256):
        known[path] = sha256
        cache.put(os.path.join(source, path), files[path], sha256)
        cache.save()  # each time, so that a run that is killed has lost one file at most

    _weights.hash_files(source, unread, done, Progress(total=total).report)


def main():
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "published": {"type": "path"},
            "pinned": {"type": "dict", "default": {}},
            "cache": {"type": "path", "required": True},
            "only_cached": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = read_manifest(module.params)
    except _weights.WeightsError as error:
        remedy = "mend weights_source, or fetch the files again"
        if module.params["pinned"]:
            remedy += ", or run lock.yml where these are the weights to pin"
        finding = Finding("localhost", "weights in %s" % module.params["source"], error.observed, error.expected, remedy)
        module.fail_json(msg=str(finding))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
