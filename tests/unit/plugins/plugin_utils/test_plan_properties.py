"""What holds for every inventory, healthy or not."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import yaml
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._flagscale import engine_arguments
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._inventory import OF_A_HOST, SETTINGS
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._lookup import plan_of
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._placement import node_id, node_ranks
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._profile import RankRule
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._spec import HostSpec
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._values import PlanError
from hypothesis import given, settings
from hypothesis import strategies as st

addresses = st.integers(int(IPv4Address("10.0.0.0")), int(IPv4Address("10.255.255.255"))).map(lambda number: str(IPv4Address(number)))
accelerators = st.sampled_from(["cpu", "kunlunxin"])


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, Any]:
    """Variables of a cluster that can be planned."""
    accelerator = draw(accelerators)
    found = draw(st.lists(addresses, min_size=1, max_size=12, unique=True))
    devices = draw(st.integers(1, 16))
    tensor = draw(st.sampled_from([size for size in range(1, devices * len(found) + 1) if fits(size, devices, len(found))]))
    cluster = {
        "cluster_accelerator": accelerator,
        "cluster_devices_per_host": devices,
        "cluster_rdma_nics": [f"eth{1 + index // 2}" for index in range(devices)],
        "serve_tensor_parallel_size": tensor,
    }
    names = draw(st.permutations([f"node{index}" for index in range(len(found))]))
    hosts = {name: {"ansible_host": address, **cluster} for name, address in zip(names, found, strict=True)}
    for host in hosts.values():
        if draw(st.booleans()):
            host["cluster_visible_devices"] = draw(st.permutations(range(16)))[:devices]
    return {"groups": {"cluster": list(names)}, "hostvars": hosts}


def fits(tensor: int, devices: int, hosts: int) -> bool:
    return devices * hosts % tensor == 0 and (devices % tensor == 0 or tensor % devices == 0)


@given(clusters())
def test_every_rank_once_and_every_device_once(variables):
    plan = plan_of(variables).as_dict()
    assert [rank["rank"] for rank in plan["ranks"]] == list(range(plan["layout"]["world_size"]))
    assert sorted(rank for host in plan["hosts"] for rank in host["ranks"]) == list(range(plan["layout"]["world_size"]))
    assert len({(rank["host"], rank["device"]) for rank in plan["ranks"]}) == len(plan["ranks"])
    assert len({(rank["host"], rank["local_rank"]) for rank in plan["ranks"]}) == len(plan["ranks"])
    shape = {(rank["pipeline_rank"], rank["tensor_rank"]) for rank in plan["ranks"]}
    layout = plan["layout"]
    assert shape == {
        (stage, tensor) for stage in range(layout["pipeline_parallel_size"]) for tensor in range(layout["tensor_parallel_size"])
    }


@given(clusters())
def test_a_list_of_devices_is_the_order_of_the_ranks(variables):
    for host in plan_of(variables).hosts:
        given = variables["hostvars"][host.name].get("cluster_visible_devices", range(len(host.devices)))
        assert [rank.device for rank in host.ranks] == [f"/dev/xpu{number}" for number in given]


@given(clusters())
def test_hosts_keep_the_inventorys_order_and_the_first_is_the_head(variables):
    plan = plan_of(variables).as_dict()
    assert [host["name"] for host in plan["hosts"]] == variables["groups"]["cluster"]
    assert plan["head"]["name"] == plan["hosts"][0]["name"]
    assert plan["hosts"][0]["node_rank"] == 0
    assert sorted(host["node_rank"] for host in plan["hosts"]) == list(range(len(plan["hosts"])))
    assert plan["hostfile"].startswith(plan["head"]["address"] + " ")


@given(clusters())
def test_same_input_same_bytes(variables):
    reordered = {"groups": variables["groups"], "hostvars": dict(reversed(variables["hostvars"].items()))}
    first, second = (json.dumps(plan_of(item).as_dict()) for item in (variables, reordered))
    assert first == second


@given(clusters())
def test_a_host_outside_the_group_changes_nothing(variables):
    more = {**variables["hostvars"], "outsider": {"cluster_accelerator": "none", "ansible_host": "10.0.0.1"}}
    assert plan_of({**variables, "hostvars": more}) == plan_of(variables)


@given(clusters())
def test_collective_settings_are_equal_on_all_hosts(variables):
    plan = plan_of(variables).as_dict()
    of_a_host = {"VLLM_HOST_IP", "RAY_OVERRIDE_NODE_ID_FOR_TESTING", "CUDA_VISIBLE_DEVICES", "XPU_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
    shared = [{name: value for name, value in host["environment"].items() if name not in of_a_host} for host in plan["hosts"]]
    assert all(environment == shared[0] for environment in shared)
    assert all(host["nics"] == plan["hosts"][0]["nics"] and len(host["nics"]) == host["slots"] for host in plan["hosts"])


@given(clusters())
def test_documents_read_back(variables):
    plan = plan_of(variables).as_dict()
    assert [line.split()[0] for line in plan["hostfile"].splitlines()] == list(dict.fromkeys(rank["address"] for rank in plan["ranks"]))
    (entry,) = yaml.safe_load(plan["documents"][f"serve/{plan['model']['name']}.yaml"])
    assert entry["engine_args"] == plan["engine_arguments"]


@given(st.lists(addresses, min_size=1, max_size=12, unique=True), st.randoms())
def test_the_order_of_the_inventory_only_chooses_the_head_where_addresses_decide(found, random):
    """vLLM's older executor: whatever the order of the hosts after the first, their ranks are the same."""
    hosts = [HostSpec(address, address) for address in found]
    shuffled = hosts[:1] + random.sample(hosts[1:], len(hosts) - 1)
    first, second = (
        dict(zip([host.name for host in item], node_ranks(item, RankRule.ADDRESS_TEXT), strict=True)) for item in (hosts, shuffled)
    )
    assert first == second


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_ray_orders_the_ids_as_we_number_the_hosts(one, other):
    assert (node_id(one) < node_id(other)) == (one < other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text("abc'\" ", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=4), json_values, max_size=4))
def test_no_argument_is_lost_in_flagscale(chosen):
    survives = engine_arguments(chosen)
    assert not any(value is False or value is None or isinstance(value, dict) for value in survives.values())
    for name, value in chosen.items():
        if value is False:
            assert survives[f"no_{name}"] is True
        elif isinstance(value, dict):
            assert json.loads(survives[name]) == value
        elif value is not None:
            assert survives[name] == value


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["true", "8", "eth1,eth2", "/a", "{{ a }}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
readable = [*(setting.variable for setting in SETTINGS), *OF_A_HOST, "ansible_host", "ansible_port"]


@settings(max_examples=300)
@given(
    clusters(),
    st.dictionaries(st.sampled_from(readable), anything, max_size=4),
    st.dictionaries(st.sampled_from(readable), anything, max_size=2),
)
def test_any_value_is_planned_or_refused_in_single_lines(variables, cluster, own):
    for host in variables["hostvars"].values():
        host.update(cluster)
    variables["hostvars"][variables["groups"]["cluster"][-1]].update(own)
    try:
        plan_of(variables).as_dict()
    except PlanError as error:
        assert error.findings
        for finding in error.findings:
            assert len(str(finding).splitlines()) == 1
            assert all(finding)
