#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_settings
short_description: Settle what serving needs from a host's operating system
description:
  - Settles in one round trip the size of C(/dev/shm), resource limits, kernel parameters, the names of the cluster's hosts,
    a running time service, packages and the state folder, now and for the next boot.
  - Only what differs is changed; an option that is left out is not looked at.
  - What was there before the first change is kept in O(state_dir), so that O(state=absent) brings it back.
version_added: 0.1.0
author: FlagOS contributors (@flagos-ai)
options:
  state:
    description:
      - V(present) settles what the other options say.
      - V(absent) brings back what was there before; of them only O(state_dir) and O(cluster) count then. What others changed since stays as
        it is, and so do packages and the time service. Shared memory that holds more than its earlier size keeps its size until the next boot.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.2.0
  shm_size:
    description:
      - Least size of C(/dev/shm), such as V(64g). A larger one stays as it is.
      - It is kept over a boot in C(/etc/fstab), unless the kernel's own default (half of the memory) or the entry that is
        there is large enough.
    type: str
  limits:
    description:
      - Resource limits V(memlock) (bytes) and V(nofile) (files) of logins and services, each a count, a size or V(infinity).
      - V(nofile) stops at the kernel parameter C(fs.nr_open), and on a host that may not raise its hard limits
        (no C(CAP_SYS_RESOURCE)) a limit stops at that ceiling, with a warning when it is set, because a higher one would
        refuse every login.
      - Running services keep the limits they were started with.
    type: dict
    default: {}
  kernel_parameters:
    description: Kernel parameters (sysctl) and their values.
    type: dict
    default: {}
  names:
    description:
      - Names of the cluster's hosts and their addresses, in the order of the inventory.
      - They become one marked block at the beginning of C(/etc/hosts).
    type: dict
  own_name:
    description: The name of this host in O(names); its system name becomes an alias of the same address.
    type: str
  cluster:
    description: Name of the cluster, which marks the block of O(names).
    type: str
    default: flagos
  time_service:
    description:
      - Whether one of chrony, systemd-timesyncd, ntp, openntpd, ptp4l or phc2sys must run.
      - One that is there is started, except the last two, which only their owner can set up; where there is none, the
        distribution's is installed, systemd-timesyncd by C(apt-get) or chrony.
    type: bool
    default: false
  packages:
    description:
      - Programs that later stages need on the host, by the name of their package. One that is missing is installed by
        C(apt-get), C(dnf) or C(yum).
      - A package is there, too, where a program of its name is.
    type: list
    elements: str
    default: []
  state_dir:
    description: Folder that holds the state of the cluster on this host.
    type: path
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Prepare the host
  flagos.kunlunxin.host_settings:
    shm_size: 64g
    limits: {memlock: infinity, nofile: 1048576}
    kernel_parameters: {net.core.somaxconn: 4096}
    names: {node1: 10.0.0.11, node2: 10.0.0.12}
    own_name: "{{ inventory_hostname }}"
    packages: [rsync]
    state_dir: /var/lib/flagos-kunlunxin
  become: true

- name: Bring back what was there before
  flagos.kunlunxin.host_settings:
    state: absent
    state_dir: /var/lib/flagos-kunlunxin
  become: true
"""

RETURN = r"""
actions:
  description: What was changed, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["mount -o remount,size=68719476736 /dev/shm", "write /etc/fstab"]
finding:
  description: What the host cannot have, as host, check, observed, expected and remedy.
  returned: failure
  type: dict
limits:
  description: The limits as this host can have them.
  returned: success
  type: dict
  sample: {memlock: infinity, nofile: 1048576}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_before as earlier
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _host_settings as settings
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import (
    Change,
    command_change,
    file_change,
    read_text,
    removal,
    settle,
)
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import format_size, parse_meminfo, parse_size
from ansible_collections.flagos.kunlunxin.plugins.module_utils._packages import can_install, has_apt, install_change, is_there
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError, unfit

FSTAB = "/etc/fstab"
HOSTS = "/etc/hosts"
LIMITS_CONF = "/etc/security/limits.d/90-flagos-kunlunxin.conf"
SYSTEMD_CONF = "/etc/systemd/system.conf.d/90-flagos-kunlunxin.conf"
SYSCTL_CONF = "/etc/sysctl.d/90-flagos-kunlunxin.conf"
# That systemd has not read its drop-in yet: noted before the drop-in is written, so that a run that is killed between the two
# is made good by the next. Under /run, because a boot pays the debt too. What systemd shows as its defaults would not tell:
# a later drop-in of the host's owner may overrule ours for good.
PENDING = "/run/flagos-kunlunxin/reexec-pending"
TIME_SERVICES = ["chrony", "chronyd", "systemd-timesyncd", "ntp", "ntpd", "ntpsec", "openntpd"]
# The clock's other masters: good where they run, but not started here, for each needs to know its interface.
PTP_SERVICES = ["ptp4l", "ptp4l@*", "phc2sys", "phc2sys@*"]
NR_OPEN = "/proc/sys/fs/nr_open"


def shm_changes(size):
    """Grow /dev/shm to ``size`` bytes, now and at boot."""
    mounts = read_text("/proc/self/mounts")
    fstab = read_text(FSTAB) or ""
    memory = parse_meminfo(read_text("/proc/meminfo"))["MemTotal"]
    mounted = settings.shm_mount_size(mounts)
    live = 0 if mounted is None else _shm_live_size()
    if settings.shm_default_suffices(live, size, memory, fstab):
        return []
    changes = []
    if mounted is None:
        argv = ["mount", "-t", "tmpfs", "-o", "rw,nosuid,nodev,size=%d" % size, "tmpfs", settings.SHM]
        changes += command_change(argv, settings.SHM, "not mounted\n", format_size(size) + "\n")
    elif live < size:
        argv = ["mount", "-o", "remount,size=%d" % size, settings.SHM]
        changes += command_change(argv, settings.SHM, format_size(live) + "\n", format_size(size) + "\n")
    return changes + file_change(FSTAB, fstab, settings.fstab_with_shm(fstab, size, memory))


def _shm_live_size():
    status = os.statvfs(settings.SHM)
    return status.f_blocks * status.f_frsize


def most_files(parameters):
    """The kernel's ceiling of open files of one process, as it is once the kernel ``parameters`` are set."""
    value = parameters.get("fs.nr_open") or read_text(NR_OPEN)
    try:
        return int(value)
    except ValueError as error:
        raise unfit("kernel parameter fs.nr_open", value, "a number", "mend the value") from error


def attainable_limits(wanted, files):
    """The wanted limits as this host can have them: what process 1 may raise, every login and service may have.

    :param files: what :func:`most_files` says.
    """
    unknown = sorted(set(wanted) - set(settings.LIMIT_NAMES))
    if unknown:
        raise unfit("limits", "unknown %s" % ", ".join(unknown), "of %s" % ", ".join(sorted(settings.LIMIT_NAMES)), "mend the name")
    try:
        parsed = {name: settings.parse_limit(value) for name, value in wanted.items()}
    except ValueError as error:
        raise unfit("limits", error, "a count, a size or infinity", "mend the value") from error
    return settings.attainable(
        parsed, settings.hard_limits(read_text("/proc/1/limits")), settings.may_raise_limits(read_text("/proc/1/status")), files
    )


def limits_changes(limits):
    """Limits of logins and of services started from now on."""
    changes = file_change(LIMITS_CONF, read_text(LIMITS_CONF), settings.limits_conf(limits))
    return changes + _read_by_systemd(file_change(SYSTEMD_CONF, read_text(SYSTEMD_CONF), settings.systemd_conf(limits)))


def _read_by_systemd(services):
    """``services``, the changes of systemd's drop-in, and that systemd reads it, which a run that was killed may owe from before."""
    owed = read_text(PENDING)
    if services and owed is None:
        services = file_change(PENDING, None, "daemon-reexec\n") + services
    if services or owed is not None:
        services.append(Change("systemctl daemon-reexec", "systemd", "", "", _reexec))
    return services


def _reexec(module):
    module.run_command(["systemctl", "daemon-reexec"], check_rc=True)
    os.unlink(PENDING)


def parameter_changes(parameters):
    """Kernel parameters, now and at boot."""
    changes = []
    for name in sorted(parameters):
        path = settings.parameter_path(name)
        live = read_text(path)
        if live is None:
            raise unfit("kernel parameter %s" % name, "no %s" % path, parameters[name], "take it out, or load what brings it")
        if not settings.same_parameter(live, parameters[name]):
            changes.append(_parameter_change(name, path, " ".join(live.split()), str(parameters[name])))
    return changes + file_change(SYSCTL_CONF, read_text(SYSCTL_CONF), settings.sysctl_conf(parameters))


def _parameter_change(name, path, before, after):
    def make(unused):
        try:
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(after)
        except OSError as error:
            raise unfit("kernel parameter %s" % name, "%s stays: %s" % (before, error.strerror), after, "mend the value") from error

    return Change("set %s = %s" % (name, after), name, before + "\n", after + "\n", make)


def names_changes(cluster, names, own_name):
    """The marked block of the hosts file."""
    text = read_text(HOSTS) or ""
    block = settings.hosts_block(cluster, names, os.uname().nodename, own_name)
    return file_change(HOSTS, text, settings.hosts_with_block(text, block))


def time_service_changes(module):
    """A time service that runs, now and at boot: one that is there, else the distribution's."""
    states = module.run_command(["systemctl", "is-active", *TIME_SERVICES, *PTP_SERVICES])[1].split()
    if "active" in states:
        return []
    installed = [name for name in TIME_SERVICES if module.run_command(["systemctl", "cat", name + ".service"])[0] == 0]
    changes = []
    if not installed:
        if not can_install():
            raise unfit("time service", "none", "one of %s" % ", ".join(TIME_SERVICES), "install chrony")
        package, unit = ("systemd-timesyncd", "systemd-timesyncd") if has_apt() else ("chrony", "chronyd")
        changes.append(install_change(package))
    else:
        unit = installed[0]
    return changes + command_change(["systemctl", "enable", "--now", unit], unit, "inactive\n", "active\n")


def package_changes(module, packages):
    """Packages that are installed."""
    missing = [package for package in packages if not is_there(module, package)]
    if missing and not can_install():
        names = ", ".join(missing)
        raise unfit("packages", "no %s" % names, "installed", "install %s; this host has no apt-get, dnf or yum" % names)
    return [install_change(package) for package in missing]


def folder_changes(path):
    """A folder that exists; one that is there keeps its mode."""
    if os.path.isdir(path):
        return []
    return [Change("make %s" % path, path, "", "folder\n", lambda module: os.makedirs(path, mode=0o755))]


def all_changes(module, limits):
    """Every change the parameters ask for, in the order they are made."""
    params = module.params
    changes = []
    if params["shm_size"]:
        try:
            changes += shm_changes(parse_size(params["shm_size"]))
        except ValueError as error:
            raise unfit("shm_size", error, "a size such as 64g", "mend the value") from error
    if params["kernel_parameters"]:  # before the limits, which fs.nr_open bounds
        changes += parameter_changes(params["kernel_parameters"])
    if limits:
        changes += limits_changes(limits)
    if params["names"]:
        changes += names_changes(params["cluster"], params["names"], params["own_name"])
    if params["time_service"]:
        changes += time_service_changes(module)
    changes += package_changes(module, params["packages"])
    return first_changes(params, changes) + changes


def first_changes(params, changes):
    """Make the state folder, and keep in it what ``changes`` will change, as far as nothing was kept of it before."""
    if not params["state_dir"]:
        return []
    folder = folder_changes(params["state_dir"])
    path = earlier.path_of(params["state_dir"])
    text = read_text(path)
    observed = {
        earlier.FILES: {change.subject: change.before for change in changes if change.subject in (FSTAB, HOSTS)},
        earlier.PARAMETERS: {change.subject: change.before.strip() for change in changes if change.subject in params["kernel_parameters"]},
        earlier.SHM_BYTES: _mounted_shm_size() if any(change.subject == settings.SHM for change in changes) else None,
    }
    if observed == earlier.read(None):
        return folder
    return folder + file_change(path, text, earlier.render(earlier.first_known(earlier.read(text), observed)))


def _mounted_shm_size():
    return None if settings.shm_mount_size(read_text("/proc/self/mounts")) is None else _shm_live_size()


def restoring_changes(params):
    """Every change back to what was there before the first one."""
    path = earlier.path_of(params["state_dir"])
    kept, conf, hosts = read_text(path), read_text(SYSCTL_CONF), read_text(HOSTS)
    record, ours = earlier.read(kept), earlier.parameters_of(conf)
    changes = removal(SYSCTL_CONF, conf)
    for name, value in sorted(record[earlier.PARAMETERS].items()):
        file = settings.parameter_path(name)
        live = read_text(file)
        # One that somebody has set to something else since is theirs.
        if live is not None and name in ours and settings.same_parameter(live, ours[name]) and not settings.same_parameter(live, value):
            changes.append(_parameter_change(name, file, " ".join(live.split()), value))
    changes += removal(LIMITS_CONF, read_text(LIMITS_CONF)) + _read_by_systemd(removal(SYSTEMD_CONF, read_text(SYSTEMD_CONF)))
    if hosts is not None:
        changes += file_change(HOSTS, hosts, earlier.hosts(hosts, record[earlier.FILES].get(HOSTS), params["cluster"]))
    fstab = read_text(FSTAB)
    if fstab is not None:
        changes += file_change(FSTAB, fstab, earlier.fstab(fstab, record[earlier.FILES].get(FSTAB)))
    return changes + _shm_restoring(record[earlier.SHM_BYTES]) + removal(path, kept)


def _shm_restoring(size):
    if not size or size == _shm_live_size() or _shm_used() > size:
        return []
    argv = ["mount", "-o", "remount,size=%d" % size, settings.SHM]
    return command_change(argv, settings.SHM, format_size(_shm_live_size()) + "\n", format_size(size) + "\n")


def _shm_used():
    status = os.statvfs(settings.SHM)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "shm_size": {"type": "str"},
            "limits": {"type": "dict", "default": {}},
            "kernel_parameters": {"type": "dict", "default": {}},
            "names": {"type": "dict"},
            "own_name": {"type": "str"},
            "cluster": {"type": "str", "default": "flagos"},
            "time_service": {"type": "bool", "default": False},
            "packages": {"type": "list", "elements": "str", "default": []},
            "state_dir": {"type": "path"},
        },
        required_by={"names": ["own_name"]},
        required_if=[("state", "absent", ["state_dir"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    if module.params["state"] == "absent":
        module.exit_json(limits={}, **settle(module, restoring_changes(module.params)))
    try:
        files = most_files(module.params["kernel_parameters"])
        limits = attainable_limits(module.params["limits"], files)
        result = settle(module, all_changes(module, limits))
    except UnfitError as error:
        module.fail_json(msg=str(error), finding=error.finding.as_dict())
    written = [entry["after_header"] for entry in result["diff"]]
    for name, value in sorted(limits.items()):
        if LIMITS_CONF in written and value != settings.parse_limit(module.params["limits"][name]):
            module.warn("%s stops at %s: %s" % (name, value, settings.ceiling(name, value, files)))
    module.exit_json(limits=limits, **result)


if __name__ == "__main__":
    main()
