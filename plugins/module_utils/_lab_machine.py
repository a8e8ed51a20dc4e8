# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Whether a machine can carry the lab, judged from plain facts: nothing here reads the machine."""

from __future__ import annotations

import ipaddress

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import format_size

# Distributions whose packages the lab is known to be built from: os-release's ID and VERSION_ID.
SUPPORTED = {("debian", "12"): "Debian 12", ("ubuntu", "24.04"): "Ubuntu 24.04"}


def parse_routes(text):
    """The networks of ``ip -4 route show table all`` with their device: ``[(IPv4Network, device, line)]``.

    Default routes lead everywhere and claim nothing; local, broadcast and multicast entries repeat what a link's own route says.
    """
    routes = []
    for line in (text or "").splitlines():
        fields = line.split()
        if not fields or not fields[0][0].isdigit():
            continue
        network = ipaddress.ip_network(fields[0], strict=False)
        device = fields[fields.index("dev") + 1] if "dev" in fields else None
        if network.prefixlen > 0:
            routes.append((network, device, " ".join(fields)))
    return routes


def distribution_sources(files, distribution):
    """The distribution's own entries among apt's source files, without comments, as one text for mmdebstrap.

    ``files`` maps paths to texts, ``distribution`` is os-release's ID. Both forms are known by their place: deb822 in
    ``sources.list.d/debian.sources`` (or ubuntu), else one-line entries in ``sources.list``. Files of any other name are other
    vendors', and nothing of those gets into a lab host.
    """
    deb822 = files.get("/etc/apt/sources.list.d/%s.sources" % distribution, "")
    text = deb822 if deb822.strip() else files.get("/etc/apt/sources.list", "")
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))


def findings(facts, needs):
    """What keeps a machine from carrying the lab, each a Finding; empty when nothing does.

    ``facts``: ``uid``, ``system`` (os-release), ``architecture``, ``namespaces`` (why they cannot be made, or ``""``), ``tun`` and ``overlay``
    (whether the kernel has them), ``sources`` (text of the distribution's package sources), ``memory`` and ``disks`` (bytes
    available; the latter by path), ``routes`` (text), ``lab`` (``running``, and ``prefix`` and ``link`` of the one that is there, if any).
    ``foreign``: folders of the lab's that hold what is not the lab's.
    ``needs``: ``prefix``, ``memory`` (bytes), ``disk`` (bytes).
    """
    lab = facts["lab"]
    found = []

    def find(check, observed, expected, remedy):
        found.append(Finding("this machine", check, observed, expected, remedy))

    if facts["uid"] != 0:
        find("user", "uid %d" % facts["uid"], "root", "run the playbook as root, for instance with sudo")
        return found  # what the others would see is then only another face of this one
    release = (facts["system"].get("ID"), facts["system"].get("VERSION_ID"))
    if release not in SUPPORTED:
        find(
            "operating system",
            facts["system"].get("PRETTY_NAME", "unknown"),
            " or ".join(SUPPORTED.values()),
            "run the lab on such a machine, or a virtual machine of it",
        )
    if facts["architecture"] != "x86_64":
        find("architecture", facts["architecture"], "x86_64", "run the lab on such a machine")
    if facts["namespaces"]:
        find(
            "namespaces",
            facts["namespaces"],
            "network, mount and PID namespaces can be made",
            "run the lab on a real or virtual machine, or in a privileged container",
        )
    if not facts["tun"]:
        find("/dev/net/tun", "missing", "a character device", "modprobe tun, or run the lab on a machine that has it")
    if not facts["overlay"]:
        find("file systems", "overlay is missing", "overlay in /proc/filesystems", "modprobe overlay")
    if not facts["sources"].strip():
        find(
            "package sources",
            "none of the distribution's own",
            "entries in /etc/apt/sources.list or, as deb822, in /etc/apt/sources.list.d/%s.sources" % facts["system"].get("ID"),
            "give their text as lab_apt_sources",
        )
    for path in facts["foreign"]:
        find("folder", "%s holds other things" % path, "a folder of the lab's own", "put lab_root and lab_cache elsewhere, or empty it")
    if not lab["running"]:
        if facts["memory"] < needs["memory"]:
            find(
                "memory",
                "%s available" % format_size(facts["memory"]),
                "%s" % format_size(needs["memory"]),
                "stop what uses memory, or set lab_memory_gib lower if you know what the lab is to run",
            )
        for path, available in sorted(facts["disks"].items()):
            if available < needs["disk"]:
                find(
                    "disk",
                    "%s available for %s" % (format_size(available), path),
                    format_size(needs["disk"]),
                    "make room, or put lab_root and lab_cache where there is some",
                )
    if lab["prefix"] and lab["prefix"] != needs["prefix"]:
        find("lab_prefix", "a lab with %s" % lab["prefix"], needs["prefix"], "run playbooks/lab_destroy.yml first")
    network = ipaddress.ip_network("%s.0.0/16" % needs["prefix"])
    for routed, device, line in parse_routes(facts["routes"]):
        if routed.overlaps(network) and device != lab["link"]:
            find("lab_prefix", "the route %s" % line, "%s free on this machine" % network, "set another lab_prefix")
            break
    return found
