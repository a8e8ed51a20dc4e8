# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""libtorrent on a host: unpacked from its wheel beside the lanes' files, so that the host needs neither pip nor a network."""

from __future__ import annotations

import os
import shutil
import zipfile


def unpack(wheel, folder):
    """The folder that holds what a wheel holds; made at most once.

    :param wheel: path of the wheel.
    :param folder: where such folders are.
    :raises OSError, zipfile.BadZipFile: when it cannot be unpacked.
    """
    target = os.path.join(folder, os.path.splitext(os.path.basename(wheel))[0])
    if os.path.isdir(target):
        return target
    temporary = target + ".unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(temporary)
    for current, _folders, names in os.walk(temporary):
        os.chmod(current, 0o755)  # noqa: S103 - for the lanes' own user
        for name in names:
            os.chmod(os.path.join(current, name), 0o644)
    os.rename(temporary, target)
    return target
