"""Which interfaces the login of a module needs, from the environment of its ancestors and from the routes."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._login import login

ADDRESSES = {"eth0": [{"address": "10.0.0.5"}], "eth1": [{"address": "10.1.1.5"}]}


def process(captured, pid, parent, environment=""):
    captured.files({f"/proc/{pid}/environ": environment, f"/proc/{pid}/status": f"Name:\tx\nPid:\t{pid}\nPPid:\t{parent}\n"})


def test_the_interface_of_the_address_and_that_of_the_answers(captured):
    process(captured, 30, 20, "HOME=/root\0SSH_CONNECTION=10.9.0.1 50000 10.0.0.5 22\0")
    captured.answer("ip route get 10.9.0.1 from 10.0.0.5", "10.9.0.1 from 10.0.0.5 via 10.1.1.254 dev eth1 uid 0 \n    cache \n")
    found = login(captured.tree, 30, ADDRESSES)
    assert (found.client, found.server, found.interfaces) == ("10.9.0.1 50000", "10.0.0.5", {"eth0", "eth1"})


def test_sudo_hides_the_connection_from_its_children(captured):
    process(captured, 40, 30, "SUDO_USER=admin\0")
    process(captured, 30, 20)
    process(captured, 20, 10, "SSH_CONNECTION=10.9.0.1 50000 10.1.1.5 22\0")
    assert login(captured.tree, 40, ADDRESSES).interfaces == {"eth1"}


def test_no_login_by_ssh(captured):
    process(captured, 40, 30)
    process(captured, 30, 1)
    process(captured, 1, 0, "SSH_CONNECTION=10.9.0.1 50000 10.1.1.5 22\0")
    assert login(captured.tree, 40, ADDRESSES) is None
    assert login(captured.tree, 99, ADDRESSES) is None


def test_a_strange_value_is_no_login(captured):
    process(captured, 40, 1, "SSH_CONNECTION=what\0MY_SSH_CONNECTION=1 2 3 4\0")
    assert login(captured.tree, 40, ADDRESSES) is None
