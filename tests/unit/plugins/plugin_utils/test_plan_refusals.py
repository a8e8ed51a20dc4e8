"""Inventories that cannot be planned: the exact line, before anything is changed."""

from __future__ import annotations

import pytest

SAFE = "letters, digits and _ . / : , = + @ % - only, because FlagScale puts it unquoted into two nested shells"
COMMAND = "a command line without quotes, newlines, $ or backslash, because FlagScale puts it into quotes of its own"
PATH = "an absolute path of letters, digits and _ . / @ % + - without .."
PORT = "a whole number from 1 to 65535"
ADDRESS = "an IPv4 address; FlagScale takes no names and no IPv6 here"
REACHABLE = "an IPv4 address on which the other hosts reach this one"

LINES = [
    (
        "unknown accelerator",
        {"cluster_accelerator": "kunlun"},
        "cluster: cluster_accelerator: unknown accelerator 'kunlun'; expected one of cpu, kunlunxin; set cluster_accelerator to kunlunxin",
    ),
    (
        "unknown accelerator like no other",
        {"cluster_accelerator": "h100"},
        "cluster: cluster_accelerator: unknown accelerator 'h100'; expected one of cpu, kunlunxin; set cluster_accelerator to one of them",
    ),
    (
        "accelerator that is no name",
        {"cluster_accelerator": ["cpu"]},
        "cluster: cluster_accelerator: ['cpu']; expected a name of letters, digits and . _ - that begins and ends with a letter or digit;"
        " mend cluster_accelerator",
    ),
    (
        "product of the layout",
        {"serve_tensor_parallel_size": 8, "serve_pipeline_parallel_size": 2},
        "cluster: serve_tensor_parallel_size x serve_pipeline_parallel_size: 8 x 2 = 16; expected 4 hosts x 8 devices = 32;"
        " make the product 32, or leave both out for 8 x 4",
    ),
    (
        "layout that straddles hosts",
        {"cluster_devices_per_host": 6, "serve_tensor_parallel_size": 4, "serve_pipeline_parallel_size": 6},
        "cluster: serve_tensor_parallel_size: 4; expected a divisor or a multiple of the 6 devices of a host;"
        " make the product 24, or leave both out for 6 x 4",
    ),
    (
        "NIC list too short",
        {"cluster_rdma_nics": ["eth1", "eth2", "eth3", "eth4"]},
        "cluster: cluster_rdma_nics: 4 entries (eth1,eth2,eth3,eth4); expected 8, one for each device of a host;"
        " list one interface for each device, in the order of the devices",
    ),
    (
        "NIC list of the profile too short",
        {"cluster_devices_per_host": 16},
        "cluster: cluster_rdma_nics: 8 entries (eth1,eth1,eth2,eth2,eth3,eth3,eth4,eth4); expected 16, one for each device of a host;"
        " list one interface for each device, in the order of the devices",
    ),
    (
        "NIC list through the environment",
        {"cluster_environment": {"BKCL_RDMA_NICS": "eth1,eth2"}},
        "host1, host2, host3, host4: cluster_environment.BKCL_RDMA_NICS: 2 entries (eth1,eth2); expected 8, one for each device; mend the list",
    ),
    (
        "NIC list with an empty entry",
        {"cluster_rdma_nics": "eth1,,eth2"},
        "cluster: cluster_rdma_nics: 'eth1,,eth2'; expected a list of network interfaces, such as [eth1, eth1, eth2, eth2]; mend cluster_rdma_nics",
    ),
    (
        "device twice",
        {"cluster_visible_devices": [0, 1, 2, 3, 4, 5, 6, 6]},
        "host1, host2, host3, host4: cluster_visible_devices: 6 more than once (0,1,2,3,4,5,6,6); expected every device once;"
        " mend cluster_visible_devices",
    ),
    (
        "devices too few",
        {"cluster_visible_devices": "3,2"},
        "host1, host2, host3, host4: cluster_visible_devices: 2 devices (3,2); expected 8, which is what every host serves with;"
        " list 8 devices, or set cluster_devices_per_host for all hosts",
    ),
    (
        "devices by their paths",
        {"cluster_visible_devices": ["/dev/xpu0", "/dev/xpu1"]},
        "host1, host2, host3, host4: cluster_visible_devices: '/dev/xpu0'; expected a list of numbers of devices, each from 0 to 15,"
        " such as [2, 3, 0, 1]; mend cluster_visible_devices",
    ),
    (
        "no devices",
        {"cluster_visible_devices": []},
        "host1, host2, host3, host4: cluster_visible_devices: []; expected a list of numbers of devices, each from 0 to 15,"
        " such as [2, 3, 0, 1]; mend cluster_visible_devices",
    ),
    (
        "devices that the environment contradicts",
        {"cluster_visible_devices": "1,0,2,3,4,5,6,7", "cluster_environment": {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}},
        "host1, host2, host3, host4: cluster_environment.CUDA_VISIBLE_DEVICES: 0,1,2,3,4,5,6,7; expected 1,0,2,3,4,5,6,7,"
        " the host's cluster_visible_devices; remove it: cluster_visible_devices fills it",
    ),
    (
        "too many devices",
        {"cluster_devices_per_host": 17},
        "cluster: cluster_devices_per_host: 17; expected a whole number from 1 to 16; mend cluster_devices_per_host",
    ),
    ("port out of range", {"serve_port": 65536}, f"cluster: serve_port: 65536; expected {PORT}; mend serve_port"),
    ("port zero", {"serve_port": 0}, f"cluster: serve_port: 0; expected {PORT}; mend serve_port"),
    ("port that is true", {"serve_port": True}, f"cluster: serve_port: True; expected {PORT}; mend serve_port"),
    ("port that is text", {"serve_port": "http"}, f"cluster: serve_port: 'http'; expected {PORT}; mend serve_port"),
    ("port that is null", {"serve_port": None}, f"cluster: serve_port: nothing (null); expected {PORT}; mend serve_port"),
    ("port that is NaN", {"serve_port": float("nan")}, f"cluster: serve_port: nan; expected {PORT}; mend serve_port"),
    ("port that is a fraction", {"serve_port": 8000.0}, f"cluster: serve_port: 8000.0; expected {PORT}; mend serve_port"),
    (
        "two ports alike",
        {"serve_port": 2222},
        "cluster: cluster_ssh_port: 2222, the port of serve_port; expected a port of its own; choose another cluster_ssh_port",
    ),
    (
        "port of the host's sshd",
        {"cluster_ssh_port": 22},
        "cluster: cluster_ssh_port: 22, the port of host1's own sshd (ansible_port); expected a port of its own; choose another cluster_ssh_port",
    ),
    (
        "the swarm's ports beside the service's",
        {"serve_port": 6905},
        "cluster: weights_port: 6900 to 6931, among them the port of serve_port; expected 32 ports of its own; choose another weights_port",
    ),
    (
        "the swarm's ports reach into Ray's",
        {"weights_port": 9990},
        "cluster: weights_port: 9990 to 10021, among them the port of Ray's client server; expected 32 ports of its own;"
        " choose another weights_port",
    ),
    (
        "the swarm's last port beyond the last port",
        {"weights_port": 65530},
        "cluster: weights_port: 65530; expected a whole number from 1024 to 65504; mend weights_port",
    ),
    (
        "the swarm's interfaces as one that is none",
        {"weights_interfaces": ["eth1", ""]},
        "cluster: weights_interfaces: ['eth1', '']; expected a list of network interfaces, such as [eth1, eth1, eth2, eth2];"
        " mend weights_interfaces",
    ),
    (
        "port of Ray's workers",
        {"serve_port": 10500},
        "cluster: serve_port: 10500, the port of Ray's workers; expected a port of its own; choose another serve_port",
    ),
    ("path that is relative", {"weights_path": "models/r1"}, f"cluster: weights_path: 'models/r1'; expected {PATH}; mend weights_path"),
    ("path with a blank", {"weights_path": "/my models"}, f"cluster: weights_path: '/my models'; expected {PATH}; mend weights_path"),
    (
        "path that climbs",
        {"cluster_state_dir": "/var/../etc"},
        f"cluster: cluster_state_dir: '/var/../etc'; expected {PATH}; mend cluster_state_dir",
    ),
    ("path that is the root", {"cluster_state_dir": "/"}, f"cluster: cluster_state_dir: '/'; expected {PATH}; mend cluster_state_dir"),
    (
        "model name with a slash",
        {"serve_model_name": "deepseek-ai/DeepSeek-R1"},
        "cluster: serve_model_name: 'deepseek-ai/DeepSeek-R1'; expected a name of letters, digits and . _ - that begins and ends with a"
        " letter or digit; mend serve_model_name",
    ),
    (
        "truth that is a word",
        {"cluster_manage_kernel_globals": "maybe"},
        "cluster: cluster_manage_kernel_globals: 'maybe'; expected true or false; mend cluster_manage_kernel_globals",
    ),
    (
        "unknown addition",
        {"cluster_environment_additions": ["VLLM_HOST_PI"]},
        "cluster: cluster_environment_additions: VLLM_HOST_PI; expected some of CUDA_DEVICE_ORDER,"
        " RAY_CGRAPH_get_timeout, VLLM_HOST_IP, XPU_VISIBLE_DEVICES; remove it, or set it in cluster_environment",
    ),
    (
        "additions that are a number",
        {"cluster_environment_additions": 3},
        "cluster: cluster_environment_additions: 3; expected true, false, or a list of the additions' names; mend cluster_environment_additions",
    ),
    (
        "environment that is a list",
        {"cluster_environment": ["A=1"]},
        "host1, host2, host3, host4: cluster_environment: ['A=1']; expected a dictionary of environment variables; mend cluster_environment",
    ),
    (
        "variable that is no name",
        {"cluster_environment": {"A-B": "1"}},
        "host1, host2, host3, host4: cluster_environment: 'A-B'; expected names of letters, digits and _ that do not begin with a digit;"
        " mend cluster_environment",
    ),
    (
        "variable that is true",
        {"cluster_environment": {"A": True}},
        "host1, host2, host3, host4: cluster_environment: A=True; expected text in quotes, because true and false are written differently by"
        " every program; mend cluster_environment",
    ),
    (
        "variable of one rank",
        {"cluster_environment": {"RANK": "0"}},
        "host1, host2, host3, host4: cluster_environment.RANK: 0; expected left out: it belongs to one rank, never to a container;"
        " remove it; rank_env gives it",
    ),
    (
        "engine argument of the plan",
        {"serve_engine_arguments": {"tensor-parallel-size": 4}},
        "cluster: serve_engine_arguments.tensor_parallel_size: 4; expected left out: the plan decides it; set serve_tensor_parallel_size instead",
    ),
    (
        "executor of the plan",
        {"serve_engine_arguments": {"distributed_executor_backend": "mp"}},
        "cluster: serve_engine_arguments.distributed_executor_backend: mp; expected left out: the plan decides it;"
        " remove it: the hosts are joined by Ray",
    ),
    (
        "engine argument with a blank",
        {"serve_engine_arguments": {"chat_template": "a b"}},
        f"cluster: serve_engine_arguments: chat_template='a b'; expected {SAFE}; mend serve_engine_arguments",
    ),
    (
        "engine argument twice",
        {"serve_engine_arguments": {"max-num-seqs": 1, "max_num_seqs": 2}},
        "cluster: serve_engine_arguments: 'max_num_seqs'; expected each argument once, such as max_model_len; mend serve_engine_arguments",
    ),
    (
        "engine argument that is infinite",
        {"serve_engine_arguments": {"swap_space": float("inf")}},
        "cluster: serve_engine_arguments: swap_space=inf; expected a finite number; mend serve_engine_arguments",
    ),
    (
        "interpolation in an engine argument",
        {"serve_engine_arguments": {"hf_overrides": {"a": "${oc.env:HOME}"}}},
        "cluster: serve_engine_arguments: hf_overrides: '${oc.env:HOME}'; expected text without $ and control characters; mend serve_engine_arguments",
    ),
    (
        "quotes before start",
        {"serve_before_start": "source 'x'"},
        f"""cluster: serve_before_start: "source 'x'"; expected {COMMAND}; mend serve_before_start""",
    ),
    (
        "mount over what the container writes",
        {"serve_mounts": ["/root"]},
        "cluster: serve_mounts: /root would cover /root of the container; expected a folder that the container does not use;"
        " mount it below a folder of its own, such as /data",
    ),
    (
        "mount over the folder of the service",
        {"serve_mounts": ["/data:/var"]},
        "cluster: serve_mounts: /var would cover /var/lib/flagos-kunlunxin of the container; expected a folder that the container does not use;"
        " mount it below a folder of its own, such as /data",
    ),
    (
        "mount that is relative",
        {"serve_mounts": ["data:/data"]},
        "cluster: serve_mounts: 'data:/data'; expected a list of folders, each /source, /source:/target or /source:/target:ro; mend serve_mounts",
    ),
    (
        "misspelt variable",
        {"serve_tensor_paralel_size": 8},
        "host1, host2, host3, host4: serve_tensor_paralel_size: unknown variable; expected serve_tensor_parallel_size; rename it",
    ),
    (
        "misspelt variable of a host",
        {"cluster_adress": "10.0.0.1"},
        "host1, host2, host3, host4: cluster_adress: unknown variable; expected cluster_address; rename it",
    ),
    ("shm in words", {"serve_shm_size": "much"}, "cluster: serve_shm_size: 'much'; expected a size such as 64g; mend serve_shm_size"),
]


@pytest.mark.parametrize(("given", "line"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_one_problem_is_one_line(refusal, p800, given, line):
    assert refusal(_with(p800(), given)) == [line]


def _with(variables, given):
    for host in variables["hostvars"].values():
        host.update(given)
    return variables


HOSTS = [
    (
        "duplicate address",
        {"host3": {"ansible_host": "10.0.0.11"}},
        "host3: address: duplicate address 10.0.0.11, the same as host1; expected an address of its own;"
        " mend cluster_address or ansible_host of one of the two",
    ),
    (
        "name for an address",
        {"host2": {"ansible_host": "node.example"}},
        f"host2: ansible_host: 'node.example'; expected {ADDRESS}; set cluster_address",
    ),
    ("IPv6", {"host2": {"cluster_address": "fd00::1"}}, f"host2: cluster_address: 'fd00::1'; expected {ADDRESS}; mend cluster_address"),
    (
        "address with a leading zero",
        {"host2": {"cluster_address": "10.0.0.012"}},
        f"host2: cluster_address: '10.0.0.012'; expected {ADDRESS}; mend cluster_address",
    ),
    (
        "address that is a number",
        {"host2": {"cluster_address": 10}},
        f"host2: cluster_address: 10; expected {ADDRESS}; mend cluster_address",
    ),
    (
        "loopback",
        {"host2": {"cluster_address": "127.0.0.1"}},
        f"host2: cluster_address: '127.0.0.1'; expected {REACHABLE}; mend cluster_address",
    ),
    (
        "any address",
        {"host2": {"cluster_address": "0.0.0.0"}},
        f"host2: cluster_address: '0.0.0.0'; expected {REACHABLE}; mend cluster_address",
    ),
    (
        "hosts that differ",
        {"host2": {"serve_port": 9000}},
        "host2: serve_port: 9000; expected not set as on host1; set it once, for the group cluster",
    ),
    (
        "several hosts that differ",
        {"host2": {"cluster_accelerator": "cpu"}, "host4": {"cluster_accelerator": "cpu"}},
        "host2: cluster_accelerator: 'cpu' and 1 more hosts; expected 'kunlunxin' as on host1; set it once, for the group cluster",
    ),
    (
        "interfaces that differ",
        {"host4": {"cluster_environment": {"GLOO_SOCKET_IFNAME": "bond0"}}},
        "host4: cluster_environment.GLOO_SOCKET_IFNAME: bond0; expected the default as on host1; set it once, for the group cluster",
    ),
    (
        "interfaces removed on the first host",
        {"host1": {"cluster_environment": {"GLOO_SOCKET_IFNAME": None}}},
        "host2, host3, host4: cluster_environment.GLOO_SOCKET_IFNAME: the default; expected removed (null) as on host1;"
        " set it once, for the group cluster",
    ),
    (
        "interfaces that are empty",
        {"host4": {"cluster_environment": {"GLOO_SOCKET_IFNAME": ""}}},
        "host4: cluster_environment.GLOO_SOCKET_IFNAME: empty; expected the default as on host1; set it once, for the group cluster",
    ),
    (
        "another address for the engine",
        {"host2": {"cluster_environment": {"VLLM_HOST_IP": "10.9.9.9"}}},
        "host2: cluster_environment.VLLM_HOST_IP: 10.9.9.9; expected 10.0.0.12, the host's ansible_host; set cluster_address instead",
    ),
    ("ssh port in words", {"host2": {"ansible_port": "ssh"}}, f"host2: ansible_port: 'ssh'; expected {PORT}; mend ansible_port"),
    (
        "a quote",
        {"host2": {"cluster_environment": {"A": 'say "hi"'}}},
        f"""host2: cluster_environment: A='say "hi"'; expected {SAFE}; mend cluster_environment""",
    ),
]


@pytest.mark.parametrize(("own", "line"), [case[1:] for case in HOSTS], ids=[case[0] for case in HOSTS])
def test_one_host_is_named(refusal, p800, own, line):
    assert refusal(p800(own=own)) == [line]


def test_the_plans_own_order_cannot_be_overridden(refusal, p800):
    given = _with(p800(own={"host2": {"cluster_environment": {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": None}}}), {"cluster_accelerator": "cpu"})
    assert refusal(given) == [
        "host2: cluster_environment.RAY_OVERRIDE_NODE_ID_FOR_TESTING: removed (null);"
        " expected the plan's own value: the engine numbers the hosts by it; remove it"
    ]


@pytest.mark.parametrize(
    "value", ["a b", "a'b", 'a"b', "a\nb", "a\tb", "a$b", "a`b", "a\\b", "a;b", "a&b", "a|b", "(a)", "a*", "~a", "a#b", "é", "a\0b", " "]
)
def test_values_that_break_flagscale(refusal, p800, value):
    (line,) = refusal(p800(cluster_environment={"A": value}))
    assert SAFE in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(("groups", "observed"), [({}, "no such group in the inventory"), ({"cluster": []}, "the group has no hosts")])
def test_no_hosts(refusal, groups, observed):
    assert refusal({"groups": groups, "hostvars": {}}) == [
        f"localhost: group cluster: {observed}; expected the hosts that serve together; list them under cluster and give the inventory by -i"
    ]


def test_no_accelerator(refusal, p800):
    given = p800()
    for host in given["hostvars"].values():
        del host["cluster_accelerator"]
    assert refusal(given) == ["cluster: cluster_accelerator: not set; expected the name of a profile; set cluster_accelerator"]


def test_no_address(refusal, p800):
    given = p800()
    del given["hostvars"]["host2"]["ansible_host"]
    assert refusal(given) == [
        "host2: cluster_address: not set, and neither is ansible_host; expected the IPv4 address on which the hosts reach each other;"
        " set cluster_address"
    ]


def test_names_that_differ_only_in_case(refusal, p800):
    given = p800(2)
    given["groups"]["cluster"] = ["host1", "HOST1"]
    given["hostvars"]["HOST1"] = given["hostvars"]["host2"]
    assert refusal(given) == [
        "HOST1: name: duplicate name host1, the same as host1; expected a name of its own; remove or rename one of the two"
    ]


def test_a_name_that_no_file_can_have(refusal, p800):
    given = p800(1)
    given["groups"]["cluster"] = ["host/1"]
    given["hostvars"]["host/1"] = given["hostvars"]["host1"]
    (line,) = refusal(given)
    assert line.startswith("host/1: name in the inventory: 'host/1'; expected a name of")


def test_all_problems_at_once_and_the_worst_first(refusal, p800):
    lines = refusal(
        _with(
            p800(own={"host2": {"ansible_host": "10.0.0.11"}, "host3": {"ansible_host": "x"}}),
            {"cluster_accelerator": "cpuu", "serve_shm_size": "much", "serve_port": 2222},
        )
    )
    assert [line.split(";")[0] for line in lines] == [
        "cluster: cluster_accelerator: unknown accelerator 'cpuu'",
        "host2: address: duplicate address 10.0.0.11, the same as host1",
        "cluster: cluster_ssh_port: 2222, the port of serve_port",
        "host3: ansible_host: 'x'",
        "cluster: serve_shm_size: 'much'",
    ]


def test_nothing_is_concluded_from_a_value_that_could_not_be_read(refusal, p800):
    variables = {"BKCL_RDMA_NICS": "eth1,eth2"}
    assert len(refusal(p800(cluster_devices_per_host="many", serve_tensor_parallel_size=3, cluster_environment=variables))) == 1
    assert len(refusal(p800(own={"host2": {"cluster_address": "x", "cluster_environment": {"VLLM_HOST_IP": "10.0.0.9"}}}))) == 1


def test_many_hosts_are_folded(refusal, p800):
    (line,) = refusal(p800(9, cluster_environment={"A": "a b"}))
    assert line.startswith("host1 and 8 more hosts: cluster_environment: A='a b'")


def test_variables_of_others_are_theirs(plan, p800):
    plan(p800(serve_poll_seconds=5, cluster_domain="example", my_cluster_names=[], weights_source="/data"))
