#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_machine_info
short_description: Say whether a machine can carry the lab, and what is there of it
description:
  - Reads the machine that is to carry the lab, and fails with one line for each thing that keeps it from doing so.
  - Nothing is changed. To know whether namespaces can be made, it makes some for a moment.
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  prefix:
    description: First two numbers of the lab's addresses.
    type: str
    required: true
  root:
    description: Folder of the lab.
    type: path
    required: true
  cache:
    description: Folder of the lab's cache.
    type: path
    required: true
  memory_gib:
    description: Memory that must be available before the lab starts, in GiB.
    type: float
    required: true
  disk_gib:
    description: Disk space that must be available before the lab starts, in GiB.
    type: float
    required: true
  sources:
    description: Text of apt's sources for the hosts; empty for the distribution's own entries on the machine.
    type: str
    default: ""
  packages:
    description: Distribution packages that the lab needs.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
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
- name: Judge the machine
  flagos.kunlunxin.lab_machine_info:
    prefix: "10.91"
    root: /var/lib/flagos-kunlunxin-lab
    cache: /var/cache/flagos-kunlunxin-lab
    memory_gib: 16
    disk_gib: 40
    packages: [docker.io, mmdebstrap]
  register: __example_machine
"""

RETURN = r"""
missing_packages:
  description: The asked packages that are not installed.
  returned: success
  type: list
  elements: str
service_manager:
  description: V(systemd) where it is PID 1, else V(none).
  returned: success
  type: str
codename:
  description: The distribution's release name.
  returned: success
  type: str
  sample: bookworm
sources:
  description: Text of apt's sources for the hosts, O(sources) if given.
  returned: success
  type: str
running:
  description: Whether the lab's daemons run.
  returned: success
  type: bool
"""

import fcntl
import glob
import json
import os
import platform
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_machine as lab_machine
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_meminfo, parse_os_release

GIB = 1024**3


def read(path):
    """The text of a file, or ``""`` when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def output(*command):
    """What a read-only command prints, or ``""`` where it is not installed."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
    except OSError:
        return ""


def namespaces_refused():
    """Why the machine lets nobody make the lab's namespaces, or ``""``."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    try:
        tried = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        return str(error)
    return tried.stdout.decode().strip() or "refused" if tried.returncode else ""


def has_overlay():
    """Whether the kernel has overlay, built in, loaded or as a module that Docker will load."""
    module = "/lib/modules/%s/kernel/fs/overlayfs" % platform.release()
    return "\toverlay\n" in read("/proc/filesystems") or os.path.isdir(module)


def available_disks(paths):
    """Bytes available to root on each file system that has, or will have, one of the paths: ``{"path and path": bytes}``."""
    disks = {}
    for path in paths:
        there = path
        while not os.path.exists(there):
            there = os.path.dirname(there)
        disks.setdefault(os.stat(there).st_dev, (os.statvfs(there), []))[1].append(path)
    return {" and ".join(names): status.f_bavail * status.f_frsize for status, names in disks.values()}


def is_running(pid_file):
    """Whether the lab's supervisor holds its lock."""
    try:
        with open(pid_file, encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def present_lab(root):
    """What is there of the lab, from the configuration that the role wrote."""
    config = json.loads(read(os.path.join(root, "etc", "labd.json")) or "{}")
    running = bool(config) and is_running(os.path.join(config["run"], "labd.pid"))
    return {"running": running, "prefix": config.get("prefix"), "link": config.get("link")}


def missing(packages):
    """Those of the packages that dpkg does not have installed."""
    listed = output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages) if packages else ""
    installed = [line.split()[0] for line in listed.splitlines() if line.endswith(" installed")]
    return [package for package in packages if package not in installed]


def main():
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "memory_gib": {"type": "float", "required": True},
            "disk_gib": {"type": "float", "required": True},
            "sources": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    lab = present_lab(params["root"])
    system = parse_os_release(read("/etc/os-release"))
    files = glob.glob("/etc/apt/sources.list") + glob.glob("/etc/apt/sources.list.d/*.sources")
    sources = params["sources"] or lab_machine.distribution_sources({path: read(path) for path in files}, system.get("ID"))
    facts = {
        "uid": os.geteuid(),
        "system": system,
        "architecture": platform.machine(),
        "namespaces": namespaces_refused(),
        "tun": os.path.exists("/dev/net/tun"),
        "overlay": has_overlay(),
        "memory": parse_meminfo(read("/proc/meminfo"))["MemAvailable"],
        "disks": available_disks([params["root"], params["cache"]]),
        "routes": output("ip", "-4", "route", "show", "table", "all"),
        "sources": sources,
        "lab": lab,
    }
    needs = {"prefix": params["prefix"], "memory": params["memory_gib"] * GIB, "disk": params["disk_gib"] * GIB}
    found = lab_machine.findings(facts, needs)
    if found:
        module.fail_json(msg="\n".join(str(finding) for finding in found))
    module.exit_json(
        changed=False,
        missing_packages=missing(params["packages"]),
        service_manager="systemd" if os.path.isdir("/run/systemd/system") else "none",
        codename=system["VERSION_CODENAME"],
        sources=sources,
        running=lab["running"],
    )


if __name__ == "__main__":
    main()
