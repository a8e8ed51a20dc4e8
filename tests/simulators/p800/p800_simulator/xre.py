# SPDX-License-Identifier: MIT
"""SIMULATOR: what the driver's installer leaves on a host beside the modules: /usr/local/xpu and the tool (a public host survey)."""

from __future__ import annotations

import os
import shutil
from typing import List

from .places import Places

_LABEL = "SIMULATOR (p800-simulator): nothing here is Kunlunxin's. For tests only.\n"
LINKS = ("/usr/local/bin/xpu-smi", "/usr/local/bin/xpu_smi")
CURRENT = "/usr/local/xpu"
_TOOL = '#!/bin/sh\n# SIMULATOR (p800-simulator): stands in for Kunlunxin\'s xpu-smi. For tests only.\nexec %s/bin/xpu-smi "$@"\n'


def folder(version: str) -> str:
    return "/usr/local/xpu-%s" % version


def install(places: Places, version: str) -> None:
    base = places.path(folder(version))
    for name in ("bin", "include", "lib", "so", "tools"):
        os.makedirs(os.path.join(base, name), exist_ok=True)
    for name, text in (
        ("SIMULATOR", _LABEL),
        ("version.txt", version + "\n"),
        ("lib/libxpurt.so", _LABEL),
        ("include/xpu_runtime.h", _LABEL),
    ):
        with open(os.path.join(base, name), "w", encoding="utf-8") as stream:
            stream.write("/* %s */\n" % text.strip() if name.endswith(".h") else text)
    tool = os.path.join(base, "bin", "xpu-smi")
    with open(tool, "w", encoding="utf-8") as stream:
        stream.write(_TOOL % places.library)
    os.chmod(tool, 0o755)
    _link(places, CURRENT, folder(version))
    for path in LINKS:
        _link(places, path, CURRENT + "/bin/xpu-smi")


def _link(places: Places, path: str, target: str) -> None:
    place = places.path(path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(place):
        os.unlink(place)
    os.symlink(target, place)


def remove(places: Places) -> None:
    """Every version, as far as it is the simulator's."""
    parent = places.path("/usr/local")
    names: List[str] = os.listdir(parent) if os.path.isdir(parent) else []
    for name in names:
        path = os.path.join(parent, name)
        if name.startswith("xpu-") and os.path.exists(os.path.join(path, "SIMULATOR")):
            shutil.rmtree(path)
    for link in (CURRENT, *LINKS):
        place = places.path(link)
        if os.path.islink(place) and not os.path.exists(places.path(os.readlink(place))):
            os.unlink(place)
