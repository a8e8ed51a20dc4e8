"""Copies a model and scales one tensor of the copy by 1.05: ``perturb.py MODEL COPY``. Prints the tensor's name.

Needs nothing but Python, because it runs on a host. The tensor is the first down projection of a layer in the middle: every
token passes it.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import struct
import sys


def scaled(raw: bytes, kind: str) -> bytes:
    """The values times 1.05, in the same format."""
    if kind == "F32":
        numbers = struct.unpack(f"<{len(raw) // 4}f", raw)
        return struct.pack(f"<{len(numbers)}f", *(number * 1.05 for number in numbers))
    if kind == "BF16":  # the upper half of a float32
        words = struct.unpack(f"<{len(raw) // 2}H", raw)
        wide = struct.unpack(f"<{len(words)}f", b"".join(struct.pack("<HH", 0, word) for word in words))
        return b"".join(struct.pack("<f", number * 1.05)[2:] for number in wide)
    raise SystemExit(f"tensors of {kind} are not known here")


def main(model: str, copy: str) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(model, copy)
    weights = next(pathlib.Path(copy).glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    name = sorted(key for key in header if key.endswith("shared_experts.down_proj.weight"))[0]
    begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
    content[begin:end] = scaled(bytes(content[begin:end]), header[name]["dtype"])
    weights.write_bytes(content)
    print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
