#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_ofed
short_description: Install MLNX_OFED of one version from an operator's archive
description:
  - Installs MLNX_OFED for the running kernel, where C(ofed_info) reads back another version or none. The firmware of the adapters is left alone.
  - Drivers that are loaded stay loaded; the new ones are used after a reboot, and RV(restart_required) says so until then.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  version:
    description: The version that the host shall have, such as V(24.01-0.3.3.1).
    type: str
    required: true
  archive:
    description:
      - The archive of this version on the host, a C(tgz) with C(mlnxofedinstall) in its one folder.
      - In check mode it need not be there yet.
    type: path
  sha256:
    description: SHA-256 of the archive in hexadecimal.
    type: str
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Install MLNX_OFED
  flagos.kunlunxin.rdma_ofed:
    version: 24.01-0.3.3.1
    archive: /var/tmp/MLNX_OFED_LINUX-24.01-0.3.3.1-ubuntu22.04-x86_64.tgz
    sha256: "{{ ofed_sha256 }}"
  become: true
"""

RETURN = r"""
actions:
  description: The commands that were run, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
version:
  description: The version that was there before; null for none.
  returned: success
  type: str
restart_required:
  description: Whether the loaded driver is another than the installed one, or would be.
  returned: success
  type: bool
finding:
  description: What prevents the installation, as host, check, observed, expected and remedy.
  returned: failure
  type: dict
"""

import glob
import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _ofed
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import check_sha256
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError, unfit


def installed(module):
    """The version that the host has; None for none."""
    tool = module.get_bin_path("ofed_info")
    return _ofed.parse_version(module.run_command([tool, "-s"])[1]) if tool else None


def is_stale(module):
    """Whether the adapters' driver that is loaded is another build than the installed one; not where either does not say which it is."""
    tool = module.get_bin_path("modinfo")
    loaded = HostTree().line("/sys/module/%s/srcversion" % _ofed.DRIVER)
    there = module.run_command([tool, "-F", "srcversion", _ofed.DRIVER])[1].strip() if tool else ""
    return bool(loaded and there) and loaded != there


def check(module, kernel):
    """Refuse what cannot end well before anything is changed."""
    archive, wanted = module.params["archive"], module.params["sha256"]
    if not archive or not wanted:
        raise unfit("MLNX_OFED", "no archive and SHA-256 given", "both", "set rdma_ofed_archive and rdma_ofed_sha256")
    if not os.path.isdir(_ofed.headers(kernel)):
        raise unfit(
            "headers of the kernel %s" % kernel, "no %s" % _ofed.headers(kernel), "a folder", "install the headers of the running kernel"
        )
    if not os.path.exists(archive):
        if not module.check_mode:
            raise unfit("MLNX_OFED", "no %s" % archive, "the archive", "copy it to the host")
        return
    check_sha256("MLNX_OFED", archive, wanted, "get the archive anew, or correct rdma_ofed_sha256")


def install(module, kernel):
    """Unpack the archive, run its installer, and read the version back."""
    folder = tempfile.mkdtemp(prefix="ofed-", dir="/var/tmp")  # gigabytes, which /tmp may not have
    try:
        module.run_command(["tar", "-xf", module.params["archive"], "-C", folder, "--no-same-owner"], check_rc=True)
        found = glob.glob(os.path.join(glob.escape(folder), "*", _ofed.INSTALLER))
        if len(found) != 1:
            raise unfit(
                module.params["archive"], "%d times %s" % (len(found), _ofed.INSTALLER), "one folder with it", "get the right archive"
            )
        status, output, errors = module.run_command(_ofed.install_command(found[0], kernel), cwd=os.path.dirname(found[0]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if status != 0:
        last = " / ".join((output + errors).strip().splitlines()[-3:]) or "no output"
        raise unfit("installation of MLNX_OFED", "status %d: %s" % (status, last), "status 0", "see its logs below /tmp on the host")
    version = installed(module)
    if version != module.params["version"]:
        raise unfit(
            "version of MLNX_OFED", version or "none", module.params["version"], "correct rdma_ofed_version, or get the right archive"
        )


def main():
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "archive": {"type": "path"},
            "sha256": {"type": "str"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    kernel = os.uname().release
    before = installed(module)
    try:
        changes = []
        if before != module.params["version"]:
            check(module, kernel)
            action = " ".join(_ofed.install_command(_ofed.INSTALLER, kernel))
            changes.append(
                Change(action, "MLNX_OFED", (before or "none") + "\n", module.params["version"] + "\n", lambda made: install(made, kernel))
            )
        result = settle(module, changes)
        module.exit_json(version=before, restart_required=bool(changes) or is_stale(module), **result)
    except UnfitError as error:
        module.fail_json(msg=str(error), finding=error.finding.as_dict())


if __name__ == "__main__":
    main()
