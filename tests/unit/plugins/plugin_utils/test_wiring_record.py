"""The recorded wiring: what is kept, what counts as another wiring, what the plan makes of a file that does not fit."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _wiring_record
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import Problems
from hypothesis import given
from hypothesis import strategies as st

SWITCH = ["pci0000:10", "0000:10:01.0", "0000:11:00.0"]


def accelerator(numbered=True):
    return {
        "devices": [
            {
                "pci": f"0000:1{index + 3}:00.0",
                "vendor": "1d22",
                "index": index if numbered else None,
                "minor": None,
                "numa_node": 0,
                "path": [*SWITCH, f"0000:1{index + 3}:00.0"],
            }
            for index in (1, 0)
        ]
    }


def interface(path=(), kind="physical", mac="0c:42:a1:00:00:01", master=None, address="10.1.1.11"):
    addresses = [{"address": address, "prefix_length": 24, "scope": "global"}, {"address": "fe80::1", "prefix_length": 64, "scope": "link"}]
    return {"kind": kind, "mac": mac, "master": master, "addresses": addresses, "numa_node": 0, "path": list(path), "mtu": 9000}


def network():
    return {
        "interfaces": {
            "lo": interface(kind="loopback"),
            "eth0": interface(kind="virtual", mac="AA:42:a1:00:00:00", address="10.0.0.11"),
            "eth1": interface([*SWITCH, "0000:19:00.0"]),
            "docker0": interface(kind="bridge", address="172.17.0.1"),
            "veth1": interface(master="docker0"),
        }
    }


INTERFACE = {"mac": None, "subnets": [], "numa_node": 0, "path": []}


def with_interface(entry):
    return json.dumps({"hosts": {"host1": {"devices": [], "interfaces": {"eth1": entry}}}})


def record(**changes):
    return {"host1": _wiring_record.record_of({**accelerator(), **changes}, network(), ["eth0"])}


def test_what_an_order_depends_on_is_kept_and_nothing_else():
    found = record()["host1"]
    assert list(found["interfaces"]) == ["eth0", "eth1"]
    assert found["interfaces"]["eth1"] == {
        "mac": "0c:42:a1:00:00:01",
        "subnets": ["10.1.1.0/24"],
        "numa_node": 0,
        "path": [*SWITCH, "0000:19:00.0"],
    }
    assert [(device["pci"], device["index"]) for device in found["devices"]] == [("0000:13:00.0", 0), ("0000:14:00.0", 1)]
    assert all("vendor" not in device for device in found["devices"])


def test_an_interface_can_be_named_by_its_hardware_address():
    found = _wiring_record.record_of(accelerator(), network(), ["aa:42:A1:00:00:00"])
    assert list(found["interfaces"]) == ["eth0", "eth1"]


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "cluster.topology.json"
    path.write_text(_wiring_record.render(record()))
    problems = Problems()
    assert _wiring_record.read(str(path), problems) == record()
    assert not problems


def test_equal_records_give_equal_text_in_any_order_of_the_hosts():
    one, other = record()["host1"], record()["host1"]
    assert _wiring_record.render({"a": one, "b": other}) == _wiring_record.render({"b": other, "a": one})


def test_a_number_that_a_driver_brings_is_no_other_wiring():
    before = {"host1": _wiring_record.record_of(accelerator(numbered=False), network(), ["eth0"])}
    merged, differences = _wiring_record.merged(before, record())
    assert (merged, differences) == (record(), [])
    assert _wiring_record.merged(record(), before) == (record(), [])


def test_a_host_that_was_not_read_stays_as_it_was():
    merged, differences = _wiring_record.merged({**record(), "host2": record()["host1"]}, record())
    assert (set(merged), differences) == ({"host1", "host2"}, [])


@pytest.mark.parametrize(
    ("change", "what", "before", "now"),
    [
        (lambda host: host["devices"].pop(0), "device 0000:13:00.0", "there", "not there"),
        (lambda host: host["devices"][0].update(index=5), "device 0000:13:00.0: index", "0", "5"),
        (lambda host: host["devices"][1].update(path=["pci0000:20"]), "device 0000:14:00.0: path", None, "pci0000:20"),
        (lambda host: host["interfaces"].pop("eth1"), "interface eth1", "there", "not there"),
        (lambda host: host["interfaces"]["eth1"].update(mac=None), "interface eth1: mac", "0c:42:a1:00:00:01", "unknown"),
        (lambda host: host["interfaces"]["eth1"].update(subnets=[]), "interface eth1: subnets", "10.1.1.0/24", "none"),
    ],
)
def test_another_wiring_is_told(change, what, before, now):
    changed = copy.deepcopy(record())
    change(changed["host1"])
    _merged, (difference,) = _wiring_record.merged(record(), changed)
    assert (difference.host, difference.what, difference.now) == ("host1", what, now)
    assert before in (None, difference.before)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"hosts": {', "Expecting property name"),
        ('{"other": 1}', "'hosts'"),
        (with_interface({"mac": None}), "host1: eth1 has mac; expected mac, subnets, numa_node, path"),
        (with_interface({**INTERFACE, "subnets": ["x/24"]}), "'x/24' does not appear to be an IPv4 or IPv6"),
        (with_interface({**INTERFACE, "numa_node": True}), "host1: eth1: numa_node is True"),
        (with_interface({**INTERFACE, "path": [1]}), "host1: eth1: its lists hold something else than text"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, p800, refusal, text, told):
    path = tmp_path / "cluster.topology.json"
    path.write_text(text)
    (line,) = refusal(p800(cluster_topology_file=str(path)))
    assert line.startswith(f"localhost: topology {path}: ")
    assert told in line
    assert line.endswith("; expected a file that topology.yml wrote; restore it, or remove it and run topology.yml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["hosts", "devices", "interfaces", "path", "subnets", "mac", "numa_node", "pci", "index", "minor"]),
                inner,
                max_size=6,
            )
        ),
    )
)
def test_no_file_ends_in_a_traceback(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("record") / "cluster.topology.json"
    path.write_text(json.dumps({"hosts": document}))
    problems = Problems()
    assert (_wiring_record.read(str(path), problems) is None) == bool(problems)


def test_a_host_that_is_not_recorded_is_refused(tmp_path, p800, refusal):
    path = tmp_path / "cluster.topology.json"
    path.write_text(_wiring_record.render(record()))
    assert refusal(p800(2, cluster_topology_file=str(path), cluster_devices_per_host=2))[0] == (
        f"host2: topology: not in {path}; expected the wiring of every host; run topology.yml"
    )


def test_ordinary_hosts_need_no_record(tmp_path, p800, plan):
    path = tmp_path / "cluster.topology.json"
    path.write_text('{"other": 1}')
    assert plan(p800(cluster_accelerator="cpu", cluster_topology_file=str(path))).notes == ()
