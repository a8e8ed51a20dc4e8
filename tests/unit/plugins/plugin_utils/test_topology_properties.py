"""What holds for the order of every cluster, however its hosts are wired."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _pci
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _assignment
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._rails import Request
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._topology import Topology, topology
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import Problems
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring import Device, HostWiring, Interface, host_wiring
from hypothesis import given
from hypothesis import strategies as st

CONTROL = Interface("eth0", ("pci0000:00", "0000:00:1c.0"), 0, "", (ip_network("10.0.0.0/24"),))

# Where a function can be: below switch A or its second switch, beside it on the host bridge, on the socket, on the other one.
BUSES = (
    ("pci0000:10", "0000:10:01.0", "0000:11:00.0", "0000:12:00.0"),
    ("pci0000:10", "0000:10:01.0", "0000:11:00.0", "0000:12:01.0", "0000:13:00.0", "0000:14:00.0"),
    ("pci0000:10", "0000:10:02.0"),
    ("pci0000:30", "0000:30:01.0"),
    ("pci0000:80", "0000:80:01.0", "0000:81:00.0", "0000:82:00.0"),
    ("pci0000:90", "0000:90:01.0"),
)
buses = st.sampled_from(range(len(BUSES)))


def at(bus: int, function: int) -> dict[str, Any]:
    """A place below a bus that nothing else has."""
    return {"path": (*BUSES[bus], f"0000:{function:02x}:00.0"), "numa_node": int(bus >= 4)}


@st.composite
def machines(draw: st.DrawFn, devices: int, rails: int) -> HostWiring:
    """One host: devices numbered without regard to the bus, and an interface for each rail, addressed without regard to it either."""
    numbers = draw(st.permutations(range(devices)))
    networks = draw(st.permutations([ip_network(f"10.1.{rail}.0/24") for rail in range(rails)]))
    return HostWiring(
        "",
        tuple(Device(index=number, **at(draw(buses), 0xA0 + place)) for place, number in enumerate(numbers)),
        (
            CONTROL,
            *(
                Interface(f"eth{network.network_address.packed[2] + 1}", **at(draw(buses), 0xC0 + place), mac="", subnets=(network,))
                for place, network in enumerate(networks)
            ),
        ),
    )


@st.composite
def clusters(draw: st.DrawFn, most_hosts: int = 4, most_devices: int = 16) -> list[HostWiring]:
    """Hosts of one or two machines, each host's devices numbered in a way of its own."""
    devices, rails = draw(st.integers(1, most_devices)), draw(st.integers(1, 8))
    kinds = draw(st.lists(machines(devices, rails), min_size=1, max_size=2))
    hosts = []
    for number in range(draw(st.integers(1, most_hosts))):
        machine = draw(st.sampled_from(kinds))
        numbers = draw(st.just(range(devices)) | st.permutations(range(devices)))
        renumbered = tuple(replace(device, index=numbers[device.index]) for device in machine.devices)
        hosts.append(replace(machine, name=f"host{number}", devices=renumbered))
    return hosts


def plan(hosts: list[HostWiring], devices: int | None = None, nics: tuple[str, ...] | None = None) -> tuple[Topology | None, Problems]:
    problems = Problems()
    request = Request(devices or len(hosts[0].devices), "eth0", nics)
    return topology(hosts, request, problems), problems


@st.composite
def lists(draw: st.DrawFn, hosts: list[HostWiring], wanted: int) -> list[HostWiring]:
    """The hosts, some of which are given the order of their devices."""
    numbers = st.permutations([device.index for device in hosts[0].devices]).map(lambda order: tuple(order[:wanted]))
    return [replace(host, given=draw(st.just(()) | numbers)) for host in hosts]


def orders(result: Topology | None) -> Any:
    return None if result is None else ({name: result.hosts[name] for name in sorted(result.hosts)}, result.rails)


def classes(host: HostWiring) -> list[list[int]]:
    """The distance of every device to every rail's interface, worst is largest."""
    rails = [interface for interface in host.interfaces if interface.name != "eth0"]
    devices = sorted(host.devices, key=lambda device: device.index)
    return [[_pci.DISTANCES.index(_pci.distance(device, rail)) for rail in rails] for device in devices]


@given(clusters(), st.data())
def test_an_order_is_whole_and_the_same_on_all_hosts(hosts, data):
    wanted = data.draw(st.integers(1, len(hosts[0].devices)))
    hosts = data.draw(st.just(hosts) | lists(hosts, wanted))
    result, problems = plan(hosts, wanted)
    if result is None:
        assert {finding.check for finding in problems.findings()} == {"rail order"}
        assert all(len(str(finding).splitlines()) == 1 for finding in problems.findings())
        return
    assert not problems
    assert len(result.rails) == wanted
    for host in hosts:
        order = result.hosts[host.name]
        assert order.visible_devices == (host.given or order.visible_devices)
        assert len(set(order.visible_devices)) == len(order.visible_devices) == len(order.nics) == wanted
        assert set(order.visible_devices) <= {device.index for device in host.devices}
        subnets = {interface.name: str(interface.subnets[0]) for interface in host.interfaces}
        assert tuple(subnets[nic] for nic in order.nics) == result.rails
        for rank in order.ranks:
            device = next(one for one in host.devices if one.index == rank.device)
            nic = next(one for one in host.interfaces if one.name == rank.nic)
            assert rank.distance == _pci.distance(device, nic)


@given(clusters())
def test_hosts_that_differ_in_numbers_only_always_have_an_order_and_equal_shares(hosts):
    alike = [host for host in hosts if {device.path for device in host.devices} == {device.path for device in hosts[0].devices}]
    alike = [host for host in alike if host.interfaces == hosts[0].interfaces]
    result, problems = plan(alike)
    assert not problems
    shares = Counter(result.rails)
    rails = len(hosts[0].interfaces) - 1
    assert max(shares.values()) - (min(shares.values()) if len(shares) == rails else 0) <= 1
    for order in result.hosts.values():
        assert sorted(order.visible_devices) == list(range(len(hosts[0].devices)))


@given(clusters(), st.randoms(), st.data())
def test_the_order_of_facts_changes_nothing(hosts, random, data):
    wanted = data.draw(st.integers(1, len(hosts[0].devices)))
    hosts = data.draw(st.just(hosts) | lists(hosts, wanted))
    shuffled = [
        replace(
            host,
            devices=tuple(random.sample(host.devices, len(host.devices))),
            interfaces=tuple(random.sample(host.interfaces, len(host.interfaces))),
        )
        for host in random.sample(hosts, len(hosts))
    ]
    first, second = (plan(item, wanted)[0] for item in (hosts, shuffled))
    assert repr(orders(first)) == repr(orders(second))


def test_same_input_same_bytes_in_every_process():
    """Nothing depends on the order of a set, which is another in every process: of four orders here, each is one host's own."""
    places = tuple(Device(index, **at(bus, 0xA0 + index)) for index, bus in enumerate((0, 1, 4, 5)))
    rails = tuple(
        Interface(f"eth{rail}", **at(bus, 0xC0 + rail), mac="", subnets=(ip_network(f"10.1.{rail}.0/24"),))
        for rail, bus in enumerate((0, 1, 4, 5), 1)
    )
    hosts = [
        HostWiring(f"host{turn}", tuple(replace(one, index=(one.index + turn) % 4) for one in places), (CONTROL, *rails))
        for turn in range(4)
    ]
    script = (
        "import pickle, sys\n"
        "from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _rails, _topology, _values\n"
        "hosts = pickle.load(sys.stdin.buffer)\n"
        "print(_topology.topology(hosts, _rails.Request(4, 'eth0'), _values.Problems()))\n"
    )
    collections = _pci.__file__.partition("/ansible_collections/")[0]
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            input=pickle.dumps(hosts),
            env={**os.environ, "PYTHONPATH": collections, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert printed == {f"{plan(hosts)[0]}\n".encode()}


@given(clusters(), st.data())
def test_a_list_of_the_inventory_is_what_every_host_gets(hosts, data):
    names = [interface.name for interface in hosts[0].interfaces if interface.name != "eth0"]
    devices = len(hosts[0].devices)
    nics = tuple(data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=devices)))
    result, problems = plan(hosts, len(nics), nics)
    assert not problems
    assert {order.nics for order in result.hosts.values()} == {nics}


@given(clusters(), st.data())
def test_lists_of_devices_and_interfaces_are_what_every_host_gets(hosts, data):
    names = [interface.name for interface in hosts[0].interfaces if interface.name != "eth0"]
    nics = tuple(data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(hosts[0].devices))))
    hosts = data.draw(lists(hosts, len(nics)))
    result, problems = plan(hosts, len(nics), nics)
    assert not problems
    for host in hosts:
        order = result.hosts[host.name]
        assert (order.nics, order.visible_devices) == (nics, host.given or order.visible_devices)
        assert len(set(order.visible_devices)) == len(nics)


@given(clusters(most_hosts=1), st.data())
def test_one_hosts_list_of_devices_always_has_an_order(hosts, data):
    """A list alone contradicts nothing: the rails follow its devices."""
    (host,) = data.draw(lists(hosts, data.draw(st.integers(1, len(hosts[0].devices)))))
    result, problems = plan([host], len(host.given) or None)
    assert (bool(problems), result.hosts[host.name].visible_devices) == (False, host.given or tuple(range(len(host.devices))))


@given(clusters(most_hosts=3, most_devices=5))
def test_no_host_is_worse_off_than_the_best_of_all_its_equal_shares(hosts):
    result, _problems = plan(hosts)
    for host in hosts if result else ():
        distances = classes(host)
        rails, devices = range(len(distances[0])), len(distances)
        shares = [
            chosen
            for chosen in itertools.product(rails, repeat=devices)
            if max(map(chosen.count, rails)) - min(map(chosen.count, rails)) <= 1
        ]
        best = min(_assignment.burden(distances, chosen) for chosen in shares)
        ranks = result.hosts[host.name].ranks
        assert tuple(sorted((_pci.DISTANCES.index(rank.distance) for rank in ranks), reverse=True)) == best


# The assignment by itself


def matrices(rows: int, columns: int) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(st.integers(0, 4), min_size=columns, max_size=columns), min_size=rows, max_size=rows)


@given(st.integers(1, 5).flatmap(lambda rows: st.integers(rows, 6).flatmap(lambda columns: matrices(rows, columns))))
def test_nearest_is_the_first_of_the_best_of_all(distances):
    every = itertools.permutations(range(len(distances[0])), len(distances))
    assert _assignment.nearest(distances) == min(every, key=lambda chosen: (_assignment.burden(distances, chosen), chosen))


@given(st.integers(1, 6).flatmap(lambda rows: st.integers(1, 4).flatmap(lambda columns: matrices(rows, columns))))
def test_shared_is_the_first_of_the_best_equal_shares(distances):
    columns = range(len(distances[0]))
    every = [
        chosen
        for chosen in itertools.product(columns, repeat=len(distances))
        if max(map(chosen.count, columns)) - min(map(chosen.count, columns)) <= 1
    ]
    assert _assignment.shared(distances) == min(every, key=lambda chosen: (_assignment.burden(distances, chosen), chosen))


# Facts


def accelerator_facts(host: HostWiring) -> dict[str, Any]:
    return {
        "devices": [
            {"index": one.index, "minor": one.index, "pci": one.address, "path": list(one.path), "numa_node": one.numa_node}
            for one in host.devices
        ]
    }


def network_facts(host: HostWiring) -> dict[str, Any]:
    return {
        "interfaces": {
            one.name: {
                "kind": "physical",
                "master": None,
                "bond": None,
                "mac": one.mac,
                "addresses": [{"address": str(network[1]), "prefix_length": network.prefixlen} for network in one.subnets],
                "path": list(one.path),
                "numa_node": one.numa_node,
                "pci": one.path[-1],
            }
            for one in host.interfaces
        }
    }


@given(clusters())
def test_facts_give_the_wiring_that_they_were_made_of(hosts):
    problems = Problems()
    read = [host_wiring(host.name, accelerator_facts(host), network_facts(host), [], problems) for host in hosts]
    assert not problems
    assert repr(plan(read)[0]) == repr(plan(hosts)[0])
