"""Builds the simulated files of the driver into a folder, each with its SHA-256 beside it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).resolve().parents[4] / "tests" / "simulators" / "xre" / "build.py"

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
calls = [("xre", version) for version in sys.argv[2:]] + [("xdr", "1.1.0.6"), ("firmware", "2.15_1.48"), ("toolkit", "1.0.13-1")]
for what, version in calls:
    subprocess.run([sys.executable, BUILD, folder, "--what", what, "--version", version], check=True)
for path in sorted(folder.iterdir()):
    if path.suffix != ".sha256":
        path.with_name(path.name + ".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
