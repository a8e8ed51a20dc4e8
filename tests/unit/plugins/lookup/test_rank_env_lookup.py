"""The lookup ``rank_env``."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleError

EXAMPLE = Path(__file__).parents[4] / "examples" / "p800"


def test_a_rank_and_its_host_in_one_call(ansible):
    rank, host = ansible(EXAMPLE)("rank_env", 11, "p800-2")
    own = {
        "RANK": "11",
        "LOCAL_RANK": "3",
        "NODE_RANK": "1",
        "WORLD_SIZE": "32",
        "MASTER_ADDR": "10.0.0.11",
        "MASTER_PORT": "29500",
        "NIC": "eth2",
    }
    assert rank == {**host, **own}
    assert not own.keys() & host.keys()
    assert host == ansible(EXAMPLE)("plan")[0]["hosts"][1]["environment"]


def test_a_rank_as_text(ansible):
    assert ansible(EXAMPLE)("rank_env", "0") == ansible(EXAMPLE)("rank_env", 0)


def test_every_rank_has_its_own_environment(ansible):
    environments = ansible(EXAMPLE)("rank_env", *range(32))
    assert [environment["RANK"] for environment in environments] == [str(rank) for rank in range(32)]
    assert [environment["LOCAL_RANK"] for environment in environments] == [str(rank % 8) for rank in range(32)]
    assert [environment["VLLM_HOST_IP"] for environment in environments] == [f"10.0.0.{11 + rank // 8}" for rank in range(32)]


def test_explanation_has_the_same_values(ansible):
    lookup = ansible(EXAMPLE)
    for term in (11, "p800-2"):
        (explained,), (values,) = lookup("rank_env", term, explain=True), lookup("rank_env", term)
        assert {entry["name"]: entry["value"] for entry in explained} == values
        assert all(entry["origin"] in ("inventory", "profile", "ours", "topology") and entry["reason"] for entry in explained)


def test_explanation_tells_who_decided(ansible):
    (explained,) = ansible(EXAMPLE, extra={"cluster_environment": {"BKCL_QPS_PER_CONNECTION": 4}})("rank_env", 11, explain=True)
    origin = {entry["name"]: (entry["origin"], entry["reason"]) for entry in explained}
    assert origin["BKCL_USE_RDMA"] == ("profile", "the model card")
    assert origin["BKCL_RDMA_NICS"] == ("profile", "the model card")
    assert origin["BKCL_QPS_PER_CONNECTION"] == ("inventory", "cluster_environment")
    assert origin["VLLM_HOST_IP"][0] == origin["RAY_CGRAPH_get_timeout"][0] == origin["MASTER_PORT"][0] == "ours"
    assert origin["RANK"] == ("topology", "device 3 of host number 1")
    assert origin["NIC"] == ("profile", "the model card: entry 3")


@pytest.mark.parametrize("term", [32, -1, "p800-5", "", "1.0", None, True, "٣"])
def test_no_such_rank_or_host(ansible, term):
    with pytest.raises(AnsibleError, match="expected a rank from 0 to 31 or one of p800-1, p800-2, p800-3, p800-4"):
        ansible(EXAMPLE)("rank_env", term)


def test_an_inventory_that_cannot_be_planned(ansible):
    with pytest.raises(AnsibleError, match=r"^cluster: serve_port: '0'; expected"):
        ansible(EXAMPLE, extra={"serve_port": "0"})("rank_env", 0)


def test_a_host_with_a_number_for_a_name(ansible, tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text("cluster: {vars: {cluster_accelerator: cpu}, hosts: {'1': {ansible_host: 10.0.0.1}, '0': {ansible_host: 10.0.0.2}}}\n")
    host, rank = ansible(path)("rank_env", "1", 1)
    assert (host["VLLM_HOST_IP"], "RANK" in host) == ("10.0.0.1", False)
    assert (rank["VLLM_HOST_IP"], rank["RANK"]) == ("10.0.0.2", "1")
