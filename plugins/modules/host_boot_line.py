#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_boot_line
short_description: Make kernel parameters part of a host's boot line
description:
  - Adds kernel parameters to the line that every kernel of the host is booted with, and takes them away again.
  - With C(update-grub), as on Debian and Ubuntu, they are in one file of C(/etc/default/grub.d). With C(grubby), as in the family of Red Hat,
    they are arguments of all kernels. A host with neither is refused.
  - The running kernel keeps its parameters. RV(restart_needed) says whether they are others than those asked for; nothing is restarted here.
  - A parameter that the host's owner has set to something else is refused, and never replaced.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  state:
    description:
      - V(present) adds O(parameters), and takes away those that an earlier call added and that are not asked for any more.
      - V(absent) takes away all that were added. What the owner had there before stays, or comes back.
    type: str
    choices: [present, absent]
    default: present
  parameters:
    description:
      - Kernel parameters, such as V(iommu=pt).
      - Of one that the host has already, nothing is added.
    type: list
    elements: str
    default: []
  state_dir:
    description: Folder that holds the state of the cluster on this host; what was added is kept in it.
    type: path
    required: true
  overlay:
    description: A folder on the host, laid out like V(/), from which C(/proc/cmdline) is read where it has it.
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
- name: Have the IOMMU pass addresses through
  flagos.kunlunxin.host_boot_line:
    parameters: [intel_iommu=on, iommu=pt]
    state_dir: /var/lib/flagos-kunlunxin
  become: true
  register: __example_boot_line

- name: Bring back what was there before
  flagos.kunlunxin.host_boot_line:
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
  sample: ["write /etc/default/grub.d/90-flagos-kunlunxin.cfg", "update-grub"]
restart_needed:
  description: Whether the running kernel lacks one of O(parameters), or with O(state=absent) has one that was taken away.
  returned: success
  type: bool
restart_for:
  description: Those parameters.
  returned: success
  type: list
  elements: str
  sample: [iommu=pt]
finding:
  description: What prevents it, as host, check, observed, expected and remedy.
  returned: failure
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _boot_before as earlier
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _boot_line as boot
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, file_change, read_text, removal, settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError

GRUB_DEFAULTS = "/etc/default/grub"
GRUB_FOLDER = "/etc/default/grub.d"
GRUB_FILE = "90-flagos-kunlunxin.cfg"
GRUB_CONFIGURATION = "/boot/grub/grub.cfg"
CHECK = "boot line"


class Grub(object):
    """GRUB with ``update-grub``.

    :param record: as :func:`_boot_before.read` gives it.
    """

    def __init__(self, _module, program, record):
        self._program, self._record = program, record
        self._path = os.path.join(GRUB_FOLDER, GRUB_FILE)
        self._text = read_text(self._path)
        self.ours = boot.grub_settings(self._text)[0][boot.GRUB_VARIABLES[0]]
        self._owners, self._unread, self._texts = self._read_owners()

    def _read_owners(self):
        """What the files of the host's owner say, what of them only a shell could tell, and their texts by path, as they are read in turn."""
        names = sorted(os.listdir(GRUB_FOLDER)) if os.path.isdir(GRUB_FOLDER) else []
        paths = [GRUB_DEFAULTS] + [os.path.join(GRUB_FOLDER, name) for name in names if name.endswith(".cfg") and name != GRUB_FILE]
        texts = {path: read_text(path) or "" for path in paths}
        said, unread = None, []
        for path in paths:
            said, lines = boot.grub_settings(texts[path], said)
            unread += ["%s has %s" % (path, line) for line in lines]
        return said, unread, texts

    def present(self, wanted):
        if self._unread:
            raise UnfitError(CHECK, self._unread[0], "words between quotes", "write the value out, so that it can be compared")
        for name in boot.GRUB_VARIABLES:
            for theirs in self._owners[name]:
                where = [path for path, text in self._texts.items() if theirs in text]
                _refuse_rivals(theirs, wanted, "%s in %s" % (name, where[-1] if where else GRUB_DEFAULTS))
        entries = boot.grub_entries(read_text(GRUB_CONFIGURATION))
        if not entries:
            raise UnfitError(
                CHECK, "%s boots no kernel" % GRUB_CONFIGURATION, "entries that update-grub made", "see how this host is booted"
            )
        added = boot.missing(self._owners[boot.GRUB_VARIABLES[0]], wanted)
        changes = file_change(self._path, self._text, boot.grub_file(added)) if added else removal(self._path, self._text)
        if changes or self._is_owed() or any(boot.missing(entry, wanted) for entry in entries):
            changes += self._update(self.ours, added, wanted)
        return changes, earlier.with_added(self._record, added, made_folder=bool(added) and not os.path.isdir(GRUB_FOLDER))

    def _is_owed(self):
        """Whether a run that was killed wrote our file and no more."""
        return self._text is not None and os.stat(self._path).st_mtime > os.stat(GRUB_CONFIGURATION).st_mtime

    def absent(self):
        """Also where our file is gone already: the record goes last, so with it a run that was killed is made good."""
        changes = removal(self._path, self._text)
        if self._record[earlier.MADE_FOLDER] and os.path.isdir(GRUB_FOLDER) and set(os.listdir(GRUB_FOLDER)) <= {GRUB_FILE}:
            changes.append(Change("remove %s" % GRUB_FOLDER, GRUB_FOLDER, "folder\n", "", lambda module: os.rmdir(GRUB_FOLDER)))
        return changes + self._update(self.ours, [], [])

    def keeps(self, parameter):
        """Whether the host has it without us."""
        return any(boot.same(parameter, one) for name in boot.GRUB_VARIABLES for one in self._owners[name])

    def _update(self, before, after, wanted):
        def make(module):
            module.run_command([self._program], check_rc=True)
            for entry in boot.grub_entries(read_text(GRUB_CONFIGURATION)):
                _refuse_missing(entry, wanted, GRUB_CONFIGURATION)

        return [Change("update-grub", GRUB_CONFIGURATION, _shown(before), _shown(after), make)]


class Grubby(object):
    """The loaders that ``grubby`` knows; parameters as of :class:`Grub`."""

    def __init__(self, module, program, record):
        self._module, self._program, self._record = module, program, record
        self.ours = record[earlier.PARAMETERS]
        self._kernels = self._read()

    def _read(self):
        kernels = boot.grubby_kernels(self._module.run_command([self._program, "--info=ALL"], check_rc=True)[1])
        if not kernels:
            raise UnfitError(CHECK, "grubby --info=ALL names no kernel", "one at least", "see how this host is booted")
        return kernels

    def present(self, wanted):
        stale = [one for one in self.ours if not any(boot.same(one, other) for other in wanted)]
        for kernel, parameters in self._kernels.items():
            for theirs in parameters:
                if theirs not in stale:
                    _refuse_rivals(theirs, wanted, "the arguments of %s" % kernel)
        there = [one for parameters in self._kernels.values() for one in parameters]
        stale = [one for one in stale if one in there]
        added = [one for one in wanted if any(boot.missing(parameters, [one]) for parameters in self._kernels.values())]
        had = {kernel: [one for one in added if not boot.missing(found, [one])] for kernel, found in self._kernels.items()}
        record = earlier.with_added(self._record, added, had=had)
        return self._update(stale, added, wanted) if stale or added else [], record

    def absent(self):
        there = [one for parameters in self._kernels.values() for one in parameters]
        taken = [one for one in self.ours if one in there]
        back = {kernel: had for kernel, had in self._record[earlier.HAD].items() if kernel in self._kernels}
        if all(set(taken) & set(found) == set(back.get(kernel, ())) for kernel, found in self._kernels.items()):
            return []
        changes = self._update(taken, [], [])
        for kernel, had in sorted(back.items()):
            changes.append(self._command(["--update-kernel=%s" % kernel, "--args=%s" % " ".join(had)], [], had, []))
        return changes

    def keeps(self, parameter):
        """Whether some kernel of the host has it without us."""
        return any(parameter in had for had in self._record[earlier.HAD].values())

    def _update(self, removed, added, wanted):
        arguments = ["--update-kernel=ALL"]
        arguments += ["--remove-args=%s" % " ".join(removed)] if removed else []
        arguments += ["--args=%s" % " ".join(added)] if added else []
        return [self._command(arguments, removed, added, wanted)]

    def _command(self, arguments, before, after, wanted):
        def make(module):
            module.run_command([self._program, *arguments], check_rc=True)
            for kernel, parameters in self._read().items() if wanted else ():
                _refuse_missing(parameters, wanted, "the arguments of %s" % kernel)

        return Change(" ".join(["grubby", *arguments]), "kernel arguments", _shown(before), _shown(after), make)


def _shown(parameters):
    return "".join("%s\n" % one for one in parameters)


def _refuse_rivals(theirs, wanted, where):
    for ours in wanted:
        if boot.contradict(ours, theirs):
            raise UnfitError(
                CHECK, "%s has %s" % (where, theirs), ours, "take out the one that is not meant: there, or in host_boot_parameters"
            )


def _refuse_missing(parameters, wanted, where):
    lost = boot.missing(parameters, wanted)
    if lost:
        raise UnfitError(CHECK, "%s is without %s" % (where, " ".join(lost)), "all that was asked for", "see what overrules it there")


def loader_of(module, record):
    """The host's boot loader, by the program that writes its configuration; None where there is none that is known."""
    for name, kind in (("update-grub", Grub), ("grubby", Grubby)):
        program = module.get_bin_path(name, opt_dirs=["/usr/sbin", "/sbin"])
        if program:
            return kind(module, program, record)
    return None


def unknown_loader(subject):
    return UnfitError(CHECK, "neither update-grub nor grubby", "one of them", "%s by hand on this host" % subject)


def present(module, running):
    """The changes that make the wanted parameters part of the boot line, and those that a restart is needed for."""
    wanted = module.params["parameters"]
    wrong = boot.unusable(wanted)
    if wrong:
        raise UnfitError("boot parameters", wrong[0], wrong[1], "mend host_boot_parameters")
    path = earlier.path_of(module.params["state_dir"])
    text = read_text(path)
    record = earlier.read(text)
    loader = loader_of(module, record)
    if loader is None:
        raise unknown_loader("add %s" % " ".join(wanted))
    changes, known = loader.present(wanted)
    settled = earlier.without(known, [one for one in known[earlier.PARAMETERS] if not any(boot.same(one, other) for other in wanted)])
    first = [] if known == record else file_change(path, text, earlier.render(known))
    last = [] if settled == known else file_change(path, earlier.render(known), earlier.render(settled))
    return first + changes + last, boot.missing(running, wanted)


def absent(module, running):
    """The changes back to the boot line without what was added, and those of it that the running kernel has."""
    path = earlier.path_of(module.params["state_dir"])
    text = read_text(path)
    if text is None and not os.path.exists(os.path.join(GRUB_FOLDER, GRUB_FILE)):
        return [], []
    record = earlier.read(text)
    loader = loader_of(module, record)
    if loader is None:
        raise unknown_loader("take %s out" % " ".join(record[earlier.PARAMETERS]))
    left = [one for one in dict.fromkeys([*record[earlier.PARAMETERS], *loader.ours]) if not loader.keeps(one)]
    return loader.absent() + removal(path, text), [one for one in left if not boot.missing(running, [one])]


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "parameters": {"type": "list", "elements": "str", "default": []},
            "state_dir": {"type": "path", "required": True},
            "overlay": {"type": "path"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    running = boot.split(HostTree(overlay=module.params["overlay"]).text("/proc/cmdline"))
    try:
        changes, restart_for = (present if module.params["state"] == "present" else absent)(module, running)
        result = settle(module, changes)
    except UnfitError as error:
        module.fail_json(msg=str(error), finding=error.finding.as_dict())
    module.exit_json(restart_needed=bool(restart_for), restart_for=restart_for, **result)


if __name__ == "__main__":
    main()
