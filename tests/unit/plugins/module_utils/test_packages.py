"""Packages by the manager that the host has."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _packages as packages


class Module:
    """A host whose commands answer what they are given."""

    def __init__(self, programs=(), answers=None):
        self.programs, self.answers, self.commands = programs, answers or {}, []

    def get_bin_path(self, name):
        return "/usr/bin/" + name if name in self.programs else None

    def run_command(self, argv, environ_update=None, check_rc=False):
        self.commands.append(" ".join(argv))
        return self.answers.get(argv[0], (0, "", ""))


@pytest.fixture
def managers(monkeypatch):
    def there(*paths):
        monkeypatch.setattr(packages.os.path, "exists", lambda path: path in paths)

    return there


@pytest.mark.parametrize(
    ("paths", "apt", "command"),
    [
        ([packages.APT_GET, packages.DNF], True, "/usr/bin/apt-get install --no-install-recommends "),
        ([packages.DNF, packages.YUM], False, "/usr/bin/dnf install -q -y --setopt=install_weak_deps=False "),
        ([packages.YUM], False, "/usr/bin/yum install -q -y "),
    ],
)
def test_each_manager_installs_in_its_own_words(managers, paths, apt, command):
    managers(*paths)
    assert packages.can_install()
    assert packages.has_apt() is apt
    module = Module()
    packages.install_change("rsync").make(module)
    assert module.commands[-1].startswith(command)
    assert module.commands[-1].endswith(" rsync")


@pytest.mark.parametrize(
    ("path", "answers", "there"),
    [
        (packages.APT_GET, {"dpkg-query": (0, "installed", "")}, True),
        (packages.APT_GET, {"dpkg-query": (0, "config-files", "")}, False),
        (packages.APT_GET, {"dpkg-query": (1, "", "no packages found")}, False),
        (packages.DNF, {"rpm": (0, "rsync-3.1.3-19.el8.x86_64\n", "")}, True),
        (packages.DNF, {"rpm": (1, "package rsync is not installed\n", "")}, False),
        (None, {}, False),
    ],
)
def test_a_package_is_there_when_the_host_says_so(managers, path, answers, there):
    managers(path)
    assert packages.is_there(Module(answers=answers), "rsync") is there


def test_a_program_without_its_package_is_enough(managers):
    managers()
    assert not packages.can_install()
    assert packages.is_there(Module(programs=["rsync"]), "rsync")
