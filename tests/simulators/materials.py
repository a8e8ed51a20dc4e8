# SPDX-License-Identifier: MIT
"""SIMULATOR of what an operator gets from the vendor, for tests only: what tests/simulators/inventory/ names, in one folder.

    python tests/simulators/materials.py /var/lib/flagos-kunlunxin-lab/simulated [VERSION]

Makes stand-ins for OFED, driver, XDR, firmware and toolkit, and the tiny model with a ``quantization_config``; ``materials.json`` says which files these are,
with their versions and SHA-256. The lab has to be there, for the model is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def program(path: str) -> Any:
    """A program of this folder as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, HERE / path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = program("xre/build.py")
weights = program("weights.py")


def make(folder: Path, versions: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    """All of it; what is there already and the same is written again with the same bytes."""
    vendor = folder / "vendor"
    vendor.mkdir(parents=True, exist_ok=True)
    made = {}
    for what, version in versions.items():
        files = build.build(vendor, what, version)
        made[what] = [{"file": str(file), "version": version, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in files]
    (folder / "materials.json").write_text(json.dumps(made, indent=1) + "\n")
    model = json.loads((folder.parent / "lab.json").read_text())["model"]["path"]
    weights.copy(Path(model), folder / "deepseek-r1-int8")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="below the lab's own")
    parser.add_argument("version", nargs="?", default=build.VERSIONS["xre"], help="of the driver")
    arguments = parser.parse_args()
    make(arguments.folder, {**build.VERSIONS, "xre": arguments.version})


if __name__ == "__main__":
    main()
