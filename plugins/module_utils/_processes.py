# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Who holds what on a host: the open files of all processes, and the unit and container a process belongs to, from /proc alone."""

from __future__ import annotations

import posixpath

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_cgroup


def descriptors(tree):
    """Every open file whose owner may be looked at: ``(pid, the descriptor's path in /proc, what it points to)``, by rising pid."""
    for pid in sorted(int(name) for name in tree.names("/proc") if name.isdigit()):
        base = "/proc/%d/fd" % pid
        for name in tree.names(base):
            path = posixpath.join(base, name)
            target = tree.link(path)
            if target is not None:  # closed meanwhile
                yield pid, path, target


def describe(tree, pid, containers):
    """A process as ``{"pid", "process", "unit", "container"}``; all None for the pid None.

    :param containers: ``{id: {"name", "labels"}}``; the container of a process that is in none of them is None.
    """
    group = parse_cgroup(tree.text("/proc/%s/cgroup" % pid)) if pid else {"container": None, "unit": None}
    container = containers.get(group["container"])
    return {
        "pid": pid,
        "process": tree.line("/proc/%s/comm" % pid) if pid else None,
        "unit": group["unit"],
        "container": {"name": container["name"], "labels": container["labels"]} if container else None,
    }
