"""What our modules declare of check mode, diff and a second run, and what the timings of two runs say of it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from clone import Play

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
COLLECTION = "flagos.kunlunxin."


def _attributes(file: Path) -> dict[str, dict[str, str]]:
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name) and statement.targets[0].id == "DOCUMENTATION":
            assert isinstance(statement.value, ast.Constant)
            return yaml.safe_load(str(statement.value.value))["attributes"]
    raise AssertionError(f"{file.name} has no DOCUMENTATION")


def support(attribute: str) -> dict[str, str]:
    """What each of our modules says of an attribute (``full``, ``partial``, ``none``, ``N/A``), by the module's full name."""
    files = (file for file in sorted(MODULES.glob("*.py")) if file.name != "__init__.py")
    return {COLLECTION + file.stem: _attributes(file)[attribute]["support"] for file in files}


def declaring(attribute: str, *values: str) -> set[str]:
    """The full names of our modules that declare one of the values."""
    return {name for name, value in support(attribute).items() if value in values}


def changes(ended: Play, attribute: str) -> list[tuple[str, str, int]]:
    """The changes of a run (role, task, on how many hosts) without those of our modules that promise less than all of the attribute."""
    excused = declaring(attribute, "partial", "none", "N/A")
    return [(task["role"], task["name"], task["changed"]) for task in ended.tasks if task.get("changed") and task["action"] not in excused]


def diffs(ended: Play, without: Iterable[str] = ()) -> list[tuple[str, str, dict[str, str]]]:
    """The diffs of our modules that promise them in full: role, task, and a digest for each host. The run must have had ``--diff``.

    :param without: full names of modules to leave out.
    """
    compared = declaring("diff_mode", "full") - set(without)
    return [(task["role"], task["name"], task["diffs"]) for task in ended.tasks if task["action"] in compared and "diffs" in task]


def exercised(*runs: Play) -> set[str]:
    """The full names of our modules that changed something."""
    return {task["action"] for run in runs for task in run.tasks if task.get("changed") and task["action"].startswith(COLLECTION)}
