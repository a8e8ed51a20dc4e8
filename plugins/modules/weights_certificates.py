#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_certificates
short_description: Keep the certificates by which the members of a swarm know each other
version_added: 0.2.0
description:
  - Makes an authority of the cluster's own, and of it a certificate for each member, once, and keeps them in a folder that only who runs the
    module can read.
  - What has less than thirty days left, cannot be read, does not fit together or has a key that others can read is made anew. With the
    authority, all certificates are.
  - No key is in what the module returns. The authority's has no other use than here.
requirements:
  - cryptography
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Says what is made, not its content.
  idempotent:
    support: full
options:
  folder:
    description: The folder that they are kept in.
    type: path
    required: true
  members:
    description: The names of the members.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Have certificates for the hosts and for the controller
  flagos.kunlunxin.weights_certificates:
    folder: ~/.cache/flagos-kunlunxin/swarm/flagos
    members: "{{ groups['cluster'] + ['localhost'] }}"
  delegate_to: localhost
  run_once: true
  register: certificates
"""

RETURN = r"""
authority:
  description: The authority's certificate, as PEM; empty in check mode before there is one that lasts.
  returned: always
  type: str
members:
  description: For each member the paths of its C(certificate) and of its C(key).
  returned: always
  type: dict
actions:
  description: What was made, or in check mode would be.
  returned: always
  type: list
  elements: str
"""

import datetime
import os
import stat
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_authority
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically

AUTHORITY = "authority"
MEMBER = "member-"


class Kept(object):
    """The certificates in a folder.

    :param now: a ``datetime`` in UTC, with its zone.
    """

    def __init__(self, folder, now):
        self.folder = folder
        self.now = now
        self.authority = self._read(AUTHORITY)
        self.trusted = _swarm_authority.holds(self.authority, self.now)

    def changes(self, members):
        """What has to be made for these members, in order."""
        wanted = [] if self.trusted else [self._change(AUTHORITY, "the swarm's authority", self._make_authority)]
        for name in sorted(set(members)):
            stem = self.stem(name)
            if not self.trusted or not _swarm_authority.holds(self._read(stem), self.now, self.authority):
                wanted.append(self._change(stem, "the certificate of %s" % name, self._maker(name)))
        return wanted

    def paths(self, name):
        """Where a member's certificate and key are."""
        stem = self.stem(name)
        return {"certificate": self._path(stem, "certificate"), "key": self._path(stem, "key")}

    @staticmethod
    def stem(name):
        """What a member's files are called; no name leads out of the folder."""
        return MEMBER + quote(name, safe="")

    def _make_authority(self):
        self.authority = _swarm_authority.authority(self.now)
        self._write(AUTHORITY, self.authority)

    def _maker(self, name):
        return lambda: self._write(self.stem(name), _swarm_authority.member(self.authority, name, self.now))

    def _change(self, stem, what, make):
        before = "(another)\n" if os.path.lexists(self._path(stem, "certificate")) else ""
        return Change("make %s" % what, self._path(stem, "certificate"), before, "(a new one)\n", lambda module: make())

    def _read(self, stem):
        """A pair as it is kept; empty texts where it is not, or where its key is no secret any more."""
        texts = []
        for part in _swarm_authority.Pair._fields:
            try:
                with open(self._path(stem, part), encoding="ascii") as stream:
                    closed = not stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077
                    texts.append(stream.read() if closed else "")
            except (FileNotFoundError, UnicodeDecodeError):
                texts.append("")
        return _swarm_authority.Pair(*texts)

    def _write(self, stem, pair):
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o700)
        for part in _swarm_authority.Pair._fields:
            write_atomically(self._path(stem, part), getattr(pair, part), mode=0o600)

    def _path(self, stem, part):
        return os.path.join(self.folder, "%s.%s" % (stem, part))


def main():
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    folder, members = module.params["folder"], module.params["members"]

    def refuse(observed, expected, remedy):
        module.fail_json(msg=str(Finding("localhost", "certificates of the swarm", observed, expected, remedy)))

    if not _swarm_authority.available():
        refuse(
            "the Python of this module has no library cryptography",
            "one that has it, as the one that Ansible runs with",
            "install cryptography there, or set weights_tls: false",
        )
    try:
        kept = Kept(folder, datetime.datetime.now(datetime.timezone.utc))
        result = settle(module, kept.changes(members))
    except OSError as error:
        refuse(error, "a folder of your own", "mend it, or set cluster_cache_dir to another")
    authority = kept.authority.certificate if kept.trusted or not module.check_mode else ""
    module.exit_json(authority=authority, members={name: kept.paths(name) for name in members}, **result)


if __name__ == "__main__":
    main()
