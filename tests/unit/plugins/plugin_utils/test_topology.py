"""The order of devices and interfaces: wirings with expectations derived by hand, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._rails import Request
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._spec import RailChoice
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._topology import Topology, topology
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import PlanError, Problems
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring import host_wiring
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._wiring_record import record_of, render

WIRINGS = Path(__file__).parent / "wirings"
NO_PLACE = {"pci": None, "path": [], "numa_node": None}

Data = Mapping[str, Any]
Facts = dict[str, dict[str, Any]]  # of each host: devices and interfaces, in the shapes of accelerator_info and network_info


def wiring(name: str) -> dict[str, Any]:
    return yaml.safe_load((WIRINGS / f"{name}.yml").read_text())


def facts(given: Data) -> Facts:
    """The facts of all hosts of a wiring."""
    found = {}
    for number, (name, host) in enumerate(given["hosts"].items(), 1):
        host = {"machine": host} if isinstance(host, str) else host
        machine = given["machines"][host["machine"]]
        found[name] = {"devices": devices(machine), "interfaces": interfaces(machine, number, host.get("subnets", {}))}
    return found


def place(machine: Data, text: str) -> dict[str, Any]:
    """Where a PCI function is: ``A/12:00.0/13:00.0`` is the way to bus A, and from there over these addresses."""
    bus, *below = text.split("/")
    path = [*machine["buses"][bus]["path"].split("/"), *(f"0000:{address}" for address in below)]
    return {"pci": path[-1], "path": path, "numa_node": machine["buses"][bus]["numa"]}


def listed_devices(given: Data) -> dict[str, list[int]]:
    """The lists of devices that the inventory of a wiring gives, by host."""
    return {
        name: host["visible_devices"] for name, host in given["hosts"].items() if not isinstance(host, str) and "visible_devices" in host
    }


def devices(machine: Data) -> list[dict[str, Any]]:
    return [{"index": index, "minor": index, **place(machine, text)} for index, text in machine["devices"].items()]


def interfaces(machine: Data, number: int, subnets: Data) -> dict[str, dict[str, Any]]:
    """Every interface has address ``number`` of its subnet; a bond stands where its first member does, as network_info tells it."""
    found = {"lo": interface("loopback", "00:00:00:00:00:00", NO_PLACE, "127.0.0.0/8")}
    for position, (name, one) in enumerate(machine["interfaces"].items()):
        mac, subnet = f"0c:42:a1:00:0{number}:0{position}", subnets.get(name, one["subnet"])
        members = {member: place(machine, text) for member, text in one.get("members", {}).items()}
        found.update((member, {**interface("physical", mac, where), "master": name}) for member, where in members.items())
        if members:
            first = {**next(iter(members.values())), "pci": None}
            bond = {"mode": "802.3ad", "members": list(members)}
            found[name] = {**interface("bond", mac, first, subnet, number), "bond": bond}
        else:
            found[name] = interface("physical", mac, place(machine, one["at"]), subnet, number)
    return found


def interface(kind: str, mac: str, where: Data, subnet: str | None = None, number: int = 1) -> dict[str, Any]:
    addresses = [{"address": "fe80::1", "prefix_length": 64}]
    if subnet:
        network = ip_network(subnet)
        addresses.append({"address": str(network[number]), "prefix_length": network.prefixlen})
    return {"kind": kind, "mac": mac, "master": None, "bond": None, "addresses": addresses, **where}


def planned(
    found: Facts, request: Request, choices: Sequence[RailChoice] = (), given: Mapping[str, Sequence[int]] | None = None
) -> tuple[Topology | None, list[str]]:
    """The plan of hosts with these facts, and the lines of its problems."""
    problems = Problems()
    hosts = [host_wiring(name, host, host, choices, problems, (given or {}).get(name, ())) for name, host in found.items()]
    result = None if None in hosts else topology([host for host in hosts if host], request, problems)
    return result, [str(finding) for finding in problems.findings()]


def listed(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


# Wirings with expectations derived by hand


@pytest.mark.parametrize("name", sorted(path.stem for path in WIRINGS.glob("*.yml")))
def test_wiring_gives_what_was_derived_by_hand(name):
    given = wiring(name)
    request = Request(**{**given["request"], "nics": tuple(given["request"]["nics"]) if "nics" in given["request"] else None})
    expected, found = given["expected"], facts(given)
    assert len(given["reasoning"]) > 200
    for group in given.get("groups", [list(found)]):
        result, problems = planned({host: found[host] for host in group}, request, given=listed_devices(given))
        assert problems == [" ".join(line.split()) for line in expected.get("problems", [])]
        if "every_host" not in expected:
            assert result is None
            continue
        for host in group:
            order = result.hosts[host]
            seen = {
                "visible_devices": listed(order.visible_devices),
                "nics": listed(order.nics),
                "distances": listed([rank.distance for rank in order.ranks]),
            }
            assert (host, seen) == (host, {**expected["every_host"], **expected.get(host, {})})
            assert tuple(rank.rail for rank in order.ranks) == result.rails
        assert list(result.hosts) == group
        assert listed(result.rails) == expected.get("rails", listed(result.rails))
        assert list(result.notes) == expected.get("notes", [])


@pytest.mark.parametrize("name", sorted(path.stem for path in WIRINGS.glob("*.yml")))
def test_rank_env_of_a_wiring_is_what_was_derived_by_hand(name, tmp_path, p800, plan):
    """From the recorded facts to the environment of every container and the NIC of every rank."""
    given = wiring(name)
    request, expected, found, lists = given["request"], given["expected"], facts(given), listed_devices(given)
    for group in given.get("groups", [list(found)]):
        record = {host: record_of(found[host], found[host], [request["control_interface"], *request.get("nics", ())]) for host in group}
        path = tmp_path / "cluster.topology.json"
        path.write_text(render(record))
        inventory = p800(
            len(found),
            own={host: {"cluster_visible_devices": numbers} for host, numbers in lists.items()},
            cluster_topology_file=str(path),
            cluster_devices_per_host=request["devices"],
            cluster_control_interface=request["control_interface"],
            cluster_policy_routing=request.get("policy_routing", False),
            **({"cluster_rdma_nics": request["nics"]} if "nics" in request else {}),
        )
        inventory["groups"]["cluster"] = group
        if "problems" in expected:
            with pytest.raises(PlanError) as refused:
                plan(inventory)
            assert str(refused.value).splitlines() == [" ".join(line.split()) for line in expected["problems"]]
            continue
        made = plan(inventory)
        for host in made.hosts:
            order = {**expected["every_host"], **expected.get(host.name, {})}
            values = {value.name: value for value in host.environment}
            reordered = order["visible_devices"] != listed(range(request["devices"]))
            assert values["CUDA_VISIBLE_DEVICES"].value == order["visible_devices"]
            assert values["BKCL_RDMA_NICS"].value == order["nics"]
            assert values["BKCL_RDMA_NICS"].origin == ("inventory" if "nics" in request else "topology")
            assert order["distances"] in values["BKCL_RDMA_NICS"].reason or "nics" in request
            assert ("XPU_VISIBLE_DEVICES" in values, "CUDA_DEVICE_ORDER" in values) == (reordered, reordered)
            if reordered:
                assert values["XPU_VISIBLE_DEVICES"].value == order["visible_devices"]
                assert values["CUDA_VISIBLE_DEVICES"].origin == ("inventory" if host.name in lists else "topology")
            if host.name in lists:
                assert (values["CUDA_VISIBLE_DEVICES"].origin, values["CUDA_VISIBLE_DEVICES"].reason) == (
                    "inventory",
                    "cluster_visible_devices",
                )
            for rank, nic, device in zip(host.ranks, order["nics"].split(","), order["visible_devices"].split(","), strict=True):
                (own,) = (value for value in made.rank_environment(host, rank) if value.name == "NIC")
                assert (own.value, rank.device) == (nic, f"/dev/xpu{device}")
                assert own.reason.startswith(f"device {device} and {nic} on rail ")
        assert [note for note in made.notes if "the engine numbers" not in note] == expected.get("notes", [])


# What is explained


def model_card() -> Facts:
    return facts(wiring("model-card"))


def test_every_rank_says_why():
    result, _problems = planned(facts(wiring("two-hosts")), Request(4, "eth0"))
    assert [rank.reason for rank in result.hosts["host1"].ranks][:2] == [
        "device 0 and eth2 on rail 10.1.2.0/24 are PHB: the host bridge between them",
        "device 1 and eth1 on rail 10.1.1.0/24 are PIX: at most one bridge or switch between them",
    ]


def test_a_nearer_interface_is_named_where_others_have_it():
    """Without eth2, eight devices over three rails are 3, 3 and 2: one of XPU 2 and 3 finds room on its socket, the other does not."""
    found = model_card()
    for host in found.values():
        del host["interfaces"]["eth2"]
    result, problems = planned(found, Request(8, "eth0"))
    assert problems == []
    order = result.hosts["host1"]
    assert listed(order.nics) == "eth1,eth1,eth1,eth3,eth3,eth3,eth4,eth4"
    assert listed([rank.distance for rank in order.ranks]) == "PIX,PIX,NODE,SYS,PIX,PIX,PIX,PIX"
    assert order.ranks[3].reason == (
        "device 3 and eth3 on rail 10.1.3.0/24 are SYS: on different NUMA nodes; eth1 is nearer but has its share of devices"
    )
    assert result.notes == (
        "host1 and 3 more hosts: not every device has its interface at the same switch: PIX,PIX,NODE,SYS,PIX,PIX,PIX,PIX",
    )


def test_the_inventorys_list_is_taken_as_it_is_and_what_it_costs_is_said():
    result, problems = planned(model_card(), Request(4, "eth0", nics=("eth1", "eth1", "eth1", "eth2")))
    order = result.hosts["host1"]
    assert (problems, listed(order.nics), listed(order.visible_devices)) == ([], "eth1,eth1,eth1,eth2", "0,1,2,3")
    assert order.ranks[2].reason == (
        "device 2 and eth1 on rail 10.1.1.0/24 are NODE: two host bridges of one NUMA node between them;"
        " eth2 is nearer but cluster_rdma_nics says otherwise"
    )


def test_the_inventorys_list_may_turn_the_devices_around():
    nics = ("eth4", "eth4", "eth3", "eth3", "eth2", "eth2", "eth1", "eth1")
    result, problems = planned(model_card(), Request(8, "eth0", nics=nics))
    assert problems == []
    assert {(order.nics, order.visible_devices) for order in result.hosts.values()} == {(nics, (6, 7, 4, 5, 2, 3, 0, 1))}


def test_lists_of_devices_and_of_interfaces_are_taken_as_they_are_together_and_what_it_costs_is_said():
    """host1 takes the far pair of XPUs for eth1; nobody is asked whether that is wise, and every rank says what it costs."""
    result, problems = planned(model_card(), Request(2, "eth0", nics=("eth1", "eth1")), given={"host1": (4, 5)})
    assert (problems, result.hosts["host1"].visible_devices, result.hosts["host2"].visible_devices) == ([], (4, 5), (0, 1))
    assert result.hosts["host1"].ranks[0].reason == ("device 4 and eth1 on rail 10.1.1.0/24 are SYS: on different NUMA nodes")
    assert result.notes == ("host1: not every device has its interface at the same switch: SYS,SYS",)


def test_without_a_driver_devices_are_counted_by_pci_address():
    found = model_card()
    for device in found["host2"]["devices"]:
        device.update(index=None, minor=None)
    found["host2"]["devices"].reverse()
    result, problems = planned(found, Request(8, "eth0"))
    assert (problems, listed(result.hosts["host2"].visible_devices)) == ([], "0,1,2,3,4,5,6,7")
    assert result.notes == ("host2: the devices are counted by PCI address until a driver tells their numbers",)


def test_the_minor_number_is_the_devices_where_the_tool_tells_none():
    """XPU numbers run against the bus: what is first on the bus is /dev/xpu7, and needs no reordering to keep its NIC."""
    found = model_card()
    for host in found.values():
        for device in host["devices"]:
            device.update(index=None, minor=7 - device["minor"])
    result, problems = planned(found, Request(8, "eth0"))
    assert (problems, result.notes) == ([], ())
    assert {listed(order.nics) for order in result.hosts.values()} == {"eth4,eth4,eth3,eth3,eth2,eth2,eth1,eth1"}


def test_where_the_bus_says_nothing_numa_nodes_decide():
    found = model_card()
    for host in found.values():
        for device in host["devices"]:
            device["path"] = []
    result, problems = planned(found, Request(8, "eth0"))
    assert problems == []
    assert listed(result.hosts["host1"].nics) == "eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4"
    assert {rank.distance for rank in result.hosts["host1"].ranks} == {"NODE"}


# Which interfaces are rails


def test_interfaces_without_place_or_address_are_no_rails():
    found = model_card()
    for host in found.values():
        host["interfaces"]["docker0"] = interface("bridge", "02:42:00:00:00:01", NO_PLACE, "172.17.0.0/16")
        host["interfaces"]["eth9"] = {**host["interfaces"]["eth4"], "mac": "0c:42:a1:99:00:01", "addresses": []}
    result, problems = planned(found, Request(8, "eth0"))
    assert problems == []
    assert listed(result.hosts["host1"].nics) == "eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4"


def test_the_control_interface_is_the_rail_where_there_is_nothing_else():
    found = model_card()
    for host in found.values():
        for name in ("eth1", "eth2", "eth3", "eth4"):
            host["interfaces"][name]["addresses"] = []
    result, problems = planned(found, Request(8, "eth0"))
    assert (problems, set(result.hosts["host3"].nics), set(result.rails)) == ([], {"eth0"}, {"10.0.0.0/24"})
    assert (
        "host1 and 3 more hosts: the devices' traffic goes over the control interface eth0: there is no other with an address"
        in result.notes
    )


def test_the_inventory_names_the_rails_by_name_or_hardware_address():
    """Of the four NICs two are rails; their ids, and not their subnets, tell what is connected: host2 numbers its network differently."""
    found = model_card()
    found["host2"]["interfaces"]["eth1"]["addresses"] = [{"address": "192.168.7.2", "prefix_length": 30}]
    problems = Problems()
    hosts = []
    for number, (name, host) in enumerate(found.items(), 1):
        choices = [RailChoice(f"0C:42:A1:00:0{number}:01", "first"), RailChoice("eth3", "second")]
        hosts.append(host_wiring(name, host, host, choices, problems))
    result = topology(hosts, Request(8, "eth0"), problems)
    assert not problems
    assert result.rails == ("first",) * 4 + ("second",) * 4
    assert {listed(order.nics) for order in result.hosts.values()} == {"eth1,eth1,eth1,eth1,eth3,eth3,eth3,eth3"}


def test_a_hardware_address_means_the_card_and_not_its_vlan():
    found = model_card()
    for host in found.values():
        host["interfaces"]["eth1.7"] = interface("vlan", host["interfaces"]["eth1"]["mac"], NO_PLACE, "10.7.0.0/24")
    result, problems = planned({"host1": found["host1"]}, Request(8, "eth0"), [RailChoice("0c:42:a1:00:01:01")])
    assert (problems, result.rails) == ([], ("10.1.1.0/24",) * 8)


def test_a_rail_without_place_on_the_bus_is_taken_where_it_is_named_and_nothing_is_claimed_of_its_distance():
    found = model_card()
    for host in found.values():
        host["interfaces"]["eth1"].update(NO_PLACE, kind="virtual")
        for device in host["devices"]:
            device["numa_node"] = None
    result, problems = planned(found, Request(2, "eth0", nics=("eth1", "eth1")))
    assert problems == []
    assert result.hosts["host1"].ranks[1].reason == (
        "device 1 and eth1 on rail 10.1.1.0/24 are SYS: eth1 has no place on the PCI bus, so that no less can be said"
    )


def test_with_policy_routing_rails_of_one_subnet_are_told_apart_by_name():
    found = model_card()
    for number, host in enumerate(found.values(), 1):
        for rail in (1, 2, 3, 4):
            host["interfaces"][f"eth{rail}"]["addresses"] = [{"address": f"10.1.{rail}.{number}", "prefix_length": 16}]
    result, problems = planned(found, Request(8, "eth0", policy_routing=True))
    assert (problems, result.notes) == ([], ())
    assert result.rails[::2] == ("10.1.0.0/16 (eth1)", "10.1.0.0/16 (eth2)", "10.1.0.0/16 (eth3)", "10.1.0.0/16 (eth4)")
    assert listed(result.hosts["host4"].nics) == "eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4"


# What is refused, in one line


def change(host: str, *keys: Any, **values: Any) -> Any:
    """A change to the model card's facts: the mapping at these keys of a host gets these values."""

    def apply(found: Facts) -> None:
        at: Any = found[host]
        for key in keys:
            at = at[key]
        at.update(values)

    return apply


def rename(host: str, old: str, new: str) -> Any:
    def apply(found: Facts) -> None:
        found[host]["interfaces"][new] = found[host]["interfaces"].pop(old)

    return apply


def address(text: str) -> list[dict[str, Any]]:
    return [{"address": text, "prefix_length": 24}]


EIGHT = Request(8, "eth0")
MACS = "eth0 (0c:42:a1:00:01:00), eth1 (0c:42:a1:00:01:01), eth2 (0c:42:a1:00:01:02), eth3 (0c:42:a1:00:01:03), eth4 (0c:42:a1:00:01:04)"
FOUR = "10.1.1.0/24, 10.1.2.0/24, 10.1.3.0/24, 10.1.4.0/24"

REFUSALS = [
    (
        "PCI address twice",
        change("host2", "devices", 1, path=["pci0000:10", "0000:13:00.0"], pci="0000:13:00.0"),
        EIGHT,
        [],
        "host2: topology: PCI address 0000:13:00.0 twice; expected every device at an address of its own; read the facts again",
    ),
    (
        "number twice",
        change("host2", "devices", 1, index=0, minor=0),
        EIGHT,
        [],
        "host2: topology: device number 0 twice; expected a number for every device; reload the driver",
    ),
    (
        "tool and nodes disagree",
        change("host2", "devices", 1, index=2),
        EIGHT,
        [],
        "host2: topology: device 0000:14:00.0 is number 2 to the tool and 1 among the device nodes; expected one number for it;"
        " bring back the devices that are missing, or reload the driver",
    ),
    (
        "number of one device unknown",
        change("host2", "devices", 1, index=None, minor=None),
        EIGHT,
        [],
        "host2: topology: no number for 0000:14:00.0, while the other devices have one; expected a number for every device;"
        " reload the driver, and look for errors in the kernel log",
    ),
    (
        "way to one device unknown",
        change("host2", "devices", 1, path=["0000:14:00.0"]),
        EIGHT,
        [],
        "host2: topology: no way through the PCI bus to 0000:14:00.0, while the other devices have one; expected the way to every device;"
        " read the facts again, and look for PCI errors in the kernel log",
    ),
    (
        "device missing",
        lambda found: found["host2"]["devices"].pop(),
        EIGHT,
        [],
        "host2: cluster_devices_per_host: 7 devices; expected 8 on every host;"
        " find out why devices are missing from the bus, or set cluster_devices_per_host",
    ),
    (
        "control interface missing",
        rename("host2", "eth0", "eno1"),
        EIGHT,
        [],
        "host2: cluster_control_interface: no interface eth0; there are eno1, eth1, eth2, eth3, eth4;"
        " expected an interface of the same name on every host; mend cluster_control_interface, or name the interface by its MAC address",
    ),
    (
        "interface of the list missing",
        rename("host2", "eth1", "ens1"),
        Request(2, "eth0", nics=("eth1", "eth1")),
        [],
        "host2: cluster_rdma_nics: no interface eth1; there are ens1, eth0, eth2, eth3, eth4; expected interfaces that every host has,"
        " of a bond the bond itself; mend cluster_rdma_nics, or name the interfaces alike",
    ),
    (
        "hardware address unknown",
        lambda found: [found.pop(host) for host in ("host2", "host3", "host4")],
        EIGHT,
        [RailChoice("0c:42:a1:00:01:09")],
        f"host1: cluster_rails: 0c:42:a1:00:01:09 is no interface of the host; expected one of {MACS}; mend cluster_rails",
    ),
    (
        "interface named twice",
        lambda found: [found.pop(host) for host in ("host2", "host3", "host4")],
        EIGHT,
        [RailChoice("eth1"), RailChoice("0c:42:a1:00:01:01")],
        "host1: cluster_rails: 0c:42:a1:00:01:01 is eth1, which is named already; expected every interface once; mend cluster_rails",
    ),
    (
        "hardware address of two cards",
        change("host1", "interfaces", "eth2", mac="0c:42:a1:00:01:01"),
        EIGHT,
        [RailChoice("0c:42:a1:00:01:01")],
        "host1: cluster_rails: 0c:42:a1:00:01:01 is the address of eth1, eth2; expected the name of one of them; mend cluster_rails",
    ),
    (
        "rail twice on a host",
        lambda found: None,
        EIGHT,
        [RailChoice("eth1", "a"), RailChoice("eth2", "a")],
        "host1, host2, host3, host4: cluster_rails: rail a is eth1 and eth2; expected one interface of a host on each rail; mend cluster_rails",
    ),
    (
        "two interfaces on a subnet",
        change("host2", "interfaces", "eth2", addresses=address("10.1.1.200")),
        EIGHT,
        [],
        "host2: subnets: eth1 and eth2 are on one subnet, 10.1.1.0/24; expected a subnet for each interface, or policy routing;"
        " give each interface a subnet of its own, or set cluster_policy_routing",
    ),
    (
        "rail on the control interface's subnet",
        change("host2", "interfaces", "eth2", addresses=address("10.0.0.200")),
        EIGHT,
        [],
        "host2: subnets: eth0 and eth2 are on one subnet, 10.0.0.0/24; expected a subnet for each interface, or policy routing;"
        " give each interface a subnet of its own, or set cluster_policy_routing",
    ),
    (
        "rail lost",
        change("host2", "interfaces", "eth3", addresses=[]),
        EIGHT,
        [],
        f"host2: rails: no interface on 10.1.3.0/24; expected the rails of host1: {FOUR};"
        " mend the host's addresses, or name its rails in cluster_rails",
    ),
    (
        "rail of one host only",
        change("host2", "interfaces", "eth3", addresses=address("10.9.3.2")),
        EIGHT,
        [],
        f"host2: rails: no interface on 10.1.3.0/24, but eth3 on 10.9.3.0/24; expected the rails of host1: {FOUR};"
        " mend the host's addresses, or name its rails in cluster_rails",
    ),
]


@pytest.mark.parametrize(("spoil", "request_", "choices", "line"), [pytest.param(*case[1:], id=case[0]) for case in REFUSALS])
def test_refused_in_one_line(spoil, request_, choices, line):
    found = model_card()
    spoil(found)
    result, problems = planned(found, request_, choices)
    assert result is None
    assert line in problems
    assert len([problem for problem in problems if problem.startswith(line.partition(":")[0])]) == 1


def test_a_bonds_member_is_no_interface_of_its_own():
    result, problems = planned(facts(wiring("bonds")), Request(1, "eth0", nics=("ens1f0",)))
    assert result is None
    assert problems == [
        "host1, host2, host3, host4: cluster_rdma_nics: no interface ens1f0;"
        " there are bond0, bond1, bond2, bond3, bond4, bond5, bond6, bond7, eth0; expected interfaces that every host has,"
        " of a bond the bond itself; mend cluster_rdma_nics, or name the interfaces alike"
    ]


def test_lists_that_name_other_rails_on_one_host_are_refused():
    """The list is the same text on all hosts, but eth1 of host2 is cabled to the second rail."""
    found = model_card()
    found["host2"]["interfaces"]["eth1"]["addresses"] = address("10.1.2.2")
    found["host2"]["interfaces"]["eth2"]["addresses"] = address("10.1.1.2")
    _result, problems = planned(found, Request(4, "eth0", nics=("eth1", "eth1", "eth2", "eth2")))
    assert problems == [
        "host2: interface names: eth2 on 10.1.1.0/24, eth1 on 10.1.2.0/24; expected eth1 as on host1, eth2 as on host1;"
        " name the interfaces by MAC address, so that a rail has one name on all hosts: BKCL wants them equal"
    ]


def test_all_that_is_wrong_is_told_at_once():
    found = model_card()
    found["host1"]["devices"][1].update(index=0, minor=0)
    found["host2"]["devices"].pop()
    found["host3"]["interfaces"]["eth3"]["addresses"] = []
    result, problems = planned(found, EIGHT)
    assert result is None
    assert [line.split(":")[0] for line in problems] == ["host1", "host2", "host3"]
