# SPDX-License-Identifier: MIT
"""SIMULATOR: the adapters' programs: those of MLNX_OFED, and of rdma-core and perftest.

Forms: NVIDIA's pages on mlnx_qos, show_gids, mlxconfig and mlxreg, outputs of mlnx_qos, cma_roce_tos and ibdev2netdev that sites
published, ibv_devinfo(1).
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..machine import Nic
from .base import Answer, Program, Session, delegate, option, refusal

OFED_PREFIX = "MLNX_OFED_LINUX-"


def _by_name(session: Session) -> List[Nic]:
    return sorted(session.machine.rails, key=lambda nic: nic.rdma or "")


def ibdev2netdev(session: Session, argv: Sequence[str]) -> Answer:
    lines = ["%s port 1 ==> %s (%s)" % (nic.rdma, nic.name, "Up" if nic.state == "ACTIVE" else "Down") for nic in _by_name(session)]
    return Answer("".join("%s\n" % text for text in lines))


def show_gids(session: Session, argv: Sequence[str]) -> Answer:
    rows = ["DEV\tPORT\tINDEX\tGID\t\t\t\t\tIPv4  \t\tVER\tDEV", "---\t----\t-----\t---\t\t\t\t\t------------  \t---\t---"]
    count = 0
    for nic in _by_name(session):
        if argv and nic.rdma != argv[0]:
            continue
        for gid in nic.gids:
            groups = gid.gid.split(":")
            ipv4 = ".".join(str(int(part, 16)) for group in groups[6:] for part in (group[:2], group[2:])) if groups[5] == "ffff" else ""
            version = "v2" if gid.kind == "RoCE v2" else "v1"
            rows.append("%s\t1\t%d\t%s\t%s  \t%s\t%s" % (nic.rdma, gid.index, gid.gid, ipv4.ljust(8), version, nic.name))
            count += 1
    return Answer("\n".join([*rows, "n_gids_found=%d" % count, ""]))


def ofed_info(session: Session, argv: Sequence[str]) -> Answer:
    name = OFED_PREFIX + str(session.machine.ofed)
    if "-s" in argv:
        return Answer(name + ":\n")
    if "-n" in argv:
        return Answer("%s\n" % session.machine.ofed)
    return Answer("%s (p800-simulator):\n" % name)


def ofed_uninstall(session: Session, argv: Sequence[str]) -> Answer:
    if "--force" not in argv:
        return refusal(
            "This program will uninstall all %s packages on your machine; --force does it without asking" % OFED_PREFIX.strip("-")
        )
    session.state.ofed = None
    session.changed = True
    return Answer("Uninstall finished successfully (p800-simulator)\n")


# ---- mlnx_qos


class _QosError(ValueError):
    """A value that mlnx_qos does not take."""


def _numbers(text: str, count: int) -> List[int]:
    if not re.fullmatch(r"[01](,[01]){%d}" % (count - 1), text):
        raise _QosError("%s: expected %d times 0 or 1" % (text, count))
    return [int(word) for word in text.split(",")]


def _dscp(text: str, qos: Dict[str, Any]) -> None:
    match = re.fullmatch(r"(set|del),([0-9]{1,2}),([0-7])", text)
    if not match or int(match.group(2)) > 63:
        raise _QosError("dscp2prio %s: expected set,DSCP,PRIORITY or del,DSCP,PRIORITY" % text)
    table = qos.setdefault("dscp2prio", {})
    if match.group(1) == "set":
        table[match.group(2)] = int(match.group(3))
    else:
        table.pop(match.group(2), None)


def mlnx_qos(session: Session, argv: Sequence[str]) -> Answer:
    name = option(argv, "-i", "--interface")
    nic = session.nic(name or "")
    if nic is None or not nic.rdma:
        return refusal("Netdev %s does not exist or is no adapter of the simulator" % name)
    qos = session.state.runtime.qos.setdefault(nic.name, {})
    trust, pfc = option(argv, "--trust"), option(argv, "-f", "--pfc")
    dscp, cable = option(argv, "--dscp2prio"), option(argv, "--cable_len")
    setting = [value for value in (trust, pfc, dscp, cable) if value is not None]
    if setting and nic.refuses_qos:
        return refusal("Priority trust state is not supported on your system")
    try:
        if trust is not None:
            if trust not in ("pcp", "dscp"):
                raise _QosError("trust %s: expected pcp or dscp" % trust)
            qos["trust"] = trust
        if pfc is not None:
            qos["pfc"] = _numbers(pfc, 8)
        if dscp is not None:
            _dscp(dscp, qos)
        if cable is not None:
            qos["cable_length"] = int(cable)
    except ValueError as error:
        return refusal("mlnx_qos: %s" % error)
    session.changed = bool(setting)
    session.read_back()
    return Answer(_qos_text(session.nic(nic.name) or nic))


def _qos_text(nic: Nic) -> str:
    lines = ["DCBX mode: OS controlled", "Priority trust state: %s" % nic.trust]
    if nic.trust == "dscp":
        lines.append("dscp2prio mapping:")
        for priority in range(8):
            values = [dscp for dscp in range(63, -1, -1) if nic.dscp2prio.get(dscp, dscp // 8) == priority]
            rows = [values[start : start + 8] for start in range(0, len(values), 8)]
            lines += ["\tprio:%d dscp:%s" % (priority, "".join("%02d," % dscp for dscp in row)) for row in rows]
    buffers = "130944,130944,0,0,0,0,0,0," if any(nic.pfc) else "262016,0,0,0,0,0,0,0,"
    lines += ["Receive buffer size (bytes): %smax_buffer_size=262016" % buffers, "Cable len: %d" % nic.cable_length, "PFC configuration:"]
    lines.append("\tpriority    " + "".join("%d   " % priority for priority in range(8)).rstrip())
    lines.append("\tenabled     " + "".join("%d   " % on for on in nic.pfc))
    lines.append("\tbuffer      " + "".join("%d   " % on for on in nic.pfc))
    for tc, priority in enumerate((1, 0, 2, 3, 4, 5, 6, 7)):
        lines += ["tc: %d ratelimit: unlimited, tsa: vendor" % tc, "\t priority:  %d" % priority]
    return "\n".join([*lines, ""])


def cma_roce_tos(session: Session, argv: Sequence[str]) -> Answer:
    nic = session.rdma(option(argv, "-d") or "mlx5_0")
    if nic is None:
        return refusal("cma_roce_tos: device %s not found" % option(argv, "-d"))
    value = option(argv, "-t")
    if value is not None:
        if not value.isdigit() or int(value) > 255:
            return refusal("cma_roce_tos: %s is no type of service" % value)
        session.state.runtime.tos[nic.rdma or ""] = nic.tos = int(value)
        session.changed = True
    return Answer("%d\n" % (nic.tos or 0))


# ---- firmware's settings

_LINK_TYPES = {"1": "IB(1)", "2": "ETH(2)"}
# As adapters that can be both are delivered. Their ports are Ethernet all the same, for the interfaces are the lab's.
_DEFAULTS = {"LINK_TYPE_P1": "1", "PCI_WR_ORDERING": "0", "ADVANCED_PCI_SETTINGS": "0"}


def _of_device(session: Session, name: Optional[str]) -> Optional[Nic]:
    """By PCI address, with or without domain, or by RDMA device."""
    for nic in session.machine.rails:
        if name in (nic.rdma, nic.function.address, nic.function.address[5:]):
            return nic
    return None


def _pair(word: str) -> Tuple[str, str]:
    name, _sign, value = word.partition("=")
    return name, value


def mlxconfig(session: Session, argv: Sequence[str]) -> Answer:
    nic = _of_device(session, option(argv, "-d", "--dev"))
    if nic is None:
        return refusal("-E- Failed to open the device: %s" % option(argv, "-d", "--dev"), 3)
    settings = session.state.mlxconfig.setdefault(nic.function.address, {})
    assigned = [word for word in argv if re.fullmatch(r"[A-Z0-9_]+=\w+", word)]
    if {"set", "s"} & set(argv):
        if not {"-y", "--yes"} & set(argv):
            return refusal("-E- Apply new Configuration? (y/n) [n] : n; it was not confirmed", 3)
        settings.update(_pair(word) for word in assigned)
        session.changed = True
    current = {**_DEFAULTS, **settings}
    lines = [
        "",
        "Device #1:",
        "----------",
        "",
        "Device type:    ConnectX7 (p800-simulator)",
        "Device:         %s" % nic.function.address,
        "",
    ]
    lines.append("Configurations:                              Next Boot")
    for key, value in sorted(current.items()):
        lines.append("         %-36s%s" % (key, _LINK_TYPES.get(value, value) if key.startswith("LINK_TYPE") else value))
    return Answer("\n".join([*lines, ""]))


_ROCE_ACCL = ("roce_adp_retrans", "roce_tx_window", "roce_slow_restart", "roce_slow_restart_idle", "adaptive_routing_forced")


def mlxreg(session: Session, argv: Sequence[str]) -> Answer:
    """--get and --set of ROCE_ACCL, some of whose fields are there. A boot forgets what was set."""
    nic = _of_device(session, option(argv, "-d", "--device"))
    register, given = option(argv, "--reg_name"), option(argv, "--set", "-s")
    if nic is None or register != "ROCE_ACCL":
        return refusal("-E- no such device or register", 1)
    fields = {name + "_en": 0 for name in _ROCE_ACCL}
    settings = session.state.runtime.registers.setdefault("%s/%s" % (nic.function.address, register), {})
    if given:
        wanted = dict(_pair(word) for word in given.split(","))
        if set(wanted) - set(fields) or not all(re.fullmatch(r"0x[0-9a-f]{1,8}|[0-9]{1,9}", value) for value in wanted.values()):
            return refusal("-E- Failed to parse the fields: %s" % given, 1)
        settings.update((name, int(value, 0)) for name, value in wanted.items())
        session.changed = True
        return Answer("You are about to send access register: %s with the following data (p800-simulator)\n" % register)
    lines = ["Sending access register...", "", "Field Name                                   | Data", "=" * 60]
    lines += ["%-44s | 0x%08x" % (name, value) for name, value in dict(fields, **settings).items()]
    return Answer("\n".join([*lines, "=" * 60, ""]))


# ---- rdma-core


def ibv_devinfo(session: Session, argv: Sequence[str]) -> Answer:
    wanted = option(argv, "-d", "--ib-dev")
    chosen = [nic for nic in _by_name(session) if wanted in (None, nic.rdma)]
    if not chosen:
        return refusal("No IB devices found" if wanted is None else "IB device '%s' wasn't found" % wanted, 255)
    return Answer("".join(_devinfo(nic) for nic in chosen))


def _devinfo(nic: Nic) -> str:
    octets = nic.mac.replace(":", "")
    guid = octets[:6] + "0300" + octets[6:]
    fields = [
        (1, "transport", "InfiniBand (0)"), (1, "fw_ver", nic.firmware),
        (1, "node_guid", ":".join(guid[at : at + 4] for at in range(0, 16, 4))),
        (1, "vendor_id", "0x02c9"), (1, "vendor_part_id", "4129"), (1, "hw_ver", "0x0"), (1, "board_id", "MT_0000000838"),
        (1, "phys_port_cnt", "1"),
    ]  # fmt: skip
    port = [
        ("state", "PORT_ACTIVE (4)" if nic.state == "ACTIVE" else "PORT_DOWN (1)"), ("max_mtu", "4096 (5)"), ("active_mtu", "4096 (5)"),
        ("sm_lid", "0"), ("port_lid", "0"), ("port_lmc", "0x00"), ("link_layer", nic.link_layer),
    ]  # fmt: skip
    lines = ["hca_id:\t%s" % nic.rdma] + ["\t%-32s%s" % (name + ":", value) for _depth, name, value in fields]
    lines += ["\t\tport:\t1"] + ["\t\t\t%-24s%s" % (name + ":", value) for name, value in port]
    return "\n".join([*lines, "", ""])


def ethtool(session: Session, argv: Sequence[str]) -> Answer:
    """-g, -G, -i and -S of the interfaces that are on the simulated bus; the rest is the host's own."""
    nic = session.nic(argv[1]) if len(argv) > 1 else None
    if nic is None:
        return delegate(argv)
    if argv[0] in ("-g", "--show-ring"):
        return Answer(_rings_text(nic))
    if argv[0] in ("-G", "--set-ring"):
        return _set_rings(session, nic, argv[2:])
    if argv[0] in ("-i", "--driver"):
        lines = ["driver: %s" % nic.function.driver, "version: p800-simulator", "firmware-version: %s" % nic.firmware]
        return Answer("\n".join([*lines, "bus-info: %s" % nic.function.address, ""]))
    if argv[0] in ("-S", "--statistics"):
        lines = ["NIC statistics:"] + ["     rx_prio%d_buf_discard: %d" % (one, nic.counters.get("rx_discard", 0)) for one in range(8)]
        return Answer("\n".join([*lines, ""]))
    return delegate(argv)


RING_MAXIMUM = 8192


def _rings_text(nic: Nic) -> str:
    lines = ["Ring parameters for %s:" % nic.name]
    for heading, rx, tx in (
        ("Pre-set maximums:", RING_MAXIMUM, RING_MAXIMUM),
        ("Current hardware settings:", nic.rings["rx"], nic.rings["tx"]),
    ):
        lines += [heading, "RX:\t\t%d" % rx, "RX Mini:\tn/a", "RX Jumbo:\tn/a", "TX:\t\t%d" % tx]
    return "\n".join([*lines, ""])


def _set_rings(session: Session, nic: Nic, words: Sequence[str]) -> Answer:
    wanted = dict(zip(words[::2], words[1::2]))
    if len(words) % 2 or set(wanted) - {"rx", "tx"} or not all(value.isdigit() for value in wanted.values()):
        return refusal("ethtool: bad command line argument(s)")
    if any(not 0 < int(value) <= RING_MAXIMUM for value in wanted.values()):
        return refusal("netlink error: requested ring size exceeds maximum (offset 36)\nnetlink error: Invalid argument", 80)
    sizes = {key: int(value) for key, value in wanted.items()}
    if all(nic.rings[key] == value for key, value in sizes.items()):
        return refusal("no ring parameters changed, aborting", 80)
    session.state.runtime.rings.setdefault(nic.name, {}).update(sizes)
    session.changed = True
    return Answer()


OFED_PROGRAMS = (
    Program("ofed_uninstall.sh", "/usr/sbin/ofed_uninstall.sh", "MLNX_OFED's ofed_uninstall.sh", ofed_uninstall),
    Program("ofed_info", "/usr/bin/ofed_info", "MLNX_OFED's ofed_info", ofed_info),
    Program("ibdev2netdev", "/usr/bin/ibdev2netdev", "MLNX_OFED's ibdev2netdev", ibdev2netdev),
    Program("show_gids", "/usr/sbin/show_gids", "MLNX_OFED's show_gids", show_gids, reads_addresses=True),
    Program("mlnx_qos", "/usr/bin/mlnx_qos", "MLNX_OFED's mlnx_qos", mlnx_qos),
    Program("cma_roce_tos", "/usr/sbin/cma_roce_tos", "MLNX_OFED's cma_roce_tos", cma_roce_tos),
    Program("mlxconfig", "/usr/bin/mlxconfig", "MFT's mlxconfig", mlxconfig),
    Program("mlxreg", "/usr/bin/mlxreg", "MFT's mlxreg", mlxreg),
)
PROGRAMS = (
    Program("ibv_devinfo", "/usr/bin/ibv_devinfo", "rdma-core's ibv_devinfo", ibv_devinfo),
    Program("ethtool", "/usr/sbin/ethtool", "ethtool, for the interfaces on the simulated bus", ethtool),
)
