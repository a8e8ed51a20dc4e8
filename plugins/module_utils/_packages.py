# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Installing a distribution's package as one change that check mode can predict.

ansible.builtin.apt fails in check mode where the package lists are empty, as they are on a fresh minimal host; here
the lists are fetched only when the package is really installed.
"""

from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change

APT_GET = "/usr/bin/apt-get"
APT_OPTIONS = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def can_install():
    """Whether this host's distribution is one whose packages can be installed here."""
    return os.path.exists(APT_GET)


def install_change(package):
    """The change that installs ``package``, with what it depends on and nothing it merely recommends."""
    return Change("install %s" % package, "packages", "", package + "\n", lambda module: _install(module, package))


def _install(module, package):
    module.run_command([APT_GET, "update", "-q"], environ_update=ENVIRONMENT, check_rc=True)
    argv = [APT_GET, "install", "--no-install-recommends", *APT_OPTIONS, package]
    module.run_command(argv, environ_update=ENVIRONMENT, check_rc=True)
