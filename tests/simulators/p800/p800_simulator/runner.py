# SPDX-License-Identifier: MIT
"""SIMULATOR: runs one of the simulated programs, and writes down how it was called."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import List, Sequence

from . import live, places, programs, render, show
from .call import ALONE, FAILED
from .state import StateError, locked
from .tools.base import Answer, Program, Session

REAL = ".p800-real"  # added to the name of a host's own program


def run(name: str, argv: List[str]) -> int:
    """:returns: the exit status."""
    here = places.of_this_host()
    program = programs.BY_NAME[name]
    show.log(here, name, argv)
    if argv in (["--help"], ["-h"]) and program is not programs.SAYS_IT_ITSELF:
        return _help(here, program, argv)
    early = program.before(here, argv) if program.before else None
    try:
        return finish(here, program.path, name, early or _answer(here, name, argv))
    except StateError as error:
        print("p800-simulator: %s" % error, file=sys.stderr)
        return FAILED


def _help(here: places.Places, program: Program, argv: List[str]) -> int:
    """That it is a simulator, and then what the host's own program says, if there is one."""
    print(
        "%s: a SIMULATOR of %s (p800-simulator), for tests only; see tests/simulators/README.md" % (program.name, program.about), flush=True
    )
    real = here.path(program.path) + REAL
    return subprocess.run([program.name, *argv], executable=real, check=False).returncode if os.path.exists(real) else 0


def _answer(here: places.Places, name: str, argv: Sequence[str]) -> Answer:
    """A program is asked with what can be had fast; only when it changes something is all read, and it is asked again."""
    program = programs.BY_NAME[name]
    with locked(here):
        session = session_of(here, program.reads_addresses, with_writes=False)
        if name not in ALONE:
            answer = program.answer(session, argv)
            if session.changed:
                session = session_of(here)
                answer = program.answer(session, argv)
                show.everything(here, session.state, session.machine.live)
            return answer
    return program.answer(session, argv)


def session_of(here: places.Places, with_addresses: bool = True, with_writes: bool = True) -> Session:
    now = live.read(here, with_addresses)
    state = show.current(here, now, with_writes)
    return Session(here, state, render.machine_of(state, now))


def finish(here: places.Places, path: str, name: str, answer: Answer) -> int:
    """Print the answer, after what the host's own program says where it is to do the rest."""
    code = answer.code
    if answer.real is not None:
        real = here.path(path) + REAL
        if os.path.exists(real):
            code = subprocess.run([name, *answer.real], executable=real, check=False).returncode
        elif not answer.out:
            print("%s: not found (p800-simulator: this host has none of its own)" % name, file=sys.stderr)
            code = 127
    sys.stdout.write(answer.out)
    sys.stdout.flush()
    sys.stderr.write(answer.error)
    return code
