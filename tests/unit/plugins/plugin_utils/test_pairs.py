"""Pairs of hosts on made-up clusters: a sound one has no line, and each cause is one line at the right host."""

from __future__ import annotations

import copy
import itertools
import re
from collections import Counter

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _pairs as pairs
from hypothesis import given
from hypothesis import strategies as st

RAILS = ("eth1", "eth2")
SYSCTLS = {"arp_ignore": 0, "arp_announce": 0, "rp_filter": 0}

# What every remedy names: a command, a playbook or a variable.
CONCRETE = re.compile(
    r"\b(?:ip (?:link|address|route|rule|neigh)|ethtool|iptables|nft|mlnx_qos|rdma\.yml|iputils-ping)\b|\b(?:rdma|cluster|preflight)_[a-z]+"
)


def plan_of(number, rails=RAILS):
    return {
        "control_interface": "eth0",
        "head": {"name": "node1", "address": "10.0.0.1"},
        "ports": {"api": 8000, "container_ssh": 2222, "master": 29500},
        "hosts": [
            {"name": f"node{k}", "address": f"10.0.0.{k}", "nics": [rail for rail in rails for _pair in (1, 2)]}
            for k in range(1, number + 1)
        ],
    }


def interface(address, mtu=9000):
    addresses = [{"address": address, "prefix_length": 24, "scope": "global"}]
    return {"state": "up", "carrier": True, "mtu": mtu, "addresses": addresses, "sysctls": dict(SYSCTLS)}


def listening(plan, number):
    host = plan["hosts"][number - 1]
    ports = [*pairs.ports_of(plan, host), *pairs.sampled_ports(), 40000]
    found = {f"eth{k}": {"address": f"10.0.{k}.{number}", "ports": {"40000": "listening"}, "nearby": {}, "any": 40000} for k in (1, 2)}
    nearby = {str(port): port for port in pairs.sampled_ports()}
    found["eth0"] = {"address": host["address"], "ports": {str(port): "listening" for port in ports}, "nearby": nearby, "any": 40000}
    return found


def told_by(plan):
    """What the hosts of a sound cluster say."""
    return {
        host["name"]: {
            "run": f"run of {host['name']}",
            "listening": listening(plan, number),
            "network": {
                "interfaces": {f"eth{k}": interface(f"10.0.{k}.{number}", 9000 if k else 1500) for k in (0, 1, 2)},
                "routes": [],
                "rules": [],
            },
        }
        for number, host in enumerate(plan["hosts"], 1)
    }


def answered(questions):
    """Answers of hosts between which all is well."""
    return {
        name: [
            {
                "peer": one["peer"],
                "rail": way["rail"],
                "route": {"interface": way["rail"], "gateway": None},
                "ping": {"large": True, "small": True, "error": ""},
                "ports": {str(port["port"]): "ok" for port in way["ports"]},
            }
            for one in asked
            for way in one["ways"]
        ]
        for name, asked in questions.items()
    }


class Cluster:
    """A sound cluster, to be damaged."""

    def __init__(self, number=4):
        self.plan = plan_of(number)
        self.told = told_by(self.plan)
        self.damages = []

    def interface(self, host, rail):
        return self.told[host]["network"]["interfaces"][rail]

    def answers(self, damage):
        """``damage(asker, answer)`` spoils an answer in place."""
        self.damages.append(damage)

    def lines(self):
        found = answered(pairs.schedule(self.plan, self.told))
        for name, answers in found.items():
            for answer in answers:
                for damage in self.damages:
                    damage(name, answer)
        said = pairs.judge(self.plan, self.told, found)
        assert all(CONCRETE.search(one.finding.remedy) for one in said)
        return [str(one.finding) for one in said]


@pytest.fixture
def cluster():
    return Cluster()


def is_between(rail, *hosts):
    """Whether an answer is of this rail, and one of the hosts is on either side."""
    return lambda asker, answer: answer["rail"] == rail and {asker, answer["peer"]} & set(hosts)


def silence(where):
    def damage(asker, answer):
        if where(asker, answer):
            answer["ping"].update(large=False, small=False)
            answer["ports"].update(dict.fromkeys(answer["ports"], "not asked"))
            answer["ports"].update({next(iter(answer["ports"])): "timeout"})

    return damage


# ---- who asks whom


@given(st.integers(0, 33))
def test_every_ordered_pair_is_there_once_and_no_host_twice_in_a_round(number):
    names = [f"n{k}" for k in range(number)]
    found = pairs.rounds(names)
    assert Counter(pair for one in found for pair in one) == Counter(itertools.permutations(names, 2))
    assert all(len(set(itertools.chain(*one))) == 2 * len(one) for one in found)
    # As few rounds as there can be: twice a tournament.
    assert len(found) == (2 * (number - 1 + number % 2) if number > 1 else 0)


@given(st.integers(2, 9))
def test_every_host_asks_every_other_one_once_on_every_rail(number):
    plan = plan_of(number)
    questions = pairs.schedule(plan, told_by(plan))
    for name, asked in questions.items():
        assert sorted(one["peer"] for one in asked) == sorted({host["name"] for host in plan["hosts"]} - {name})
        for one in asked:
            assert [way["rail"] for way in one["ways"]] == ["eth0", "eth1", "eth2"]
            assert one["run"] == f"run of {one['peer']}"
            assert one["done"] == [[way["destination"], 40000] for way in one["ways"]]


def test_hosts_begin_with_different_peers():
    plan = plan_of(8)
    assert len({asked[0]["peer"] for asked in pairs.schedule(plan, told_by(plan)).values()}) == 8


def test_the_job_s_ports_are_asked_on_the_control_interface_and_any_port_on_the_rails(cluster):
    (of_head, *_rest) = (one for one in pairs.schedule(cluster.plan, cluster.told)["node2"] if one["peer"] == "node1")
    control, rail, _other = of_head["ways"]
    assert [port["port"] for port in control["ports"]] == [2222, 8000, 8265, 10001, 10002, 15000, 19935, 29500, 40000, 52365]
    assert (control["source"], control["destination"], control["mtu"]) == ("10.0.0.2", "10.0.0.1", 1500)
    assert rail == {"rail": "eth1", "source": "10.0.1.2", "destination": "10.0.1.1", "mtu": 9000, "ports": [{"port": 40000, "held": False}]}
    (of_other, *_rest) = (one for one in pairs.schedule(cluster.plan, cluster.told)["node1"] if one["peer"] == "node2")
    assert 8000 not in [port["port"] for port in of_other["ways"][0]["ports"]]


def test_a_port_that_a_service_holds_is_asked_and_one_that_cannot_be_opened_is_not(cluster):
    cluster.told["node1"]["listening"]["eth0"]["ports"].update({"8000": "held", "8265": "Permission denied"})
    ports = next(one for one in pairs.schedule(cluster.plan, cluster.told)["node2"] if one["peer"] == "node1")["ways"][0]["ports"]
    assert {"port": 8000, "held": True} in ports
    assert 8265 not in [port["port"] for port in ports]


def test_chosen_rails_stand_for_the_plan_s(cluster):
    assert pairs.rails_of(cluster.plan, cluster.plan["hosts"][0], ["eth7", "eth0"]) == ["eth0", "eth7"]
    assert pairs.rails_of(cluster.plan, cluster.plan["hosts"][0]) == ["eth0", "eth1", "eth2"]


@pytest.mark.parametrize(("forks", "turns"), [(32, 1), (4, 1), (3, 2), (1, 4)])
def test_listeners_wait_for_the_last_host_to_get_its_turn(cluster, forks, turns):
    names = [host["name"] for host in cluster.plan["hosts"]]
    options = pairs.listen_options(cluster.plan, "node2", names, forks=forks)
    assert options["awaited"] == ["node1", "node3", "node4"]
    assert options["seconds"] == pairs.SPREAD + turns * pairs.ASK_SECONDS


def test_a_host_that_did_not_answer_is_not_asked(cluster):
    del cluster.told["node3"]
    questions = pairs.schedule(cluster.plan, cluster.told)
    assert "node3" not in questions
    assert all("node3" not in [one["peer"] for one in asked] for asked in questions.values())


# ---- what the facts say


@pytest.mark.parametrize("number", [1, 2, 3, 4, 9])
def test_a_sound_cluster_has_no_line(number):
    assert Cluster(number).lines() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "down", "carrier": None}, "node3: rail eth1: down by configuration; expected up, with a link; set it up"),
        ({"state": "down", "carrier": False}, "node3: rail eth1: no link; expected up, with a link; look at the cable"),
        ({"state": "up", "carrier": False}, "node3: rail eth1: no link;"),
        ({"addresses": []}, "node3: rail eth1: no address; expected an address of IPv4"),
        ({"mtu": 1500}, "node3: rail eth1: MTU 1500; expected 9000 as on the other hosts; set its MTU to 9000"),
    ],
)
def test_what_the_facts_say_of_one_host_is_one_line_and_is_not_asked(cluster, change, said):
    cluster.interface("node3", "eth1").update(change)
    cluster.answers(silence(is_between("eth1", "node3")) if "mtu" not in change else lambda asker, answer: None)
    (line,) = cluster.lines()
    assert line.startswith(said)


def test_what_is_wrong_with_all_rails_of_a_host_is_one_line(cluster):
    for rail in RAILS:
        cluster.interface("node3", rail)["mtu"] = 1500
    (line,) = cluster.lines()
    assert line.startswith("node3: rail eth1, eth2: MTU 1500; expected 9000 as on the other hosts;")


def test_a_missing_interface_is_named(cluster):
    del cluster.told["node2"]["network"]["interfaces"]["eth2"]
    (line,) = cluster.lines()
    assert line.startswith("node2: rail eth2: no such interface; expected an interface of this name")


def test_a_host_without_its_control_address_is_named(cluster):
    cluster.interface("node2", "eth0")["addresses"][0]["address"] = "10.0.0.99"
    (line,) = cluster.lines()
    assert line.startswith("node2: rail eth0: no 10.0.0.2; expected 10.0.0.2")


def test_a_larger_mtu_than_most_have_is_one_line_and_large_packets_to_the_others_still_count(cluster):
    cluster.interface("node3", "eth1")["mtu"] = 9216
    assert [line.split(";")[0] for line in cluster.lines()] == ["node3: rail eth1: MTU 9216"]


def test_the_mtu_of_a_rail_is_settled_by_a_stage_and_that_of_the_control_interface_by_none(cluster):
    for rail, stage in (("eth1", "rdma"), ("eth0", None)):
        one = Cluster()
        one.interface("node3", rail)["mtu"] = 1400
        (found,) = pairs.network_facts(one.plan, one.told).judgements()
        assert (found.finding.host, found.stage) == ("node3", stage)


def test_two_hosts_that_differ_are_both_named():
    two = Cluster(2)
    two.interface("node2", "eth1")["mtu"] = 1500
    two.interface("node2", "eth2")["addresses"][0]["address"] = "10.0.7.2"
    assert [line.split(";")[0] for line in two.lines()] == [
        "node1, node2: rail eth2: 10.0.2.1/24 on node1, 10.0.7.2/24 on node2",
        "node1, node2: rail eth1: MTU 9000 on node1, 1500 on node2",
    ]


def test_a_small_packet_of_a_host_with_a_small_mtu_is_not_said_twice(cluster):
    cluster.interface("node3", "eth1")["mtu"] = 1400

    def damage(asker, answer):
        if is_between("eth1", "node3")(asker, answer):
            answer["ping"].update(large=False, error="local error: message too long, mtu=1400")

    cluster.answers(damage)
    assert len(cluster.lines()) == 1


def test_exchanged_addresses_are_one_line(cluster):
    one, other = cluster.interface("node4", "eth1"), cluster.interface("node4", "eth2")
    one["addresses"], other["addresses"] = other["addresses"], one["addresses"]
    (line,) = cluster.lines()
    assert line == (
        "node4: rail eth1, eth2: eth1 has 10.0.2.4/24, eth2 has 10.0.1.4/24; expected eth1 in 10.0.1.0/24, eth2 in 10.0.2.0/24 as on the "
        "other hosts; exchange their addresses, or their cables and names (rdma_macs)"
    )


def test_an_address_that_two_hosts_have_names_both(cluster):
    cluster.interface("node4", "eth1")["addresses"][0]["address"] = "10.0.1.2"
    (line,) = cluster.lines()
    assert line.startswith("node2, node4: addresses: 10.0.1.2 is on eth1 of node2, eth1 of node4; expected")


def test_rails_that_are_routed_have_a_subnet_on_each_host(cluster):
    for number in range(1, 5):
        cluster.interface(f"node{number}", "eth1")["addresses"][0]["address"] = f"10.1.{number}.1"
    assert cluster.lines() == []


def one_subnet(cluster, host="node3"):
    """Both rails of one subnet, as with a single switch, with policy routing."""
    for number in range(1, 5):
        interfaces = cluster.told[f"node{number}"]["network"]["interfaces"]
        for rail in (1, 2):
            address = f"10.9.0.{10 * rail + number}"
            interfaces[f"eth{rail}"]["addresses"][0]["address"] = address
            interfaces[f"eth{rail}"]["sysctls"] = {"arp_ignore": 2, "arp_announce": 1, "rp_filter": 2}
            rule, route = (
                {"source": address, "table": f"10{rail}"},
                {"interface": f"eth{rail}", "table": f"10{rail}", "destination": "default"},
            )
            cluster.told[f"node{number}"]["network"]["rules"].append(rule)
            cluster.told[f"node{number}"]["network"]["routes"].append(route)
    return cluster.told[host]["network"]


def test_two_rails_of_one_subnet_are_right_with_policy_routing(cluster):
    one_subnet(cluster)
    assert cluster.lines() == []


def test_without_a_rule_the_address_is_named(cluster):
    del one_subnet(cluster)["rules"][1]
    (line,) = cluster.lines()
    assert line.startswith("node3: policy routing: eth1, eth2 are in one subnet, no rule for the packets from 10.9.0.23; expected a rule")


def test_a_rule_to_a_table_that_leads_elsewhere_is_none(cluster):
    one_subnet(cluster)["routes"][1]["interface"] = "eth1"
    assert "no rule for the packets from 10.9.0.23" in cluster.lines()[0]


def test_filters_that_do_not_go_with_one_subnet_are_named(cluster):
    one_subnet(cluster)["interfaces"]["eth2"]["sysctls"].update(arp_ignore=0, rp_filter=1)
    (line,) = cluster.lines()
    assert "with eth2 arp_ignore=0, eth2 rp_filter=1; expected arp_ignore 1 or 2, rp_filter 0 or 2" in line


# ---- what the answers say


@pytest.mark.parametrize(
    ("rails", "said"),
    [
        (
            ["eth1"],
            "node3: rail eth1: no answer from and to node1, node2, node4; expected answers to ping and TCP; look at the firewall of node3",
        ),
        (["eth0", "eth1", "eth2"], "node3: rail eth0, eth1, eth2: no answer from and to node1, node2, node4;"),
    ],
)
def test_a_silent_host_is_one_line(cluster, rails, said):
    for rail in rails:
        cluster.answers(silence(is_between(rail, "node3")))
    (line,) = cluster.lines()
    assert line.startswith(said)


def test_a_cut_between_two_hosts_names_both(cluster):
    cluster.answers(silence(lambda asker, answer: answer["rail"] == "eth2" and {asker, answer["peer"]} == {"node2", "node4"}))
    (line,) = cluster.lines()
    assert line.startswith("node2, node4: rail eth2: no answer between node2 and node4; expected")


def test_a_rail_on_which_nobody_answers_is_one_line(cluster):
    cluster.answers(silence(lambda asker, answer: answer["rail"] == "eth2"))
    (line,) = cluster.lines()
    assert line.startswith("node1, node2, node3, node4: rail eth2: no answer between any two hosts; expected")


def test_large_packets_that_get_lost_name_the_switch(cluster):
    cluster.answers(lambda asker, answer: answer["ping"].update(large=False) if is_between("eth1", "node3")(asker, answer) else None)
    (line,) = cluster.lines()
    assert line.startswith("node3: rail eth1: packets of 9000 bytes do not arrive from and to node1, node2, node4, small ones do;")


def test_ping_alone_filtered_is_no_dead_rail(cluster):
    cluster.answers(lambda asker, answer: answer["ping"].update(large=False, small=False) if answer["peer"] == "node3" else None)
    (line,) = cluster.lines()
    assert line.startswith("node3: rail eth0, eth1, eth2: no answer to ping to node1, node2, node4, though TCP answers;")


def test_a_host_without_ping_is_named_and_not_its_peers(cluster):
    error = "ping: No such file or directory"
    cluster.answers(lambda asker, answer: answer["ping"].update(large=False, small=False, error=error) if asker == "node3" else None)
    (line,) = cluster.lines()
    assert line.startswith("node3: rail eth0, eth1, eth2: cannot ping: ping: No such file or directory; expected ping of iputils")


def spoil(state, *ports, of=None, by=None):
    def damage(asker, answer):
        if answer["rail"] == "eth0" and of in (None, answer["peer"]) and by in (None, asker):
            answer["ports"].update({str(port): state for port in ports if str(port) in answer["ports"]})

    return damage


@pytest.mark.parametrize(
    ("state", "observed"),
    [
        ("timeout", "no answer to node1, node2, node4 at port 2222 (container_ssh); expected an answer"),
        ("refused", "refused to node1, node2, node4 at port 2222 (container_ssh), though something listens there; expected"),
        ("silent", "a connection to node1, node2, node4 at port 2222 (container_ssh), but no word over it; expected"),
        ("No route to host", "No route to host to node1, node2, node4 at port 2222 (container_ssh); expected"),
        ("answered by node2", "answered by node2 to node1, node2, node4 at port 2222 (container_ssh); expected an answer by node3"),
    ],
)
def test_a_port_that_does_not_answer_is_the_asked_hosts(cluster, state, observed):
    cluster.answers(spoil(state, 2222, of="node3"))
    (line,) = cluster.lines()
    assert line.startswith(f"node3: rail eth0: {observed}")


def test_ports_with_one_cause_are_one_line(cluster):
    cluster.answers(spoil("timeout", 10002, 15000, 52365, of="node3"))
    (line,) = cluster.lines()
    assert "at port 10002, 15000 (Ray's workers, 10002 to 19999), 52365 (Ray's agent); expected" in line


def test_the_head_s_own_port_names_the_head(cluster):
    cluster.answers(spoil("timeout", 8000))
    (line,) = cluster.lines()
    assert line.startswith("node1: rail eth0: no answer to node2, node3, node4 at port 8000 (api);")


def test_a_host_that_may_not_go_out_is_named_and_not_those_it_asks(cluster):
    cluster.answers(spoil("timeout", 2222, 40000, by="node3"))
    (line,) = cluster.lines()
    assert line.startswith(
        "node3: rail eth0: no answer from node1, node2, node4 at port 2222 (container_ssh), any (of the system's choice);"
    )


def test_a_sample_that_was_held_is_told_as_the_one_that_was_meant(cluster):
    told = cluster.told["node3"]["listening"]["eth0"]
    told["nearby"]["10002"] = 10003
    told["ports"]["10003"] = told["ports"].pop("10002")
    cluster.answers(spoil("timeout", 10003, of="node3"))
    assert "at port 10002 (Ray's workers" in cluster.lines()[0]


@pytest.mark.parametrize(("route", "ways"), [({"interface": "eth0", "gateway": "10.0.0.254"}, "leave by eth0"), (None, "leave nowhere")])
def test_packets_that_leave_by_another_interface_are_the_askers(cluster, route, ways):
    def damage(asker, answer):
        if asker == "node2" and answer["rail"] == "eth1":
            answer["route"] = route
        if {asker, answer["peer"]} & {"node2"} and answer["rail"] == "eth1":
            silence(lambda *_any: True)(asker, answer)

    cluster.answers(damage)
    (line,) = cluster.lines()
    assert line.startswith(f"node2: rail eth1: packets from 10.0.1.2 to node1, node3, node4 {ways}; expected by eth1;")


def test_two_causes_are_two_lines(cluster):
    cluster.answers(silence(is_between("eth1", "node3")))
    cluster.answers(spoil("timeout", 2222, of="node4"))
    assert sorted(line.split(":")[0] for line in cluster.lines()) == ["node3", "node4"]


def test_what_is_said_of_a_host_that_could_not_ask_is_left_out(cluster):
    found = answered(pairs.schedule(cluster.plan, cluster.told))
    del found["node3"]
    for answers in found.values():
        for answer in answers:
            if answer["peer"] == "node3":
                silence(lambda *_any: True)("", answer)
    assert pairs.judge(cluster.plan, cluster.told, found) == []


STATES = ("ok", "timeout", "refused", "silent", "not asked", "answered by node2", "No route to host")


@given(st.data())
def test_whatever_the_hosts_say_is_judged_and_only_a_sound_cluster_is_found_sound(data):
    one = Cluster(data.draw(st.integers(2, 4)))
    questions = pairs.schedule(one.plan, one.told)
    answers = answered(questions)
    sound = copy.deepcopy(answers)
    for answer in itertools.chain(*answers.values()):
        if data.draw(st.booleans()):
            small = data.draw(st.booleans())
            answer["ping"] = {"small": small, "large": small and data.draw(st.booleans()), "error": ""}
            answer["ports"] = {port: data.draw(st.sampled_from(STATES[:3])) for port in answer["ports"]}
            answer["route"] = data.draw(st.sampled_from([None, answer["route"]]))
    found = pairs.judge(one.plan, one.told, answers)
    assert (found == []) == (answers == sound)
