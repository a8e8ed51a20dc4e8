"""Parsers of what a host says about its network, on text that iproute2 and ethtool printed."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _network_parsers as parsers
from hypothesis import given
from hypothesis import strategies as st

# iproute2 6.1 prints the same routes and rules in both forms; it ends the lines of text with a blank.
ROUTES = """\
default via 10.1.1.254 dev eth1 table 101
10.9.0.0/16 dev eth1 table 101 scope link src 10.1.1.5 metric 7
default proto static metric 100
\tnexthop via 10.0.0.253 dev eth0 weight 1
\tnexthop via 10.0.0.252 dev eth0 weight 2 onlink
unreachable default metric 4000
10.5.0.0/16 nhid 5 via 10.0.0.9 dev eth0
10.6.0.0/16 tos 0x10 via 10.0.0.1 dev eth0 realm 3
10.7.0.0/16 dev eth0 scope link mtu lock 1400 advmss 1300 initcwnd 10 features ecn rto_min lock 20ms quickack 1
10.8.0.0/16 via inet6 fe80::1 dev eth0 linkdown
blackhole 10.66.0.0/16
local 10.1.1.5 dev eth1 table local proto kernel scope host src 10.1.1.5
broadcast 10.1.1.255 dev eth1 table local proto kernel scope link src 10.1.1.5
2001:db8::/32 dev eth0 metric 1024 pref medium
default via fd00::1 dev eth0 metric 1024 pref medium
default dev ppp6 metric 2048 pref medium
local ::1 dev lo table local proto kernel metric 0 pref medium
multicast ff00::/8 dev eth0 table local proto kernel metric 256 pref medium
"""
ROUTES_JSON = """\
[{"dst":"default","gateway":"10.1.1.254","dev":"eth1","table":"101","flags":[]},\
{"dst":"10.9.0.0/16","dev":"eth1","table":"101","scope":"link","prefsrc":"10.1.1.5","metric":7,"flags":[]},\
{"dst":"default","protocol":"static","metric":100,"flags":[],"nexthops":[{"gateway":"10.0.0.253","dev":"eth0","weight":1,"flags":[]},\
{"gateway":"10.0.0.252","dev":"eth0","weight":2,"flags":["onlink"]}]},\
{"type":"unreachable","dst":"default","metric":4000,"flags":[]},\
{"dst":"10.5.0.0/16","nhid":5,"gateway":"10.0.0.9","dev":"eth0","flags":[]},\
{"dst":"10.6.0.0/16","tos":"0x10","gateway":"10.0.0.1","dev":"eth0","flags":[],"flow":{"to":"3"}},\
{"dst":"10.7.0.0/16","dev":"eth0","scope":"link","flags":[],\
"metrics":[{"mtu":1400,"advmss":1300,"initcwnd":10,"ecn":null,"rto_min":20,"quickack":1}]},\
{"dst":"10.8.0.0/16","via":{"family":"inet6","host":"fe80::1"},"dev":"eth0","flags":["linkdown"]},\
{"type":"blackhole","dst":"10.66.0.0/16","flags":[]},\
{"type":"local","dst":"10.1.1.5","dev":"eth1","table":"local","protocol":"kernel","scope":"host","prefsrc":"10.1.1.5","flags":[]},\
{"type":"broadcast","dst":"10.1.1.255","dev":"eth1","table":"local","protocol":"kernel","scope":"link","prefsrc":"10.1.1.5","flags":[]},\
{"dst":"2001:db8::/32","dev":"eth0","metric":1024,"flags":[],"pref":"medium"},\
{"dst":"default","gateway":"fd00::1","dev":"eth0","metric":1024,"flags":[],"pref":"medium"},\
{"dst":"default","dev":"ppp6","metric":2048,"flags":[],"pref":"medium"},\
{"type":"local","dst":"::1","dev":"lo","table":"local","protocol":"kernel","metric":0,"flags":[],"pref":"medium"},\
{"type":"multicast","dst":"ff00::/8","dev":"eth0","table":"local","protocol":"kernel","metric":256,"flags":[],"pref":"medium"}]
"""
RULES = """\
0:\tfrom all lookup local
100:\tfrom 10.1.1.0/24 to 10.2.0.0/16 lookup 101
101:\tnot from all fwmark 0xca6c lookup 51820
102:\tfrom all fwmark 0x1/0xff iif eth1 lookup 102
103:\tfrom all lookup main suppress_prefixlength 0
104:\tfrom 10.3.0.0/16 ipproto tcp dport 80 lookup 102
105:\tfrom 10.3.0.0/16 unreachable
106:\tfrom 10.3.0.0/16 goto 32766
108:\tfrom all lookup [l3mdev-table]
32761:\tfrom 10.1.1.5 lookup 101 proto static
32761:\tfrom all oif eth1 [detached] lookup 101
32766:\tfrom all lookup main
"""
RULES_JSON = """\
[{"priority":0,"src":"all","table":"local"},\
{"priority":100,"src":"10.1.1.0","srclen":24,"dst":"10.2.0.0","dstlen":16,"table":"101"},\
{"priority":101,"not":null,"src":"all","fwmark":"0xca6c","table":"51820"},\
{"priority":102,"src":"all","fwmark":"0x1","fwmask":"0xff","iif":"eth1","table":"102"},\
{"priority":103,"src":"all","table":"main","suppress_prefixlen":0},\
{"priority":104,"src":"10.3.0.0","srclen":16,"ipproto":"tcp","dport":80,"table":"102"},\
{"priority":105,"src":"10.3.0.0","srclen":16,"action":"unreachable"},\
{"priority":106,"src":"10.3.0.0","srclen":16,"goto":32766},\
{"priority":108,"src":"all","l3mdev":null},\
{"priority":32761,"src":"10.1.1.5","table":"101","protocol":"static"},\
{"priority":32761,"src":"all","oif":"eth1","oif_detached":null,"table":"101"},\
{"priority":32766,"src":"all","table":"main"}]
"""
ADDRESSES = r"""
1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host \       valid_lft forever preferred_lft forever
4: eth1    inet 10.1.1.5/24 brd 10.1.1.255 scope global eth1\       valid_lft forever preferred_lft forever
4: eth1    inet6 fe80::fc:ff:fe00:1/64 scope link \       valid_lft forever preferred_lft forever
5: bond0.100    inet 10.2.0.5/16 scope global secondary bond0.100\       valid_lft forever preferred_lft forever
6: tun0    inet 10.1.2.5 peer 10.1.2.6/24 scope global tun0\       valid_lft forever preferred_lft forever
"""
RINGS = """\
Ring parameters for eth1:
Pre-set maximums:
RX:\t\t8192
RX Mini:\tn/a
RX Jumbo:\tn/a
TX:\t\t8192
TX push buff len:\tn/a
Current hardware settings:
RX:\t\t1024
RX Mini:\tn/a
RX Jumbo:\tn/a
TX:\t\t512
TX push buff len:\tn/a
"""


def route(destination, interface, gateway=None, table="main", source=None, metric=None):
    return {"destination": destination, "gateway": gateway, "interface": interface, "table": table, "source": source, "metric": metric}


def rule(priority, source=None, destination=None, input=None, output=None, table=None, mark=None, complete=True):  # noqa: A002
    columns = {"source": source, "destination": destination, "input": input, "output": output, "table": table, "mark": mark}
    return {"priority": priority, **columns, "complete": complete}


EXPECTED_ROUTES = [
    route("default", "eth1", gateway="10.1.1.254", table="101"),
    route("10.9.0.0/16", "eth1", table="101", source="10.1.1.5", metric=7),
    route("default", "eth0", gateway="10.0.0.253", metric=100),
    route("default", "eth0", gateway="10.0.0.252", metric=100),
    route("10.5.0.0/16", "eth0", gateway="10.0.0.9"),
    route("10.6.0.0/16", "eth0", gateway="10.0.0.1"),
    route("10.7.0.0/16", "eth0"),
    route("10.8.0.0/16", "eth0", gateway="fe80::1"),
    route("2001:db8::/32", "eth0", metric=1024),
    route("::/0", "eth0", gateway="fd00::1", metric=1024),
    route("::/0", "ppp6", metric=2048),
]
EXPECTED_RULES = [
    rule(0, table="local"),
    rule(100, source="10.1.1.0/24", destination="10.2.0.0/16", table="101"),
    rule(101, table="51820", mark="0xca6c", complete=False),
    rule(102, input="eth1", table="102", mark="0x1/0xff"),
    rule(103, table="main", complete=False),
    rule(104, source="10.3.0.0/16", table="102", complete=False),
    rule(105, source="10.3.0.0/16", complete=False),
    rule(106, source="10.3.0.0/16", complete=False),
    rule(108, complete=False),
    rule(32761, source="10.1.1.5", table="101"),
    rule(32761, output="eth1", table="101"),
    rule(32766, table="main"),
]


@pytest.mark.parametrize("text", [ROUTES, ROUTES.replace("\n", " \n"), ROUTES_JSON], ids=["text", "text as printed", "json"])
def test_both_forms_give_the_same_routes(text):
    assert parsers.parse_routes(text) == (EXPECTED_ROUTES, [])


@pytest.mark.parametrize("text", [RULES, RULES_JSON], ids=["text", "json"])
def test_both_forms_give_the_same_rules(text):
    assert parsers.parse_rules(text) == (EXPECTED_RULES, [])


@pytest.mark.parametrize("parse", [parsers.parse_routes, parsers.parse_rules])
@pytest.mark.parametrize("text", ["", "\n", "[]", "[ ]\n", "[{},{}]", None])
def test_nothing_is_no_problem(parse, text):
    assert parse(text) == ([], [])


def test_lines_below_a_route_belong_to_it():
    text = "multicast ff00::/8 table local\n\tnexthop dev eth0 weight 1\n10.9.0.0/16 dev eth1\n    cache  mtu 1500\n"
    assert parsers.parse_routes(text) == ([route("10.9.0.0/16", "eth1")], [])


def test_what_is_long_is_shown_in_part():
    _found, (problem,) = parsers.parse_routes("default " + "x" * 10_000)
    assert problem == f"line 1: unknown word '{'x' * 66}... in 'default {'x' * 72}...'"


def test_a_gateway_below_another_route_is_named():
    text = "default\n\tnexthop via 10.0.0.1 dev eth0\n10.9.0.0/16 dev eth1\n\tnexthop via 10.0.0.2 dev eth0\n"
    assert parsers.parse_routes(text) == (
        [route("default", "eth0", gateway="10.0.0.1"), route("10.9.0.0/16", "eth1")],
        ["line 4: no route above it in 'nexthop via 10.0.0.2 dev eth0'"],
    )


def test_an_ipv4_default_over_an_ipv6_gateway_is_ipv4s():
    assert parsers.parse_routes("default via inet6 fe80::1 dev eth0")[0] == [route("default", "eth0", gateway="fe80::1")]
    entry = '[{"dst":"default","via":{"family":"inet6","host":"fe80::1"},"dev":"eth0"}]'
    assert parsers.parse_routes(entry)[0] == [route("default", "eth0", gateway="fe80::1")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("default viaa 10.0.0.1 dev eth0", "unknown word 'viaa'"),
        ("default via 10.0.0.300 dev eth0", "'10.0.0.300' does not appear to be an IPv4 or IPv6 address"),
        ("10.0.0.0/33 dev eth0", "'10.0.0.0/33' does not appear to be an IPv4 or IPv6 network"),
        ("default via 10.0.0.1", "no interface"),
        ("default dev eth0 metric low", "'low' is no count"),
        ("default dev eth0 metric -1", "'-1' is no count"),
        ("default dev eth0 metric", "nothing after metric"),
        ("unicast", "no destination"),
        ("10.7.0.0/16  encap mpls 100 via 10.0.0.1 dev eth0", "unknown word 'encap'"),
        ("\tnexthop via 10.0.0.1 dev eth0", "no route above it"),
    ],
)
def test_a_route_that_makes_no_sense_is_named_and_the_others_are_read(line, why):
    good = "10.9.0.0/16 dev eth1"
    shown = " ".join(line.split())
    assert parsers.parse_routes(f"{good}\n{line}\n{good}\n") == ([route("10.9.0.0/16", "eth1")] * 2, [f"line 2: {why} in {shown!r}"])


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("7", "no object"),
        ('{"dst":"default"}', "no interface"),
        ('{"dst":["default"],"dev":"eth0"}', "dst is neither text nor a count"),
        ('{"dst":"10.0.0.0/8","dev":"eth0","nexthops":[1]}', "nexthops are no list of objects"),
        ('{"dst":"10.0.0.0/8","dev":"eth0","via":"fe80::1"}', "via is no object"),
        ('{"dst":"10.0.0.0/8","dev":"eth0","type":"unicorn"}', "unknown type 'unicorn'"),
        ('{"dev":"eth0"}', "no destination"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named_and_the_others_are_read(entry, why):
    good = '{"dst":"10.9.0.0/16","dev":"eth1"}'
    found, (problem,) = parsers.parse_routes(f"[{good},{entry},{good}]")
    assert found == [route("10.9.0.0/16", "eth1")] * 2
    assert problem.startswith(f"entry 2: {why} in ")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x100:\tfrom all lookup main", "'x100' is no count"),
        ("100:\tform all lookup main", "unknown word 'form'"),
        ("100:\tlookup main", "no source"),
        ("100:\tfrom all", "neither a table nor another action"),
        ("100:\tfrom 10.1 lookup 101", "'10.1' does not appear to be an IPv4 or IPv6 network"),
        ("100:\tfrom all fwmark blue lookup 101", "'blue' is no mark"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(line, why):
    found, (problem,) = parsers.parse_rules(f"{line}\n0:\tfrom all lookup local\n")
    assert found == [rule(0, table="local")]
    assert problem.startswith(f"line 1: {why} in ")


@pytest.mark.parametrize(
    "entry",
    [
        '{"src":"all","table":"main"}',
        '{"priority":true,"src":"all","table":"main"}',
        '{"priority":1,"table":"main"}',
        '{"priority":1,"src":"all"}',
        '{"priority":1,"src":"all","fwmark":true,"table":"main"}',
    ],
)
def test_an_entry_that_makes_no_rule_is_named(entry):
    found, problems = parsers.parse_rules(f"[{entry}]")
    assert found == []
    assert len(problems) == 1


@pytest.mark.parametrize("text", ["[", '[{"dst":', "[,{}]", "[" * 100_000], ids=["cut", "cut in an entry", "comma", "deep"])
def test_what_is_not_json_is_said_so(text):
    found, (problem,) = parsers.parse_routes(text)
    assert found == []
    assert problem.startswith("not JSON: ")


def test_a_mark_is_the_same_as_number_and_as_text():
    assert parsers.parse_rules('[{"priority":1,"src":"all","fwmark":255,"table":"main"}]')[0] == [rule(1, mark="0xff", table="main")]


def test_addresses_with_their_scope():
    found, problems = parsers.parse_addresses(ADDRESSES)
    assert problems == []
    assert found == {
        "lo": [{"address": "127.0.0.1", "prefix_length": 8, "scope": "host"}, {"address": "::1", "prefix_length": 128, "scope": "host"}],
        "eth1": [
            {"address": "10.1.1.5", "prefix_length": 24, "scope": "global"},
            {"address": "fe80::fc:ff:fe00:1", "prefix_length": 64, "scope": "link"},
        ],
        "bond0.100": [{"address": "10.2.0.5", "prefix_length": 16, "scope": "global"}],
        "tun0": [{"address": "10.1.2.5", "prefix_length": 24, "scope": "global"}],
    }


@pytest.mark.parametrize(
    "line",
    [
        "4: eth1    inet 10.1.1.5 scope global eth1",  # no prefix length
        "4: eth1    inet 10.1.1.5/33 scope global eth1",
        "4: eth1    inet6 10.1.1.5/24 scope global eth1",
        "4: eth1    inet 10.1.1.5 peer 10.1.1.x/24 scope global eth1",
        "4: eth1    inet 10.1.1.5/24 brd 10.1.1.255",
        "eth1 10.1.1.5/24",
    ],
)
def test_an_address_that_makes_no_sense_is_named(line):
    found, (problem,) = parsers.parse_addresses(f"{line}\n1: lo    inet 127.0.0.1/8 scope host lo\n")
    assert list(found) == ["lo"]
    assert problem.startswith("line 1: ")


def test_the_line_of_the_link_in_old_versions_is_none_of_an_address():
    assert parsers.parse_addresses("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 16436 qdisc noqueue state UNKNOWN \\    link/loopback") == ({}, [])


def test_names_of_tables():
    text = "#\n# reserved values\n#\n255\tlocal\n101 rail0 # mine\n0x66 rail1\n\nrail2 103\n"
    assert parsers.parse_table_names(text) == (
        {"local": "255", "rail0": "101", "rail1": "102"},
        ["line 8: no number and name of a table in 'rail2 103'"],
    )


def test_ring_sizes():
    assert parsers.parse_rings(RINGS) == ({"rx": 1024, "tx": 512, "rx_max": 8192, "tx_max": 8192}, [])


def test_a_ring_that_a_driver_has_not_is_no_problem():
    found, problems = parsers.parse_rings("Pre-set maximums:\nRX:\t\t0\nTX:\t\tn/a\nCurrent hardware settings:\nRX:\t\t0\nTX:\t\tn/a\n")
    assert (found, problems) == ({"rx": 0, "tx": None, "rx_max": 0, "tx_max": None}, [])


@pytest.mark.parametrize(
    "text",
    [RINGS.replace("1024", "many"), RINGS.replace("Current hardware settings:\n", ""), RINGS.replace("Pre-set maximums", "Maximums")],
    ids=["no number", "headline lost", "headline unknown"],
)
def test_rings_that_make_no_sense_are_named(text):
    assert parsers.parse_rings(text)[1]


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parsers.parse_port_state, "4: ACTIVE", "ACTIVE"),
        (parsers.parse_port_state, "5: LinkUp", "LinkUp"),
        (parsers.parse_port_state, "ACTIVE", None),
        (parsers.parse_rate, "100 Gb/sec (4X EDR)", 100.0),
        (parsers.parse_rate, "2.5 Gb/sec (1X SDR)", 2.5),
        (parsers.parse_rate, "fast", None),
        (parsers.parse_traffic_class, "Global tclass=106\n", 106),
        (parsers.parse_traffic_class, "Global tclass=106\nsrc_ip=10.1.1.5,tclass=96\n", 106),
        (parsers.parse_traffic_class, "", None),
        (parsers.parse_bonding_mode, "802.3ad 4", "802.3ad"),
        (parsers.parse_bonding_mode, "802.3ad", None),
        (parsers.parse_numbers, "4096\t131072\t6291456", [4096, 131072, 6291456]),
        (parsers.parse_numbers, "4096 many", None),
        (parsers.whole_number, "-1", -1),
        (parsers.whole_number, "1\n", None),
        (parsers.whole_number, "\u00b2", None),
        (parsers.whole_number, "9" * 5000, None),
    ],
)
def test_the_small_files_of_sysfs(parse, text, expected):
    assert parse(text) == expected


def test_gids():
    assert parsers.parse_gid("0000:0000:0000:0000:0000:0000:0000:0000") is None
    assert str(parsers.parse_gid("0000:0000:0000:0000:0000:ffff:0a01:0105").ipv4_mapped) == "10.1.1.5"
    with pytest.raises(ValueError, match="parts expected"):
        parsers.parse_gid("0000:0000")


CAPTURES = [
    (parsers.parse_addresses, ADDRESSES),
    (parsers.parse_routes, ROUTES),
    (parsers.parse_routes, ROUTES_JSON),
    (parsers.parse_rules, RULES),
    (parsers.parse_rules, RULES_JSON),
    (parsers.parse_rings, RINGS),
    (parsers.parse_table_names, "255 local\n101 rail0\n"),
]


@st.composite
def mutated(draw, capture):
    """The capture with lines lost, twice, swapped and cut, and with words and characters put elsewhere."""
    separator = draw(st.sampled_from(["\n", "\n", " ", ",", ""]))
    pieces = capture.split(separator) if separator else list(capture)
    for _change in range(draw(st.integers(1, 6))):
        if not pieces:
            break
        place = draw(st.integers(0, len(pieces) - 1))
        change = draw(st.sampled_from(["lose", "double", "swap", "cut", "garble"]))
        if change == "lose":
            del pieces[place]
        elif change == "double":
            pieces.insert(place, pieces[place])
        elif change == "swap":
            other = draw(st.integers(0, len(pieces) - 1))
            pieces[place], pieces[other] = pieces[other], pieces[place]
        elif change == "cut":
            pieces[place] = pieces[place][: draw(st.integers(0, len(pieces[place])))]
        else:
            pieces[place] = draw(st.text(max_size=12) | st.sampled_from(["null", "{}", "[", "1e9", "-1", "nexthop", "via", "from", "RX:"]))
    return separator.join(pieces)


@given(st.data())
def test_whatever_happened_to_the_text_nothing_raises(data):
    parse, capture = data.draw(st.sampled_from(CAPTURES))
    _found, unread = parse(data.draw(mutated(capture)))
    assert all(isinstance(line, str) and "\n" not in line and len(line) < 400 for line in unread)


@given(
    st.sampled_from([parsers.parse_addresses, parsers.parse_routes, parsers.parse_rules, parsers.parse_rings, parsers.parse_table_names]),
    st.text(),
)
def test_any_text_at_all_is_read_or_named(parse, text):
    parse(text)


@given(st.lists(st.integers(0, ROUTES.count("\n") - 1)))
def test_lost_doubled_and_swapped_lines_make_no_route_that_was_not_there(order):
    """But for a gateway that comes to stand below another route's line, of which the text has one."""
    lines = ROUTES.splitlines()
    found, unread = parsers.parse_routes("\n".join(lines[place] for place in order))
    assert all(one in EXPECTED_ROUTES for one in found)
    readable = [place for place in order if lines[place].split()[0] not in (*parsers.ROUTE_TYPES_LEFT_OUT, "nexthop")]
    assert len(found) + len(unread) >= len([place for place in readable if not lines[place].startswith("default proto")])
