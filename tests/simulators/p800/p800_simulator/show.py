# SPDX-License-Identifier: MIT
"""SIMULATOR: takes in what was written to the overlay, and makes overlay and host show what the state says."""

from __future__ import annotations

import json
import os
import time
from typing import Dict, List, Sequence

from . import config_space, grub, host_files, render, render_pci, tree
from .live import Live
from .machine import NEEDS, PEER, Machine
from .places import Places
from .state import Runtime, State, load, save

MANIFEST = "host-files.json"
WRITE = "write"  # the program's name in the log where a file was written to


def current(places: Places, live: Live, with_writes: bool = True) -> State:
    """The state, with what programs wrote to the overlay's files since; a new boot begins with an empty runtime.

    :param with_writes: without them it is read faster; such a state is never to be kept.
    """
    state = load(places)
    if live.boot_id != state.boot_id:
        state.boot_id, state.runtime = live.boot_id, Runtime()
        _forget_removed_modules(places, state)
        _modules_of_boot(places, state, live.kernel)
        state.firmware.update(state.pending_firmware)
        state.booted = grub.booted(state.grub) if state.grub else state.booted
    else:
        _forget_removed_modules(places, state)
        if with_writes:
            absorb(places, state, live)
    return state


def _forget_removed_modules(places: Places, state: State) -> None:
    """A module is installed as long as its file is there, whoever removed it."""
    state.modules = {name: module for name, module in state.modules.items() if os.path.exists(places.path(module["file"]))}
    if "kunlun" not in state.modules and "kunlun" not in state.runtime.loaded:
        state.driver = None


def _modules_of_boot(places: Places, state: State, kernel: str) -> None:
    """What modules-load.d(5) names is in the kernel after a boot, if it fits. Whether udev loads the driver by itself is nowhere told."""
    folder = places.path("/etc/modules-load.d")
    wanted: List[str] = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
            lines = [line.strip() for line in stream]
        wanted += [line.replace("-", "_") for line in lines if line and line[0] not in "#;"]
    for name in wanted:
        for needed in (*NEEDS.get(name, ()), name):
            module = state.modules.get(needed, {})
            fits = module.get("kernel") == kernel and needed in state.indexed and (needed != PEER or state.ofed is not None)
            if fits and needed not in state.runtime.loaded:
                state.load(needed)


def absorb(places: Places, state: State, live: Live) -> None:
    """Take in what was written to configuration spaces and to writable files."""
    shown = render.overlay(state, live, places.overlay)
    machine = render.machine_of(state, live)
    spaces = {render_pci.config_path(function): function for function in machine.functions}
    for path, entry in shown.items():
        if not isinstance(entry, tree.File) or not entry.mode & 0o200:
            continue
        try:
            with open(places.overlay + path, "rb") as stream:
                found = stream.read()
        except OSError:
            continue
        state.seen[path] = found
        if found == entry.data or not found:  # who writes has emptied it, and will say when it is done
            continue
        if path in spaces:
            function = spaces[path]
            pristine = config_space.content(function, {})
            state.runtime.pci[function.address] = config_space.differences(pristine, found)
        else:
            text = found.decode("utf-8", "replace")
            state.received.append((path, text.strip()))
            state.runtime.written[path] = normalised(path, text)


def normalised(path: str, text: str) -> str:
    """What the kernel gives back of what was written."""
    value = text.strip()
    if path.endswith("/traffic_class"):  # mlx5_ib of MLNX_OFED: 106 is read as below; -1 takes it back
        number = value.rpartition("=")[2]
        return "Global tclass=%s\n" % number if number.isdigit() else ""
    return value + "\n"


def everything(places: Places, state: State, live: Live, again: bool = True) -> Machine:
    """Keep the state and show it.

    :param again: whether files outside of the overlay that were put there before are put there again where they are gone or changed.
    """
    os.makedirs(places.overlay, exist_ok=True)
    save(places, state)
    for path, text in state.received:
        log(places, WRITE, [path, text])
    state.received.clear()
    tree.write(places.overlay, render.overlay(state, live, os.path.realpath(places.overlay)), state.seen)
    machine = render.machine_of(state, live)
    put(places, host_files.wanted(places, machine), again)
    return machine


def log(places: Places, name: str, argv: Sequence[str]) -> None:
    """One line of JSON for each call, in one write so that calls do not mix."""
    entry = {"time": round(time.time(), 3), "program": name, "argv": list(argv)}
    os.makedirs(places.folder, exist_ok=True)
    descriptor = os.open(places.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(entry) + "\n").encode())
    finally:
        os.close(descriptor)


def put(places: Places, wanted: Dict[str, tree.Entry], again: bool = True) -> None:
    """Files outside of the overlay: those that were put there before and are not wanted any more are taken away, with empty folders."""
    manifest = os.path.join(places.folder, MANIFEST)
    before: List[str] = []
    if os.path.exists(manifest):
        with open(manifest, encoding="utf-8") as stream:
            before = json.load(stream)
    for path in before:
        if path not in wanted:
            _remove(places, path)
    for path, entry in wanted.items():
        if path in before and not again:
            continue
        place = places.path(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        tree.put(place, entry)
    if wanted or before:
        with open(manifest, "w", encoding="utf-8") as stream:
            json.dump(sorted(wanted), stream, indent=1)


_KEPT = {"/usr", "/usr/sbin", "/usr/bin", "/usr/src", "/usr/local", "/usr/local/sbin", "/lib", "/usr/lib", "/boot", "/etc", "/etc/default"}


def _remove(places: Places, path: str) -> None:
    place = places.path(path)
    if os.path.lexists(place):
        os.unlink(place)
    above = os.path.dirname(path)
    while above not in _KEPT and above != "/":
        try:
            os.rmdir(places.path(above))
        except OSError:
            return
        above = os.path.dirname(above)
