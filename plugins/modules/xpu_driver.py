#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: xpu_driver
short_description: Install, load and take away the driver of Kunlunxin XPUs
version_added: 0.2.0
description:
  - Brings a host the driver and runtime (XRE) of one version, the modules that it loads now and at boot, the options that the cards' part
    number asks for and, on request, direct RDMA (XDR), the container toolkit and firmware, from files that lie on the host.
  - What is there is read back from the kernel, its modules and the vendor's tool, never from a mark. A module that was built for
    another kernel than the running one is installed again.
  - Everything is judged before the first change. In this order, the files and their SHA-256, the kernel's headers, what the peer-memory
    module is built against, the part numbers, and that no process holds a device while modules must be unloaded.
  - Where no driver tells the part numbers yet, they are judged as soon as it is installed, before the options are settled.
  - Nothing is ever reset, and no process is ended. Firmware is flashed only when asked for; the power cycle that it needs is the operator's.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
    details: >-
      On a host without a driver the part number is not known, so that the options are predicted as what it asks for,
      unless O(part_number) names it. A file need not be there; one that is there is compared, but not in O(folder), where it may yet be sent anew.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) brings what is missing.
      - V(absent) takes away what this module brought, by the installer's own uninstaller where it brought one. A driver that was
        there before stays.
    type: str
    choices: [present, absent]
    default: present
  version:
    description: Version of the driver, as C(/proc/kunlun/version) tells it once it is loaded. Required with O(state=present).
    type: str
  xre:
    description: The self-extracting installer of the driver and its runtime. Required with O(state=present).
    type: dict
    suboptions: &file
      file:
        description: Path on the host.
        type: path
        required: true
      sha256:
        description: SHA-256 of the file, in hexadecimal digits.
        type: str
        required: true
  arguments:
    description: Arguments of the installer, by which it asks nothing.
    type: list
    elements: str
    default: [--silent, --accept-license]
  kernel_headers:
    description:
      - Folder of the running kernel's headers, which installers take as C(KERNELDIR).
      - By default C(/usr/src/linux-headers-RELEASE) or C(/lib/modules/RELEASE/build).
    type: path
  peer_memory:
    description:
      - Whether network adapters are to reach the cards' memory, by O(peer_module). What that is built against has to be
        there before the driver.
    type: bool
    default: true
  part_number:
    description: Part number that the cards must have. By default any of O(module_options).
    type: str
  module_options:
    description:
      - What each part number asks for as registry of O(driver_module); empty for what the installer sets.
      - Other part numbers than these, and different ones in one host, are refused.
    type: dict
    default: {B00100300110112: "", B00100300110312: "RmDisableSMMU=1;C2CHighSpeed=1"}
  xdr:
    description: Direct RDMA of the XPUs, a tar archive with C(build.sh) and C(install.sh).
    type: dict
    suboptions:
      <<: *file
      version:
        description: Version, as C(modinfo) or C(/proc/xdr/version) tells it.
        type: str
        required: true
  toolkit:
    description: Packages of the container toolkit, each file named as Debian names packages.
    type: list
    elements: dict
    default: []
    suboptions: *file
  firmware:
    description: Firmware of the cards, a tar archive with C(auto_update.sh).
    type: dict
    suboptions:
      <<: *file
      versions:
        description: The parts and versions that C(xpu-smi -q) tells once it is flashed and the host's power was cut, such as V({"SBL":"1.54"}).
        type: dict
        required: true
  firmware_update:
    description: Whether to flash O(firmware) where the cards have another. Otherwise the difference is only told.
    type: bool
    default: false
  pci_ids:
    description: PCI devices that are the cards, as V(vendor:device) in hexadecimal digits; V(*) is any device of the vendor.
    type: list
    elements: str
    default: ["1d22:*", "2057:*"]
  nodes:
    description: Device nodes that nobody may hold while modules are unloaded.
    type: list
    elements: path
    default: []
  driver_module:
    description: Kernel module of the driver.
    type: str
    default: kunlun
  peer_module:
    description: Kernel module that lets network adapters reach the cards' memory.
    type: str
    default: kunlun_peermem
  tool:
    description: The vendor's tool, which tells the part numbers, as a path or as a name that is looked for in the folders of programs.
    type: str
    default: xpu-smi
  folder:
    description: Folder on the host where all files lie by their name, whatever folder their paths name. By default the paths are the host's.
    type: path
  remove_files:
    description: Remove the files once they are not needed any more, also those that a killed run left.
    type: bool
    default: false
  overlay:
    description:
      - A folder on the host, laid out like V(/), whose files are read before the host's own.
      - It tells what is there on a host whose kernel shows less, as that of a container or of a virtual machine may.
    type: path
  state_dir:
    description: The folder on the host that holds the state of the cluster.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Bring the driver
  flagos.kunlunxin.xpu_driver:
    version: 5.0.21.26
    xre:
      file: /root/xre-Linux-x86_64-5.0.21.26.run
      sha256: "{{ xre_sha256 }}"
    nodes: [/dev/xpu0, /dev/xpuctrl]
    state_dir: /var/lib/flagos-kunlunxin
  become: true

- name: Take it away
  flagos.kunlunxin.xpu_driver:
    state: absent
    nodes: [/dev/xpu0, /dev/xpuctrl]
    state_dir: /var/lib/flagos-kunlunxin
  become: true
"""

RETURN = r"""
actions:
  description: What was changed, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["KERNELDIR=/usr/src/linux-headers-6.8.0-87-generic bash /root/xre.run --silent --accept-license", "load kunlun, kunlun_peermem"]
needed:
  description: Paths of the files without which this run changes nothing, or did not.
  returned: success
  type: list
  elements: str
part_number:
  description: The cards' part number; null where no driver tells it.
  returned: success
  type: str
  sample: B00100300110112
power_cycle:
  description: Whether firmware was flashed that shows only once the host's power was cut.
  returned: success
  type: bool
finding:
  description: What is wrong, as host, check, observed, expected and remedy.
  returned: failure
  type: dict
"""

import contextlib
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver as driver
from ansible_collections.flagos.kunlunxin.plugins.module_utils._accelerator_facts import containers_of
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._turn import turn
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError, unfit
from ansible_collections.flagos.kunlunxin.plugins.module_utils._xpu_driver_host import DriverHost

TURN = "/run/flagos-kunlunxin/driver.turn"
FILE = {"file": {"type": "path", "required": True}, "sha256": {"type": "str", "required": True}}


def files_of(params):
    """The files that the options name, each as a dict that holds its path as ``file``."""
    return [entry for entry in (params["xre"], params["xdr"], params["firmware"], *params["toolkit"]) if entry]


def unfit_option(params):
    """The first option that cannot be used, as an UnfitError; None where all can."""
    for entry in files_of(params):
        if not re.fullmatch(r"[0-9a-fA-F]{64}", entry["sha256"]):
            return unfit("sha256 of %s" % entry["file"], repr(entry["sha256"]), "64 hexadecimal digits", "mend it")
    names = [os.path.basename(entry["file"]) for entry in files_of(params)]
    if params["folder"] and len(set(names)) < len(names):
        return unfit("files", ", ".join(sorted(names)), "another name for each, as they go to one folder", "rename one")
    if params["state"] == "present" and not re.fullmatch(r"[0-9]+(?:\.[0-9]+)+", params["version"]):
        return unfit("version", repr(params["version"]), "numbers and dots such as 5.0.21.26", "mend it")
    return None


def settled(module, host):
    """What to return once the host is as asked for, or, in check mode, was judged."""
    result = settle(module, host.present() if module.params["state"] == "present" else host.absent())
    if not module.check_mode:
        host.remove_needed_files()
    return dict(result, needed=host.needed, part_number=host.part_number(), power_cycle=host.power_cycle)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "version": {"type": "str"},
            "xre": {"type": "dict", "options": FILE},
            "arguments": {"type": "list", "elements": "str", "default": driver.XRE_ARGUMENTS},
            "kernel_headers": {"type": "path"},
            "peer_memory": {"type": "bool", "default": True},
            "part_number": {"type": "str"},
            "module_options": {"type": "dict", "default": driver.MODULE_OPTIONS},
            "xdr": {"type": "dict", "options": dict(FILE, version={"type": "str", "required": True})},
            "toolkit": {"type": "list", "elements": "dict", "default": [], "options": FILE},
            "firmware": {"type": "dict", "options": dict(FILE, versions={"type": "dict", "required": True})},
            "firmware_update": {"type": "bool", "default": False},
            "pci_ids": {"type": "list", "elements": "str", "default": ["1d22:*", "2057:*"]},
            "nodes": {"type": "list", "elements": "path", "default": []},
            "driver_module": {"type": "str", "default": "kunlun"},
            "peer_module": {"type": "str", "default": "kunlun_peermem"},
            "tool": {"type": "str", "default": "xpu-smi"},
            "folder": {"type": "path"},
            "remove_files": {"type": "bool", "default": False},
            "overlay": {"type": "path"},
            "state_dir": {"type": "path", "required": True},
        },
        required_if=[("state", "present", ["version", "xre"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    tree = HostTree(overlay=module.params["overlay"])
    # A run that was killed may still install: the next one waits for it.
    alone = contextlib.nullcontext() if module.check_mode else turn(TURN)
    try:
        refused = unfit_option(module.params)
        if refused:
            raise refused
        if module.params["folder"]:
            for entry in files_of(module.params):
                entry["file"] = os.path.join(module.params["folder"], os.path.basename(entry["file"]))
        with alone:
            host = DriverHost(module, tree, containers_of(tree))
            result = settled(module, host)
    except UnfitError as error:
        module.fail_json(msg=str(error), finding=error.finding.as_dict())
    for note in host.notes:
        module.warn(note)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
