"""An inventory that cannot be planned ends in one clear line, before any host is asked anything."""

from __future__ import annotations

import json

import pytest
import yaml
from clone import INVENTORY, ROOT, play

P800 = ROOT / "examples" / "p800"

BAD_VARIABLES = {
    "unknown accelerator": ({"cluster_accelerator": "tpu"}, ["cluster_accelerator", "'tpu'", "cpu, kunlunxin"]),
    "layout of another size": (
        {"serve_pipeline_parallel_size": 3},
        ["serve_tensor_parallel_size x serve_pipeline_parallel_size", "2 x 3 = 6", "4 hosts x 1 devices = 4"],
    ),
    "too many NICs": ({"cluster_rdma_nics": ["eth1", "eth2"]}, ["cluster_rdma_nics", "2 entries", "expected 1"]),
    "a blank in a value": ({"cluster_environment": {"X": "a b"}}, ["node1", "cluster_environment", "X='a b'", "FlagScale"]),
    "a quote in a value": ({"cluster_environment": {"X": "a'b"}}, ["node1", "cluster_environment", "FlagScale"]),
    "a quote in the model's name": ({"serve_model_name": "it's"}, ["serve_model_name", "it's"]),
    "a port twice": ({"serve_port": 2222}, ["serve_port", "cluster_ssh_port", "2222"]),
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
    variables, words = BAD_VARIABLES[case]
    line = refused(INVENTORY, **variables)
    assert all(word in line for word in words), line
    assert "expected" in line


@pytest.fixture
def four_hosts(tmp_path):
    """Writes an inventory with these addresses for node1, node2, ... and returns its file."""

    def write(*addresses, **variables):
        hosts = {f"node{number}": {"ansible_host": address} for number, address in enumerate(addresses, 1)}
        localhost = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        cluster = {"hosts": hosts, "vars": {"cluster_accelerator": "cpu", **variables}}
        content = {"all": {"hosts": {"localhost": localhost}, "children": {"cluster": cluster}}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tmp_path / "hosts.yml"

    return write


def test_an_address_twice(four_hosts):
    line = refused(four_hosts("192.0.2.1", "192.0.2.2", "192.0.2.1"))
    assert all(word in line for word in ("node1", "node3", "192.0.2.1"))


def test_a_missing_address(four_hosts):
    line = refused(four_hosts("192.0.2.1", ""))
    assert "node2" in line


def test_the_p800_example_is_planned_as_the_model_card_wants(tmp_path):
    ended = play("playbooks/validate.yml", inventory=P800, capture=True)
    assert ended.status == 0, ended.output
    assert "4 hosts x 8 kunlunxin devices, TP8 x PP4" in ended.output


def test_the_p800_example_with_a_nic_missing():
    line = refused(P800, cluster_rdma_nics=["eth1", "eth1", "eth2", "eth2", "eth3", "eth3", "eth4"])
    assert all(word in line for word in ("cluster_rdma_nics", "7 entries", "expected 8"))
