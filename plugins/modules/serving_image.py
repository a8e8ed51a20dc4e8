#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_image
short_description: Bring one image, known by its digest, into a host's Docker engine
version_added: 0.1.0
description:
  - Pulls an image by its manifest digest, or loads it from an archive on the host, unless the engine holds it already. A tag is never
    trusted.
  - Checks that what the engine then holds is the image that was meant, gives it a name of ours so that pruning does not take it for a
    left-over, and writes the receipt of the stage C(image).
  - Talks to the engine by its socket with Python's standard library alone. The password is kept nowhere.
  - Two runs at once take turns, so that a run that was killed and started again waits for what it had begun.
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
  image:
    description: The identity of the image, as M(flagos.kunlunxin.image_identity_info) returns it.
    type: dict
    required: true
    suboptions:
      name:
        description: Registry and repository to pull from, or the archive's name.
        type: str
        required: true
      source:
        description: How the operator names the image, for the receipt.
        type: dict
        default: {}
      config_digest:
        description: Digest of the image's configuration.
        type: str
        required: true
      manifest_digest:
        description: Digest of the manifest, by which the image is pulled; may be empty with O(archive).
        type: str
        default: ''
      bytes:
        description: What travels, in bytes, for the progress and the disk check.
        type: int
        default: 0
      unpacked_bytes:
        description: What the image takes on disk, in bytes; 0 where it is not known.
        type: int
        default: 0
  archive:
    description: Load the image from this archive on the host instead of pulling it. In check mode it need not be there.
    type: path
  remove_archive:
    description: Remove O(archive) once the engine holds the image, also one that a killed run left.
    type: bool
    default: false
  username:
    description: User of the registry.
    type: str
  password:
    description: Password of the registry.
    type: str
  unpack_factor:
    description:
      - How much disk a pulled image takes, as a multiple of the compressed bytes that travel. The disk is checked with it before a pull.
      - With 0 the disk is not checked.
    type: float
    default: 3.0
  socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
  engine_expected:
    description:
      - Whether a missing engine is a fault in check mode too. By default it then means that the stage container_engine has yet to run.
    type: bool
    default: false
  stall_seconds:
    description: How long the engine may say nothing within a pull or load before it is given up.
    type: int
    default: 600
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Bring the image
  flagos.kunlunxin.serving_image:
    image: "{{ identity.image }}"
    username: puller
    password: "{{ vault_registry_password }}"
    state_dir: /var/lib/flagos-kunlunxin
  async: 7200
  poll: 5
"""

RETURN = r"""
image_id:
  description: What C(docker run) takes to run exactly this image on this host.
  returned: unless RV(runs_after) is
  type: str
  sample: sha256:8c811b4aec35f259572d0f79207bc0678df4c736eeec50bc9fec37ed936a472a
held:
  description: Whether the engine had the image before.
  returned: unless RV(runs_after) is
  type: bool
actions:
  description: What was done or, in check mode, would be done.
  returned: unless RV(runs_after) is
  type: list
  elements: str
  sample: ["pull registry.example:5000/flagos/serve@sha256:98ea…"]
runs_after:
  description: In check mode, the stage without which there is no engine to look into.
  returned: when that stage has not run
  type: str
  sample: container_engine
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_registry, _receipt
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_images import EngineImages
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._progress import Progress
from ansible_collections.flagos.kunlunxin.plugins.module_utils._turn import turn

STAGE = "image"
OUR_NAME = "flagos-kunlunxin/image"


class _ServingImage(object):
    """One image on one engine."""

    def __init__(self, module):
        self.module = module
        self.options = module.params
        self.image = module.params["image"]
        self.engine = EngineImages(module.params["socket"], module.params["stall_seconds"])
        self.our_tag = self.image["config_digest"].rpartition(":")[2][:12]

    def refuse(self, check, observed, expected, remedy):
        self.module.fail_json(msg=str(Finding(os.uname().nodename, check, observed, expected, remedy)))

    @property
    def pull_name(self):
        return "%s@%s" % (self.image["name"], self.image["manifest_digest"])

    def held(self):
        """The engine's record of the image, or ``None``.

        An engine names an image by its configuration or, with containerd's image store, by its manifest.
        """
        return self.asked(self.engine.find, self.image["config_digest"], self.image["manifest_digest"])

    def asked(self, question, *arguments):
        """The engine's answer to a question that it can refuse only by being broken."""
        try:
            return question(*arguments)
        except EngineError as error:
            observed = " ".join(str(error).split())
            self.refuse("container engine", observed, "an answer on %s" % self.options["socket"], "run prepare.yml, or start the engine")

    def receipt(self, image_id):
        return dict(
            self.image["source"],
            config_digest=self.image["config_digest"],
            manifest_digest=self.image["manifest_digest"],
            image_id=image_id,
        )

    def named(self, record):
        return "%s:%s" % (OUR_NAME, self.our_tag) in (record.get("RepoTags") or [])

    def plan(self, record):
        """What has to be done, in words, for a host whose engine says ``record``."""
        actions = []
        if record is None:
            actions.append("load %s" % self.options["archive"] if self.options["archive"] else "pull %s" % self.pull_name)
        if record is None or not self.named(record):
            actions.append("name it %s:%s" % (OUR_NAME, self.our_tag))
        if _receipt.read(self.options["state_dir"], STAGE) != dict(self.receipt(self.predicted_id(record)), stage=STAGE):
            actions.append("write %s" % _receipt.path_of(self.options["state_dir"], STAGE))
        if self.left_over():
            actions.append("remove %s" % self.options["archive"])
        return actions

    def left_over(self):
        """Whether there is an archive to remove: one just sent, or one that a killed run had no time to remove."""
        return bool(self.options["archive"]) and self.options["remove_archive"] and os.path.exists(self.options["archive"])

    def rendered(self, receipt):
        """What the diff shows of the host."""
        return (_receipt.render(STAGE, receipt) if receipt else "") + ("%s\n" % self.options["archive"] if self.left_over() else "")

    def predicted_id(self, record):
        return record["Id"] if record else self.image["config_digest"]

    def check_disk(self):
        """Refuse before the first byte moves; the engine would find out after most of them."""
        if not self.options["unpack_factor"]:
            return
        root = self.asked(self.engine.information)["DockerRootDir"]
        needs = {root: self.image["unpacked_bytes"] or int(self.image["bytes"] * self.options["unpack_factor"])}
        if self.options["archive"] and not os.path.exists(self.options["archive"]):
            needs[self.options["archive"]] = self.image["bytes"]
        for path, needed, free in _too_small(needs):
            self.refuse(
                "disk for the image",
                "%.1f GB free for %s" % (free / 1e9, path),
                "%.1f GB" % (needed / 1e9),
                "make room there, or set image_unpack_factor if the estimate is wrong",
            )

    def check_archive(self):
        archive = self.options["archive"]
        if archive and not os.path.isfile(archive):
            self.refuse("image archive", "no file %s" % archive, "the archive on this host", "put it there, or mend image_archive")

    def bring(self):
        """Pull or load the image, and make sure that it is the right one."""
        progress = Progress(total=self.image["bytes"] or None)
        try:
            if self.options["archive"]:
                self.engine.load(self.options["archive"], progress.report)
            else:
                self.engine.pull(
                    self.image["name"], self.image["manifest_digest"], self.options["username"], self.options["password"], progress.report
                )
        except EngineError as error:
            reason = _image_registry.reason_of_engine(str(error), bool(self.options["password"]))
            self.refuse(
                "image " + ("load" if self.options["archive"] else "pull"),
                " ".join(str(error).split()),
                self.options["archive"] or self.pull_name,
                _image_registry.REMEDIES[reason],
            )
        record = self.held()
        if record is None:
            self.refuse(
                "image identity",
                "%s was brought but is not this image" % (self.options["archive"] or self.pull_name),
                "configuration %s" % self.image["config_digest"],
                "bring the pinned image, or run lock.yml to pin this one",
            )
        return record

    def settle(self):
        """Bring what is missing; returns the image's id, whether it was held before, and the actions done."""
        with turn(os.path.join(self.options["state_dir"], "image.turn")):
            record = self.held()
            held, actions = record is not None, self.plan(record)
            if not held:
                self.check_archive()
                self.check_disk()
                record = self.bring()
            if not self.named(record):
                self.asked(self.engine.tag, record["Id"], OUR_NAME, self.our_tag)
            _receipt.write(self.options["state_dir"], STAGE, self.receipt(record["Id"]))
            if self.left_over():
                os.unlink(self.options["archive"])
        return record["Id"], held, actions


def _too_small(needs):
    """The paths whose file system has no room, as (path, bytes needed, bytes free); paths on one file system share its room."""
    taken = {}
    for path, needed in needs.items():
        folder = path
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        device = os.stat(folder).st_dev
        taken[device] = taken.get(device, 0) + needed
        status = os.statvfs(folder)
        if status.f_bavail * status.f_frsize < taken[device]:
            yield path, taken[device], status.f_bavail * status.f_frsize


def main():
    module = AnsibleModule(
        argument_spec={
            "image": {
                "type": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "source": {"type": "dict", "default": {}},
                    "config_digest": {"type": "str", "required": True},
                    "manifest_digest": {"type": "str", "default": ""},
                    "bytes": {"type": "int", "default": 0},
                    "unpacked_bytes": {"type": "int", "default": 0},
                },
            },
            "archive": {"type": "path"},
            "remove_archive": {"type": "bool", "default": False},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "unpack_factor": {"type": "float", "default": 3.0},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "engine_expected": {"type": "bool", "default": False},
            "stall_seconds": {"type": "int", "default": 600},
            "state_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode and not module.params["engine_expected"] and not os.path.exists(module.params["socket"]):
        module.warn("image: runs after container_engine, which brings the engine")
        module.exit_json(changed=False, runs_after="container_engine")
    image = _ServingImage(module)
    receipt = _receipt.read(module.params["state_dir"], STAGE)
    before = image.rendered(receipt)
    if module.check_mode:
        record = image.held()
        image_id, held, actions = image.predicted_id(record), record is not None, image.plan(record)
        if not held:
            image.check_disk()
    else:
        image_id, held, actions = image.settle()
    module.exit_json(
        changed=bool(actions),
        image_id=image_id,
        held=held,
        actions=actions,
        diff={
            "before_header": "image",
            "after_header": "image",
            "before": before,
            "after": _receipt.render(STAGE, image.receipt(image_id) if actions else receipt),
        },
    )


if __name__ == "__main__":
    main()
