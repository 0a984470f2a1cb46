"""The hash by which a front end names the source of a cell: MurmurHash2, 32 bits, by Austin Appleby."""

from __future__ import annotations

_MIX = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(text: str, seed: int = 0) -> int:
    """The hash of the UTF-8 bytes of a text; front ends write it in decimal."""
    data = text.encode("utf-8", "surrogatepass")
    value = (seed ^ len(data)) & _MASK
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        block = int.from_bytes(data[start : start + 4], "little") * _MIX & _MASK
        block = (block ^ block >> 24) * _MIX & _MASK
        value = value * _MIX & _MASK ^ block
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MIX & _MASK
    value = (value ^ value >> 13) * _MIX & _MASK
    return value ^ value >> 15
