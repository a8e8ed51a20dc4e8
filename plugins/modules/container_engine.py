#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: container_engine
short_description: Settle a host's Docker engine and its access to a registry
description:
  - Uses an engine that is there as it is, or installs the distribution's; merges options into C(daemon.json); starts it now and
    at boot; places a registry's authority; proves the login to the registry from this host and keeps it.
  - Everything that can refuse does so before anything is changed.
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  package:
    description: The distribution's package to install where there is no engine.
    type: str
    default: docker.io
  minimum_version:
    description: Oldest engine that is used. An older one is refused, not replaced.
    type: str
    default: "20.10"
  daemon_options:
    description:
      - Options for C(/etc/docker/daemon.json). Objects are merged, lists get what they lack, other options stay.
      - The engine is reloaded where that is enough, else restarted.
      - Where it does not come up with them, the former file is put back, the engine is started again, and the module fails.
    type: dict
    default: {}
  cluster:
    description: Containers with the label C(io.flagos.kunlunxin.cluster) of this value are ours; all others are foreign.
    type: str
    default: flagos
  restart_with_foreign_containers:
    description:
      - Whether the engine may be restarted while foreign containers run.
      - An engine with C(live-restore) keeps containers over a restart and is always restarted.
    type: bool
    default: false
  registry:
    description: A container registry with TLS that this host pulls from.
    type: dict
    suboptions:
      address:
        description: Host and, where it is not 443, port of the registry, as in image references.
        type: str
        required: true
      ca:
        description: PEM text of the authority that signed the registry's certificate, where the system does not know it.
        type: str
      username:
        description: User to log in as. Left out for a registry that asks for none.
        type: str
      password:
        description: Password of the user.
        type: str
  client_config:
    description: The engine client's file that keeps the login, readable by its owner alone.
    type: path
    default: /root/.docker/config.json
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The login is named, its secret is not shown.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Settle the container engine
  flagos.kunlunxin.container_engine:
    daemon_options:
      max-concurrent-downloads: 8
    registry:
      address: registry.example.com:5443
      ca: "{{ lookup('ansible.builtin.file', 'registry-ca.crt') }}"
      username: puller
      password: "{{ vault_registry_password }}"
  become: true
"""

RETURN = r"""
actions:
  description: What was changed, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["write /etc/docker/daemon.json", "systemctl reload docker"]
version:
  description: The engine's version; empty in check mode where it is not installed or does not run yet.
  returned: success
  type: str
  sample: 20.10.24+dfsg1
finding:
  description: What is wrong, as host, check, observed, expected and remedy.
  returned: failure
  type: dict
"""

import contextlib
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _daemon_config as daemon
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _registry
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import (
    Change,
    command_change,
    file_change,
    read_text,
    settle,
    write_text,
)
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_version
from ansible_collections.flagos.kunlunxin.plugins.module_utils._image_registry import REMEDIES, trusted_authorities
from ansible_collections.flagos.kunlunxin.plugins.module_utils._packages import has_apt, install_change
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError, unfit

DAEMON_JSON = "/etc/docker/daemon.json"
CERTIFICATES = "/etc/docker/certs.d"
LABEL = "io.flagos.kunlunxin.cluster"
START_SECONDS = 60
# What a running engine still owes to its daemon.json. Under /run, because a boot pays the debt too.
PENDING = "/run/flagos-kunlunxin/engine-pending"


class Observed:
    """The engine of this host as it is before anything is changed."""

    def __init__(self, module):
        self.installed = bool(module.get_bin_path("dockerd", opt_dirs=["/usr/local/sbin", "/usr/local/bin"]))
        self.version = None
        self.live_restore = False
        self.containers = {}
        self.unknown = None  # why it is not known which containers run
        client = EngineClient()
        with contextlib.suppress(EngineError):  # not there, or not running: `installed` tells which
            self.version = client.version()
        self.running = self.version is not None
        if self.running:
            try:
                self.live_restore = bool(client.information().get("LiveRestoreEnabled"))
                self.containers = client.containers()
            except EngineError as error:
                self.unknown = str(error)
        self.enabled = self.installed and module.run_command(["systemctl", "is-enabled", "docker"])[0] == 0


def foreign(containers, cluster):
    """The names of the running containers that are not this cluster's."""
    return sorted(item["name"] for item in containers.values() if item["labels"].get(LABEL) != cluster)


def check_engine(observed, params):
    """Refuse what the module would have to replace or cannot bring."""
    if observed.running and parse_version(observed.version) < parse_version(params["minimum_version"]):
        raise unfit(
            "container engine version",
            observed.version,
            "%s or newer" % params["minimum_version"],
            "update the engine; one that is there is never replaced",
        )
    if not (observed.installed or observed.running) and not has_apt():
        raise unfit(
            "container engine", "none", "Docker %s or newer" % params["minimum_version"], "install one; this distribution has no apt"
        )


def engine_changes(observed, params):
    """Install the engine, give it its options, have it run now and at boot."""
    changes = []
    if not (observed.installed or observed.running):
        changes.append(install_change(params["package"]))
    text = read_text(DAEMON_JSON)
    try:
        before = daemon.parse_config(text)
    except ValueError as error:
        raise unfit("daemon.json", "no JSON: %s" % error, "a JSON object", "mend %s on this host" % DAEMON_JSON) from error
    after = daemon.merge(before, params["daemon_options"])
    need = strongest(daemon.needs(before, after), (read_text(PENDING) or daemon.NOTHING).strip())
    if not observed.installed:
        need = daemon.RESTART if need != daemon.NOTHING else need  # the package starts the engine before its options are there
    elif not observed.running:
        need = daemon.NOTHING  # starting it reads the file
    if need == daemon.RESTART and not observed.live_restore and not params["restart_with_foreign_containers"]:
        if observed.unknown:
            raise unfit(
                "container engine restart",
                "its containers are not known: %s" % observed.unknown,
                "none foreign at a restart",
                "mend the engine (journalctl --unit=docker), or set container_engine_restart_with_foreign_containers",
            )
        names = foreign(observed.containers, params["cluster"])
        if names:
            raise unfit(
                "container engine restart",
                "foreign containers run: %s" % ", ".join(names),
                "none at a restart",
                "stop them, or set container_engine_restart_with_foreign_containers",
            )
    if before != after:
        changes += _pending(need) + file_change(DAEMON_JSON, text, daemon.render(after))
    if observed.installed and not observed.running:
        changes.append(_systemctl(["enable", "--now", "docker"], "inactive\n", "active\n"))
    elif observed.installed and not observed.enabled:
        changes += command_change(["systemctl", "enable", "docker"], "docker.service", "disabled\n", "enabled\n")
    if need != daemon.NOTHING:
        changes.append(_systemctl([need, "docker"], "", "%s to take its options\n" % need))
    return changes


def strongest(*needs):
    """The strongest of several needs of the daemon."""
    return max(needs, key=(daemon.NOTHING, daemon.RELOAD, daemon.RESTART).index)


def _pending(need):
    """Note a need before its cause, so that a run that is killed between the two leaves no engine with old options."""
    if need == daemon.NOTHING:
        return []
    return file_change(PENDING, read_text(PENDING), need + "\n")


def _systemctl(arguments, before, after):
    """The change of the service that makes it read its options, which pays what was pending."""

    def make(module):
        code, _output, errors = module.run_command(["systemctl", *arguments])
        if code:
            raise EngineError("systemctl %s: %s" % (" ".join(arguments), errors.strip()))
        _paid()

    return Change("systemctl " + " ".join(arguments), "docker.service", before, after, make)


def _paid():
    if os.path.exists(PENDING):
        os.unlink(PENDING)


def registry_changes(registry, client_config):
    """Prove that this host can log in, then keep the authority and the login."""
    if not registry:
        return []
    address = registry["address"]
    path = os.path.join(CERTIFICATES, address, "ca.crt")
    changes = []
    if registry["ca"]:
        changes += file_change(path, read_text(path), registry["ca"].strip() + "\n")
    # what is trusted once the authority is placed: the file of ours gives way to the new text
    others = trusted_authorities(address) if not changes else ""
    authorities = "\n".join([registry["ca"] or "", others]).strip()
    outcome = _registry.probe(address, authorities, registry["username"], registry["password"])
    if outcome.state != _registry.OK:
        raise unfit(
            "registry %s" % address,
            "%s: %s" % (outcome.state.replace("_", " "), outcome.detail),
            "a login over TLS",
            REMEDIES[outcome.state],
        )
    if registry["username"] and registry["password"]:
        text = read_text(client_config)
        try:
            wanted = _registry.merge_login(text, address, registry["username"], registry["password"])
        except ValueError as error:
            raise unfit("docker login", "%s: %s" % (client_config, error), "a JSON object", "mend or remove the file") from error
        changes += file_change(client_config, text, wanted, mode=0o600, secret=True)
    return changes


def wait_for_engine():
    """The version of the engine once it answers; its EngineError when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return EngineClient().version()
        except EngineError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def engine_log(module):
    """What the engine itself said last, without systemd's lines about it, and once what it said at each attempt."""
    argv = ["journalctl", "_SYSTEMD_UNIT=docker.service", "--lines=3", "--output=cat", "--no-pager"]
    lines = [line.strip() for line in module.run_command(argv)[1].splitlines() if line.strip()]
    return " | ".join(line for number, line in enumerate(lines) if line not in lines[:number]) or "empty"


def settle_engine(module, observed, changes):
    """Make the changes and wait for the engine: the module's result and the engine's version.

    Options that the engine does not take are taken back: merged as they are, a mended inventory would not take them out.
    """
    former = read_text(DAEMON_JSON)
    try:
        result = settle(module, changes)
        version = (observed.version or "") if module.check_mode else wait_for_engine()
    except EngineError as error:
        said = "%s; its log ends: %s" % (error, engine_log(module))  # before another start adds to the log
        written = read_text(DAEMON_JSON)
        if written == former:
            raise unfit(
                "container engine", said, "an answer within %d s" % START_SECONDS, "read `journalctl --unit=docker` on this host"
            ) from error
        before, after = daemon.parse_config(former), daemon.parse_config(written)
        outcome = take_back(module, former, recovery(observed, daemon.needs(before, after)))
        raise unfit(
            "container engine options %s" % ", ".join(daemon.differing(before, after)),
            said,
            "options that this engine takes",
            "mend container_engine_daemon_options; the former daemon.json is back and %s" % outcome,
        ) from error
    return result, version


def recovery(observed, need):
    """The least that gives an engine its former options back, so that no container ends that was not to end."""
    if not observed.installed:
        return daemon.RESTART
    if not observed.running:
        return "start"
    return "reload-or-restart" if need == daemon.RELOAD else need


def take_back(module, former, verb):
    """Put the former daemon.json back and have the engine take it; what became of the engine, in words."""
    if former is None:
        os.unlink(DAEMON_JSON)
    else:
        write_text(module, DAEMON_JSON, former, 0o644)
    module.run_command(["systemctl", "reset-failed", "docker"])  # systemd refuses a start after some that failed
    if module.run_command(["systemctl", verb, "docker"])[0]:
        return "the engine does not start with it either"
    try:
        wait_for_engine()
    except EngineError:
        return "the engine does not answer with it either"
    _paid()
    return "the engine runs with it"


def main():
    module = AnsibleModule(
        argument_spec={
            "package": {"type": "str", "default": "docker.io"},
            "minimum_version": {"type": "str", "default": "20.10"},
            "daemon_options": {"type": "dict", "default": {}},
            "cluster": {"type": "str", "default": "flagos"},
            "restart_with_foreign_containers": {"type": "bool", "default": False},
            "registry": {
                "type": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "ca": {"type": "str"},
                    "username": {"type": "str"},
                    "password": {"type": "str", "no_log": True},
                },
            },
            "client_config": {"type": "path", "default": "/root/.docker/config.json"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    params = module.params
    observed = Observed(module)
    try:
        check_engine(observed, params)
        changes = engine_changes(observed, params) + registry_changes(params["registry"], params["client_config"])
        result, version = settle_engine(module, observed, changes)
    except UnfitError as error:
        module.fail_json(msg=str(error), finding=error.finding.as_dict())
    module.exit_json(version=version, **result)


if __name__ == "__main__":
    main()
