# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The wheels of libtorrent that lanes run with: one release, one file for each Python and architecture, each known by its hash."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

from ansible_collections.flagos.kunlunxin.plugins.module_utils._file_hash import sha256_of

# 2.0.11 maps files, which costs half the CPU of 2.1's way at large pieces (measured); hashes as https://pypi.org/project/libtorrent/2.0.11 has them.
VERSION = "2.0.11"
_NAME = "libtorrent-%s-%s-%s-manylinux_2_17_%s.manylinux2014_%s.whl"
SHA256 = {
    ("cp39", "x86_64"): "89164ae3ddaabd15d49b9ead2219f2810e1a76e6168203dab2d945338d2244e3",
    ("cp310", "x86_64"): "68d739dd51e5c2a0deb6822fdf4434113016fd942a70569813bfee3f1184a15b",
    ("cp311", "x86_64"): "ffc0a821ea9df5ce33efcd9c08f34fcf7302d0eaa772cf12d9245c69fed32aeb",
    ("cp312", "x86_64"): "fbf4418471a96158d995c4573697ce2dcf27ca42d0b03c3bf97b0165015bf641",
    ("cp313", "x86_64"): "e234f665c987262d4102f6d2e099d76b12dfa20bcc77b77891184b075ab84ea8",
    ("cp39", "aarch64"): "3aabd1b4297be3b0be715711d4d38c058f67a7cbe5bc05335bdaf7f81e5ba4af",
    ("cp310", "aarch64"): "932e519299442e8dcd1b85cec84170b967e05ebc048e6b91b3212de8276b4f51",
    ("cp311", "aarch64"): "e92f5154527171ab48aa13116d6571fb167cde859b3169e8c28ae86989f301fd",
    ("cp312", "aarch64"): "fea392e3e0b2f5e84000ec87fd2b3fa11477216875809737ce00c9ba07db4c55",
    ("cp313", "aarch64"): "474e792c52319cc918a007aa61cb34fb7f9236fa6c9603953e8c0fb3e6d922c7",
}


class WheelError(Exception):
    """A wheel that cannot be had.

    :ivar observed: what was found.
    :ivar expected: what is needed.
    """

    def __init__(self, observed, expected):
        super().__init__("%s (expected %s)" % (observed, expected))
        self.observed = observed
        self.expected = expected


def kind_of_this():
    """What runs here, ``PYTHON-MACHINE`` as wheels name them, such as ``cp311-x86_64``."""
    return "cp%d%d-%s" % (sys.version_info[0], sys.version_info[1], platform.machine())


def name_of(python, machine):
    """The file name of the wheel for an interpreter (``cp311``) on an architecture (``x86_64``); None where there is none."""
    return _NAME % (VERSION, python, python, machine, machine) if (python, machine) in SHA256 else None


def find(folders, python, machine):
    """The path of the wheel in the first of the folders that has it, with the right bytes; None where none has it.

    :raises WheelError: when a file of that name has other bytes.
    """
    for folder in folders:
        path = os.path.join(folder, name_of(python, machine))
        if os.path.exists(path):
            found = sha256_of(path)
            if found != SHA256[python, machine]:
                raise WheelError("%s has sha256 %s" % (path, found), SHA256[python, machine])
            return path
    return None


def fetch(interpreter, folder, python, machine):
    """Fetch a wheel by pip, from wherever pip is configured to.

    :raises WheelError: when pip cannot.
    """
    os.makedirs(folder, mode=0o755, exist_ok=True)
    command = [interpreter, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
    command += ["--python-version=" + python[2:], "--platform=manylinux2014_" + machine, "--dest=" + folder, "libtorrent==" + VERSION]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["exit code %d" % done.returncode])[-1]
        raise WheelError("pip: %s" % last, name_of(python, machine))
