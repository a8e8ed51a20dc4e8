"""Configuration spaces of PCI devices, byte by byte."""

from __future__ import annotations


def space(*capabilities: tuple[int, int, int, bytes], length: int = 4096) -> bytes:
    """One with capabilities: ``(number, place, next place, bytes behind the head)``; those from 0x100 on are extended ones."""
    config = bytearray(length)
    ordinary = [place for _number, place, _next, _content in capabilities if place < 0x100]
    config[0x34] = ordinary[0] if ordinary else 0
    for number, place, following, content in capabilities:
        head = bytes((number, following)) if place < 0x100 else (number | 1 << 16 | following << 20).to_bytes(4, "little")
        config[place : place + len(head) + len(content)] = head + content
    return bytes(config)
