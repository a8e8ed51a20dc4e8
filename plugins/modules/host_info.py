#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Read what serving depends on from one host
description:
  - Reads operating system, kernels, memory, limits, interfaces, listening ports and their owners, device nodes, disk, clock, name resolution,
    packet filters, proxies, what earlier runs left behind, and the container engine with our containers in one round trip.
  - Asks a container registry whether it can be used and how large an image is.
  - Nothing is changed and nothing is judged; the role P(flagos.kunlunxin.preflight#role) does that.
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  paths:
    description: Paths whose file system is looked at, whether they exist yet or not.
    type: list
    elements: path
    default: []
  counted_paths:
    description: Paths of which the bytes they hold already are counted too; each is also in O(paths).
    type: list
    elements: path
    default: []
  devices:
    description: Device nodes to look for.
    type: list
    elements: path
    default: []
  names:
    description: Host names to resolve to IPv4 addresses.
    type: list
    elements: str
    default: []
  state_dir:
    description: Folder of the cluster's state on the host, where the receipt of the image is read.
    type: path
  label:
    description: Label of the collection's containers, whose image and environment are told.
    type: str
    default: io.flagos.kunlunxin.cluster
  environment:
    description: Environment variables whose values in the collection's own containers are told.
    type: list
    elements: str
    default: []
  files:
    description: Files to look for.
    type: list
    elements: path
    default: []
  modules:
    description: Kernel modules to look for.
    type: list
    elements: str
    default: []
  json_files:
    description: JSON files whose keys are wanted.
    type: list
    elements: path
    default: []
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
  asked_at:
    description: The controller's clock when it asked, in seconds of the epoch; handed back beside the host's own.
    type: float
  registry:
    description: A container registry with TLS to ask, as P(flagos.kunlunxin.container_engine#module) would.
    type: dict
    suboptions:
      address:
        description: Host and, where it is not 443, port of the registry.
        type: str
        required: true
      ca:
        description: Authority to trust beside the system's own, as PEM text.
        type: str
      username:
        description: User to log in as.
        type: str
      password:
        description: Password of the user.
        type: str
      image:
        description: Reference of an image in this registry whose size is wanted.
        type: str
      pinned:
        description: The section C(image) of C(cluster.lock.yml), which tells what a tag in O(registry.image) means; empty where nothing is pinned.
        type: dict
        default: {}
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
"""

EXAMPLES = r"""
- name: Read the host
  flagos.kunlunxin.host_info:
    paths: [/data/models]
    devices: [/dev/xpu0, /dev/xpuctrl]
    names: [node1, node2]
  become: true
  register: __example_host
"""

RETURN = r"""
host:
  description: The facts, one key per subject.
  returned: always
  type: dict
  contains:
    system:
      description:
        - Hostname and the IPv4 address that the host resolves it to, operating system, kernel, architecture, interpreter, effective user id,
          name of process 1.
      returned: always
      type: dict
    memory:
      description: Total and available main memory in bytes, from /proc/meminfo.
      returned: always
      type: dict
    swaps:
      description: Where memory is swapped to, each with C(path), C(bytes) and C(used_bytes); null where the kernel does not tell.
      returned: always
      type: list
      elements: dict
    shm:
      description: Size and available bytes of /dev/shm.
      returned: always
      type: dict
    filesystems:
      description:
        - For each path mount point, device number, size and available bytes.
        - If counted, the bytes it holds and, where it is no folder or file of its own, those of each revision beside it by name.
        - The name of the revision that the path is a link to; empty where it is no link.
      returned: always
      type: dict
    shm_files:
      description: The largest files in /dev/shm with C(name), C(bytes) and C(owner), a user's number.
      returned: always
      type: list
      elements: dict
    limits:
      description:
        - Hard limits C(memlock) and C(nofile) of a C(login) and of the C(engine), numbers or V(infinity); null where no engine runs.
        - C(engine_may_raise), whether the engine may give a container more than it has itself.
        - C(tasks), the control groups of containers that are limited in number of processes, with the number.
      returned: always
      type: dict
    kernel:
      description:
        - C(release) of the running kernel, the kernels C(installed) with their modules and the C(command_line).
        - C(acs), the PCI bridges whose access control is on, of C(bridges_read) that tell, C(iommus) that are there, and C(groups), how the
          addresses of each PCI device are translated (V(identity) for not at all).
      returned: always
      type: dict
    low_links:
      description: The C(link) of each PCI device that has fewer lanes or a lower rate than it could, by its address.
      returned: always
      type: dict
    processes:
      description: Processes of Ray and vLLM with C(part), what they are of it, and pid, process, unit and container as in RV(host.listeners).
      returned: always
      type: list
      elements: dict
    segments:
      description: Segments of System V shared memory with C(id), C(bytes), C(attached), C(owner) and C(creator_alive).
      returned: always
      type: list
      elements: dict
    proxies:
      description: Proxy variables without passwords, by where they are set (V(login), V(container engine), V(/etc/environment), V(image)).
      returned: always
      type: dict
    firewall:
      description: What becomes of packets that come in, as C(policy) and the rules that C(drops) some, told by C(source); null where none tells.
      returned: always
      type: dict
    files:
      description: Whether there is each of O(files).
      returned: always
      type: dict
    modules:
      description: Whether each of O(modules) is loaded; null where the kernel lists none.
      returned: always
      type: dict
    json_keys:
      description: The keys of each of O(json_files); null where there is none or it is no JSON object.
      returned: always
      type: dict
    kernel_log:
      description: What of O(kernel_log_patterns) is found, as the module P(flagos.kunlunxin.accelerator_info#module) tells it.
      returned: always
      type: list
      elements: dict
    interfaces:
      description: For each interface state, mtu, mac and addresses with prefix lengths.
      returned: always
      type: dict
    listeners:
      description: Listening TCP sockets with address, port, pid, process, unit and container (name and labels).
      returned: always
      type: list
      elements: dict
    devices:
      description: For each asked device kind, numbers and mode, or null.
      returned: always
      type: dict
    engine:
      description:
        - Whether a container engine is installed, its version, data root and images' ids, and why it does not answer.
        - C(runtimes), by name the C(path) of each program that starts containers, whether it is C(there) and the C(default).
        - C(containers), those that run or do not, with C(name), C(labels) and C(running); of those with O(label) also C(image), an id, and
          C(environment), the variables of O(environment) that it has.
      returned: always
      type: dict
    image_receipt:
      description: What the image stage left on this host; empty where it did not run.
      returned: always
      type: dict
    driver_receipt:
      description: What the driver stage left on this host; empty where it did not run.
      returned: always
      type: dict
    packages:
      description: The installed version of each package that the driver stage brought, null for one that is gone; null without dpkg.
      returned: always
      type: dict
    clock:
      description: The host's time and the time it was asked at, in seconds, and whether its clock is steered.
      returned: always
      type: dict
    resolved:
      description: For each asked name its first IPv4 address, or null.
      returned: always
      type: dict
    registry:
      description:
        - What the registry answered, as C(state) and C(detail); null when none was asked.
        - With O(registry.image), C(image_bytes) is the compressed size of that image for this host's architecture.
      returned: always
      type: dict
  sample:
    system: {hostname: node1, kernel: 6.1.0-18-amd64, architecture: x86_64}
    listeners: [{address: 0.0.0.0, port: 22, pid: 411, process: sshd, unit: ssh.service, container: null}]
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_facts as facts
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_health as health
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_registry, _kernel_modules, _pci, _receipt, _registry
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HOST_TREE_ARGUMENTS, host_tree


def ask_registry(registry):
    """What the registry answered, as plain data; None when there is none to ask."""
    if not registry:
        return None
    access = (registry["ca"], registry["username"], registry["password"])
    outcome = _registry.probe(registry["address"], *access)
    image_bytes = None
    if outcome.state == _registry.OK and registry["image"]:
        outcome, image_bytes = _image_registry.measure(registry["image"], registry["pinned"], *access)
    return {"address": registry["address"], "state": outcome.state, "detail": outcome.detail, "image_bytes": image_bytes}


def gather(tree, params):
    """All facts of the host below ``tree``, for the module's parameters."""
    engine, containers = facts.engine(tree)
    engine_pid = health.pid_of(tree, health.ENGINE_PROGRAM)
    image_receipt, driver_receipt = (
        _receipt.read(tree.path(params["state_dir"]), stage) if params["state_dir"] else {} for stage in ("image", "driver")
    )
    image_proxies = health.image_proxies(tree, image_receipt.get("image_id"))
    paths = params["paths"] + [engine["data_root"]]
    return {
        "clock": {
            "time": time.time(),
            "asked_at": params["asked_at"],
            "synchronised": facts.clock_synchronised() if tree.is_live else None,
        },
        "system": facts.system(tree),
        "kernel": health.kernel(tree),
        "low_links": _pci.links_below_their_best(tree),
        "memory": facts.memory(tree),
        "swaps": health.swaps(tree),
        "shm": facts.shm(tree),
        "shm_files": health.largest_shm_files(tree),
        "limits": health.limits(tree, engine_pid),
        "filesystems": facts.filesystems(tree, paths, params["counted_paths"]),
        "interfaces": facts.interfaces(tree),
        "listeners": facts.listeners(tree, containers),
        "processes": health.engine_processes(tree, containers),
        "segments": health.shared_segments(tree),
        "proxies": dict(health.proxies(tree, engine_pid), **({"image": image_proxies} if image_proxies else {})),
        "firewall": health.firewall(tree),
        "devices": facts.devices(tree, params["devices"]),
        "engine": dict(engine, containers=health.containers(tree, params["label"], params["environment"])),
        "image_receipt": image_receipt,
        "driver_receipt": driver_receipt,
        "packages": health.package_versions(tree, driver_receipt.get("toolkit") or {}),
        "resolved": facts.resolved(params["names"]),
        "registry": ask_registry(params["registry"]),
        **health.profile_facts(tree, params),
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "counted_paths": {"type": "list", "elements": "path", "default": []},
            "devices": {"type": "list", "elements": "path", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
            "state_dir": {"type": "path"},
            "label": {"type": "str", "default": "io.flagos.kunlunxin.cluster"},
            "environment": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "path", "default": []},
            "modules": {"type": "list", "elements": "str", "default": []},
            "json_files": {"type": "list", "elements": "path", "default": []},
            "kernel_log_patterns": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "pattern": {"type": "str", "required": True},
                    "meaning": {"type": "str", "required": True},
                },
            },
            "asked_at": {"type": "float"},
            "registry": {
                "type": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "ca": {"type": "str"},
                    "username": {"type": "str"},
                    "password": {"type": "str", "no_log": True},
                    "image": {"type": "str"},
                    "pinned": {"type": "dict", "default": {}},
                },
            },
            **HOST_TREE_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    unfit = [found for found in map(_kernel_modules.unfit_pattern, module.params["kernel_log_patterns"]) if found]
    if unfit:
        module.fail_json(msg="\n".join(str(Finding(os.uname().nodename, "kernel_log_patterns", *found)) for found in unfit))
    module.exit_json(changed=False, host=gather(host_tree(module.params), module.params))


if __name__ == "__main__":
    main()
