#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pair_probe_info
short_description: Listen for the other hosts of a cluster, or ask them
description:
  - Hosts find out in two steps whether they reach each other on every rail. First every host listens (O(mode=listen)), then every host asks
    all others (O(mode=ask)). Because everyone listens before anyone asks, hosts may take their turns at any time, with any number of forks.
  - Listeners are TCP sockets on the host's own addresses, at those of the job's ports that are free. A port that somebody holds is left
    to its holder. They belong to one process that ends by itself when all other hosts have asked, and after O(seconds) in any case; no
    file is written, and runs at the same time share it.
  - Of every way to another host it is asked how the kernel routes to it, whether a packet of the interface's whole MTU arrives
    unfragmented, and who answers at its ports. There are never more than 16 connections open, each to another host.
  - Nothing is judged.
version_added: 0.2.0
author: FlagOS contributors (@flagos-ai)
options:
  mode:
    description:
      - V(listen) to listen, and to read the network as M(flagos.kunlunxin.network_info) does; V(ask) to ask.
      - V(measure) to measure the bandwidth to other hosts, which takes seconds for each O(tests). No host has two tests at once.
    type: str
    choices: [listen, ask, measure]
    required: true
  name:
    description: The name of this host in the plan.
    type: str
    required: true
  awaited:
    description: With O(mode=listen), names of the hosts that will ask.
    type: list
    elements: str
    default: []
  seconds:
    description: With O(mode=listen), how long to wait for them; with O(mode=measure), how long for both hosts of a test to be free.
    type: float
    default: 60
  interfaces:
    description: With O(mode=listen), the interfaces to listen on, the control interface first.
    type: list
    elements: str
    default: []
  address:
    description: With O(mode=listen), the host's address on the control interface. Of the others the first global address is taken.
    type: str
  ports:
    description: With O(mode=listen), the ports on O(address) that the job uses.
    type: list
    elements: int
    default: []
  nearby_ports:
    description: With O(mode=listen), samples of a range of ports on O(address); where one is held, the first free one after it is taken.
    type: list
    elements: int
    default: []
  bandwidth:
    description: With O(mode=listen), whether to serve tests of bandwidth; with O(mode=ask), whether they follow, so that others still wait.
    type: bool
    default: false
  tests:
    description: With O(mode=measure), the tests, as P(flagos.kunlunxin.pair_schedule#module) makes them.
    type: list
    elements: dict
    default: []
    suboptions:
      peer:
        description: Name of the other host.
        type: str
        required: true
      rail:
        description: Name of the interface.
        type: str
        required: true
      tool:
        description: What measures.
        type: str
        choices: [iperf3, ib_write_bw]
        required: true
      source:
        description: This host's address on the rail.
        type: str
        required: true
      destination:
        description: The other host's.
        type: str
        required: true
      port:
        description: The other host's RV(listening), C(any) of the rail.
        type: int
        required: true
      own_port:
        description: This host's, likewise.
        type: int
        required: true
      seconds:
        description: How long to send.
        type: int
        required: true
      device:
        description: This host's RDMA device, for V(ib_write_bw).
        type: str
      device_port:
        description: Its port.
        type: str
      gid:
        description: The index of the GID.
        type: int
  questions:
    description:
      - With O(mode=measure), only O(questions[].done) and the addresses of O(questions[].ways) are used, to say that nothing follows.
      - With O(mode=ask), one entry for each other host, as P(flagos.kunlunxin.pair_schedule#module) makes them from what all hosts said
        when they listened.
    type: list
    elements: dict
    default: []
    suboptions:
      peer:
        description: Name of the other host.
        type: str
        required: true
      run:
        description: Its RV(run).
        type: str
        required: true
      done:
        description: Where to tell it that nothing more will be asked, as pairs of address and port.
        type: list
        elements: list
        default: []
      ways:
        description: One entry for each rail.
        type: list
        elements: dict
        required: true
        suboptions:
          rail:
            description: Name of the interface.
            type: str
            required: true
          source:
            description: This host's address on it.
            type: str
            required: true
          destination:
            description: The other host's.
            type: str
            required: true
          mtu:
            description: The largest packet that has to arrive, its headers included, in bytes.
            type: int
            required: true
          ports:
            description: Ports to ask.
            type: list
            elements: dict
            default: []
            suboptions:
              port:
                description: The port.
                type: int
                required: true
              held:
                description: A service of the host holds it, which is not spoken with.
                type: bool
                default: false
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
- name: Listen
  flagos.kunlunxin.pair_probe_info:
    mode: listen
    name: "{{ inventory_hostname }}"
    awaited: "{{ groups.cluster | difference([inventory_hostname]) }}"
    interfaces: [eth0, eth1]
    address: "{{ ansible_host }}"
    ports: [8000]
  become: true
  register: __example_listening
"""

RETURN = r"""
network:
  description: The facts of the network, as RV(flagos.kunlunxin.network_info#module:network).
  returned: with O(mode=listen)
  type: dict
tools:
  description: What the host has to measure bandwidth with.
  returned: with O(mode=listen)
  type: list
  elements: str
bandwidth:
  description: One entry for each of O(tests), with C(peer), C(rail), C(tool), C(gbps) (null where it cannot be told) and C(error).
  returned: with O(mode=measure)
  type: list
  elements: dict
run:
  description: By what the listening process knows for whom it waits.
  returned: with O(mode=listen)
  type: str
listening:
  description: For each of O(interfaces) that has an address, what listens there.
  returned: with O(mode=listen)
  type: dict
  contains:
    address:
      description: The address.
      type: str
    ports:
      description: For each port V(listening), V(held), or why it is neither, in the kernel's words. Ports that are keys are text.
      type: dict
    nearby:
      description: For each of O(nearby_ports) the port taken for it.
      type: dict
    any:
      description: A port that the system chose among those it gives to whoever asks for any; null where it gave none.
      type: int
  sample:
    eth0: {address: 10.0.0.5, ports: {"8000": held, "10002": listening, "40631": listening}, nearby: {"10002": 10002}, any: 40631}
answers:
  description: One entry for each way to another host, in the order of O(questions).
  returned: with O(mode=ask)
  type: list
  elements: dict
  contains:
    peer:
      description: Name of the other host.
      type: str
    rail:
      description: Name of the interface.
      type: str
    route:
      description: C(interface) and C(gateway) by which the kernel sends there from the rail's address; null where it has no route.
      type: dict
    ping:
      description: Whether the C(large) packet and a C(small) one came back, and ping's C(error) where it says one.
      type: dict
    ports:
      description:
        - For each port V(ok), V(timeout), V(refused), V(silent) (connected, but nobody speaks), V(not asked) (nothing else arrived, or
          there was no time left), C(answered by) and the name of another host, or the kernel's words.
      type: dict
  sample:
    - peer: node2
      rail: eth1
      route: {interface: eth1, gateway: null}
      ping: {large: true, small: true, error: ""}
      ports: {"40631": ok}
"""

import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import (
    _network_facts,
    _pair_bandwidth,
    _pair_listener,
    _pair_questions,
)
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HOST_TREE_ARGUMENTS, host_tree

WAY = dict(
    rail=dict(type="str", required=True),
    source=dict(type="str", required=True),
    destination=dict(type="str", required=True),
    mtu=dict(type="int", required=True),
    ports=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(port=dict(type="int", required=True), held=dict(type="bool", default=False)),
    ),
)

TEST = dict(
    peer=dict(type="str", required=True),
    rail=dict(type="str", required=True),
    tool=dict(type="str", choices=["iperf3", "ib_write_bw"], required=True),
    source=dict(type="str", required=True),
    destination=dict(type="str", required=True),
    port=dict(type="int", required=True),
    own_port=dict(type="int", required=True),
    seconds=dict(type="int", required=True),
    device=dict(type="str"),
    device_port=dict(type="str"),
    gid=dict(type="int"),
)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            HOST_TREE_ARGUMENTS,
            mode=dict(type="str", choices=["listen", "ask", "measure"], required=True),
            name=dict(type="str", required=True),
            awaited=dict(type="list", elements="str", default=[]),
            seconds=dict(type="float", default=60),
            interfaces=dict(type="list", elements="str", default=[]),
            address=dict(type="str"),
            ports=dict(type="list", elements="int", default=[]),
            nearby_ports=dict(type="list", elements="int", default=[]),
            bandwidth=dict(type="bool", default=False),
            tests=dict(type="list", elements="dict", default=[], options=TEST),
            questions=dict(
                type="list",
                elements="dict",
                default=[],
                options=dict(
                    peer=dict(type="str", required=True),
                    run=dict(type="str", required=True),
                    done=dict(type="list", elements="list", default=[]),
                    ways=dict(type="list", elements="dict", required=True, options=WAY),
                ),
            ),
        ),
        required_if=[("mode", "listen", ["address"])],
        supports_check_mode=True,
    )
    params = module.params
    name, questions = params["name"], params["questions"]
    if params["mode"] == "ask":
        module.exit_json(changed=False, answers=_pair_questions.ask(name, questions, finish=not params["bandwidth"]))
    if params["mode"] == "measure":
        found = _pair_bandwidth.measure(name, params["tests"], params["seconds"])
        _pair_questions.say_done(name, questions)
        module.exit_json(changed=False, bandwidth=found)
    network = _network_facts.network(host_tree(params))
    run = str(uuid.uuid4())
    try:
        listening = listen(params, run, network)
    except OSError as error:
        module.fail_json(msg="%s: cannot listen: %s" % (name, error))
    module.exit_json(changed=False, network=network, run=run, listening=listening, tools=_pair_bandwidth.tools())


def listen(params, run, network):
    """Have the ports of the job opened on the control address, and one port of any number on every interface."""
    found, addresses, servers = network["interfaces"], {}, {}
    for name in params["interfaces"]:
        is_control = name == params["interfaces"][0]
        address = params["address"] if is_control else _network_facts.first_address(found.get(name))
        if address is not None:
            addresses[name] = address
            if params["bandwidth"] and name in found:
                servers[address] = _pair_bandwidth.servers(address, _pair_bandwidth.verbs_of(found[name], network["rdma"]))
    control = params["address"]
    answer = _pair_listener.request(
        {
            "name": params["name"],
            "run": run,
            "awaited": params["awaited"],
            "seconds": params["seconds"],
            "addresses": {
                address: {
                    "fixed": params["ports"] if address == control else [],
                    "nearby": params["nearby_ports"] if address == control else [],
                    "any": True,
                }
                for address in addresses.values()
            },
            "servers": servers,
        }
    )
    return {name: dict(answer[address], address=address) for name, address in addresses.items()}


if __name__ == "__main__":
    main()
