# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The checks that an accelerator's profile adds: data, of few kinds, interpreted here.

Each has ``name``, ``severity``, ``remedy`` and, where a stage mends it, ``stage``, and looks at one thing:

* ``file``: a file that must be there;
* ``module``: a kernel module that must be loaded;
* ``kernel_log``: a ``pattern`` that must not stand in the kernel's log, and its ``meaning``;
* ``json`` and ``key``: a key that a JSON file must have, where there is such a file;
* ``environment`` and ``least``: a variable of the containers that must be a number, at least this large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _kernel_modules

from ._judgement import STAGES, Check, Data, Fault, Said, Severity, Unread, View

KINDS: Mapping[str, tuple[str, ...]] = {
    "file": (),
    "module": (),
    "kernel_log": (),
    "json": ("key",),
    "environment": ("least",),
}


def unfit(entry: Mapping[str, Any]) -> str:
    """What is wrong with an entry of a profile, in words; empty where nothing is."""
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        return f"one of {', '.join(KINDS)} is needed"
    needed = ("name", "severity", "remedy", *KINDS[kinds[0]])
    missing = [key for key in needed if key not in entry]
    if missing:
        return f"no {', '.join(missing)}"
    if entry["severity"] not in tuple(Severity):
        return f"severity {entry['severity']}"
    if entry.get("stage") not in (None, *STAGES):
        return f"stage {entry['stage']}"
    if kinds == ["kernel_log"]:
        if set(entry["kernel_log"]) != {"pattern", "meaning"}:
            return "kernel_log takes pattern and meaning"
        if _kernel_modules.unfit_pattern(entry["kernel_log"]):
            return f"pattern {entry['kernel_log']['pattern']}"
    unknown = set(entry) - {kinds[0], *needed, "stage", "source"}
    return f"unknown {', '.join(sorted(unknown))}" if unknown else ""


def checks(plan: Data) -> list[Check]:
    """The checks of the plan's profile."""
    return [_check(entry) for entry in plan["profile"].get("checks", ())]


def _check(entry: Data) -> Check:
    kind = next(kind for kind in KINDS if kind in entry)
    source, look = _LOOKS[kind]
    establishes = (entry["stage"],) if entry.get("stage") else ()
    return Check(entry["name"], source.format(entry[kind]), lambda view: look(entry, view), establishes, Severity(entry["severity"]))


def _fault(entry: Data, observed: str, expected: str) -> Fault:
    return Fault(observed, expected, entry["remedy"], entry.get("stage"), Severity(entry["severity"]))


def _file(entry: Data, view: View) -> Iterator[Said]:
    if not view.facts["files"].get(entry["file"]):
        yield _fault(entry, f"no {entry['file']}", "the file")


def _module(entry: Data, view: View) -> Iterator[Said]:
    loaded = view.facts["modules"].get(entry["module"])
    if loaded is None:
        yield Unread("the kernel does not list its modules")
    elif not loaded:
        yield _fault(entry, f"{entry['module']} is not loaded", f"{entry['module']} in /proc/modules")


def _kernel_log(entry: Data, view: View) -> Iterator[Said]:
    if view.facts["kernel_log"] is None:
        yield Unread("the kernel's log cannot be read")
        return
    for found in view.facts["kernel_log"]:
        if found["pattern"] == entry["kernel_log"]["pattern"]:
            yield _fault(entry, f"{found['meaning']} ({found['line']})", f"no '{found['pattern']}'")


def _json(entry: Data, view: View) -> Iterator[Said]:
    keys = view.facts["json_keys"].get(entry["json"])
    if keys is None:
        yield Unread(f"there is no {entry['json']} yet, or it is no JSON")
    elif entry["key"] not in keys:
        yield _fault(entry, f"no {entry['key']} in {entry['json']}", entry["key"])


def _environment(entry: Data, view: View) -> Iterator[Said]:
    value = view.host["environment"].get(entry["environment"])
    try:
        if value is not None and float(value) >= entry["least"]:
            return
    except ValueError:
        pass
    yield _fault(entry, f"{entry['environment']} is {'not set' if value is None else value}", f"{entry['least']} or more")


_LOOKS: Mapping[str, tuple[str, Callable[[Data, View], Iterator[Said]]]] = {
    "file": ("{}", _file),
    "module": ("/proc/modules", _module),
    "kernel_log": ("dmesg", _kernel_log),
    "json": ("{}", _json),
    "environment": ("the environment of the containers", _environment),
}
