#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_settings
short_description: Settle the RDMA interfaces of a host, now and at every boot
description:
  - Settles in one round trip the links, routing, kernel parameters, quality of service, PCI registers and interrupts of a host's RDMA
    interfaces, and has a unit of its own replay them at every boot, whatever else configures the host's network.
  - Every change that could cut the host off runs under a dead-man timer, which brings back what was there, files included, unless a new
    login confirms the change by O(state=confirmed). So does a boot that finds the change unconfirmed.
  - The values from before the first change are kept, and O(state=absent) brings them back.
  - The control interface, and whatever else the ssh connection needs, is never touched.
  - Only what differs is changed; an option that is left out is not looked at, and one that is no longer given gets its old value back.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  state:
    description:
      - V(confirmed) stops the dead-man timer. It must come by another login than the change, and fails when the change was undone meanwhile.
    type: str
    choices: [present, confirmed, absent]
    default: present
  state_dir:
    description: Folder that holds the state of the cluster on this host.
    type: path
    required: true
  program:
    description: The program that replays and restores, base64 encoded. Needed for O(state=present) and O(state=absent).
    type: str
  rollback_seconds:
    description: After how many seconds the dead-man timer undoes a change that nobody confirmed.
    type: int
    default: 120
  interfaces:
    description: The RDMA interfaces in the order of their rails. Without one, what belongs to no interface is settled.
    type: list
    elements: str
    default: []
  control_interface:
    description: The interface that is never touched.
    type: str
  macs:
    description: Hardware addresses by interface. An interface of another address is refused.
    type: dict
    default: {}
  persistent_names:
    description:
      - Whether systemd's C(.link) files name the interfaces by their hardware address at boot.
      - Where the names of O(macs) are not right yet, only these files are written, and RV(reboot_required) says so.
    type: bool
    default: false
  kernel_parameters:
    description: Kernel parameters that a host has for itself.
    type: dict
    default: {}
  kernel_globals:
    description: Kernel parameters of the machine as a whole, set only with O(manage_kernel_globals).
    type: dict
    default: {}
  manage_kernel_globals:
    description: Whether what belongs to the machine as a whole (O(kernel_globals), PCI registers, interrupts) may be set.
    type: bool
    default: false
  interface_parameters:
    description: Kernel parameters of each interface, below C(net.ipv4.conf).
    type: dict
    default: {}
  mtu:
    description: MTU of the interfaces, in bytes, from 1280 to 65535.
    type: int
  rings:
    description: Sizes of the rings.
    type: dict
    suboptions:
      rx:
        description: In descriptors, of what is received.
        type: int
      tx:
        description: In descriptors, of what is sent.
        type: int
  policy_routing:
    description:
      - Whether each interface has a routing table of its own, with its subnet and its gateway, for what has its address or is bound to it.
      - Two interfaces on one subnet are refused without it.
    type: bool
    default: false
  first_table:
    description: Number of the first interface's table; the others follow.
    type: int
    default: 101
  rule_priority:
    description: Priority of the rules that lead to the tables.
    type: int
    default: 32761
  gateways:
    description: Gateway of each interface's table, by interface.
    type: dict
    default: {}
  trust:
    description: By which field of a packet the interfaces tell priorities; set by C(mlnx_qos).
    type: str
    choices: [dscp, pcp]
  pfc_priorities:
    description: Priorities from 0 to 7 with priority flow control, an empty list for none; set by C(mlnx_qos).
    type: list
    elements: int
  ecn_priorities:
    description: Priorities from 0 to 7 whose congestion control is switched on, both as notification point and as reaction point.
    type: list
    elements: int
  cnp_dscp:
    description: DSCP of congestion notification packets, 0 to 63.
    type: int
  traffic_class:
    description: Traffic class of RDMA connections, 0 to 255; four times the DSCP, plus 2 for packets that may be marked.
    type: int
  adaptive_routing:
    description:
      - Whether the adapters of the interfaces let the switches choose a packet's way (C(adaptive_routing_forced_en) of the register
        C(ROCE_ACCL)); set by C(mlxreg).
    type: bool
  ethernet_adapters:
    description:
      - Adapters, by the PCI address of their first function, whose ports shall be Ethernet and not InfiniBand; set by C(mlxconfig).
      - That is a setting of their firmware, which counts from their next reset. Nothing here resets an adapter or a host.
      - Where one of them is in InfiniBand mode now, this is all that is settled, and RV(power_cycle_required) names it.
    type: list
    elements: str
    default: []
  acs_off:
    description: Whether access control services are off on the PCI bridges above accelerators and interfaces, for direct transfers.
    type: bool
    default: false
  pci_ids:
    description: Vendor and device of the accelerators, such as V(1d22:3686).
    type: list
    elements: str
    default: []
  max_read_request:
    description: Largest PCI read request of the interfaces, in bytes, a power of two from 128 to 4096.
    type: int
  irq_affinity:
    description:
      - V(local) binds the interrupts of the interfaces to the CPUs near them, V(spread) each to one of these CPUs in turn.
    type: str
    choices: [local, spread]
  overlay:
    description: A folder laid out like C(/) on the host whose files come before the host's own.
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
- name: Settle the rails
  flagos.kunlunxin.rdma_settings:
    state_dir: /var/lib/flagos-kunlunxin
    program: "{{ lookup('flagos.kunlunxin.program', 'rdma') }}"
    interfaces: [eth1, eth2, eth3, eth4]
    control_interface: eth0
    mtu: 9000
    policy_routing: true
    interface_parameters: {arp_ignore: 2, arp_announce: 1, rp_filter: 2}
  become: true
  register: __example_rdma

# In a file that is included where __example_rdma.armed is true.
- name: Let go of the login that made the change
  ansible.builtin.meta: reset_connection

- name: Confirm the change by a new login
  flagos.kunlunxin.rdma_settings:
    state: confirmed
    state_dir: /var/lib/flagos-kunlunxin
  become: true
"""

RETURN = r"""
actions:
  description: The commands and writes that were made, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["ip link set dev eth1 mtu 9000", "write 2 to /proc/sys/net/ipv4/conf/eth1/rp_filter"]
armed:
  description: Whether the dead-man timer runs, so that the change has to be confirmed.
  returned: success
  type: bool
settings:
  description: The settings that each boot replays, by the knob's name.
  returned: success
  type: dict
  sample: {mtu eth1: "9000"}
reboot_required:
  description: Whether names of interfaces are right only after a reboot, before which nothing else is done.
  returned: success
  type: bool
power_cycle_required:
  description: Adapters that have to be reset to be Ethernet, before which nothing else is done.
  returned: success
  type: list
  elements: str
  sample: ["0000:15:00.0"]
finding:
  description: What the host cannot have, as host, check, observed, expected and remedy.
  returned: failure
  type: dict
"""

import base64
import contextlib
import os
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_host, _rdma_names
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_knobs as knobs
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_state as state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._login import login
from ansible_collections.flagos.kunlunxin.plugins.module_utils._rdma_batch import UnfitError, batch, in_infiniband_mode, link_types
from ansible_collections.flagos.kunlunxin.plugins.module_utils._receipt import write_atomically

SYSTEMD_RUNS = "/run/systemd/system"  # sd_booted(3)


class Transaction:
    """One change of a host: what it is now, what it shall be, and how it comes back.

    :param tree: the host, on which the steps are taken.
    :param seen: the host as it is before them, each command asked once.
    :param wanted: the settings of the new batch, none to take everything back.
    :param links: text by path of the files that name interfaces.
    """

    def __init__(self, params, tree, seen, wanted, links):
        self.tree = tree
        self.folder = state.Folder(os.path.join(params["state_dir"], "rdma"))
        self.overlay = params["overlay"]
        self.seconds = params["rollback_seconds"]
        self.program = base64.b64decode(params["program"])
        self.host = os.uname().nodename
        self.pending = self.folder.load(self.folder.unconfirmed)
        self.wanted = wanted
        before = self.folder.settings(self.folder.originals)
        kept = [entry["knob"] for entry in wanted]
        given_up = [entry for entry in reversed(before) if entry["knob"] not in kept]
        known = [entry["knob"] for entry in before]
        # What a knob was before it was ours; a knob whose device has gone is forgotten.
        self.now = [(entry, knobs.read(entry["knob"], seen)) for entry in given_up + wanted]
        self.moves = [(entry, now) for entry, now in self.now if not self._stays(entry, now, kept)]
        new = [dict(entry, value=now) for entry, now in self.now if entry["knob"] in kept and entry["knob"] not in known]
        self.originals = [entry for entry in before if entry["knob"] in kept] + new
        self.files = self._files(links)
        self.armed = self.pending is not None or any(knobs.may_cut(entry["knob"]) for entry, _now in self.moves)

    def _stays(self, entry, now, kept):
        knob = entry["knob"]
        if now is None and knob["kind"] != "traffic_class":
            if knob in kept:
                what = "no %s" % knob["path"] if "path" in knob else "it cannot be read"
                raise UnfitError(self.host, knobs.name(knob), what, knobs.shown(entry["value"]), "leave it out, or install what brings it")
            return True
        return knobs.is_settled(knob, now, entry["value"])

    def _files(self, links):
        """The texts that files shall have, by path; None for none."""
        mine = {self.folder.batch: None, self.folder.originals: None, state.UNIT_FILE: None}
        if self.wanted:
            mine[self.folder.batch] = state.rendered(self.wanted, self.overlay)
            mine[self.folder.originals] = state.rendered(self.originals, self.overlay)
            mine[state.UNIT_FILE] = state.unit_text(sys.executable, self.folder)
        return dict(mine, **link_texts(links))

    def changes(self):
        """Every change in the order it is made: the way back first, then the knobs, then what a boot reads."""
        files = [(path, state.read_text(path), self.files[path]) for path in sorted(self.files)]
        differing = [(path, before, after) for path, before, after in files if before != after]
        changes = self._program_changes() if self.wanted or self.armed else []
        if self.armed:
            changes.append(self._arm({path: before for path, before, _after in differing}))
        for entry, now in self.moves:
            changes += self._knob_changes(entry, now)
        changes += [_file_change(path, before, after) for path, before, after in differing]
        changes += self._unit_changes([path for path, _before, _after in differing])
        if not self.wanted and os.path.isdir(self.folder.path):
            changes.append(Change("remove %s" % self.folder.path, self.folder.path, "folder\n", "", self._remove))
        return changes

    def _program_changes(self):
        try:
            with open(self.folder.program, "rb") as stream:
                before = stream.read()
        except FileNotFoundError:
            before = None
        if before == self.program:
            return []
        was = "" if before is None else "another program\n"
        return [Change("write %s" % self.folder.program, self.folder.program, was, "program\n", self._write_program)]

    def _write_program(self, _module):
        os.makedirs(self.folder.path, mode=0o755, exist_ok=True)
        temporary = self.folder.program + ".new"
        with open(temporary, "wb") as stream:
            stream.write(self.program)
        os.rename(temporary, self.folder.program)

    def _arm(self, files):
        """The dead-man timer, and before it the record of what it brings back. Of a change that still waits, the older values count."""
        older = self.pending or {"settings": [], "files": {}}
        named = [entry["knob"] for entry in older["settings"]]
        undo = [dict(entry, value=now) for entry, now in reversed(self.moves) if entry["knob"] not in named]
        record = {"overlay": self.overlay, "settings": undo + older["settings"], "files": dict(files, **older["files"])}
        start, stop = state.timer_commands(sys.executable, self.folder, self.seconds)

        def make(module):
            record["client"] = _client(self.tree)
            write_atomically(self.folder.unconfirmed, module.jsonify(record))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(state.UNDONE)
            with contextlib.suppress(state.StepError):  # one of before, which may not be there
                state.take(stop, self.tree)
            with contextlib.suppress(state.StepError):
                state.take(["systemctl", "reset-failed", state.TIMER + ".service"], self.tree)
            state.take(start, self.tree)

        return Change(" ".join(start), state.TIMER, "", "", make)

    def _knob_changes(self, entry, now):
        """One change a step; the diff, which is of the knob, comes with the first."""
        changes = []
        before, after = knobs.shown(now) + "\n", knobs.shown(entry["value"]) + "\n"
        for step in knobs.steps(entry["knob"], now, entry["value"]):
            made = Change(
                knobs.described(step), knobs.name(entry["knob"]), before, after, lambda _module, step=step: state.take(step, self.tree)
            )
            changes.append(made)
            before = after
        return changes

    def _unit_changes(self, written):
        """Have the unit start at boot, or no more."""
        is_on = os.path.islink(state.unit_link())
        if state.UNIT_FILE not in written and is_on == bool(self.wanted):
            return []
        action = "systemctl %s %s" % ("enable" if self.wanted else "disable", state.UNIT)
        words = {True: "enabled\n", False: "disabled\n"}

        def make(_module):
            if not self.wanted:
                with contextlib.suppress(state.StepError):  # it has run only where the host was started since
                    state.take(["systemctl", "stop", state.UNIT], self.tree)
            state.settle_unit(bool(self.wanted))

        return [Change(action, state.UNIT, words[is_on], words[bool(self.wanted)], make)]

    def _remove(self, _module):
        """The timer needs the program until the confirmation, which then removes the folder."""
        if not self.armed:
            state.forget(self.folder)

    def undo(self):
        """Bring back what was there, after a step that the host refused; returns a line for each thing that stays otherwise."""
        if not os.path.exists(self.folder.unconfirmed):
            return state.settle([dict(entry, value=now) for entry, now in reversed(self.moves)], self.tree)
        refused = state.restore(self.folder)
        with contextlib.suppress(state.StepError):
            state.take(state.timer_commands(sys.executable, self.folder, self.seconds)[1], self.tree)
        return refused


def link_texts(links):
    """``links``, and None for each such file of ours that is no longer wanted."""
    try:
        there = [os.path.join(state.LINK_FILES, entry) for entry in os.listdir(state.LINK_FILES) if entry.startswith(state.LINK_PREFIX)]
    except FileNotFoundError:
        there = []
    return dict(dict.fromkeys(there), **links)


def _file_change(path, before, after):
    def make(_module):
        if after is None:
            os.unlink(path)
        else:
            write_atomically(path, after)

    return Change("%s %s" % ("remove" if after is None else "write", path), path, before or "", after or "", make)


def _client(tree):
    found = login(tree, os.getpid(), {})
    return found.client if found else None


def confirm(module):
    """End the wait for the confirmation of a change; returns the answer of the module.

    :raises UnfitError: when it was undone, or when the login that made it confirms it.
    """
    folder = state.Folder(os.path.join(module.params["state_dir"], "rdma"))
    host = os.uname().nodename
    if os.path.exists(state.UNDONE):
        raise UnfitError(
            host, "RDMA settings", "undone, for no login confirmed them in time", "a new login", "see why the host could not be reached"
        )
    record = folder.load(folder.unconfirmed)
    tree = HostTree()
    client = _client(tree)
    if record and client and client == record["client"]:
        raise UnfitError(host, "RDMA settings", "confirmed by the login that made them", "a new login", "reset the connection before")
    changes = []
    if record:
        stop = state.timer_commands(sys.executable, folder, 1)[1]

        def make(_module):
            with contextlib.suppress(state.StepError):  # it may wait for our lock; then it finds nothing to undo
                state.take(stop, tree)
            state.forget(folder)

        changes.append(Change(" ".join(stop), state.TIMER, "armed\n", "", make))
    return dict(settle(module, changes), armed=False, settings={}, reboot_required=False, power_cycle_required=[])


def change(module):
    """Make the change; returns the answer of the module."""
    rings = {key: value for key, value in (module.params["rings"] or {}).items() if value is not None}
    params = dict(module.params, rings=rings)
    tree = HostTree("/", params["overlay"])
    seen = _rdma_host.Remembered(tree)
    is_wanted = params["state"] == "present"
    host = _rdma_host.look(seen, os.uname().nodename, os.getpid(), params) if is_wanted else None
    links = _rdma_names.link_files(params, host) if is_wanted else {}
    waiting = in_infiniband_mode(params, host) if is_wanted else []
    if is_wanted and not waiting and params["persistent_names"] and _rdma_names.misnamed(params, host):
        changes = [_file_change(path, state.read_text(path), text) for path, text in sorted(links.items()) if state.read_text(path) != text]
        return dict(settle(module, changes), armed=False, settings={}, reboot_required=True, power_cycle_required=[])
    wanted = link_types(params, host) if waiting else batch(params, host) if is_wanted else []
    transaction = Transaction(params, tree, seen, wanted, links)
    if transaction.armed and not os.path.isdir(SYSTEMD_RUNS):
        raise UnfitError(transaction.host, "dead-man timer", "systemd does not run", "a host that systemd runs", "make this change by hand")
    try:
        result = settle(module, transaction.changes())
    except state.StepError as error:
        refused = transaction.undo()
        after = "what was there is back" if not refused else "not brought back: %s" % "; ".join(refused)
        raise UnfitError(transaction.host, error.step, error.reason, "the host to accept it", "mend the value; %s" % after) from error
    values = {knobs.name(entry["knob"]): knobs.shown(entry["value"]) for entry in transaction.wanted}
    armed = transaction.armed and not module.check_mode
    return dict(result, armed=armed, settings=values, reboot_required=False, power_cycle_required=waiting)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
            "state_dir": {"type": "path", "required": True},
            "program": {"type": "str"},
            "rollback_seconds": {"type": "int", "default": 120},
            "interfaces": {"type": "list", "elements": "str", "default": []},
            "control_interface": {"type": "str"},
            "macs": {"type": "dict", "default": {}},
            "persistent_names": {"type": "bool", "default": False},
            "kernel_parameters": {"type": "dict", "default": {}},
            "kernel_globals": {"type": "dict", "default": {}},
            "manage_kernel_globals": {"type": "bool", "default": False},
            "interface_parameters": {"type": "dict", "default": {}},
            "mtu": {"type": "int"},
            "rings": {"type": "dict", "options": {"rx": {"type": "int"}, "tx": {"type": "int"}}},
            "policy_routing": {"type": "bool", "default": False},
            "first_table": {"type": "int", "default": 101},
            "rule_priority": {"type": "int", "default": 32761},
            "gateways": {"type": "dict", "default": {}},
            "trust": {"type": "str", "choices": ["dscp", "pcp"]},
            "pfc_priorities": {"type": "list", "elements": "int"},
            "ecn_priorities": {"type": "list", "elements": "int"},
            "cnp_dscp": {"type": "int"},
            "traffic_class": {"type": "int"},
            "adaptive_routing": {"type": "bool"},
            "ethernet_adapters": {"type": "list", "elements": "str", "default": []},
            "acs_off": {"type": "bool", "default": False},
            "pci_ids": {"type": "list", "elements": "str", "default": []},
            "max_read_request": {"type": "int"},
            "irq_affinity": {"type": "str", "choices": ["local", "spread"]},
            "overlay": {"type": "path"},
        },
        required_if=[("state", "present", ["program"]), ("state", "absent", ["program"])],
        supports_check_mode=True,
    )
    try:
        with state.alone():
            if module.params["state"] == "confirmed":
                module.exit_json(**confirm(module))
            module.exit_json(**change(module))
    except state.UnreadableError as error:
        remedy = "put it back, or remove it; without originals.json a reset finds nothing to bring back"
        found = UnfitError(os.uname().nodename, error.path, "not what the stage rdma writes", "its JSON", remedy)
        module.fail_json(msg=str(found), finding=found.finding.as_dict())
    except UnfitError as error:
        module.fail_json(msg=str(error), finding=error.finding.as_dict())


if __name__ == "__main__":
    main()
