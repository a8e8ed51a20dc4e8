#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_info
short_description: Read the accelerators of one host, their driver and their topology
description:
  - Reads PCI devices, device nodes and who holds them, driver, kernel modules, the vendor's tool, topology and kernel log in one round trip.
  - PCI devices are found without a driver, and by their numbers alone.
  - Nothing is changed, no device is reset and nothing is judged. What cannot be read is told in RV(accelerator.problems).
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  pci_ids:
    description: PCI devices to look for, as V(vendor:device) in hexadecimal digits; V(*) is any device of the vendor.
    type: list
    elements: str
    default: []
  nodes:
    description: Device nodes to look for, one for each accelerator.
    type: list
    elements: path
    default: []
  control_nodes:
    description: Device nodes to look for that all accelerators share.
    type: list
    elements: path
    default: []
  driver_module:
    description: Kernel module of the driver, whose files are in the folder of /proc with this name.
    type: str
  peer_module:
    description: Kernel module that lets network adapters reach the accelerators' memory.
    type: str
  tool:
    description:
      - The vendor's tool, as a path or as a name that is looked for in the folders of programs.
      - Kunlunxin's C(xpu-smi) is known. Another program of this name, such as Intel's, is recognised and not asked anything.
    type: str
  kernel_log_patterns:
    description: What to look for in the kernel's log.
    type: list
    elements: dict
    default: []
    suboptions:
      pattern:
        description: Regular expression to be found somewhere in a line.
        type: str
        required: true
      meaning:
        description: What such a line means.
        type: str
        required: true
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
  - flagos.kunlunxin.host_tree
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
notes:
  - Run it as root. Another user does not see whose processes hold a device node, nor everywhere the kernel's log.
"""

EXAMPLES = r"""
- name: Read the accelerators
  flagos.kunlunxin.accelerator_info:
    pci_ids: ["1d22:3686", "2057:3686"]
    nodes: [/dev/xpu0, /dev/xpu1]
    control_nodes: [/dev/xpuctrl]
    driver_module: kunlun
    peer_module: kunlun_peermem
    tool: xpu-smi
    kernel_log_patterns:
      - pattern: XDR disabled
        meaning: direct RDMA of the XPUs is off
  become: true
  register: __example_accelerator
"""

RETURN = r"""
accelerator:
  description: The facts, one key per subject.
  returned: always
  type: dict
  contains:
    devices:
      description:
        - The PCI devices of O(pci_ids), by rising PCI address.
        - What the tool tells is matched by the address; it is null where no tool answered or its answers contradict each other.
      returned: always
      type: list
      elements: dict
      contains:
        pci:
          description: PCI address.
          type: str
          sample: "0000:52:00.0"
        vendor:
          description: Number of the vendor, four hexadecimal digits.
          type: str
          sample: "1d22"
        device:
          description: Number of the device, four hexadecimal digits.
          type: str
          sample: "3686"
        numa_node:
          description: NUMA node; null where the machine does not say.
          type: int
        path:
          description: The way from the host bridge over the bridges' addresses to the device's own.
          type: list
          elements: str
        link:
          description: Link to the bus, as it is and as it could be; each value null where sysfs does not say.
          type: dict
          contains:
            speed_gts:
              description: Transfer rate in GT/s.
              type: float
            width:
              description: Lanes.
              type: int
            max_speed_gts:
              description: Highest transfer rate of the device in GT/s.
              type: float
            max_width:
              description: Most lanes of the device.
              type: int
        driver:
          description: Kernel driver that holds the device, or null.
          type: str
        mapped:
          description: Whether any of its memory has an address on the bus; null where sysfs does not say.
          type: bool
        index:
          description: The tool's number of the device.
          type: int
        minor:
          description: Minor number of its device node, as the tool tells it.
          type: int
        serial:
          description: Serial number.
          type: str
        uuid:
          description: UUID as the tool writes it.
          type: str
        part_number:
          description: Part number of the card.
          type: str
        product:
          description: Name of the product.
          type: str
          sample: P800 OAM
        firmware:
          description: Version of each part of the firmware.
          type: dict
          sample: {PBL: "1.0", PCIE: "2.14", SBL: "1.54", ALL: 1.0.2.14.1.54, CPLD: "2.0"}
        memory_total_bytes:
          description: Memory of the device in bytes.
          type: int
        memory_used_bytes:
          description: Used memory in bytes.
          type: int
        utilisation_percent:
          description: How much of the device is used, in percent.
          type: float
        temperature_celsius:
          description: Temperature in degrees Celsius.
          type: float
        power_watts:
          description: Power draw in watts.
          type: float
    nodes:
      description:
        - Each path of O(nodes) and O(control_nodes) with C(kind) (V(char), V(block), V(other)), C(major), C(minor) and C(mode), or null.
        - C(owners) are the processes that hold it open, each with pid, process, unit and container (name and labels, or null).
      returned: always
      type: dict
    driver:
      description: The driver; null without O(driver_module).
      returned: always
      type: dict
      contains:
        version:
          description: Version of the running driver, or null.
          type: str
          sample: 5.0.21.38
        cards:
          description: What the driver tells of each card that it found, by its name for it and then by name.
          type: dict
          sample: {dev0: {DeviceName: Kunlun3}}
        module:
          description:
            - Whether O(driver_module) is loaded, and what the module's file for the running kernel says.
            - C(vermagic) is the whole mark, C(built_for) the kernel release in it, C(version) the module's own version.
          type: dict
        peer_module:
          description: C(loaded), whether O(peer_module) is loaded; null where none is given.
          type: dict
        xdr:
          description:
            - Direct RDMA, C(version) as the module tells it, C(mapped), whether it tells of any mapping, null where it cannot be asked,
              and C(node), whether its device node is there.
          type: dict
        kernel:
          description: The running kernel's release.
          type: str
    tool:
      description: The vendor's tool.
      returned: always
      type: dict
      contains:
        path:
          description: Where it is, or null.
          type: str
        kind:
          description: V(kunlunxin); V(other) for a program of the same name that is another; null for none, or an unknown one.
          type: str
        version:
          description: The driver's version as the tool's summary tells it, or null.
          type: str
        runtime_version:
          description: The runtime's version as the tool's summary tells it, or null.
          type: str
    topology:
      description: How the tool tells devices and network adapters to be apart, or null.
      returned: always
      type: dict
      contains:
        layout:
          description: V(legend) where adapters are called NIC0, NIC1 and a legend names them; V(devices) where columns are RDMA devices.
          type: str
        names:
          description: Names of the columns; all other names are of these.
          type: list
          elements: str
        distances:
          description: For each name that has a row, the word for each other name.
          type: dict
          sample: {XPU0: {XPU0: X, XPU1: XL, NIC0: PIX}}
        cpu_affinity:
          description: CPUs near to each name, where told.
          type: dict
          sample: {XPU0: "0-51,104-155"}
        numa_affinity:
          description: NUMA node of each name, where told.
          type: dict
          sample: {XPU0: 0}
        legend:
          description: RDMA device of each adapter's name.
          type: dict
          sample: {NIC0: mlx5_0}
    kernel_log:
      description:
        - Each of O(kernel_log_patterns) that is found, with its C(meaning), the last C(line) and the C(count) of lines.
        - Null where the log cannot be read, or nothing is looked for.
      returned: always
      type: list
      elements: dict
      contains:
        pattern:
          description: The pattern.
          type: str
        meaning:
          description: What it means.
          type: str
        line:
          description: The last line that has it.
          type: str
        count:
          description: How many lines have it.
          type: int
    problems:
      description: What could not be read or contradicts itself, one line each. That a driver or tool is missing is none.
      returned: always
      type: list
      elements: str
      sample: ["xpu-smi -m: line 3: 12 fields; expected 20 or more"]
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _accelerator_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _kernel_modules
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HOST_TREE_ARGUMENTS, host_tree

PCI_ID = re.compile(r"[0-9a-f]{4}:(?:[0-9a-f]{4}|\*)", re.IGNORECASE)


def unfit(params):
    """Each value of the options that cannot be used, as a finding."""
    host = os.uname().nodename
    found = [
        Finding(host, "pci_ids", pattern, "four hexadecimal digits, a colon, and four more or *", "write it as in 1d22:3686")
        for pattern in params["pci_ids"]
        if not PCI_ID.fullmatch(pattern)
    ]
    unfit_patterns = map(_kernel_modules.unfit_pattern, params["kernel_log_patterns"])
    found += [Finding(host, "kernel_log_patterns", *reason) for reason in unfit_patterns if reason]
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            "pci_ids": {"type": "list", "elements": "str", "default": []},
            "nodes": {"type": "list", "elements": "path", "default": []},
            "control_nodes": {"type": "list", "elements": "path", "default": []},
            "driver_module": {"type": "str"},
            "peer_module": {"type": "str"},
            "tool": {"type": "str"},
            "kernel_log_patterns": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "pattern": {"type": "str", "required": True},
                    "meaning": {"type": "str", "required": True},
                },
            },
            **HOST_TREE_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    findings = unfit(module.params)
    if findings:
        module.fail_json(msg="\n".join(str(finding) for finding in findings))
    tree = host_tree(module.params)
    module.exit_json(changed=False, accelerator=facts.gather(tree, module.params, facts.containers_of(tree)))


if __name__ == "__main__":
    main()
