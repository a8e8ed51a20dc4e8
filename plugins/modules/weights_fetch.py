#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_fetch
short_description: Fill a folder of model weights from a mirror
version_added: 0.2.0
description:
  - Downloads by HTTP or HTTPS the files of a publisher's list that the folder lacks or has of another size. What is there is not read;
    M(flagos.kunlunxin.weights_manifest_info) does that.
  - A file arrives under a hidden name beside its place and takes it, flushed to the disk, when its size and SHA-256 are those of the list.
    One with others is removed and named.
  - What was received is kept when the run is broken off, and the next one continues it. Only a file whose SHA-256 the list does not say is begun anew.
  - A connection that breaks is made again, up to five times in a row without a byte, with longer and longer pauses.
  - Refuses, before it downloads anything, when the disk has no room, or a name leads out of the folder.
  - An asynchronous run reports how far it is.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
    details: The mirror is asked for one file that is lacking, and for the size of those whose size the list does not say.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  folder:
    description: The folder to fill; it is made.
    type: path
    required: true
  mirror:
    description:
      - The URL below which the files lie by their paths in the list, such as C(https://huggingface.co/OWNER/NAME/resolve/REVISION/) or
        C(https://modelscope.cn/models/OWNER/NAME/resolve/REVISION/).
      - Proxies are those of the environment.
    type: str
    required: true
  published:
    description: The publisher's list, see M(flagos.kunlunxin.weights_manifest_info). This or O(published_text) is needed.
    type: path
  published_text:
    description: The text of such a list, for a list that lies elsewhere than the folder.
    type: json
  token:
    description:
      - A token for a private mirror, sent as a bearer token. No redirect to another scheme, host or port gets it.
      - Without it a login for the mirror in C(~/.netrc) is used.
    type: str
  ca:
    description: A file with an authority as PEM that is trusted beside the system's own.
    type: path
  at_once:
    description: How many files are downloaded at once.
    type: int
    default: 4
  turns:
    description: The folder with the files by which runs for the same place take turns; it is made.
    type: path
    default: ~/.cache/flagos-kunlunxin/turns
  host:
    description: The name of the host that this runs on, for messages.
    type: str
    default: localhost
"""

EXAMPLES = r"""
- name: Fetch what the folder lacks
  flagos.kunlunxin.weights_fetch:
    folder: /data/DeepSeek-R1-INT8
    mirror: https://huggingface.co/OWNER/NAME/resolve/REVISION/
    published: /data/DeepSeek-R1-INT8.json
  delegate_to: localhost
  run_once: true
  async: 86400
  poll: 5
"""

RETURN = r"""
files:
  description: Files that were or, in check mode, would be fetched.
  returned: always
  type: list
  elements: str
bytes:
  description:
    - What was lacking of them, in bytes; what earlier runs had received is not counted.
    - Files whose size neither the list nor the mirror says are not counted either.
  returned: always
  type: int
total_bytes:
  description: The size of all files that the list names, in bytes.
  returned: always
  type: int
received_bytes:
  description: What came over the network, in bytes. More than RV(bytes) where the mirror cannot continue a file.
  returned: unless in check mode
  type: int
seconds:
  description: How long it took.
  returned: unless in check mode
  type: float
"""

import hashlib
import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _fetch, _published_list, _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._mirror import Mirror, RefusedError, without_login
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._turn import turn

# File systems do not fill to the last byte: directories and journals take their part.
_ROOM = 1.02


class _Fetch(object):
    """One module run."""

    def __init__(self, module):
        self.module = module
        self.options = module.params
        self.folder = module.params["folder"]

    def refuse(self, check, observed, expected, remedy):
        self.module.fail_json(msg=str(Finding(self.options["host"], check, observed, expected, remedy)))

    def run(self):
        """What the module returns."""
        if not self.folder:
            self.refuse("weights_source", "empty", "the folder that is to be filled from weights_mirror", "set it, or weights_sources")
        published = _published_list.of(self.options)
        if not published:
            self.refuse(
                "weights_published",
                "empty",
                "the list of the files that weights_mirror has",
                "set it; the role's README says where lists come from",
            )
        mirror = Mirror(self.options["mirror"], self.options["token"] or "", self.options["ca"])
        if self.module.check_mode:
            return self.fetch(mirror, published)
        name = hashlib.sha256(os.path.realpath(self.folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        with turn(os.path.join(self.options["turns"], name), mode=0o700):
            return self.fetch(mirror, published)

    def fetch(self, mirror, published):
        """Fetch what is lacking, or say what would be."""
        wanted = _fetch.with_sizes(mirror, _fetch.lacking(self.folder, published), self.options["at_once"])
        missing = sum(max(0, (one.size or 0) - one.kept) for one in wanted)
        self.need_room(missing)
        result = {"files": [one.path for one in wanted], "bytes": missing, "total_bytes": self.total(published, wanted)}
        if self.module.check_mode:
            for one in wanted[:1]:
                _fetch.check_offered(mirror, one)
            return result
        known = all(one.size is not None for one in wanted)
        progress = Progress(total=sum(one.size for one in wanted) if known else None)
        fetcher, began = _fetch.Fetcher(mirror, self.folder, progress.report), time.monotonic()
        if wanted:
            fetcher.fetch(wanted, self.options["at_once"])
        return dict(result, received_bytes=fetcher.received, seconds=round(time.monotonic() - began, 1))

    def need_room(self, missing):
        """Refuse a disk that is too small."""
        there = os.path.realpath(self.folder)
        while not os.path.isdir(there):
            there = os.path.dirname(there)
        needed, free = int(missing * _ROOM), shutil.disk_usage(there).free
        if needed > free:
            self.refuse(
                "disk for the weights",
                "%.1f GB free for %s" % (free / 1e9, self.folder),
                "%.1f GB" % (needed / 1e9),
                "make room there, or set weights_source to a larger disk",
            )

    def total(self, published, wanted):
        """The size of all files of the list, in bytes."""
        lacking = {one.path: one.size or 0 for one in wanted}
        there = [os.stat(os.path.join(self.folder, path)).st_size for path in published if path not in lacking]
        return sum(lacking.values()) + sum(there)


def main():
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "mirror": {"type": "str", "required": True},
            "published": {"type": "path"},
            "published_text": {"type": "json"},
            "token": {"type": "str", "no_log": True},
            "ca": {"type": "path"},
            "at_once": {"type": "int", "default": 4},
            "turns": {"type": "path", "default": "~/.cache/flagos-kunlunxin/turns"},
            "host": {"type": "str", "default": "localhost"},
        },
        mutually_exclusive=[["published", "published_text"]],
        supports_check_mode=True,
    )
    if module.params["at_once"] < 1:
        module.fail_json(msg="at_once: %d (expected 1 or more)" % module.params["at_once"])
    run = _Fetch(module)
    check = "weights from %s" % without_login(module.params["mirror"])
    try:
        result = run.run()
    except (_fetch.FetchError, RefusedError) as error:
        run.refuse(check, error.observed, error.expected, error.remedy)
    except _weights.WeightsError as error:
        run.refuse("weights_published", error.observed, error.expected, "fetch the list again, or mend weights_published")
    except OSError as error:
        run.refuse(check, error, "a folder that can be written", "mend it, then run weights.yml again; what was received is kept")
    module.exit_json(
        changed=bool(result["files"]),
        diff={
            "before_header": run.folder,
            "after_header": run.folder,
            "before": "",
            "after": "".join("%s\n" % path for path in result["files"]),
        },
        **result,
    )


if __name__ == "__main__":
    main()
