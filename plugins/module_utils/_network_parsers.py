# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Pure parsers of what iproute2, ethtool and sysfs say about a host's network: text in, plain data out, no file is opened here.

Those of whole answers return ``(facts, unread)``: ``unread`` has a line for each part that makes no sense, such as ``line 3: unknown
word 'viaa' in 'default viaa 10.0.0.1'``. What is read is exactly what the rest says; nothing is guessed, and nothing raises.

Sources of the formats: ip-address(8), ip-route(8), ip-rule(8) and their output in iproute2 6.1 and in its source (ip/iproute.c,
ip/iprule.c), ethtool(8), the kernel's Documentation/ABI/stable/sysfs-class-infiniband, and, for ``traffic_class``, mlx5_ib of MLNX_OFED.
"""

from __future__ import annotations

import ipaddress
import json
import re

MAIN = "main"
QUOTED = 80  # characters of what is unreadable, and of the reason, that are shown


def _words(text):
    return frozenset(text.split())


# ip-route(8): what a route can say beside where it leads. These words are followed by a value, by `lock` and a value at times.
ROUTE_VALUES = _words(
    "advmss congctl cwnd dev dsfield error expires fastopen_no_cookie features from hoplimit initcwnd initrwnd mark metric mtu nhid pref"
    " proto quickack realm realms reordering rto_min rtt rttvar scope src ssthresh table tos ttl-propagate uid via weight window"
)
ROUTE_FLAGS = _words("dead linkdown notify offload onlink pervasive rt_offload rt_offload_failed rt_trap trap unresolved")
# Types that lead nowhere else: to the host itself, to many, or to an error.
ROUTE_TYPES_LEFT_OUT = _words("anycast blackhole broadcast local multicast nat none prohibit throw unreachable xresolve")

RULE_COLUMNS = _words("from to iif oif fwmark lookup")
RULE_IGNORED = _words("proto [detached] [unresolved]")  # who made it, and whether what it names is there now
RULE_SELECTORS = _words(
    "dport dscp dsfield flowlabel ipproto map-to realms sport suppress_ifgroup suppress_prefixlength tos tun_id uidrange"
)
RULE_FLAGS = _words("not blackhole masquerade nop prohibit unreachable [detached] [unresolved]")
RULE_VALUES = RULE_COLUMNS | RULE_SELECTORS | {"goto", "proto"}
RULE_WORDS_OF_ACTIONS = _words("blackhole goto lookup map-to masquerade nop prohibit unreachable")
# The same in JSON, where a column can take two keys.
RULE_KEYS = _words("priority src srclen dst dstlen iif oif fwmark fwmask table")
RULE_KEYS_IGNORED = _words("protocol iif_detached oif_detached unresolved")
RULE_KEYS_OF_ACTIONS = _words("table action goto l3mdev nat_gateway masquerade")


def whole_number(text):
    """A whole number; None for anything else."""
    return int(text) if re.match(r"-?[0-9]{1,20}\Z", text or "") else None


def parse_numbers(text):
    """The whole numbers of a line; None when it holds anything else."""
    numbers = [whole_number(word) for word in (text or "").split()]
    return None if None in numbers else numbers


def _count(text):
    """A whole number of at least 0; ValueError for anything else."""
    number = whole_number(text)
    if number is None or number < 0:
        raise ValueError("%r is no count" % text)
    return number


def parse_addresses(text):
    """The addresses of each interface: ``{"eth0": [{"address", "prefix_length", "scope"}]}``, in the kernel's order.

    From ``ip -o address show``. This one form is the same in all versions, from CentOS 7's on, so that JSON is not needed.
    """
    found, unread = {}, []
    for number, line in _lines(text):
        match = re.match(r"\d+: +([^\s@]+)(?:@\S+)? +(inet6?) +(\S+)(?: +peer +(\S+))? .*?\bscope +(\S+)", line)
        if match:
            name, family, address, peer, scope = match.groups()
            try:
                entry = _address(family, address, peer, scope)
            except ValueError as error:
                unread.append(_unread(number, error, line))
            else:
                found.setdefault(name, []).append(entry)
        elif not re.match(r"\d+: +\S+: +<", line):  # the oldest versions print the link, too
            unread.append(_unread(number, "no address", line))
    return found, unread


def _address(family, address, peer, scope):
    """On a point-to-point link the prefix length stands at the peer's address."""
    own, separator, length = address.partition("/")
    if peer:
        ipaddress.ip_address(peer.partition("/")[0])
        length = peer.partition("/")[2]
    elif not separator:
        raise ValueError("no prefix length")
    interface = ipaddress.ip_interface("%s/%s" % (own, length) if length else own)
    if interface.version != (6 if family == "inet6" else 4):
        raise ValueError("not of family %s" % family)
    return {"address": own, "prefix_length": interface.network.prefixlen, "scope": scope}


def parse_routes(text):
    """The routes that lead somewhere: ``[{"destination", "gateway", "interface", "table", "source", "metric"}]``.

    From ``ip -j route show table all`` or the same without ``-j``; which one it is, the text says itself. JSON comes from iproute2
    4.16 and newer. CentOS 7's version refuses ``-j``, and Ubuntu 18's (4.15) takes it and prints text nevertheless.

    ``destination`` is ``default`` for IPv4's default route, ``::/0`` for IPv6's, else as iproute2 writes it. ``table`` is the name or
    number that iproute2 gives, ``main`` where it gives none. A route over several gateways gives one entry for each. The routes of
    the types local, broadcast, multicast, anycast, blackhole, unreachable, prohibit and throw are left out.
    """
    if _is_json(text):
        return _json_entries(text, _routes_of_json)
    found, unread = [], []
    header = None  # the line with destination and table above the lines of its gateways
    for number, line in _lines(text):
        words = line.split()
        if words[0] == "cache" and line[0].isspace():  # what the kernel remembers about the route above
            continue
        is_hop = words[0] == "nexthop" and line[0].isspace()
        if not is_hop:
            unread += _lonely(header)
            header = None
        try:
            if is_hop:
                if header is None:
                    raise ValueError("no route above it")
                header["hops"] += 1
                if not header["left_out"]:
                    found.append(_route(dict(header["says"], **_says(words[1:], ROUTE_VALUES, ROUTE_FLAGS))))
                continue
            kind = words.pop(0) if words[0] in ROUTE_TYPES_LEFT_OUT or words[0] == "unicast" else "unicast"
            if not words:
                raise ValueError("no destination")
            if kind in ROUTE_TYPES_LEFT_OUT:
                header = {"left_out": True, "hops": 0}
                continue
            says = dict(_says(words[1:], ROUTE_VALUES, ROUTE_FLAGS), destination=words[0])
            if "dev" in says:
                found.append(_route(says))
            else:
                header = {"left_out": False, "hops": 0, "says": says, "number": number, "line": line}
        except ValueError as error:
            unread.append(_unread(number, error, line))
    return found, unread + _lonely(header)


def _lonely(header):
    """A line without an interface that no line of a gateway follows."""
    if header is None or header["left_out"] or header["hops"]:
        return []
    return [_unread(header["number"], "no interface", header["line"])]


def _routes_of_json(entry):
    kind = _word(entry, "type") or "unicast"
    if kind in ROUTE_TYPES_LEFT_OUT:
        return []
    if kind != "unicast":
        raise ValueError("unknown type %r" % kind)
    says = {"destination": _word(entry, "dst"), "src": _word(entry, "prefsrc")}
    says.update({key: _word(entry, key) for key in ("table", "metric", "pref")})
    hops = entry.get("nexthops", [entry])
    if not isinstance(hops, list) or not hops or not all(isinstance(hop, dict) for hop in hops):
        raise ValueError("nexthops are no list of objects")
    return [_route(dict(says, dev=_word(hop, "dev"), **_gateway_of_json(hop))) for hop in hops]


def _gateway_of_json(hop):
    via = hop.get("via")  # a gateway of the other family
    if via is None:
        return {"via": _word(hop, "gateway")}
    if not isinstance(via, dict):
        raise ValueError("via is no object")
    return {"via": _word(via, "host"), "via family": _word(via, "family")}


def _route(says):
    """One route from the words of ``ip route``; ValueError when they make none."""
    interface = says.get("dev")
    if not interface:
        raise ValueError("no interface")
    gateway, source = (_checked(says.get(key), ipaddress.ip_address) for key in ("via", "src"))
    return {
        "destination": _destination(says.get("destination"), gateway, source, says),
        "gateway": gateway,
        "interface": interface,
        "table": says.get("table") or MAIN,
        "source": source,
        "metric": None if says.get("metric") is None else _count(says["metric"]),
    }


def _destination(text, gateway, source, says):
    """``default`` does not say of which family; the rest of the route does. A preference is something only IPv6 has."""
    if not text:
        raise ValueError("no destination")
    if text != "default":
        return _checked(text, _network)
    if says.get("via family"):  # the gateway is of the other one
        return "default" if says["via family"] == "inet6" else "::/0"
    return "::/0" if ":" in (gateway or source or "") or says.get("pref") else "default"


def parse_rules(text):
    """The rules that choose a table: ``[{"priority", "source", "destination", "input", "output", "table", "mark", "complete"}]``.

    From ``ip -j rule`` (iproute2 4.17 and newer) or ``ip rule``, as :func:`parse_routes`. Both show the rules of IPv4.

    None in a column means any; ``input`` and ``output`` are interfaces, ``mark`` is ``0x1`` or, with a mask, ``0x1/0xff``.
    ``complete`` is False where the rule says more than the columns: inverted by ``not``, with ports, a protocol or the like, or with
    another action than to look in a table, when ``table`` is None.
    """
    if _is_json(text):
        return _json_entries(text, lambda entry: [_rule_of_json(entry)])
    found, unread = [], []
    for number, line in _lines(text):
        priority, _colon, rest = line.partition(":")
        try:
            says = _says(rest.split(), RULE_VALUES, RULE_FLAGS)
            if "from" not in says:  # iproute2 always says it
                raise ValueError("no source")
            if not RULE_WORDS_OF_ACTIONS & set(says):
                raise ValueError("neither a table nor another action")
            found.append(_rule(_count(priority.strip()), says, set(says) - RULE_COLUMNS - RULE_IGNORED))
        except ValueError as error:
            unread.append(_unread(number, error, line))
    return found, unread


def _rule(priority, says, more):
    """One rule from the words of ``ip rule``; ``more`` is what else the rule says."""
    table = says.get("lookup")
    is_table = table is not None and not table.startswith("[")  # [l3mdev-table]: the one that the interface's VRF names
    mark = says.get("fwmark")
    if mark is not None and not re.match(r"(0x[0-9a-f]+|[0-9]+)(/0x[0-9a-f]+)?\Z", mark):
        raise ValueError("%r is no mark" % mark)
    source, destination = (None if says.get(key) in (None, "all") else _checked(says[key], _network) for key in ("from", "to"))
    return {
        "priority": priority,
        "source": source,
        "destination": destination,
        "input": says.get("iif"),
        "output": says.get("oif"),
        "table": table if is_table else None,
        "mark": mark,
        "complete": is_table and not more,
    }


def _rule_of_json(entry):
    if "src" not in entry:
        raise ValueError("no source")
    if not RULE_KEYS_OF_ACTIONS & set(entry):
        raise ValueError("neither a table nor another action")
    says = {"from": _with_length(entry, "src", "srclen"), "to": _with_length(entry, "dst", "dstlen")}
    says.update({word: _word(entry, key) for word, key in (("iif", "iif"), ("oif", "oif"), ("lookup", "table"))})
    if "fwmark" in entry:
        says["fwmark"] = _hexadecimal(entry["fwmark"]) + ("/" + _hexadecimal(entry["fwmask"]) if "fwmask" in entry else "")
    return _rule(_count(_word(entry, "priority")), says, set(entry) - RULE_KEYS - RULE_KEYS_IGNORED)


def _with_length(entry, key, length_key):
    address, length = _word(entry, key), _word(entry, length_key)
    return address if length is None else "%s/%s" % (address, length)


def _hexadecimal(value):
    return "0x%x" % value if _is_count(value) else str(value)


def parse_table_names(text):
    """The names of routing tables, from /etc/iproute2/rt_tables: ``{"rail0": "101"}``."""
    found, unread = {}, []
    for number, line in _lines(text):
        words = line.partition("#")[0].split()
        if not words:
            continue
        match = re.match(r"(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})\Z", words[0])
        if match and len(words) == 2:
            found[words[1]] = str(int(words[0], 16 if words[0].startswith("0x") else 10))
        else:
            unread.append(_unread(number, "no number and name of a table", line))
    return found, unread


def parse_rings(text):
    """The ring sizes of ``ethtool -g``: ``{"rx", "tx", "rx_max", "tx_max"}`` in descriptors, each None where the driver has none."""
    found, unread = dict.fromkeys(("rx", "tx", "rx_max", "tx_max")), []
    suffix = None
    for number, line in _lines(text):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if colon and not value:
            suffix = {"Pre-set maximums": "_max", "Current hardware settings": ""}.get(key)
        elif key in ("RX", "TX") and value != "n/a":
            count = whole_number(value)
            if suffix is None or count is None or found[key.lower() + suffix] is not None:
                unread.append(_unread(number, "no ring size", line))
            else:
                found[key.lower() + suffix] = count
    return found, unread


def parse_bonding_mode(text):
    """``802.3ad`` of sysfs' ``802.3ad 4``; None where there is no such text."""
    words = (text or "").split()
    return words[0] if len(words) == 2 and whole_number(words[1]) is not None else None


def parse_port_state(text):
    """``ACTIVE`` of sysfs' ``4: ACTIVE``, ``LinkUp`` of ``5: LinkUp``; None for anything else."""
    match = re.match(r"[0-9]+: ([A-Za-z_]+)\Z", text or "")
    return match.group(1) if match else None


def parse_rate(text):
    """Gigabits per second of an RDMA port's rate, 100.0 of ``100 Gb/sec (4X EDR)``; None for anything else."""
    match = re.match(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) Gb/sec\b", text or "")
    return float(match.group(1)) if match else None


def parse_traffic_class(text):
    """106 of ``Global tclass=106``, the line of a port whose traffic class was set for all; None for anything else."""
    match = re.search(r"^Global tclass=([0-9]{1,3})$", text or "", re.MULTILINE)
    return int(match.group(1)) if match else None


def parse_gid(text):
    """A GID as ``ipaddress.IPv6Address``; None for the zeros of an empty entry. ValueError when it is no GID."""
    address = ipaddress.IPv6Address(text)
    return None if int(address) == 0 else address


def _lines(text):
    """The lines that hold something, with their numbers from 1."""
    return [(number, line) for number, line in enumerate((text or "").split("\n"), 1) if line.strip()]


def shortened(text):
    """The text in one line of at most :data:`QUOTED` characters and three dots."""
    shown = " ".join(text.split())
    return shown if len(shown) <= QUOTED else shown[:QUOTED] + "..."


def _unread(number, why, line):
    return "line %d: %s in %r" % (number, shortened(str(why)), shortened(line))


def _says(words, valued, flags):
    """What the words say by keyword; ValueError at the first word that is none of ``valued`` and ``flags``."""
    found = {}
    rest = iter(words)
    for word in rest:
        if word in flags:
            found[word] = True
        elif word in valued:
            value = next(rest, None)
            if word == "via" and value in ("inet", "inet6"):
                found["via family"], value = value, next(rest, None)
            if value == "lock":  # the kernel may not change it
                value = next(rest, None)
            if value is None:
                raise ValueError("nothing after %s" % word)
            found[word] = value
        else:
            raise ValueError("unknown word %r" % word)
    return found


def _is_json(text):
    return (text or "").lstrip().startswith("[")


def _json_entries(text, read):
    """What ``read`` makes of each object of a JSON list; empty ones, which some versions print for what they filter, do not count."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [], ["not JSON: %s" % error]
    found, unread = [], []
    for number, entry in enumerate(entries, 1):
        try:
            if not isinstance(entry, dict):
                raise ValueError("no object")
            if entry:
                found += read(entry)
        except ValueError as error:
            unread.append("entry %d: %s in %r" % (number, shortened(str(error)), shortened(json.dumps(entry))))
    return found, unread


def _word(entry, key):
    """A value as the text form would print it; None where there is none, ValueError for a list or the like."""
    value = entry.get(key)
    if value is None or isinstance(value, str):
        return value
    if _is_count(value):
        return str(value)
    raise ValueError("%s is neither text nor a count" % key)


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _checked(text, check):
    """The text itself, when ``check`` takes it without a ValueError."""
    if text is not None:
        check(text)
    return text


def _network(text):
    return ipaddress.ip_network(text, strict=False)
