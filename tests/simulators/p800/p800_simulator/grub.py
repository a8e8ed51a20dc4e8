# SPDX-License-Identifier: MIT
"""SIMULATOR: the part of GRUB on Debian that makes a boot line: settings below /etc/default, and the grub.cfg that is made of them.

What is sourced in which order, and which words go to which entry: grub-mkconfig and 10_linux of Debian's grub2.
"""

from __future__ import annotations

import subprocess

from .places import Places

SETTINGS = "/etc/default/grub"
CONFIGURATION = "/boot/grub/grub.cfg"
ROOT = "root=/dev/simulated ro"
_EVALUATE = """
. "$0/etc/default/grub"
for part in "$0"/etc/default/grub.d/*.cfg; do if [ -e "$part" ]; then . "$part"; fi; done
printf '%s\\n%s\\n' "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"
"""
_TEXT = """# SIMULATOR (p800-simulator): nothing is booted by this file. For tests only.
### BEGIN /etc/grub.d/10_linux ###
menuentry 'SIMULATOR' {{
\tlinux\t/boot/vmlinuz-{kernel} {always} {normally}
}}
menuentry 'SIMULATOR (recovery mode)' {{
\tlinux\t/boot/vmlinuz-{kernel} {root} single {everywhere}
}}
### END /etc/grub.d/10_linux ###
"""


def settings(parameters: str) -> str:
    note = "# SIMULATOR (p800-simulator). For tests only.\n"
    return note + 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="%s"\n' % parameters


def configuration(kernel: str, everywhere: str, normally: str) -> str:
    always = "%s %s" % (ROOT, everywhere)
    return _TEXT.format(kernel=kernel, root=ROOT, always=always, everywhere=everywhere, normally=normally)


def evaluated(places: Places, kernel: str) -> str:
    """The grub.cfg of the settings as they are on the host now; a shell reads them, as a shell does in life.

    :raises subprocess.CalledProcessError: it cannot.
    """
    done = subprocess.run(["sh", "-ec", _EVALUATE, places.root.rstrip("/")], stdout=subprocess.PIPE, check=True)
    everywhere, normally = done.stdout.decode("utf-8", "replace").splitlines()
    return configuration(kernel, everywhere, normally)


def booted(configured: str) -> str:
    """The parameters of the first entry."""
    entry = next(line for line in configured.splitlines() if line.startswith("\tlinux\t"))
    return " ".join(entry.split()[2:])
