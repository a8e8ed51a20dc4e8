# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How the hosts of a cluster are wired, as a file beside the inventory.

The plan needs facts of every host, but no plan may depend on which hosts a run happens to reach. So the facts are read once, by
``playbooks/topology.yml``, and kept; a host whose wiring is no longer the recorded one is a finding, and not silently another plan.
Recorded is what the order of devices and interfaces depends on, and nothing that changes from day to day.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._spec import RailChoice
from ._values import Gravity, Problems
from ._wiring import HostWiring, host_wiring, subnets

ACCEPT = "put it back where it was, or run topology.yml with topology_accept=true if this is meant"

HostRecord = Mapping[str, Any]  # devices: [{pci, index, minor, numa_node, path}], interfaces: {name: {mac, subnets, numa_node, path}}
Record = Mapping[str, HostRecord]

_DEVICE = {"pci": str, "index": int | None, "minor": int | None, "numa_node": int | None, "path": list}
_INTERFACE = {"mac": str | None, "subnets": list, "numa_node": int | None, "path": list}
_NUMBERS = ("index", "minor")


class Difference(NamedTuple):
    """What is wired otherwise than it was recorded."""

    host: str
    what: str
    before: str
    now: str


def record_of(accelerator: Mapping[str, Any], network: Mapping[str, Any], named: Collection[str]) -> HostRecord:
    """What is recorded of one host.

    :param accelerator: facts as the module accelerator_info returns them.
    :param network: facts as the module network_info returns them.
    :param named: interfaces, by name or hardware address, that the inventory names; of the others, those with a place on the PCI bus.
    """
    wanted = {name.lower() for name in named}
    devices = sorted(accelerator["devices"], key=lambda device: device["pci"])
    interfaces = {
        name: {
            "mac": fact["mac"],
            "subnets": [str(subnet) for subnet in subnets(fact["addresses"])],
            "numa_node": fact["numa_node"],
            "path": list(fact["path"]),
        }
        for name, fact in sorted(network["interfaces"].items())
        if fact["kind"] != "loopback" and fact["master"] is None and (fact["path"] or {name.lower(), (fact["mac"] or "").lower()} & wanted)
    }
    return {"devices": [{key: device[key] for key in _DEVICE} for device in devices], "interfaces": interfaces}


def wiring_of(name: str, record: HostRecord, choices: Sequence[RailChoice], problems: Problems) -> HostWiring | None:
    """The wiring of a host as it was recorded; ``None`` where it contradicts itself or the inventory, which ``problems`` gets."""
    interfaces = {
        interface: {**one, "kind": "recorded", "master": None, "addresses": list(map(_address, one["subnets"]))}
        for interface, one in record["interfaces"].items()
    }
    return host_wiring(name, record, {"interfaces": interfaces}, choices, problems)


def _address(subnet: str) -> dict[str, Any]:
    address, _slash, length = subnet.partition("/")
    return {"address": address, "prefix_length": int(length)}


def render(record: Record) -> str:
    """The text of the file, a line for each device and interface; equal records give equal text."""
    return (
        _block(
            {"written_by": json.dumps("playbooks/topology.yml"), "hosts": _block({host: _host(record[host]) for host in sorted(record)}, 1)}
        )
        + "\n"
    )


def _host(record: HostRecord) -> str:
    devices = ",\n".join(f"    {json.dumps(device)}" for device in record["devices"])
    interfaces = {name: json.dumps(interface) for name, interface in record["interfaces"].items()}
    return _block({"devices": f"[\n{devices}\n   ]" if devices else "[]", "interfaces": _block(interfaces, 3)}, 2)


def _block(entries: Mapping[str, str], depth: int = 0) -> str:
    """A JSON object with an entry on each line; the values are JSON already."""
    lines = ",\n".join(f"{' ' * (depth + 1)}{json.dumps(name)}: {text}" for name, text in entries.items())
    return f"{{\n{lines}\n{' ' * depth}}}" if lines else "{}"


def read(path: str, problems: Problems) -> Record | None:
    """The record of a cluster; ``None`` where there is no file, or no usable one, which ``problems`` gets."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        _unfit(path, error, problems)
        return None
    try:
        hosts = json.loads(text)["hosts"]  # not YAML, which takes a second for a thousand hosts, at every look at the plan
        for host, record in hosts.items():
            _check(str(host), record)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        _unfit(path, error, problems)
        return None
    found: Record = hosts
    return found


def _unfit(path: str, error: Exception, problems: Problems) -> None:
    expected, remedy = "a file that topology.yml wrote", "restore it, or remove it and run topology.yml"
    problems.add(Gravity.WHOLE_CLUSTER, "localhost", f"topology {path}", error, expected, remedy)


def _check(host: str, record: Any) -> None:
    """The record has the fields it must have, and nothing else. :raises ValueError: naming host and field."""
    for where, entry, fields in [
        *((f"device {number}", device, _DEVICE) for number, device in enumerate(record["devices"])),
        *((str(name), interface, _INTERFACE) for name, interface in record["interfaces"].items()),
    ]:
        if set(entry) != set(fields):
            raise ValueError(f"{host}: {where} has {', '.join(map(str, entry))}; expected {', '.join(fields)}")
        for key, kind in fields.items():
            if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
                raise ValueError(f"{host}: {where}: {key} is {entry[key]!r}")
        if not all(isinstance(part, str) for part in (*entry["path"], *entry.get("subnets", ()))):
            raise ValueError(f"{host}: {where}: its lists hold something else than text")
    for interface in record["interfaces"].values():
        subnets([_address(subnet) for subnet in interface["subnets"]])


def merged(before: Record, now: Record) -> tuple[Record, list[Difference]]:
    """The record with the hosts read now, and what differs from it.

    That a device has got its number, because a driver has come, is no difference: nothing else was recorded of it before. A host
    that was never recorded is none either, and one that was not read stays as it was recorded.
    """
    differences = [one for host in now if host in before for one in _differences(host, before[host], now[host])]
    return {**before, **{host: _with_numbers(before.get(host), record) for host, record in now.items()}}, differences


def _with_numbers(before: HostRecord | None, now: HostRecord) -> HostRecord:
    """A number that is known stays known while the driver that would tell it is away."""
    known = {device["pci"]: device for device in before["devices"]} if before else {}
    devices = []
    for device in now["devices"]:
        kept = {key: known[device["pci"]][key] for key in _NUMBERS if device[key] is None and device["pci"] in known}
        devices.append({**device, **kept})
    return {**now, "devices": devices}


def _differences(host: str, before: HostRecord, now: HostRecord) -> Iterator[Difference]:
    pairs = (
        ("device", {device["pci"]: device for device in before["devices"]}, {device["pci"]: device for device in now["devices"]}),
        ("interface", before["interfaces"], now["interfaces"]),
    )
    for kind, recorded, found in pairs:
        for name in sorted({*recorded, *found}):
            if name not in found or name not in recorded:
                yield Difference(host, f"{kind} {name}", _presence(name, recorded), _presence(name, found))
                continue
            for key, value in recorded[name].items():
                other = found[name][key]
                if value != other and not (key in _NUMBERS and None in (value, other)):
                    yield Difference(host, f"{kind} {name}: {key}", _shown(value), _shown(other))


def _presence(name: str, known: Mapping[str, Any]) -> str:
    return "there" if name in known else "not there"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value) or "none"
    return "unknown" if value is None else str(value)
