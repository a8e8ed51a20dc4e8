"""An inventory that cannot be planned ends in one clear line, before any host is asked anything."""

from __future__ import annotations

import json

import pytest
import yaml
from clone import INVENTORY, ROOT, play
from finding import says

P800 = ROOT / "examples" / "p800"

ALL = "node1, node2, node3, node4"
# The variables, and the parts of the line.
BAD_VARIABLES = {
    "unknown accelerator": (
        {"cluster_accelerator": "tpu"},
        ("cluster", "cluster_accelerator", "unknown accelerator 'tpu'", "one of cpu, kunlunxin", "set cluster_accelerator"),
    ),
    "layout of another size": (
        {"serve_pipeline_parallel_size": 3},
        (
            "cluster",
            "serve_tensor_parallel_size x serve_pipeline_parallel_size",
            "2 x 3 = 6",
            "4 hosts x 1 devices = 4",
            "make the product 4",
        ),
    ),
    "too many NICs": (
        {"cluster_rdma_nics": ["eth1", "eth2"]},
        ("cluster", "cluster_rdma_nics", "2 entries (eth1,eth2)", "1, one for each device", "list one interface for each device"),
    ),
    "a blank in a value": (
        {"cluster_environment": {"X": "a b"}},
        (ALL, "cluster_environment", "X='a b'", "FlagScale puts it unquoted", "mend cluster_environment"),
    ),
    "a quote in a value": (
        {"cluster_environment": {"X": "a'b"}},
        (ALL, "cluster_environment", "a'b", "FlagScale puts it unquoted", "mend cluster_environment"),
    ),
    "a quote in the model's name": (
        {"serve_model_name": "it's"},
        ("cluster", "serve_model_name", "it's", "a name of letters, digits", "mend serve_model_name"),
    ),
    "a port twice": (
        {"serve_port": 2222},
        ("cluster", "cluster_ssh_port", "2222, the port of serve_port", "a port of its own", "choose another cluster_ssh_port"),
    ),
}


def refused(inventory, **variables):
    """Play the whole site; return the one line, after making sure that it is one and that no host was touched."""
    ended = play("site.yml", "--extra-vars", json.dumps(variables), inventory=inventory, capture=True)
    assert ended.status != 0
    assert set(ended.hosts) == {"localhost"}, "no host may be asked before the plan stands"
    assert len(ended.fatal) == 1, ended.output
    return ended.fatal[0]


@pytest.mark.parametrize("case", BAD_VARIABLES)
def test_a_variable_that_cannot_be(case):
    variables, (where, check, observed, expected, remedy) = BAD_VARIABLES[case]
    finding = says(refused(INVENTORY, **variables), observed=observed, expected=expected, remedy=remedy)
    assert (finding.where, finding.check) == (where, check)


@pytest.fixture
def four_hosts(tmp_path):
    """Writes an inventory with these addresses for node1, node2, ... (or hosts of these names) and returns its file."""

    def write(*addresses, names=("node1", "node2", "node3", "node4"), **variables):
        hosts = {name: {"ansible_host": address} for name, address in zip(names, addresses, strict=False)}
        localhost = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        cluster = {"hosts": hosts, "vars": {"cluster_accelerator": "cpu", **variables}}
        content = {"all": {"hosts": {"localhost": localhost}, "children": {"cluster": cluster}}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tmp_path / "hosts.yml"

    return write


def test_an_address_twice(four_hosts):
    line = refused(four_hosts("192.0.2.1", "192.0.2.2", "192.0.2.1"))
    says(
        line,
        "node3",
        check="address",
        observed="duplicate address 192.0.2.1, the same as node1",
        expected="an address of its own",
        remedy="mend cluster_address or ansible_host of one of the two",
    )


def test_two_hosts_whose_names_differ_only_in_case(four_hosts):
    """Names of hosts are compared without case wherever the cluster uses them."""
    line = refused(four_hosts("192.0.2.1", "192.0.2.2", names=("node1", "NODE1")))
    says(
        line,
        "NODE1",
        check="name",
        observed="duplicate name node1, the same as node1",
        expected="a name of its own",
        remedy="remove or rename one of the two",
    )


def test_a_missing_address(four_hosts):
    line = refused(four_hosts("192.0.2.1", ""))
    says(line, "node2", expected="IPv4 address", remedy="cluster_address")


def test_the_p800_example_is_planned_as_the_model_card_wants(tmp_path):
    ended = play("playbooks/validate.yml", inventory=P800, capture=True)
    assert ended.status == 0, ended.output
    assert "4 hosts x 8 kunlunxin devices, TP8 x PP4" in ended.output


def test_the_p800_example_with_a_nic_missing():
    line = refused(P800, cluster_rdma_nics=["eth1", "eth1", "eth2", "eth2", "eth3", "eth3", "eth4"])
    says(
        line,
        "cluster",
        check="cluster_rdma_nics",
        observed="7 entries",
        expected="8, one for each device",
        remedy="list one interface for each device",
    )
