# SPDX-License-Identifier: MIT
"""SIMULATOR: the configuration space of a PCI function, in which setpci finds what it looks for.

After the kernel's include/uapi/linux/pci_regs.h: a capability of PCI Express with link and request size, and on bridges the extended
one of access control (ACS).
"""

from __future__ import annotations

import struct
from typing import Mapping

from .machine import Bridge, Function

SIZE = 4096
_CAPABILITY = 0x60
_EXTENDED = 0x100
READ_REQUEST_512 = 2 << 12
_CODES = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5}


def content(function: Function, written: Mapping[str, int]) -> bytes:
    """:param written: bytes by offset that a program put there."""
    space = bytearray(SIZE)
    bridge = function if isinstance(function, Bridge) else None
    class_code = int(function.class_code, 16)
    struct.pack_into("<HHHH", space, 0, int(function.vendor, 16), int(function.device, 16), 0x0406, 0x0010)  # memory, master; capabilities
    space[0x09:0x0C] = struct.pack("<I", class_code)[:3]
    space[0x0E] = 1 if bridge else 0
    space[0x34] = _CAPABILITY
    port = (4 if len(function.place.path) == 2 else 5) if bridge else 0  # root port, switch's port, endpoint
    space[_CAPABILITY] = 0x10
    struct.pack_into("<H", space, _CAPABILITY + 0x02, 2 | port << 4)
    struct.pack_into("<H", space, _CAPABILITY + 0x08, 0x0930 & 0x8FFF | READ_REQUEST_512)
    struct.pack_into("<I", space, _CAPABILITY + 0x0C, _link(function.link.max_speed, function.link.max_width))
    struct.pack_into("<H", space, _CAPABILITY + 0x12, _link(function.link.speed, function.link.width))
    if bridge:
        struct.pack_into("<I", space, _EXTENDED, 0x0001000D)
        struct.pack_into("<HH", space, _EXTENDED + 4, 0x005F, bridge.acs)
    for offset, value in written.items():
        space[int(offset)] = value
    if bridge and bridge.keeps_acs:
        struct.pack_into("<H", space, _EXTENDED + 6, bridge.acs)
    return bytes(space)


def _link(speed: str, width: int) -> int:
    return _CODES[speed.split()[0]] | width << 4


def differences(rendered: bytes, found: bytes) -> "dict[str, int]":
    """What a program wrote: the bytes of ``found`` by offset where they differ."""
    pairs = enumerate(zip(rendered, found))
    return {str(offset): new for offset, (old, new) in pairs if old != new}
