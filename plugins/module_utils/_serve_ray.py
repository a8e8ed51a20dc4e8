# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What Ray and vLLM say about the cluster, read from their own text."""

from __future__ import annotations

import collections
import re

RayCount = collections.namedtuple("RayCount", "hosts devices")
Worker = collections.namedtuple("Worker", "rank local_rank")

_ACTIVE_HOST = re.compile(r"^\s*(\d+)\s+node_[0-9a-f]+\s*$")
_DEVICES = re.compile(r"^\s*[\d.]+/([\d.]+)\s+GPU\b")
# vllm/distributed/parallel_state.py, init_distributed_environment (info in 0.9 and later)
_INITIALISED = re.compile(r"world_size=\d+ rank=(\d+) local_rank=(\d+) distributed_init_method=")


def count(status):
    """Live hosts and devices in the output of ``ray status``.

    Only the section "Active" counts: a host that Ray lists as pending or failed serves nothing.

    :returns: :class:`RayCount`; devices are Ray's ``GPU`` resource, whatever the accelerator is.
    """
    hosts, devices, section = 0, 0, ""
    for line in status.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            section = line[:-1]
        found = _ACTIVE_HOST.match(line)
        if found and section == "Active":
            hosts += int(found.group(1))
        found = _DEVICES.match(line)
        if found:
            devices = int(float(found.group(1)))
    return RayCount(hosts, devices)


def worker(log):
    """The rank and local rank that a worker's own log names, or ``None`` when the log is not a worker's.

    The last mention wins: a worker may start its process group again.
    """
    found = _INITIALISED.findall(log)
    return Worker(*(int(number) for number in found[-1])) if found else None
