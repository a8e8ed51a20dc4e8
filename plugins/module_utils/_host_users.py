# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a restart of a host would interrupt, in words."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._accelerator_facts import Problems, nodes
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import LABEL_CLUSTER, UNIT
from ansible_collections.flagos.kunlunxin.plugins.module_utils._xpu_driver import named_holders

QUIET = ("", "inactive", "failed", "unknown")


def users(tree, devices, containers):
    """The unit and the containers of ours that run, and the processes that hold a device, each as an operator can find it.

    :param devices: paths of device nodes.
    :param containers: ``{id: {"name", "labels"}}`` of the containers that run.
    """
    state = (tree.command("systemctl", "show", "--property=ActiveState", "--value", UNIT) or "").strip()
    found = [] if state in QUIET else ["unit %s is %s" % (UNIT, state)]
    found += sorted("container %s runs" % one["name"] for one in containers.values() if LABEL_CLUSTER in one["labels"])
    held = nodes(tree, devices, containers, Problems())
    return found + named_holders({path: node["owners"] for path, node in held.items() if node and node["owners"]})
