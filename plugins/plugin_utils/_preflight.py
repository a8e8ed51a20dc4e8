# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The checks of preflight: pure functions of the plan and the hosts' facts.

Every check names the stage that establishes what it checks, or none when no stage can mend it. Run before a stage,
a check is a failure when nothing that is still to come would mend it; otherwise its subject is "to do".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any, NamedTuple

from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import format_size, parse_version
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_settings import SHM
from ansible_collections.flagos.kunlunxin.plugins.module_utils._image_registry import NOT_FOUND, REMEDIES
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import revision_name

STAGES = ("host", "rdma", "driver", "container_engine", "image", "weights", "serve", "verify")
LABEL = "io.flagos.kunlunxin.cluster"
OLDEST_PYTHON = "3.8"
PREPARE = "run prepare.yml"

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Needs:
    """What the stages to come need of every host, as far as it is known before they run.

    Sizes are in bytes; ``image_bytes`` is 0 where it is not known here: the image is then taken for ``image_unpack_factor`` times
    its size in the registry. ``image_source`` is the reference or the archive that the image comes from. ``weights_root`` is the
    identity of the weights, empty while nobody has read them. An archive that is sent lies on the host as ``archive_copy`` until
    it is loaded.
    """

    shm_bytes: int = 0
    weights_bytes: int = 0
    weights_root: str = ""
    image_source: str = ""
    image_bytes: int = 0
    image_unpack_factor: float = 0.0
    archive_copy: str = ""
    archive_bytes: int = 0
    disk_margin_bytes: int = 0
    oldest_engine: str = "20.10"
    clock_tolerance_seconds: float = 30.0


class Fault(NamedTuple):
    """What a check found on one host, and the stage that mends it; None when no stage does."""

    check: str
    observed: str
    expected: str
    remedy: str
    stage: str | None = None


class Judgement(NamedTuple):
    """A finding and the stage that mends it; None when no stage does."""

    finding: Finding
    stage: str | None = None

    def fails_before(self, stage: str) -> bool:
        """Whether this stops the run just before ``stage``: nothing that is still to come would mend it."""
        return self.stage is None or STAGES.index(self.stage) < STAGES.index(stage)


def judge(plan: Data, facts: Mapping[str, Data], needs: Needs, asked_until: float) -> list[Judgement]:
    """All judgements, in the order of the plan's hosts.

    ``facts`` has for each host that was asked what the module host_info returned as ``host``, or ``{"unreachable": reason}``,
    or ``{"broken": reason}``. ``asked_until`` is the controller's clock after the last host answered.
    """
    answered = {name: one for name, one in facts.items() if not {"unreachable", "broken"} & one.keys()}
    found = []
    for host in plan["hosts"]:
        name = host["name"]
        if name not in facts:  # left out by --limit
            continue
        if name in answered:
            faults = [fault for check in _CHECKS for fault in check(plan, host, facts[name], needs)]
            faults += [*_clock_offset(facts[name], needs, asked_until), *_same_hostname(name, answered)]
        else:
            faults = [_silence(facts[name])]
        found += [Judgement(Finding(name, *fault[:-1]), fault.stage) for fault in faults]
    return found


def fold(judgements: Iterable[Judgement]) -> list[str]:
    """One line for each distinct finding, hosts that share it joined: many hosts with one fault are one line."""
    hosts: dict[tuple[str, ...], list[str]] = {}
    for judgement in judgements:
        hosts.setdefault(tuple(judgement.finding[1:]), []).append(judgement.finding.host)
    return [str(Finding(", ".join(names), *rest)) for rest, names in hosts.items()]


def ports_of(plan: Data, host: Data) -> dict[int, str]:
    """The ports that this host's part of the service listens on: ``{port: purpose}``. All but the containers' sshd are the head's."""
    on_head = host["name"] == plan["head"]["name"]
    return {port: purpose for purpose, port in plan["ports"].items() if purpose == "container_ssh" or on_head}


def _silence(facts: Data) -> Fault:
    if "unreachable" in facts:
        remedy = "bring the host up or mend its address, then run the same command again; no host was changed"
        return Fault("reachable", facts["unreachable"], "a login over ssh", remedy)
    remedy = "install python3, set ansible_python_interpreter for this host, or let ansible_user become root"
    return Fault("facts", facts["broken"], f"Python {OLDEST_PYTHON} or newer that runs as root", remedy)


def _system(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    system = facts["system"]
    if system["user_id"] != 0:
        yield Fault("account", f"user id {system['user_id']}", "root", "let ansible_user become root without a password")
    python = system["python"]["version"]
    if parse_version(python) < parse_version(OLDEST_PYTHON):
        yield Fault("python", python, f"{OLDEST_PYTHON} or newer", "set ansible_python_interpreter to a newer one")
    if system["init"] != "systemd":
        yield Fault("init", f"process 1 is {system['init'] or 'unknown'}", "systemd", "use a host that systemd runs")


def _control_interface(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    wanted, address = plan["control_interface"], host["address"]
    carried = {name: [str(ip_interface(one).ip) for one in each["addresses"]] for name, each in facts["interfaces"].items()}
    carrier = next((name for name, addresses in carried.items() if address in addresses), None)
    if carrier == wanted:
        return
    remedy = (
        f"set cluster_control_interface to {carrier}, which has {address}"
        if carrier
        else "set cluster_control_interface and cluster_address to what the host has"
    )
    if wanted in carried:
        yield Fault("control address", f"{wanted} has {', '.join(carried[wanted]) or 'no address'}", f"{wanted} with {address}", remedy)
    else:
        yield Fault("control interface", f"no {wanted}; there are {', '.join(sorted(carried))}", wanted, remedy)


def _rails(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    wanted = list(dict.fromkeys(host["nics"]))
    missing = [nic for nic in wanted if nic not in facts["interfaces"] and nic != plan["control_interface"]]
    if missing:
        yield Fault("rail interfaces", f"no {', '.join(missing)}", ", ".join(wanted), "mend the interfaces' names or cluster_rdma_nics")


def _devices(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    found = facts["devices"]
    missing = [path for path, device in found.items() if device is None]
    if missing:
        yield Fault("device nodes", f"no {', '.join(missing)}", f"{len(found)} device nodes", "install and load the accelerator's driver")
    strange = [path for path, device in found.items() if device is not None and device["kind"] != "char"]
    if strange:
        remedy = "remove what was put in their place and load the driver again"
        yield Fault("device nodes", f"{', '.join(strange)} is no device", "character devices", remedy)


def _ports(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    ports = ports_of(plan, host)
    held: dict[int, Data] = {}
    for listener in facts["listeners"]:
        if listener["port"] in ports and not _is_ours(listener, plan["name"]):
            held.setdefault(listener["port"], listener)
    for port, listener in held.items():
        yield Fault("port in use", f"{port} ({ports[port]}) by {_holder(listener)}", "free", "stop it, or give another port")


def _is_ours(listener: Data, cluster: str) -> bool:
    container = listener["container"]
    return container is not None and container["labels"].get(LABEL) == cluster


def _holder(listener: Data) -> str:
    if listener["pid"] is None:
        return "a process that is not visible"
    place = f"container {listener['container']['name']}" if listener["container"] else listener["unit"]
    return f"{listener['process']} (pid {listener['pid']}{f', {place}' if place else ''})"


def _disk(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    """What goes to a host may share a disk: what is still to come is added up for each."""
    weights = facts["filesystems"][plan["model"]["path"]]
    to_come = [
        ("weights", weights, max(0, needs.weights_bytes - _kept_weights(weights, needs.weights_root))),
        ("image", facts["filesystems"][facts["engine"]["data_root"]], _image_bytes_to_come(facts, needs)),
    ]
    if needs.archive_copy and not _holds_image(facts, needs.image_source):
        copy = facts["filesystems"][needs.archive_copy]
        to_come.append(("the image's archive", copy, max(0, needs.archive_bytes - (copy["holds_bytes"] or 0))))
    short = []
    for disk in {one["device"]: one for _kind, one, _amount in to_come}.values():
        here = [(kind, amount) for kind, one, amount in to_come if one["device"] == disk["device"]]
        needed = sum(amount for _kind, amount in here) + needs.disk_margin_bytes
        if disk["available_bytes"] < needed:
            kinds = " and ".join(kind for kind, _amount in here)
            short.append((f"{format_size(disk['available_bytes'])} free on {disk['mount']}", f"{format_size(needed)} for {kinds}"))
    if short:
        observed, expected = (", ".join(part) for part in zip(*short, strict=True))
        remedy = "make room, or put weights_path or the engine's data root on a larger disk"
        if not needs.weights_root and weights["served_revision"] and (weights["holds_bytes"] or 0) >= needs.weights_bytes > 0:
            remedy += "; if what is served are these weights, run weights.yml, which reads the source and finds out"
        yield Fault("disk", observed, expected, remedy)


def _kept_weights(place: Data, root: str) -> int:
    """The bytes of the weights to come that a host has, or that a broken transfer left on it.

    They gather in a revision of their own, which is served only when it is whole. Before the root is known nobody can say which one
    that is; the one that is served is then taken for another, for too little room would be found only after hours.
    """
    if place["revisions"] is None:
        return place["holds_bytes"] or 0
    if root:
        return int(place["revisions"].get(revision_name(root), 0))
    return max((held for name, held in place["revisions"].items() if name != place["served_revision"]), default=0)


def _image_bytes_to_come(facts: Data, needs: Needs) -> int:
    if _holds_image(facts, needs.image_source):
        return 0
    in_registry = (facts["registry"] or {}).get("image_bytes") or 0
    return needs.image_bytes or int(in_registry * needs.image_unpack_factor)


def _holds_image(facts: Data, source: str) -> bool:
    """Whether the image that came from ``source`` (reference or archive) is still in the host's engine."""
    receipt = facts["image_receipt"]
    return source in (receipt.get("reference"), receipt.get("archive")) and receipt.get("image_id") in facts["engine"]["images"]


def _image(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    if needs.image_source and not _holds_image(facts, needs.image_source):
        yield Fault("image", "not in the engine", needs.image_source, "run distribute.yml", "image")


def _weights(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    """Their size alone: the weights stage compares every file with the manifest."""
    path, wanted = plan["model"]["path"], max(1, needs.weights_bytes)
    held = facts["filesystems"][path]["holds_bytes"] or 0
    if held < wanted:
        yield Fault("weights", f"{format_size(held)} in {path}", f"{format_size(wanted)} or more", "run distribute.yml", "weights")


def _engine(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    engine, expected = facts["engine"], f"{needs.oldest_engine} or newer"
    if engine["version"] is None:
        observed = "installed, does not answer" if engine["installed"] else "none"
        yield Fault("container engine", observed, expected, PREPARE, "container_engine")
    elif parse_version(engine["version"]) < parse_version(needs.oldest_engine):
        yield Fault("container engine version", engine["version"], expected, "update the engine; one that is there is never replaced")


def _registry(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    registry = facts["registry"]
    if not registry or registry["state"] == "ok":
        return
    expected = "a login over TLS"
    if registry["state"] == NOT_FOUND:
        if _holds_image(facts, needs.image_source):
            return
        expected = f"the manifest of {needs.image_source}"
    observed = f"{registry['state'].replace('_', ' ')}: {registry['detail']}"
    yield Fault(f"registry {registry['address']}", observed, expected, REMEDIES[registry["state"]])


def _clock(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    if plan["manage_kernel_globals"] and facts["clock"]["synchronised"] is False:
        yield Fault("clock", "not synchronised", "steered by a time service", PREPARE, "host")


def _clock_offset(facts: Data, needs: Needs, asked_until: float) -> Iterator[Fault]:
    """The host's clock was read somewhere between the controller's two readings: only what is certain is judged."""
    clock = facts["clock"]
    behind, ahead = clock["asked_at"] - clock["time"], clock["time"] - asked_until
    if max(behind, ahead) > needs.clock_tolerance_seconds:
        observed = f"at least {max(behind, ahead):.0f} s {'behind' if behind > ahead else 'ahead of'} the controller"
        remedy = "set the clock, or run a time service on the host"
        yield Fault("clock", observed, f"within {needs.clock_tolerance_seconds:g} s", remedy)


def _shm(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    size = facts["shm"]["size_bytes"]
    if size < needs.shm_bytes:
        yield Fault(SHM, format_size(size), format_size(needs.shm_bytes), PREPARE, "host")


def _names(plan: Data, host: Data, facts: Data, needs: Needs) -> Iterator[Fault]:
    wrong = [one["name"] for one in plan["hosts"] if facts["resolved"].get(one["name"]) != one["address"]]
    if wrong:
        yield Fault("host names", f"{', '.join(wrong)} not at their address", "each at its cluster_address", PREPARE, "host")


def _same_hostname(name: str, answered: Mapping[str, Data]) -> Iterator[Fault]:
    """Ray and the engine tell hosts apart by their system names."""
    hostname = answered[name]["system"]["hostname"]
    others = [other for other, facts in answered.items() if other != name and facts["system"]["hostname"] == hostname]
    if others:
        remedy = "run hostnamectl set-hostname on the host"
        yield Fault("system name", f"{hostname}, as has {', '.join(others)}", "a name of its own", remedy)


_CHECKS = (_system, _control_interface, _rails, _devices, _ports, _disk, _registry, _clock, _shm, _names, _engine, _image, _weights)
