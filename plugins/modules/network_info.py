#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: network_info
short_description: Read the network of one host
description:
  - Reads interfaces, RDMA devices with their GIDs, routes, rules and the kernel's limits in one round trip, from sysfs, procfs, C(ip)
    and C(ethtool). No tools of a vendor and none of RDMA are needed.
  - Works with the C(ip) of CentOS 7 and Ubuntu 18.04, which give no JSON, as with newer ones.
  - Nothing is changed and nothing is judged.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  state_dir:
    description: Folder of the cluster's state on the host, where the stage rdma keeps what it set; without it RV(network.rdma_settings) is null.
    type: path
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
  - flagos.kunlunxin.host_tree
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Read the network
  flagos.kunlunxin.network_info:
    state_dir: /var/lib/flagos-kunlunxin
  register: __example_network

- name: Show the indices of the GIDs that RoCE v2 can use with IPv4
  ansible.builtin.debug:
    msg: "{{ gids | selectattr('type', 'equalto', 'RoCE v2') | selectattr('ipv4') | map(attribute='index') }}"
  vars:
    gids: "{{ __example_network.network.rdma.mlx5_0.ports['1'].gids }}"
"""

RETURN = r"""
network:
  description: The facts, one key per subject. What a host does not say is null.
  returned: always
  type: dict
  contains:
    interfaces:
      description: The network interfaces of the host's own network namespace, by name.
      returned: always
      type: dict
      contains:
        state:
          description: The kernel's operational state, such as V(up), V(down) or V(unknown).
          type: str
        carrier:
          description: Whether there is a link; null while the interface is down by configuration.
          type: bool
        mtu:
          description: In bytes.
          type: int
        mac:
          description: The hardware address it has now; that of the bond for members of one.
          type: str
        permanent_mac:
          description: The hardware address it was made with; null for what is not physical, and where it was changed and sysfs keeps none.
          type: str
        speed_mbps:
          description: Megabits per second; null where unknown.
          type: int
        kind:
          description: One of V(physical), V(bond), V(bridge), V(vlan), V(virtual) and V(loopback).
          type: str
        master:
          description: The bond or bridge it is a member of, or null.
          type: str
        bond:
          description: C(mode) and C(members) of a bond; null for anything else.
          type: dict
        addresses:
          description: IPv4 and IPv6 addresses, each with C(address), C(prefix_length) and C(scope).
          type: list
          elements: dict
        pci:
          description: PCI address of a physical interface, or null.
          type: str
        numa_node:
          description: NUMA node of the PCI function, of a bond's first active member; null where the machine does not say.
          type: int
        path:
          description:
            - The way to the PCI function, from the host bridge over the bridges' addresses to its own.
            - For a bond that of its first active member, or of its first one where none is active. Empty for other virtual interfaces.
          type: list
          elements: str
        driver:
          description: Name of the kernel driver of a physical interface, or null.
          type: str
        rdma:
          description: The RDMA device whose port this interface is, for a bond also one that has GIDs of its addresses; or null.
          type: str
        sysctls:
          description: C(arp_ignore), C(arp_announce) and C(rp_filter) of the interface, as numbers.
          type: dict
        rings:
          description: C(rx), C(tx), C(rx_max) and C(tx_max) in descriptors; null where C(ethtool) is missing or refuses.
          type: dict
        counters:
          description: C(rx_errors), C(tx_errors), C(rx_dropped) and C(tx_dropped).
          type: dict
    rdma:
      description: The RDMA devices by name.
      returned: always
      type: dict
      contains:
        pci:
          description: PCI address, or null.
          type: str
        node_guid:
          description: Such as V(0c42:a103:00b4:5a2e).
          type: str
        firmware:
          description: Version of the firmware.
          type: str
        ports:
          description: The ports by their number, which is text.
          type: dict
          contains:
            state:
              description: Such as V(ACTIVE) or V(DOWN).
              type: str
            physical_state:
              description: Such as V(LinkUp), V(Polling) or V(Disabled).
              type: str
            link_layer:
              description: V(Ethernet) for RoCE, or V(InfiniBand).
              type: str
            rate_gbps:
              description: Gigabits per second.
              type: float
            netdev:
              description: The interface of the port, or null.
              type: str
            gids:
              description:
                - The GIDs in use, each with C(index), C(gid), C(type) (V(RoCE v2) or V(IB/RoCE v1)), C(netdev) and C(ipv4).
                - C(ipv4) is the address of a GID that stands for one, else null.
              type: list
              elements: dict
            counters:
              description:
                - Those that the port has of C(port_xmit_discards), C(port_rcv_errors), C(packet_seq_err), C(local_ack_timeout_err),
                  C(out_of_sequence), C(np_cnp_sent), C(rp_cnp_handled) and C(roce_adp_retrans).
              type: dict
            traffic_class:
              description: The traffic class set for all connections of the port; null where none is set or the driver has no such setting.
              type: int
    routes:
      description:
        - The routes of IPv4 and IPv6 that lead out of the host, each with C(destination), C(gateway), C(interface), C(table),
          C(source) and C(metric). One entry for each gateway of a route that has several.
        - C(destination) is V(default) for IPv4's default route and V(::/0) for IPv6's.
        - C(table) is V(main), V(default) or the number of the table, as text, whatever name the host gives it.
      returned: always
      type: list
      elements: dict
    rules:
      description:
        - The rules of IPv4 in their order, each with C(priority), C(source), C(destination), C(input), C(output), C(table), C(mark)
          and C(complete). Null means any.
        - C(table) is as in RV(network.routes), or V(local).
        - C(complete) is false for a rule that says more than these columns, or does something else than to look in a table.
      returned: always
      type: list
      elements: dict
    neighbours_limits:
      description: C(gc_thresh1), C(gc_thresh2) and C(gc_thresh3) of IPv4's neighbours.
      returned: always
      type: dict
    sockets:
      description: C(rmem_max), C(wmem_max) and C(tcp_ecn), and C(tcp_rmem) and C(tcp_wmem) with three numbers each.
      returned: always
      type: dict
    default_route:
      description: C(interface) and C(source) of the main table's default route of IPv4 with the lowest metric; null without one.
      returned: always
      type: dict
    rdma_settings:
      description:
        - Whether what the stage rdma set still holds; null where it has set nothing.
        - C(count) of the settings, C(starts_at_boot), whether the unit that makes them at boot is enabled, and C(problem), why the batch cannot
          be read, or null.
        - C(different) has each setting that does not hold, with C(what), C(now) and C(wanted) as text.
      returned: always
      type: dict
    problems:
      description: One line for each thing that could not be read, and where it stands.
      returned: always
      type: list
      elements: str
  sample:
    interfaces:
      eth1: {state: up, carrier: true, mtu: 9000, kind: physical, pci: "0000:3b:00.0", numa_node: 0, rdma: mlx5_0, speed_mbps: 200000}
    routes: [{destination: default, gateway: 10.1.1.254, interface: eth1, table: "101", source: null, metric: null}]
    rules: [{priority: 32761, source: 10.1.1.5, destination: null, input: null, output: null, table: "101", mark: null, complete: true}]
    default_route: {interface: eth0, source: 10.0.0.5}
    problems: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _network_facts, _rdma_kept
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HOST_TREE_ARGUMENTS, host_tree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._rdma_host import Remembered


def main():
    module = AnsibleModule(argument_spec={"state_dir": {"type": "path"}, **HOST_TREE_ARGUMENTS}, supports_check_mode=True)
    tree, state_dir = Remembered(host_tree(module.params)), module.params["state_dir"]
    found = _network_facts.network(tree)
    settings = _rdma_kept.kept(tree, state_dir) if state_dir else None
    module.exit_json(changed=False, network=dict(found, rdma_settings=settings))


if __name__ == "__main__":
    main()
