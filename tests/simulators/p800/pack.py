# SPDX-License-Identifier: MIT
"""SIMULATOR of a P800 host: packs it into one file that installs itself.

python tests/simulators/p800/pack.py OUTPUT
python3 OUTPUT --wiring pairs          # as root on a lab host
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent / "p800_simulator"
_MAIN = b"""# SIMULATOR of a P800 host: unpacks itself, because Python keeps no compiled files of an archive.
import sys
import tempfile
import zipfile

with tempfile.TemporaryDirectory() as folder:
    with zipfile.ZipFile(sys.argv[0]) as archive:
        archive.extractall(folder)
    sys.path.insert(0, folder)
    from p800_simulator.setup import main

    sys.exit(main(folder))
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(output: Path) -> None:
    """The same bytes from the same sources."""
    sources = {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))}
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"__main__.py": _MAIN, **sources}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    pack(parser.parse_args().output)


if __name__ == "__main__":
    main()
