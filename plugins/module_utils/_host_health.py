# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What on a host may stand in the way of a service: limits, left-overs, proxies, filters, kernels. Read once; nothing is changed or judged."""

from __future__ import annotations

import json
import os
import posixpath
import re

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _firewall, _kernel_modules, _pci, _processes
from ansible_collections.flagos.kunlunxin.plugins.module_utils._engine_api import EngineClient, EngineError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import parse_environment, parse_shared_segments, parse_swaps
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_settings import SHM, hard_limits, may_raise_limits

ENGINE_PROGRAM = "dockerd"
MODULES = "/lib/modules"
# cgroup v2, v1, and v1 with Docker's own driver: the groups that containers are made in.
TASK_LIMITS = (
    "/sys/fs/cgroup/system.slice/pids.max",
    "/sys/fs/cgroup/pids/system.slice/pids.max",
    "/sys/fs/cgroup/docker/pids.max",
    "/sys/fs/cgroup/pids/docker/pids.max",
)
PROXY = re.compile(r"(?:https?|all|no)_proxy", re.IGNORECASE)
SHM_FILES_TOLD = 3


def pid_of(tree, program):
    """The lowest process id of a program, or None."""
    pids = sorted(int(name) for name in tree.names("/proc") if name.isdigit())
    return next((pid for pid in pids if tree.line("/proc/%d/comm" % pid) == program), None)


def limits(tree, engine_pid):
    """Hard limits of this login and of the container engine, None where none runs, whether the engine may raise them for a container,
    and the groups of processes that are limited in number: ``{path: most}``.
    """
    tasks = {path: tree.line(path) for path in TASK_LIMITS}
    return {
        "login": hard_limits(tree.text("/proc/self/limits")),
        "engine": hard_limits(tree.text("/proc/%d/limits" % engine_pid)) if engine_pid else None,
        "engine_may_raise": may_raise_limits(tree.text("/proc/%d/status" % engine_pid)) if engine_pid else None,
        "tasks": {path: int(most) for path, most in tasks.items() if most and most.isdigit()},
    }


def part_of_an_engine(name, arguments):
    """What a process is for Ray or vLLM, in one word; None for any other process.

    :param name: as in /proc/PID/comm.
    :param arguments: the command line, as a list. Nothing of it is handed on, because it may hold a key.
    """
    if name in ("raylet", "gcs_server"):
        return name
    if any("EngineCore" in argument for argument in arguments[:1]):
        return "EngineCore"
    words = [posixpath.basename(argument) for argument in arguments]
    return "vllm serve" if any(words[place : place + 2] == ["vllm", "serve"] for place in range(len(words))) else None


def engine_processes(tree, containers):
    """Every process of Ray or vLLM on the host, in containers too: ``_processes.describe`` with ``part``, by rising pid."""
    found = []
    for pid in sorted(int(name) for name in tree.names("/proc") if name.isdigit()):
        arguments = [one for one in (tree.text("/proc/%d/cmdline" % pid) or "").split("\0") if one]
        part = part_of_an_engine(tree.line("/proc/%d/comm" % pid), arguments)
        if part and arguments:  # one without arguments is a zombie, which holds nothing
            found.append(dict(_processes.describe(tree, pid, containers), part=part))
    return found


def swaps(tree):
    """Where memory is swapped to: ``{"path", "bytes", "used_bytes"}`` each; None where the kernel does not tell (see proc(5))."""
    text = tree.text("/proc/swaps")
    return None if text is None else parse_swaps(text)


def package_versions(tree, names):
    """The versions of installed packages by name, None for one that is not installed; None for all without dpkg."""
    if not names:
        return {}
    answer = tree.command("dpkg-query", "-W", "-f=${Package} ${db:Status-Status} ${Version}\\n")
    if answer is None:
        return None
    lines = (line.split(" ") for line in answer.splitlines())
    installed = {words[0]: words[2] for words in lines if len(words) == 3 and words[1] == "installed"}
    return {name: installed.get(name) for name in sorted(names)}


def shared_segments(tree):
    """The segments of System V shared memory: ``{"id", "bytes", "attached", "owner", "creator_alive"}``, owner a user's number."""
    return [
        {
            "id": segment["shmid"],
            "bytes": segment["size"],
            "attached": segment["nattch"],
            "owner": segment["uid"],
            "creator_alive": tree.exists("/proc/%d" % segment["cpid"]),
        }
        for segment in parse_shared_segments(tree.text("/proc/sysvipc/shm"))
    ]


def largest_shm_files(tree):
    """The largest files in /dev/shm: ``{"name", "bytes", "owner"}``, owner a user's number; what is in folders below counts for none."""
    found = []
    for name in tree.names(SHM):
        try:
            status = os.lstat(tree.path(posixpath.join(SHM, name)))
        except OSError:  # gone meanwhile
            continue
        found.append({"name": name, "bytes": status.st_size, "owner": status.st_uid})
    return sorted(found, key=lambda one: (-one["bytes"], one["name"]))[:SHM_FILES_TOLD]


def without_password(proxy):
    """A proxy's address without user and password."""
    return re.sub(r"//[^/]*@", "//***@", proxy)


def proxy_variables(assignments):
    """The proxy variables among assignments, names in small letters, passwords left out; what is empty sets none."""
    return {name.lower(): without_password(value) for name, value in assignments.items() if PROXY.fullmatch(name) and value}


def proxies(tree, engine_pid):
    """The proxy variables of logins and of the container engine: ``{where: {variable: value}}``, places without any left out."""
    own = tree.text("/proc/self/environ")
    engine = tree.text("/proc/%d/environ" % engine_pid) if engine_pid else None
    found = {
        "/etc/environment": proxy_variables(parse_environment((tree.text("/etc/environment") or "").replace("\n", "\0"))),
        "login": proxy_variables(parse_environment(own)),
        "container engine": proxy_variables(parse_environment(engine)),
    }
    return {where: variables for where, variables in found.items() if variables}


def firewall(tree):
    """What becomes of packets that come in, by the first tool that answers: ``{"source", "policy", "drops"}``; see :mod:`_firewall`.

    None where no tool is there, or none may read.
    """
    for command, parse in ((("iptables", "-S"), _firewall.parse_iptables), (("nft", "list", "ruleset"), _firewall.parse_nft)):
        answer = tree.command(*command)
        if answer is not None:
            return dict(parse(answer), source=" ".join(command))
    return None


def kernel(tree):
    """The running kernel, the kernels that are installed with modules, the boot line, and what stands between PCI devices.

    ``acs`` are the bridges with access control that is on, ``bridges_read`` how many told, ``iommus`` the units that are on, ``groups``
    what each PCI device's addresses go through: ``identity`` for none.
    """
    bridges = _pci.access_control(tree)
    return {
        "release": tree.line("/proc/sys/kernel/osrelease") or "",
        "installed": [name for name in tree.names(MODULES) if tree.exists(posixpath.join(MODULES, name, "modules.dep"))],
        "command_line": tree.line("/proc/cmdline") or "",
        "acs": sorted(address for address, control in bridges.items() if control),
        "bridges_read": len(bridges),
        "iommus": tree.names("/sys/class/iommu"),
        "groups": _pci.iommu_groups(tree),
    }


def containers(tree, label, wanted, client=None):
    """Every container: ``{"name", "labels", "running", "image", "environment"}``.

    :param label: containers with it are looked into; of the others ``image`` and ``environment`` are None.
    :param wanted: names of the variables that are told: the others may hold what is nobody's business.
    """
    if client is None and not tree.is_live:
        return []
    client = client or EngineClient()
    found = []
    try:
        for identifier, one in sorted(client.containers(running_only=False).items()):
            image = environment = None
            if label in one["labels"]:
                document = client.get("/containers/%s/json" % identifier)
                image, variables = document.get("Image"), _variables(document)
                environment = {name: value for name, value in variables.items() if name in wanted}
            found.append(dict(one, image=image, environment=environment))
    except EngineError:  # `engine` tells it, or the container went meanwhile
        return found
    return found


def image_proxies(tree, image, client=None):
    """The proxy variables that an image brings into its containers; empty where the engine does not have it."""
    if not image or (client is None and not tree.is_live):
        return {}
    try:
        return proxy_variables(_variables((client or EngineClient()).get("/images/%s/json" % image)))
    except EngineError:
        return {}


def _variables(document):
    """The environment of a container or of an image, by its description."""
    return parse_environment("\0".join((document.get("Config") or {}).get("Env") or []))


def profile_facts(tree, params):
    """What the checks of a profile ask for: which files there are, which modules are loaded, the keys of JSON files, the kernel's log.

    A module is None where the kernel does not list any, a JSON file where there is none or it is none, the log where it cannot be read.
    """
    text = tree.text("/proc/modules")
    loaded, _unread = _kernel_modules.parse_modules(text)
    log = tree.command("dmesg") if params["kernel_log_patterns"] else None
    return {
        "files": {path: tree.exists(path) for path in params["files"]},
        "modules": {name: None if text is None else _kernel_modules.module_name(name) in loaded for name in params["modules"]},
        "json_keys": {path: _keys(tree.text(path)) for path in params["json_files"]},
        "kernel_log": None if log is None else _kernel_modules.search_log(log, params["kernel_log_patterns"]),
    }


def _keys(text):
    try:
        document = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return sorted(document) if isinstance(document, dict) else None
