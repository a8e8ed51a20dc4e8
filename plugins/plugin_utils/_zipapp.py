# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Programs for hosts and containers, packed from ``module_utils`` into one file that any Python runs.

Equal sources give equal bytes: no time, no order of a folder, no compression (whose output depends on the library's version).
"""

from __future__ import annotations

import io
import pathlib
import re
import zipfile

MODULE_UTILS = pathlib.Path(__file__).resolve().parent.parent / "module_utils"
PACKAGE = "flagos_kunlunxin"
_RELATIVE_IMPORT = re.compile(r"^\s*from \.(?:(\w+) import|\s*import (.+)$)", re.MULTILINE)
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(entry: str, folder: pathlib.Path = MODULE_UTILS) -> bytes:
    """The zipapp whose ``main()`` is that of the module ``entry``.

    :param entry: name of a module in ``folder``; what it imports from its own package goes in too.
    :raises FileNotFoundError: when one of them is missing.
    """
    files = {f"{PACKAGE}/{name}.py": text for name, text in sources(entry, folder).items()}
    files[f"{PACKAGE}/__init__.py"] = ""
    files["__main__.py"] = f"import sys\n\nfrom {PACKAGE}.{entry} import main\n\nif __name__ == '__main__':\n    sys.exit(main())\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            member.create_system = 3
            archive.writestr(member, files[name])
    return packed.getvalue()


def sources(entry: str, folder: pathlib.Path) -> dict[str, str]:
    """The text of the module and of all that it imports from beside it, by name."""
    found: dict[str, str] = {}
    wanted = [entry]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = (folder / f"{name}.py").read_text(encoding="utf-8")
            wanted += _imports(found[name])
    return found


def _imports(text: str) -> list[str]:
    names = []
    for module, listed in _RELATIVE_IMPORT.findall(text):
        names += [module] if module else [item.split(" as ")[0].strip() for item in listed.split(",")]
    return names
