"""What a restart would interrupt, on captured hosts."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_users import users

OURS = {"name": "flagos-kunlunxin-serve", "labels": {"io.flagos.kunlunxin.cluster": "flagos"}, "running": True}
THEIRS = {"name": "database", "labels": {}, "running": True}
STATE = "systemctl show --property=ActiveState --value flagos-kunlunxin-serve.service"


def test_an_idle_host_has_none(captured):
    captured.files({"/dev/xpu0": "", "/proc/7/comm": "sshd\n"})
    captured.answer(STATE, "inactive\n")
    assert users(captured.tree, ["/dev/xpu0", "/dev/xpu1"], {"a": THEIRS}) == []


def test_without_systemd_there_is_no_unit(captured):
    assert users(captured.tree, [], {}) == []


def test_all_kinds_of_users_are_named(captured):
    captured.files({"/dev/xpu0": "", "/dev/xpuctrl": "", "/proc/7/comm": "python3\n", "/proc/7/cgroup": "0::/system.slice/train.service\n"})
    captured.link("/proc/7/fd/3", "/dev/xpu0")
    captured.link("/proc/7/fd/4", "/dev/xpuctrl")
    captured.answer(STATE, "activating\n")
    assert users(captured.tree, ["/dev/xpu0", "/dev/xpuctrl"], {"a": OURS, "b": THEIRS}) == [
        "unit flagos-kunlunxin-serve.service is activating",
        "container flagos-kunlunxin-serve runs",
        "python3 (pid 7, unit train.service) holds /dev/xpu0 /dev/xpuctrl",
    ]
