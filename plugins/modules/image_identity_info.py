#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_identity_info
short_description: Say which image a reference or an archive is
version_added: 0.1.0
description:
  - Reads the identity of an image, the digest of its configuration, from a registry's manifest or from an archive made by C(docker save).
    No layer is read.
  - Runs where the registry or the archive is seen. The registry is trusted as the engine of that host trusts it, by the system's
    authorities and those under O(certificates).
  - Refuses an image that differs from the one the cluster is pinned to.
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
  reference:
    description: Registry, repository and tag or digest of the image.
    type: str
  archive:
    description: Path of an archive made by C(docker save), compressed or not. Where it is given, O(reference) is not looked at.
    type: path
  username:
    description: User of the registry.
    type: str
  password:
    description: Password of the registry.
    type: str
  certificates:
    description: The folder with the engine's certificates, one folder a registry.
    type: path
    default: /etc/docker/certs.d
  pinned:
    description:
      - What the cluster is pinned to, as RV(image) was when it was locked; may be empty.
      - A tag is then not looked at. The pinned digests are the answer, and no registry is asked.
      - The registry is asked nevertheless where the lock names no manifest, for an archive in the older form has none, or where
        O(reference) has another digest, such as that of an index of several platforms. Its answer has to be the pinned image.
    type: dict
    default: {}
  cache:
    description: A file that keeps what was read from archives, so that an unchanged archive is not read again.
    type: path
"""

EXAMPLES = r"""
- name: Ask the registry what the tag means now
  flagos.kunlunxin.image_identity_info:
    reference: registry.example:5000/flagos/serve:1
    username: puller
    password: "{{ vault_registry_password }}"
  register: identity
"""

RETURN = r"""
image:
  description: The identity of the image.
  returned: unless RV(runs_after) is
  type: dict
  contains:
    name:
      description: Registry and repository, or the archive's file name.
      type: str
      sample: registry.example:5000/flagos/serve
    source:
      description: How the operator names it, V(reference) or V(archive) as it was given.
      type: dict
      sample:
        reference: registry.example:5000/flagos/serve:1
    config_digest:
      description: Digest of the image's configuration.
      type: str
      sample: sha256:8c811b4aec35f259572d0f79207bc0678df4c736eeec50bc9fec37ed936a472a
    manifest_digest:
      description: Digest of the manifest for this architecture; empty for an archive in the older form.
      type: str
      sample: sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4
    bytes:
      description: What travels, compressed layers or the archive, in bytes.
      type: int
      sample: 980000000
    unpacked_bytes:
      description: What an archive's image takes on disk, in bytes; 0 where only loading it can tell.
      type: int
      sample: 3240000000
runs_after:
  description: In check mode, the stage without which the registry cannot be asked yet.
  returned: when that stage has not run
  type: str
  sample: container_engine
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_identity, _image_registry, _registry, _stat_cache
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding


class _Question(object):
    """One module run: options in, identity or finding out."""

    def __init__(self, module):
        self.module = module
        self.options = module.params

    def refuse(self, check, observed, expected, remedy):
        self.module.fail_json(msg=str(Finding(os.uname().nodename, check, observed, expected, remedy)))

    def from_archive(self):
        path = self.options["archive"]
        try:
            status = os.stat(path)
        except OSError as error:
            self.refuse("image archive", "%s: %s" % (path, error.strerror), "the archive that image_archive names", "mend image_archive")
        cache = _stat_cache.StatCache(self.options["cache"]) if self.options["cache"] else None
        identity = cache.get(os.path.realpath(path), status) if cache else None
        if not identity:
            try:
                identity = _image_identity.identity_of_archive(path)
            except _image_identity.IdentityError as error:
                self.refuse(
                    "image archive", "%s: %s" % (path, error.observed), error.expected, "fetch the archive again, or mend image_archive"
                )
            if cache:
                cache.put(os.path.realpath(path), status, identity)
                cache.save()
        return {
            "name": os.path.basename(path),
            "config_digest": identity["config_digest"],
            "manifest_digest": identity["manifest_digest"],
            "bytes": status.st_size,
            "unpacked_bytes": identity["bytes"],
        }

    def from_registry(self, reference):
        options = self.options
        authorities = _image_registry.trusted_authorities(reference.registry, options["certificates"])
        try:
            registry = _image_registry.Registry(reference, options["username"], options["password"], authorities)
            identity = registry.identity(_image_identity.architecture())
        except _image_registry.RegistryError as error:
            self.leave_to_container_engine(error.reason, reference)
            observed = "%s: %s" % (reference.registry, error.detail)
            self.refuse("image registry", observed, _expected(error.reason, options), _image_registry.REMEDIES[error.reason])
        except _image_identity.IdentityError as error:
            self.refuse(
                "image manifest",
                "%s: %s" % (options["reference"], error.observed),
                error.expected,
                "mend image_reference, or push the image again",
            )
        return dict(identity, name=reference.name, unpacked_bytes=0)

    def from_reference(self):
        """The pinned image where the lock alone tells that the reference means it, else what the registry says."""
        text, pinned = self.options["reference"] or "", self.options["pinned"]
        try:
            reference = _image_identity.parse_reference(text)
        except _image_identity.IdentityError as error:
            self.refuse("image_reference", error.observed, error.expected, "set image_reference, or image_archive")
        if _image_identity.is_told_by_lock(pinned, reference):
            image = {key: pinned[key] for key in ("config_digest", "manifest_digest")}
            return dict(image, name=reference.name, bytes=pinned.get("bytes", 0), unpacked_bytes=0)
        image = self.from_registry(reference)
        self.refuse_other_than_pinned(image, text)
        return image

    def leave_to_container_engine(self, reason, reference):
        """In check mode an authority that the stage container_engine has yet to install is no fault."""
        installed = os.path.isdir(os.path.join(self.options["certificates"], reference.registry))
        if self.module.check_mode and reason == _registry.UNKNOWN_CA and not installed:
            self.module.warn("image: runs after container_engine, which makes the registry's certificate known")
            self.module.exit_json(changed=False, runs_after="container_engine")

    def refuse_other_than_pinned(self, image, what):
        difference = _image_identity.difference(self.options["pinned"], image)
        if difference:
            self.refuse(
                "image identity",
                "%s has %s" % (what, difference[0]),
                "%s, as cluster.lock.yml says" % difference[1],
                "bring the pinned image, or run lock.yml to pin this one",
            )


def _expected(reason, options):
    """What the registry should have done, in words that fit the reason."""
    if reason == _registry.UNKNOWN_CA:
        return "a certificate from an authority that this host trusts"
    if reason == _registry.WRONG_PASSWORD:
        return "the password of user %s" % options["username"]
    if reason == _registry.MISSING_PASSWORD:
        return "a user and a password"
    return "the manifest of %s" % options["reference"]


def main():
    module = AnsibleModule(
        argument_spec={
            "reference": {"type": "str"},
            "archive": {"type": "path"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "certificates": {"type": "path", "default": _image_registry.ENGINE_CERTIFICATES},
            "pinned": {"type": "dict", "default": {}},
            "cache": {"type": "path"},
        },
        supports_check_mode=True,
    )
    question = _Question(module)
    if module.params["archive"]:
        source = {"archive": module.params["archive"]}
        image = question.from_archive()
        question.refuse_other_than_pinned(image, module.params["archive"])
    else:
        source = {"reference": module.params["reference"]}
        image = question.from_reference()
    module.exit_json(changed=False, image=dict(image, source=source))


if __name__ == "__main__":
    main()
