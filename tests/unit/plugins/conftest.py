"""What unit tests of plugins share: captured trees, files below a folder as a host has them."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

# ansible-test knows nothing of the folders that pyproject.toml names.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree


class Captured:
    """A tree that grows file by file; ``tree`` is what the reading modules see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = HostTree(str(root))

    def files(self, files: Mapping[str, str]) -> None:
        """Write files by absolute path."""
        for path, content in files.items():
            place = self._place(path)
            place.write_text(content)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._place(path).symlink_to(target)

    def answer(self, command: str, output: str) -> None:
        """What a command prints."""
        self.files({"/.commands/" + command.replace("/", "_"): output})

    def pci(self, path: str, vendor: str, device: str, numa_node: int = 0, **files: str) -> str:
        """A PCI device by its way, such as ``pci0000:3a/0000:3a:01.0/0000:3b:00.0``; returns its folder below /sys/devices.

        :param files: further files of its folder, such as ``current_link_width="16"``.
        """
        folder = "/sys/devices/" + path
        content = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": "0x020000", "numa_node": str(numa_node), **files}
        self.files({posixpath.join(folder, name): text + "\n" for name, text in content.items()})
        self.link("/sys/bus/pci/devices/" + posixpath.basename(path), "../../../devices/" + path)
        return folder

    def configuration(self, address: str, space: bytes) -> None:
        """The configuration space of a PCI device."""
        self._place(f"/sys/bus/pci/devices/{address}/config").write_bytes(space)

    def _place(self, path: str) -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@pytest.fixture
def captured(tmp_path: Path) -> Captured:
    """An empty tree."""
    return Captured(tmp_path / "host")
