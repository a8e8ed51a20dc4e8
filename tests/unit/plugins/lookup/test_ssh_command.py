"""Who a program of its own becomes on a host, where Ansible's tasks are root's."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.lookup import ssh_command


@pytest.mark.parametrize(
    ("user", "variables", "become"),
    [
        ("root", {}, ""),
        ("ubuntu", {}, "sudo -n"),
        ("ubuntu", {"ansible_become": "yes"}, "sudo -n"),
        ("ubuntu", {"ansible_become": "false"}, ""),
        ("root", {"ansible_become": True}, ""),
    ],
)
def test_a_login_that_is_not_roots_uses_sudo_without_being_told(user, variables, become):
    assert ssh_command._become(user, variables) == become


def test_a_login_without_a_name_is_the_operators_own(monkeypatch):
    monkeypatch.setattr(ssh_command.getpass, "getuser", lambda: "operator")
    assert ssh_command._become(None, {}) == "sudo -n"
