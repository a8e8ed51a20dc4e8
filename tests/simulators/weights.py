# SPDX-License-Identifier: MIT
"""SIMULATOR of the vendor's INT8 weights, for tests only: a copy of the lab's tiny model whose config.json says that it is quantized.

    python tests/simulators/weights.py /var/lib/flagos-kunlunxin-lab/models/tiny-deepseek /var/lib/flagos-kunlunxin-lab/simulated/deepseek-r1-int8

No number in it is quantized, and it is not to be served: it is for the stages before that. The keys of ``quantization_config`` are those that
vLLM-Kunlun's tutorial of DeepSeek-V3.2 W8A8 names (compressed-tensors, int-quantized). What is there already and the same is left alone.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
from pathlib import Path

CONFIG = "config.json"
QUANTIZATION = {"quant_method": "compressed-tensors", "format": "int-quantized"}


def copy(source: Path, target: Path) -> None:
    """The same files, but for the configuration."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        there = target / file.name
        if file.name != CONFIG and not (there.exists() and filecmp.cmp(file, there, shallow=False)):
            shutil.copyfile(file, there)
    document = json.loads((source / CONFIG).read_text())
    text = json.dumps({**document, "quantization_config": QUANTIZATION}, indent=2) + "\n"
    there = target / CONFIG
    if not there.exists() or there.read_text() != text:
        there.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    copy(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
