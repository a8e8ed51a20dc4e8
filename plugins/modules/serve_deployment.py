#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: serve_deployment
short_description: Put this host's part of the service in place, without starting it
version_added: 0.1.0
description:
  - Renders everything that the host's container needs from the plan and from what the stages image and weights left on the host,
    and says whether what runs is what is rendered.
  - It starts and stops nothing. A service is started and stopped as a whole group, by M(flagos.kunlunxin.serve_unit).
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
  plan:
    description: The plan of the cluster, as P(flagos.kunlunxin.plan#lookup) gives it.
    type: dict
    required: true
  host:
    description: The name of this host in the plan.
    type: str
    required: true
  program:
    description: The serve program, base64 encoded, as P(flagos.kunlunxin.program#lookup) gives it.
    type: str
    required: true
  host_keys:
    description: Public ssh host key of each host's container, by host name.
    type: dict
    required: true
  group_key:
    description: The public key that the first host's container logs in with.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Put the service in place
  flagos.kunlunxin.serve_deployment:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"
    host: "{{ inventory_hostname }}"
    program: "{{ lookup('flagos.kunlunxin.program', 'serve') }}"
    host_keys: "{{ host_keys }}"
    group_key: "{{ group_key }}"
"""

RETURN = r"""
deployment:
  description: Identity of what is served and how; equal on all hosts.
  returned: when the earlier stages are done
  type: str
  sample: 1c2f6d0e9a3b4455
serving:
  description: Whether this deployment's container runs on this host and has not failed.
  returned: always
  type: bool
ready:
  description: Whether this host's program says that it has come up; on the first host that is the service.
  returned: when the earlier stages are done
  type: bool
runs_after:
  description: The stage that has to come first; only in check mode, elsewhere its absence is a failure.
  returned: when a stage is missing in check mode
  type: str
  sample: image
image:
  description: Identity of the image.
  returned: when the earlier stages are done
  type: str
weights:
  description: Identity of the weights.
  returned: when the earlier stages are done
  type: str
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
"""

import base64
import hashlib
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _receipt, _serve_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import (
    Change,
    command_change,
    file_change,
    read_text,
    settle,
)
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_images import EngineImages
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import CONTAINER, LABEL_DEPLOYMENT, UNIT, Installation

ENGINE = "/var/run/docker.sock"


class MissingStageError(Exception):
    """A stage that has to come first left nothing here, or what it left is gone.

    :ivar stage: its name.
    """

    def __init__(self, stage, observed, expected):
        super(MissingStageError, self).__init__(observed)
        self.stage, self.observed, self.expected = stage, observed, expected


def prerequisites(plan):
    """The identities of image and weights that this host really has. :raises MissingStageError:"""
    image = _receipt.read(plan["state_dir"], "image").get("image_id")
    try:
        found = image and EngineImages(ENGINE).find(image)
    except EngineError as error:
        raise MissingStageError("container_engine", str(error), "a container engine that answers")
    if not found:
        raise MissingStageError("image", "no image %s" % image if image else "no image was brought", "the cluster's image")
    return image, verified_weights(plan["model"]["path"], _receipt.read(plan["state_dir"], "weights"))


def verified_weights(path, receipt):
    """The identity of the weights at ``path``, by the receipt of what was proven there. :raises MissingStageError:

    The receipt outlives a link that was turned elsewhere by hand and a cluster that was moved to another path.
    """
    if not receipt.get("root") or not os.path.isdir(path):
        raise MissingStageError("weights", "%s holds no verified weights" % path, "the cluster's weights")
    if receipt.get("path") != path:
        raise MissingStageError("weights", "verified weights in %s only" % receipt.get("path"), "verified weights in %s" % path)
    if os.path.realpath(path) != os.path.realpath(receipt.get("revision", "")):
        raise MissingStageError("weights", "%s is %s" % (path, os.path.realpath(path)), "the verified %s" % receipt.get("revision"))
    return receipt["root"]


def program_change(path, content):
    """A list with the change of the program's file; it is no text, so the diff shows its digest."""
    try:
        with open(path, "rb") as stream:
            before = stream.read()
    except OSError:
        before = None
    if before == content:
        return []

    def write(module):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path + ".part", "wb") as stream:
            stream.write(content)
        os.chmod(path + ".part", 0o644)
        os.rename(path + ".part", path)

    return [Change("write %s" % path, path, _digest(before) if before is not None else "", _digest(content), write)]


def _digest(content):
    return "sha256:%s\n" % hashlib.sha256(content).hexdigest()


def folder_changes(folder):
    """The folders that the container writes into."""
    missing = [name for name in ("state", "logs") if not os.path.isdir(os.path.join(folder, name))]

    def make(path):
        return Change("make the folder %s" % path, path, "", "a folder\n", lambda module: os.makedirs(path, mode=0o755, exist_ok=True))

    return [make(os.path.join(folder, name)) for name in missing]


def stale_documents(folder, files):
    """Documents of an earlier plan that this one does not have."""
    kept = {item.path for item in files}
    found = sorted(os.path.join(parent, name) for parent, _folders, names in os.walk(folder) for name in names)
    return [
        Change("remove %s" % path, path, read_text(path), "", lambda module, gone=path: os.unlink(gone))
        for path in found
        if path not in kept
    ]


def reload_change(module, changes):
    """systemd reads a unit anew only when told; a run that was killed may have written it and told nobody."""
    stale = module.run_command(["systemctl", "show", "--property=NeedDaemonReload", "--value", UNIT])[1].strip() == "yes"
    if stale or any(change.subject.endswith("/" + UNIT) for change in changes):
        return command_change(["systemctl", "daemon-reload"], "systemd", "", "")
    return []


def phase(installation):
    """What the program of this very deployment says of itself; empty where its container does not run."""
    try:
        containers = EngineImages(ENGINE).containers()
    except EngineError:
        return ""
    runs = any(
        item["name"] == CONTAINER and item["labels"].get(LABEL_DEPLOYMENT) == installation.deployment for item in containers.values()
    )
    state = _serve_state.read(installation.folder + "/state") or {}
    return state["phase"] if runs and state.get("deployment") == installation.deployment else ""


def main():
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "host": {"type": "str", "required": True},
            "program": {"type": "str", "required": True},
            "host_keys": {"type": "dict", "required": True, "no_log": False},
            "group_key": {"type": "str", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        image, weights = prerequisites(params["plan"])
    except MissingStageError as missing:
        if module.check_mode:
            module.exit_json(changed=False, serving=False, actions=[], runs_after=missing.stage)
        module.fail_json(
            msg=str(
                Finding(
                    host=params["host"],
                    check="serve",
                    observed=missing.observed,
                    expected=missing.expected,
                    remedy="run the stage %s first" % missing.stage,
                )
            )
        )
    program = base64.b64decode(params["program"])
    installation = Installation(
        params["plan"],
        params["host"],
        image,
        weights,
        hashlib.sha256(program).hexdigest(),
        params["host_keys"],
        params["group_key"],
    )
    files = installation.files()
    changes = folder_changes(installation.folder) + program_change(installation.folder + "/program.pyz", program)
    for item in files:
        changes += file_change(item.path, read_text(item.path), item.text, item.mode, secret=item.secret)
    changes += stale_documents(installation.folder + "/documents", files)
    changes += reload_change(module, changes)
    now = phase(installation)
    module.exit_json(
        deployment=installation.deployment,
        serving=now not in ("", _serve_state.FAILED, _serve_state.STOPPED),
        ready=now == _serve_state.READY,
        image=image,
        weights=weights,
        **settle(module, changes),
    )


if __name__ == "__main__":
    main()
