# SPDX-License-Identifier: MIT
"""SIMULATOR: builds stand-ins for the vendor's files, for hosts with tests/simulators. None of them has anything of a vendor in it.

    python tests/simulators/xre/build.py OUTPUT --version 5.0.21.26               # xre-Linux-x86_64-5.0.21.26.run
    python tests/simulators/xre/build.py OUTPUT --what xdr --version 1.1.0.6       # xdr_copy-x86_64_1.1.0.6.tar.gz
    python tests/simulators/xre/build.py OUTPUT --what firmware --version 2.15_1.48
    python tests/simulators/xre/build.py OUTPUT --what ofed --version 24.01-0.3.3.1
    python tests/simulators/xre/build.py OUTPUT --what toolkit                     # the three packages of the container toolkit

OUTPUT is a folder, where the file gets its vendor's name, or the path of a file. The same version gives the same bytes. Names and forms of
call are those that Corpama/envinit uses. Prints the path and the SHA-256 of each file.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
VERSIONS = {"xre": "5.0.21.26", "xdr": "1.1.0.6", "firmware": "2.15_1.48", "ofed": "24.01-0.3.3.1", "toolkit": "1.0.13-1"}
TOOLKIT = {"libxpu-container1": "1.0.5-1", "libxpu-container-tools": "1.0.5-1", "xpu-container-toolkit": "1.0.13-1"}
OFED_NAME = "MLNX_OFED_LINUX-{}-debian12-x86_64"


def template(name: str, **words: str) -> bytes:
    text = (TEMPLATES / f"{name}.in").read_text()
    for key, value in words.items():
        text = text.replace(f"@{key}@", value)
    return text.encode()


def tar_gz(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """An archive of files with their modes, the same bytes every time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def xre(version: str) -> dict[str, bytes]:
    payload = tar_gz({"LICENSE": (template("LICENSE"), 0o644)})
    return {f"xre-Linux-x86_64-{version}.run": template("xre", VERSION=version) + payload}


def xdr(version: str) -> dict[str, bytes]:
    folder = f"xdr_copy-x86_64_{version}"
    scripts = {name: (template(f"xdr_{name}", VERSION=version), 0o755) for name in ("build", "install")}
    return {f"{folder}.tar.gz": tar_gz({f"{folder}/{name}.sh": script for name, script in scripts.items()})}


def firmware(version: str) -> dict[str, bytes]:
    folder = f"update_fw_p800_{version}"
    pcie, sbl = version.split("_")
    return {f"{folder}.tar.gz": tar_gz({f"{folder}/auto_update.sh": (template("auto_update", PCIE=pcie, SBL=sbl), 0o755)})}


def ofed(version: str) -> dict[str, bytes]:
    folder = OFED_NAME.format(version)
    return {f"{folder}.tgz": tar_gz({f"{folder}/mlnxofedinstall": (template("mlnxofedinstall", VERSION=version), 0o755)})}


def toolkit(version: str) -> dict[str, bytes]:
    return {
        f"{name}_{own}_amd64.deb": package(name, own)
        for name, own in {**TOOLKIT, "xpu-container-toolkit": version}.items()
    }  # fmt: skip


def package(name: str, version: str) -> bytes:
    """A package for dpkg: see deb(5)."""
    about = "SIMULATOR of Kunlunxin's container toolkit, for tests only"
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: tests/simulators\nDescription: {about}\n"
    files = {f"./usr/share/doc/{name}/SIMULATOR": (about.encode() + b"\n", 0o644)}
    if name == "xpu-container-toolkit":
        files["./usr/bin/xpu-container-runtime"] = (template("xpu-container-runtime"), 0o755)
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": tar_gz({"./control": (control.encode(), 0o644)}),
        "data.tar.gz": tar_gz(files),
    }
    return b"!<arch>\n" + b"".join(
        f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
        for member, content in members.items()
    )


BUILDERS: dict[str, Callable[[str], dict[str, bytes]]] = {"xre": xre, "xdr": xdr, "firmware": firmware, "ofed": ofed, "toolkit": toolkit}


def build(output: Path, what: str, version: str) -> list[Path]:
    """The files, in the folder ``output``, or at this path where there is one only."""
    made = BUILDERS[what](version)
    paths = []
    for name, content in made.items():
        path = output / name if output.is_dir() else output
        path.write_bytes(content)
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--what", choices=BUILDERS, default="xre")
    parser.add_argument("--version")
    arguments = parser.parse_args()
    if arguments.what == "toolkit" and not arguments.output.is_dir():
        parser.error(f"{arguments.output}: a folder is needed for the three packages")
    for path in build(arguments.output, arguments.what, arguments.version or VERSIONS[arguments.what]):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")


if __name__ == "__main__":
    main()
