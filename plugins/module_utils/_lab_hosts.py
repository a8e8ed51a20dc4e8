# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What has to be said to Docker so that the lab's hosts are there: pure, docker's arguments out.

A host is a privileged container with systemd as PID 1 and a volume for its own, nested Docker. A label on each holds a
digest of all that it was made with, so that a difference is seen without comparing what Docker says field by field.
"""

from __future__ import annotations

import hashlib
import json

SPEC_LABEL = "io.flagos.kunlunxin.lab.spec"
# What `docker ps` prints for parse_present.
PRESENT_FORMAT = '{{.Names}}\t{{.State}}\t{{.Label "%s"}}' % SPEC_LABEL


def parse_present(text):
    """The hosts that are there, from lines of PRESENT_FORMAT: ``{name: (state, spec)}``."""
    return {name: (state, spec) for name, state, spec in (line.split("\t") for line in text.splitlines())}


def volume(name):
    """The volume that holds a host's nested Docker."""
    return name + "-docker"


def networks(prefix, rails):
    """The lab's networks, the control network first: ``[{"name", "bridge", "subnet", "gateway", "internal"}]``.

    Rails lead nowhere but to their own hosts. The bridges are made by the lab's supervisor, one for each third number of an address.
    """
    return [
        {
            "name": "rail%d" % number if number else "control",
            "bridge": "lab%d" % number,
            "subnet": "%s.%d.0/24" % (prefix, number),
            "gateway": "%s.%d.1" % (prefix, number),
            "internal": number > 0,
        }
        for number in range(rails + 1)
    ]


def address(lab, host, network=0):
    """A host's address in one of the lab's networks; 0 is the control network, the others are the rails."""
    return "%s.%d.%d" % (lab["prefix"], network, host["number"])


def network_commands(lab, present):
    """Commands that make those networks of the lab whose name is not among ``present``."""
    return [
        [
            "network",
            "create",
            "--driver",
            "bridge",
            "--opt",
            "com.docker.network.bridge.name=" + network["bridge"],
            "--subnet",
            network["subnet"],
            "--gateway",
            network["gateway"],
        ]
        + (["--internal"] if network["internal"] else [])
        + [network["name"]]
        for network in networks(lab["prefix"], lab["rails"])
        if network["name"] not in present
    ]


def creation(lab, host):
    """The commands that make one host, all but its start, and the digest of all that it is made with.

    ``lab``: ``root``, ``prefix``, ``rails``, ``devices``, ``shm_size``; ``host``: ``name``, ``number``, ``image``, ``memory``.
    """
    name = host["name"]
    names = [network["name"] for network in networks(lab["prefix"], lab["rails"])]
    create = [
        "create",
        "--name",
        name,
        "--hostname",
        name,
        "--privileged",
        "--cgroupns",
        "private",
        "--stop-signal",
        "SIGRTMIN+3",
        "--stop-timeout",
        "15",
        "--restart",
        "unless-stopped",
        "--memory",
        host["memory"],
        "--shm-size",
        lab["shm_size"],
        "--tmpfs",
        "/run:exec,mode=755",
        "--tmpfs",
        "/run/lock",
        "--volume",
        "%s/hosts/%s:/etc/lab-guest:ro" % (lab["root"], name),
        "--volume",
        volume(name) + ":/var/lib/docker",
        "--network",
        names[0],
        "--ip",
        address(lab, host),
    ]
    for device in ["xpu%d" % index for index in range(lab["devices"])] + ["xpuctrl"]:
        create += ["--device", "%s/dev/%s:/dev/%s" % (lab["root"], device, device)]
    # Docker takes one network at a creation
    connects = [["network", "connect", "--ip", address(lab, host, number), names[number], name] for number in range(1, len(names))]
    spec = hashlib.sha256(json.dumps([create, connects, host["image"]]).encode()).hexdigest()
    return [[*create, "--label", "%s=%s" % (SPEC_LABEL, spec), host["image"]], *connects], spec


def host_commands(lab, host, present, state):
    """The commands that bring one host to ``state``: ``present``, ``fresh`` (made anew, its nested Docker empty) or ``absent``."""
    name = host["name"]
    commands, spec = creation(lab, host)
    is_state, is_spec = present.get(name, (None, None))
    remove = [["rm", "--force", name]] if is_state else []
    forget = [["volume", "rm", "--force", volume(name)]]
    if state == "absent":
        return remove + forget if remove else []
    if state == "fresh":
        return remove + forget + commands + [["start", name]]
    # a host in state "created" was never started: who made it did not get as far, and it may lack networks
    if is_spec != spec or is_state == "created":
        return remove + commands + [["start", name]]
    return [] if is_state == "running" else [["start", name]]
