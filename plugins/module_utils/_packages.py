# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Installing a distribution's package as one change that check mode can predict.

ansible.builtin.apt fails in check mode where the package lists are empty, as they are on a fresh minimal host; here
the lists are fetched only when the package is really installed.
"""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change

APT_GET = "/usr/bin/apt-get"
DNF = "/usr/bin/dnf"
YUM = "/usr/bin/yum"
MANAGERS = (APT_GET, DNF, YUM)  # where yum and dnf are both there, yum is dnf
APT_OPTIONS = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def manager():
    """The path of this host's package manager; None where it has none that is known here."""
    return next((path for path in MANAGERS if os.path.exists(path)), None)


def can_install():
    """Whether this host's distribution is one whose packages can be installed here."""
    return manager() is not None


def has_apt():
    """Whether packages have the names that Debian and its descendants give them."""
    return manager() == APT_GET


def is_there(module, package):
    """Whether a package is installed, or a program of its name is there without it."""
    if module.get_bin_path(package):
        return True
    if not can_install():
        return False
    argv = ["dpkg-query", "-W", "-f=${db:Status-Status}", package] if has_apt() else ["rpm", "-q", package]
    code, output, _errors = module.run_command(argv)
    # dpkg knows packages that were removed, too
    return code == 0 and (not has_apt() or output.strip() == "installed")


def install_change(package):
    """The change that installs ``package``, with what it depends on and nothing it merely recommends."""
    return Change("install %s" % package, "packages", "", package + "\n", lambda module: _install(module, package))


def install_commands(path, package):
    """The commands by which the package manager at ``path`` installs a package."""
    if path == APT_GET:
        return [[path, "update", "-q"], [path, "install", "--no-install-recommends", *APT_OPTIONS, package]]
    weak = ["--setopt=install_weak_deps=False"] if path == DNF else []  # yum of old has no such dependencies
    return [[path, "install", "-q", "-y", *weak, package]]


def _install(module, package):
    for argv in install_commands(manager(), package):
        module.run_command(argv, environ_update=ENVIRONMENT, check_rc=True)
