# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Every file of one host's part in the service, as text: documents, environment, launcher, unit.

All of it is a pure function of the plan and of what the earlier stages left on the host, so check mode, diff and the
deployment's identity speak of the same bytes.
"""

from __future__ import annotations

import collections
import hashlib
import json
import shlex

from ._serve_ssh import known_hosts

CONTAINER = "flagos-kunlunxin-serve"
UNIT = CONTAINER + ".service"
LABEL_CLUSTER = "io.flagos.kunlunxin.cluster"
LABEL_DEPLOYMENT = "io.flagos.kunlunxin.deployment"
# Inherited by every process of the container: what is left on a host after a stop is found by it.
MARKER = "FLAGOS_KUNLUNXIN_CLUSTER"

STOP_SECONDS = 45

LAUNCHER = """\
#!/bin/sh
# Rendered by the role serve. Runs this host's part of the service until it is stopped.
# A host that lost its power may still have the container of that time.
docker rm --force %(container)s > /dev/null 2>&1
exec %(command)s
"""

File = collections.namedtuple("File", "path text mode secret")


def folder(plan):
    """The folder of the service on every host, and at the same path in every container."""
    return plan["state_dir"] + "/serve"


class Installation(object):
    """What one host needs to take its part.

    :param plan: the cluster's plan, as the lookup gives it.
    :param host: the name of this host in the plan.
    :param image: identity of the image, as ``docker run`` takes it.
    :param weights: identity of the weights' manifest.
    :param program: digest of the serve program.
    :param host_keys: public host key of each host's container, by host name.
    :param group_key: the public key that the first host's container logs in with.
    """

    def __init__(self, plan, host, image, weights, program, host_keys, group_key):
        self.plan = plan
        self.host_keys = host_keys
        self.group_key = group_key.strip()
        self.host = next(item for item in plan["hosts"] if item["name"] == host)
        self.head = host == plan["head"]["name"]
        self.folder = folder(plan)
        self.image = image
        self.weights = weights
        self.program = program

    @property
    def deployment(self):
        """Identity of what is served and how; equal on all hosts, and a change of it restarts the whole group."""
        served = {
            "image": self.image,
            "weights": self.weights,
            "program": self.program,
            "keys": [self.host_keys, self.group_key],
            "peers": [[item["name"], item["address"], item["environment"], item["device_nodes"]] for item in self.plan["hosts"]],
        }
        for name in ("name", "head", "ports", "container", "model", "documents", "limits", "before_start"):
            served[name] = self.plan[name]
        return hashlib.sha256(json.dumps(served, sort_keys=True).encode("utf-8")).hexdigest()[:16]

    def files(self):
        """All text files of this host."""
        documents = [
            File("%s/documents/%s" % (self.folder, name), text, 0o644, False) for name, text in sorted(self.plan["documents"].items())
        ]
        peers = [(item["address"], self.host_keys[item["name"]]) for item in self.plan["hosts"]]
        return [
            *documents,
            File(self.folder + "/ssh/authorized_keys", self.group_key + "\n", 0o600, False),
            File(self.folder + "/ssh/known_hosts", known_hosts(self.plan["ports"]["container_ssh"], peers), 0o644, False),
            File(self.folder + "/environment", self.environment(), 0o600, True),
            File(self.folder + "/deployment.json", self.description(), 0o644, False),
            File(self.folder + "/run", self.launcher(), 0o755, False),
            File("/etc/systemd/system/" + UNIT, self.unit(), 0o644, False),
        ]

    def environment(self):
        """The container's environment, in the form of ``docker run --env-file``."""
        pairs = dict(self.host["environment"])
        pairs[MARKER] = self.plan["name"]
        return "".join("%s=%s\n" % pair for pair in sorted(pairs.items()))

    def description(self):
        """``deployment.json``: what the program in the container has to know."""
        plan = self.plan
        document = {
            "deployment": self.deployment,
            "cluster": plan["name"],
            "host": self.host["name"],
            "address": self.host["address"],
            "head": self.head,
            "peers": [{"name": item["name"], "address": item["address"]} for item in plan["hosts"]],
            "slots": self.host["slots"],
            "folder": self.folder,
            "logs": self.folder + "/logs",
            "program": self.folder + "/program.pyz",
            "document": self.folder + "/documents/serve.yaml",
            "before_start": plan["before_start"],
            "model": plan["model"]["name"],
            "ports": {"ssh": plan["ports"]["container_ssh"], "api": plan["ports"]["api"]},
            "limits": plan["limits"],
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    def launcher(self):
        """The script that runs the container in the foreground; an operator can read in it all that is run."""
        labels = {LABEL_CLUSTER: self.plan["name"], LABEL_DEPLOYMENT: self.deployment}
        writable = [self.folder + "/state", self.folder + "/logs"]
        arguments = run_arguments(self.plan, self.host, self.image, CONTAINER, labels, self.plan["model"]["path"], writable)
        arguments += ["run", self.folder + "/deployment.json"]
        lines = " \\\n  ".join(shlex.quote(argument) for argument in arguments)
        return LAUNCHER % {"container": CONTAINER, "command": lines}

    def unit(self):
        """The systemd unit, the only supervisor of the container."""
        ready = self.plan["limits"]["ready_seconds"]
        # A start that fails may use up the whole limit; three such starts and it stays down, visibly. The others only
        # ever wait for the first host, which renews them at each of its starts.
        restart, pause, burst, interval = ("on-failure", 10, 3, 4 * ready) if self.head else ("always", 2, 20, 600)
        return """\
[Unit]
Description=%(what)s of the cluster %(name)s
After=docker.service network-online.target
Wants=network-online.target
StartLimitIntervalSec=%(interval)d
StartLimitBurst=%(burst)d

[Service]
ExecStart=%(folder)s/run
ExecStop=/usr/bin/env docker stop --time %(stop)d %(container)s
Restart=%(restart)s
RestartSec=%(pause)d
TimeoutStopSec=%(unit_stop)d

[Install]
WantedBy=multi-user.target
""" % {
            "what": "The service and its coordinator" if self.head else "A part of the service",
            "name": self.plan["name"],
            "interval": interval,
            "burst": burst,
            "container": CONTAINER,
            "folder": self.folder,
            "stop": STOP_SECONDS,
            "restart": restart,
            "pause": pause,
            "unit_stop": STOP_SECONDS + 15,
        }


def run_arguments(plan, host, image, name, labels, weights, writable):
    """``docker run`` of the serve program with the profile's options; the program's own arguments follow.

    :param host: the host's entry in the plan, whose devices the container gets.
    :param name: the container's name.
    :param weights: the folder of the weights, which the container may only read.
    :param writable: folders that the container may write; all others of ours it may only read.
    """
    own = folder(plan)
    return [
        "docker",
        "run",
        "--rm",
        "--init",
        "--pull=never",
        "--name=%s" % name,
        "--log-driver=none",
        *("--label=%s=%s" % item for item in sorted(labels.items())),
        "--env-file=%s/environment" % own,
        volume(own, own, True),
        *(volume(path, path, False) for path in writable),
        volume(weights, weights, True),
        *container_options(plan["container"]),
        *("--device=%s" % path for path in host["device_nodes"]),
        "--entrypoint=python3",
        image,
        own + "/program.pyz",
    ]


def container_options(container):
    """The plan's ``container`` as arguments of ``docker run``, each option one text; what is empty is left to the engine.

    ``shm_size`` is not among them: the size of /dev/shm is that of its tmpfs.
    """
    options = ["--privileged"] if container["privileged"] else []
    options += ["--%s=%s" % (name, container[name]) for name in ("network", "uts", "ipc") if container[name]]
    options += ["--pids-limit=%d" % container["pids_limit"]]
    options += ["--cap-add=%s" % name for name in container["cap_add"]]
    options += ["--security-opt=%s" % text for text in container["security_opt"]]
    options += ["--ulimit=%s=%s" % item for item in sorted(container["ulimits"].items())]
    options += ["--tmpfs=%s:%s" % item for item in sorted(container["tmpfs"].items())]
    options += [volume(mount["source"], mount["target"], mount["read_only"]) for mount in container["mounts"]]
    return options


def volume(source, target, read_only):
    """A folder of the host in the container."""
    return "--volume=%s:%s%s" % (source, target, ":ro" if read_only else "")
