"""Set up a clone: system packages, `.venv`, the clone as a collection, and the collections it depends on.

    python3 tools/environment.py [--dev]

Runs with the machine's own Python and its standard library, from nothing, and does again only what is not yet done.
Package mirrors and extra certificate authorities come from pip's and apt's own configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LINK = ROOT / "collections" / "ansible_collections" / "flagos" / "kunlunxin"
CONSTRAINTS = ROOT / "tools" / "constraints.txt"

# program or file that proves it: Debian's package
SYSTEM = {
    "ssh": "openssh-client",
    "rsync": "rsync",
    "git": "git",
}


def say(text: str) -> None:
    print(f"environment: {text}", flush=True)


def stop(check: str, observed: str, expected: str, remedy: str) -> None:
    sys.exit(f"{platform.node()}: {check}: observed {observed}, expected {expected}; {remedy}")


def system_packages() -> None:
    """Install what a controller needs and the machine lacks, by apt."""
    missing = [package for program, package in SYSTEM.items() if not shutil.which(program)]
    # Debian ships venv without the part that brings pip into it.
    if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True).returncode:
        missing.append("python3-venv")
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        stop("system packages", f"{', '.join(missing)} missing", "installed", "install them, or run this as root on Debian or Ubuntu")
    say(f"installing {', '.join(missing)} by apt")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "-qq", *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


def requirements(extras: list[str]) -> list[str]:
    """The wheel's own dependencies, with those of the named extras."""
    import tomllib  # not on a Python older than 3.11, which is told so in one line

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def virtual_environment(extras: list[str]) -> None:
    """Make `.venv` with the pinned tools; nothing when it holds them already."""
    wanted = requirements(extras)
    digest = hashlib.sha256("\n".join([sys.version, str(VENV), *wanted, CONSTRAINTS.read_text()]).encode()).hexdigest()
    stamp = VENV / f".complete-{'-'.join(['base', *extras])}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    say(f"Python packages into {VENV.relative_to(ROOT)}")
    if not (VENV / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "pip"), "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "install", "--constraint", str(CONSTRAINTS), *wanted], check=True)
    # `python -m ansible_collections...` and tests import the collection the way the wheel lets them.
    packages = next((VENV / "lib").glob("python3*")) / "site-packages"
    (packages / "flagos-kunlunxin.pth").write_text(f"{ROOT / 'collections'}\n")
    stamp.write_text(digest)


def link() -> None:
    """Let Ansible find the clone as `flagos.kunlunxin`."""
    if LINK.is_symlink() and LINK.resolve() == ROOT:
        return
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(os.path.relpath(ROOT, LINK.parent))
    say("linked the clone as flagos.kunlunxin")


def refuse_old_python() -> None:
    """:raises SystemExit: this Python is older than the collection runs on."""
    if sys.version_info < (3, 11):
        stop("Python", platform.python_version(), "3.11 or newer", "use Debian 12, Ubuntu 24.04 or a newer python3")


def prepare(dev: bool) -> float:
    """Do all of it; returns the seconds it took."""
    refuse_old_python()
    began = time.monotonic()
    system_packages()
    virtual_environment(["dev"] if dev else [])
    link()
    subprocess.run([str(VENV / "bin" / "python"), str(ROOT / "tools" / "collection_path.py")], check=True)
    seconds = time.monotonic() - began
    say(f"ready after {seconds:.1f} s")
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="with the tools that test and build the collection")
    prepare(parser.parse_args().dev)
