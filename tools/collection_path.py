"""Bring the collections of `requirements.yml` into `collections/`: from Galaxy, or from the pinned `ansible` distribution.

Run by `.venv`'s Python. Where Galaxy cannot be reached, exactly the collections asked for and what they need are taken
out of the distribution that `tools/constraints.txt` pins, and that is said.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import yaml

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / "collections"
REQUIREMENTS = ROOT / "requirements.yml"
BIN = Path(sys.executable).parent


def galaxy(*options: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ansible-galaxy"), "collection", "install", "--requirements-file", str(REQUIREMENTS), *options]
    return subprocess.run([*command, "--collections-path", str(COLLECTIONS)], cwd=ROOT, check=False, text=True, capture_output=True)


def installed() -> bool:
    """Whether all requirements are met, asked of ansible-galaxy itself without the network."""
    wanted = [entry["name"].split(".") for entry in yaml.safe_load(REQUIREMENTS.read_text())["collections"]]
    present = all((COLLECTIONS / "ansible_collections" / namespace / name / "MANIFEST.json").is_file() for namespace, name in wanted)
    return present and galaxy("--offline").returncode == 0


def carrier() -> str:
    """The pinned distribution, as `ansible==VERSION`."""
    pinned = re.search(r"^ansible==\S+$", (ROOT / "tools" / "constraints.txt").read_text(), re.MULTILINE)
    if not pinned:
        sys.exit("tools/constraints.txt: carrier: observed no line ansible==VERSION, expected one; pin it")
    return pinned.group()


def unpack(wheel: Path) -> list[str]:
    """Take the required collections out of the wheel; returns each as `name version`."""
    taken = []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        queue = [entry["name"] for entry in yaml.safe_load(REQUIREMENTS.read_text())["collections"]]
        for collection in queue:
            folder = PurePosixPath("ansible_collections", *collection.split("."))
            information = json.loads(archive.read(str(folder / "MANIFEST.json")))["collection_info"]
            archive.extractall(COLLECTIONS, (name for name in names if folder in PurePosixPath(name).parents))
            taken.append(f"{collection} {information['version']}")
            queue += [name for name in information["dependencies"] if name not in queue]
    return taken


def main() -> None:
    if installed():
        return
    answer = galaxy()
    if answer.returncode == 0:
        print("environment: collections from Galaxy")
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
        subprocess.run([*pip, "download", "--no-deps", "--dest", folder, carrier()], check=True)
        taken = unpack(next(Path(folder).glob("*.whl")))
    print(f"environment: Galaxy is out of reach; taken out of {carrier()} instead: {', '.join(taken)}")
    if not installed():
        reason = galaxy("--offline").stderr.strip()
        sys.exit(f"{REQUIREMENTS.name}: collections: observed {', '.join(taken)}, expected the ranges asked for; {reason}")


if __name__ == "__main__":
    main()
