# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""MLNX_OFED: the version a host has, what a build for its kernel needs, and the installer's command.

Sources: the installer's arguments are those of Corpama/envinit for hosts of this kind (MLNX_OFED 24.01-0.3.3.1); they leave the firmware
of the adapters alone and build for the running kernel. ``ofed_info -s`` prints ``MLNX_OFED_LINUX-24.01-0.3.3.1:`` (NVIDIA/deepops, role
mofed, and Azure/azhpc-images compare it so).
"""

from __future__ import annotations

import re

INSTALLER = "mlnxofedinstall"
DRIVER = "mlx5_core"


def parse_version(text):
    """``24.01-0.3.3.1`` of what ``ofed_info -s`` prints; None for anything else, such as the name of another distribution of OFED."""
    match = re.match(r"MLNX_OFED_LINUX-([0-9]+(?:\.[0-9]+)*-[0-9]+(?:\.[0-9]+)*):?\s*\Z", text or "")
    return match.group(1) if match else None


def install_command(installer, kernel):
    """The command that installs, for the kernel ``kernel`` (as ``uname -r`` says)."""
    return [installer, "--without-fw-update", "--add-kernel-support", "-k", kernel, "--skip-distro-check", "--force"]


def headers(kernel):
    """Where the headers of a kernel must be."""
    return "/lib/modules/%s/build" % kernel
