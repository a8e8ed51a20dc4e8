"""The plan of healthy inventories."""

from __future__ import annotations

import time

import pytest
import yaml

MODEL_CARD = {
    "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
    "XPU_FORCE_SHARED_DEVICE_CONTEXT": "1",
    "BKCL_ENABLE_XDR": "1",
    "BKCL_USE_RDMA": "1",
    "BKCL_RDMA_FORCE_TREE": "1",
    "BKCL_TREE_THRESHOLD": "0",
    "BKCL_FORCE_L3_RDMA": "0",
    "BKCL_RDMA_NICS": "eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4",
    "BKCL_SOCKET_IFNAME": "eth0",
    "GLOO_SOCKET_IFNAME": "eth0",
    "USE_FLAGGEMS": "1",
    "GEMS_VENDOR": "kunlunxin",
}
OURS = {"RAY_CGRAPH_get_timeout", "VLLM_HOST_IP"}
OF_A_RANK = {"RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NIC"}
CPU = {"cluster_accelerator": "cpu", "cluster_rdma_nics": ["eth1"]}


def environments(plan):
    return [host["environment"] for host in plan.as_dict()["hosts"]]


def node_order(plan):
    return [host.name for host in sorted(plan.hosts, key=lambda host: host.node_rank)]


# The model card's cluster


def test_environment_is_the_model_cards_and_ours(plan, p800):
    for number, environment in enumerate(environments(plan(p800())), 11):
        assert environment == {**MODEL_CARD, "RAY_CGRAPH_get_timeout": "300", "VLLM_HOST_IP": f"10.0.0.{number}"}


def test_origin_and_reason_of_every_variable(plan, p800):
    values = {value.name: value for value in plan(p800()).hosts[0].environment}
    assert {name for name, value in values.items() if value.origin == "profile" and value.reason == "the model card"} == set(MODEL_CARD)
    assert {name for name, value in values.items() if value.origin == "ours"} == OURS
    assert all(len(value.reason) > 10 for value in values.values())


@pytest.mark.parametrize(
    ("switch", "left"),
    [(False, set()), ("no", set()), (True, OURS), (["VLLM_HOST_IP"], {"VLLM_HOST_IP"}), ([], set()), ("VLLM_HOST_IP", {"VLLM_HOST_IP"})],
)
def test_additions_are_switchable(plan, p800, switch, left):
    for environment in environments(plan(p800(cluster_environment_additions=switch))):
        assert set(environment) == set(MODEL_CARD) | left


def test_thirty_two_ranks_as_tp8_pp4(plan, p800):
    found = plan(p800())
    assert [(rank.rank, rank.host, rank.local_rank, rank.device) for rank in found.ranks()] == [
        (8 * host + local, f"host{host + 1}", local, f"/dev/xpu{local}") for host in range(4) for local in range(8)
    ]
    assert {(rank.pipeline_rank, rank.tensor_rank) for rank in found.ranks()} == {
        (stage, tensor) for stage in range(4) for tensor in range(8)
    }
    assert found.as_dict()["layout"] == {"tensor_parallel_size": 8, "pipeline_parallel_size": 4, "world_size": 32}


def test_nics_follow_the_devices(plan, p800):
    assert [rank.nic for rank in plan(p800(1)).ranks()] == ["eth1", "eth1", "eth2", "eth2", "eth3", "eth3", "eth4", "eth4"]


def test_a_rank_has_its_containers_environment_and_its_own(plan, p800):
    found = plan(p800())
    host = found.hosts[1]
    values = {value.name: value.value for value in found.rank_environment(host, host.ranks[3])}
    own = {
        "RANK": "11",
        "LOCAL_RANK": "3",
        "NODE_RANK": "1",
        "WORLD_SIZE": "32",
        "MASTER_ADDR": "10.0.0.11",
        "MASTER_PORT": "29500",
        "NIC": "eth2",
    }
    assert values == {**{value.name: value.value for value in host.environment}, **own}
    assert set(own) == OF_A_RANK


def test_no_container_has_a_variable_of_one_rank(plan, p800):
    assert not any(OF_A_RANK & set(environment) for environment in environments(plan(p800())))


def test_container_options_of_the_model_card(plan, p800):
    found = plan(p800()).as_dict()
    container = found["container"]
    assert found["hosts"][2]["device_nodes"] == [*(f"/dev/xpu{index}" for index in range(8)), "/dev/xpuctrl"]
    assert container["tmpfs"] == {"/dev/shm": "rw,nosuid,nodev,exec,size=64g"}
    assert {name: container[name] for name in ("privileged", "network", "uts", "ipc", "cap_add", "security_opt")} == {
        "privileged": True,
        "network": "host",
        "uts": "host",
        "ipc": "host",
        "cap_add": ["SYS_PTRACE"],
        "security_opt": ["seccomp=unconfined"],
    }
    assert container["ulimits"] == {"memlock": -1}


def test_limits_and_their_overrides(plan, p800):
    assert plan(p800()).as_dict()["limits"] == {"ready_seconds": 3600, "probe_seconds": 30}
    assert plan(p800(serve_ready_seconds="7200")).as_dict()["limits"]["ready_seconds"] == 7200


# Replicas


def test_every_replica_is_a_plan_of_its_own(plan, refusal, p800):
    inventory = p800(8)
    hosts = inventory["groups"].pop("cluster")
    inventory["groups"] |= {"replica1": hosts[:4], "replica2": hosts[4:]}
    made = [plan({**inventory, "cluster_group": group}) for group in ("replica1", "replica2")]
    assert [[host.name for host in one.hosts] for one in made] == [hosts[:4], hosts[4:]]
    assert [one.head.name for one in made] == ["host1", "host5"]
    assert [[rank.rank for rank in one.ranks()] for one in made] == [list(range(32))] * 2
    assert [one.hostfile().split()[0] for one in made] == ["10.0.0.11", "10.0.0.15"]
    assert refusal(inventory)[0].startswith("localhost: group cluster: no such group in the inventory")
    assert refusal({**inventory, "cluster_group": "replica3"})[0].startswith("localhost: group replica3: no such group")


# Overrides


def test_environment_override_removal_and_extra(plan, p800):
    given = p800(cluster_environment={"BKCL_TREE_THRESHOLD": 1, "BKCL_FORCE_L3_RDMA": None, "BKCL_GID_INDEX": "3"})
    environment = environments(plan(given))[2]
    assert environment["BKCL_TREE_THRESHOLD"] == "1"
    assert environment["BKCL_GID_INDEX"] == "3"
    assert "BKCL_FORCE_L3_RDMA" not in environment
    values = {value.name: value for value in plan(given).hosts[0].environment}
    assert (values["BKCL_GID_INDEX"].origin, values["BKCL_GID_INDEX"].reason) == ("inventory", "cluster_environment")


def test_a_variable_of_one_host_may_differ(plan, p800):
    environment = environments(plan(p800(own={"host2": {"cluster_environment": {"BKCL_GID_INDEX": 5}}})))
    assert [item.get("BKCL_GID_INDEX") for item in environment] == [None, "5", None, None]


def test_interfaces_from_the_inventory(plan, p800):
    found = plan(p800(cluster_control_interface="bond0", cluster_rdma_nics="ens1,ens2,ens3,ens4,ens5,ens6,ens7,ens8"))
    values = {value.name: value for value in found.hosts[0].environment}
    assert values["BKCL_RDMA_NICS"].value == "ens1,ens2,ens3,ens4,ens5,ens6,ens7,ens8"
    assert (values["BKCL_RDMA_NICS"].origin, values["BKCL_RDMA_NICS"].reason) == ("inventory", "cluster_rdma_nics")
    assert values["BKCL_SOCKET_IFNAME"].value == values["GLOO_SOCKET_IFNAME"].value == "bond0"


def test_fewer_devices_take_the_first_nics(plan, p800):
    found = plan(p800(cluster_devices_per_host="4"))
    environment = environments(found)[0]
    assert environment["BKCL_RDMA_NICS"] == "eth1,eth1,eth2,eth2"
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    assert found.as_dict()["layout"] == {"tensor_parallel_size": 4, "pipeline_parallel_size": 4, "world_size": 16}


@pytest.mark.parametrize(
    ("given", "layout"),
    [
        ({}, (8, 4)),
        ({"serve_tensor_parallel_size": 16}, (16, 2)),
        ({"serve_pipeline_parallel_size": 8}, (4, 8)),
        ({"serve_tensor_parallel_size": "4", "serve_pipeline_parallel_size": "8"}, (4, 8)),
        ({"serve_tensor_parallel_size": 32}, (32, 1)),
    ],
)
def test_layouts(plan, p800, given, layout):
    found = plan(p800(**given)).as_dict()["layout"]
    assert (found["tensor_parallel_size"], found["pipeline_parallel_size"]) == layout


def test_cluster_address_before_ansible_host(plan, p800):
    found = plan(p800(own={"host1": {"cluster_address": "172.16.0.1", "ansible_host": "a.name"}}))
    assert found.head.address == "172.16.0.1"
    assert {value.name: value.value for value in found.hosts[0].environment}["VLLM_HOST_IP"] == "172.16.0.1"


def test_mounts_and_shm(plan, p800):
    found = plan(p800(serve_mounts=["/share", "/ssd1:/data:ro"], serve_shm_size="128g")).as_dict()
    assert found["container"]["mounts"] == [
        {"source": "/share", "target": "/share", "read_only": False},
        {"source": "/ssd1", "target": "/data", "read_only": True},
    ]
    assert found["container"]["tmpfs"]["/dev/shm"].endswith("size=128g")
    assert found["profile"]["host"]["shm_size"] == "128g"


# The order of the hosts


def test_engine_orders_by_address_as_text(plan, p800):
    given = p800(own={"host2": {"ansible_host": "10.0.0.9"}, "host4": {"ansible_host": "10.0.0.100"}})
    found = plan(given)
    assert [host.address for host in found.hosts] == ["10.0.0.11", "10.0.0.9", "10.0.0.13", "10.0.0.100"]
    assert node_order(found) == ["host1", "host4", "host3", "host2"]
    assert [rank.host for rank in found.ranks()][::8] == ["host1", "host4", "host3", "host2"]
    assert "host1, host4, host3, host2" in found.as_dict()["notes"][0]
    assert found.hostfile().splitlines()[1] == "10.0.0.100 slots=8 type=gpu"


@pytest.mark.parametrize("reverse", [False, True])
def test_cpu_keeps_the_inventorys_order(plan, p800, reverse):
    given = p800(**CPU)
    given["groups"]["cluster"].sort(reverse=reverse)
    found = plan(given)
    assert node_order(found) == given["groups"]["cluster"]
    identities = [environment["RAY_OVERRIDE_NODE_ID_FOR_TESTING"] for environment in environments(found)]
    assert identities == sorted(identities)
    assert all(len(identity) == 56 and int(identity, 16) > 0 for identity in identities)
    assert found.notes == ()


def test_reversed_inventory_keeps_its_head_and_predicts_the_rest(plan, p800):
    given = p800()
    given["groups"]["cluster"].reverse()
    found = plan(given)
    assert found.head.name == "host4"
    assert node_order(found) == ["host4", "host1", "host2", "host3"]


# FlagScale's documents


def documents(plan):
    return {name: yaml.safe_load(text) if name.endswith("yaml") else text for name, text in plan.documents().items()}


def test_serve_document(plan, p800):
    serve = documents(plan(p800()))["serve.yaml"]
    assert serve["defaults"] == ["_self_", {"serve": "deepseek_r1"}]
    assert serve["action"] == "run"
    folder = "/var/lib/flagos-kunlunxin/serve"
    assert serve["experiment"] == {
        "exp_name": "deepseek_r1",
        "exp_dir": f"{folder}/logs",
        "task": {"type": "serve"},
        "deploy": {"use_fs_serve": False, "port": 8000},
        "runner": {"hostfile": f"{folder}/documents/hostfile.txt", "ssh_port": 2222, "deploy": {"use_fs_serve": False, "port": 8000}},
        "envs": {"USE_FLAGGEMS": "1", "GEMS_VENDOR": "kunlunxin"},
    }
    assert serve["hydra"]["run"]["dir"].startswith(folder)


def test_model_document(plan, p800):
    (entry,) = documents(plan(p800(weights_path="/ssd1/r1/")))["serve/deepseek_r1.yaml"]
    assert (entry["serve_id"], entry["engine"]) == ("vllm_model", "vllm")
    assert entry["engine_args"] == {
        "model": "/ssd1/r1",
        "served_model_name": "deepseek_r1",
        "host": "10.0.0.11",
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 4,
        "distributed_executor_backend": "ray",
        "gpu_memory_utilization": 0.9,
        "max_model_len": 32768,
        "max_num_seqs": 256,
        "enforce_eager": True,
        "trust_remote_code": True,
        "enable_chunked_prefill": True,
    }


def test_hostfile(plan, p800):
    assert documents(plan(p800()))["hostfile.txt"] == "".join(f"10.0.0.{number} slots=8 type=gpu\n" for number in range(11, 15))


def test_arguments_survive_flagscale(plan, p800):
    arguments = plan(
        p800(
            serve_engine_arguments={
                "enable-chunked-prefill": False,
                "no_enable_prefix_caching": True,
                "max_num_seqs": None,
                "hf_overrides": {"rope": [1, 2], "name": "it's"},
                "seed": 7,
            }
        )
    ).engine_arguments()
    assert arguments["no_enable_chunked_prefill"] is True
    assert "enable_chunked_prefill" not in arguments
    assert arguments["no_enable_prefix_caching"] is True
    assert "max_num_seqs" not in arguments
    assert arguments["hf_overrides"] == '{"rope":[1,2],"name":"it\'s"}'
    assert arguments["seed"] == 7
    assert not any(value is False or isinstance(value, dict) for value in arguments.values())


def test_negation_replaces_the_profiles_argument(plan, p800):
    arguments = plan(p800(serve_engine_arguments={"no_enforce_eager": True})).engine_arguments()
    assert arguments["no_enforce_eager"] is True
    assert "enforce_eager" not in arguments


@pytest.mark.parametrize("text", ["1e5", "on", "8", "1_000", "0x1f", "12:30", "Nan", "~", "a", "null"])
def test_text_stays_text_for_omegaconf(plan, p800, text):
    if text == "~":
        text = "no"
    given = plan(p800(serve_engine_arguments={"tokenizer_mode": text})).documents()["serve/deepseek_r1.yaml"]
    line = next(line for line in given.splitlines() if "tokenizer_mode" in line)
    assert yaml.safe_load(line)["tokenizer_mode"] == text
    assert line.endswith("'") or text == "a"


def test_before_start_only_where_it_is_set(plan, p800):
    assert "cmds" not in documents(plan(p800()))["serve.yaml"]["experiment"]
    command = "source /opt/conda/bin/activate flagscale-inference && export A=1"
    found = plan(p800(serve_before_start=command))
    assert documents(found)["serve.yaml"]["experiment"]["cmds"] == {"before_start": command}
    assert found.as_dict()["before_start"] == command


# Size


def test_a_thousand_hosts_in_a_second(plan, p800):
    hosts = {
        f"host{number}": {"ansible_host": f"10.{number >> 8}.{number & 255}.1", "cluster_accelerator": "kunlunxin"}
        for number in range(1024)
    }
    began = time.process_time()
    found = plan({"groups": {"cluster": list(hosts)}, "hostvars": hosts}).as_dict()
    assert len(found["ranks"]) == 8192
    assert time.process_time() - began < 1.0


# The swarm


def test_weights_travel_on_every_rail_once_unless_told_otherwise(plan, p800):
    assert {tuple(host["swarm_interfaces"]) for host in plan(p800()).as_dict()["hosts"]} == {("eth1", "eth2", "eth3", "eth4")}
    told = plan(p800(weights_interfaces=["bond0"])).as_dict()
    assert {tuple(host["swarm_interfaces"]) for host in told["hosts"]} == {("bond0",)}


def test_the_swarms_ports_follow_the_first_one(plan, p800):
    assert plan(p800()).as_dict()["swarm"] == {"member_port": 6900, "source_port": 6916, "most_lanes": 16}
    assert plan(p800(weights_port=7000)).as_dict()["swarm"]["source_port"] == 7016
