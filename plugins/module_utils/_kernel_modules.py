# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Pure parsers of what the kernel says about its modules: which are loaded, what one was built for, what stands in the log.

Sources of the formats: proc(5) for /proc/modules, modinfo(8), dmesg(1). Parsers that can meet an unknown line return their result with
a list of what could not be read, one line each.
"""

from __future__ import annotations

import re

LIVE = "Live"
STATES = (LIVE, "Loading", "Unloading")
# At least: name, size, references, users, state; an address and taints follow on newer kernels.
MODULE_FIELDS = 5


def parse_modules(text):
    """The modules of /proc/modules: ``({name: state}, problems)``, names with underscores, states as in :data:`STATES`."""
    found, problems = {}, []
    for number, line in enumerate((text or "").splitlines(), 1):
        fields = line.split()
        if len(fields) < MODULE_FIELDS or fields[4] not in STATES:
            problems.append("line %d is no module: '%s'" % (number, line))
            continue
        found[module_name(fields[0])] = fields[4]
    return found, problems


def module_name(name):
    """The name as /proc/modules writes it; modprobe and file names may have hyphens."""
    return name.replace("-", "_")


def parse_vermagic(text):
    """The kernel release a module was built for, from ``modinfo -F vermagic``; None where none is told.

    ``6.8.0-87-generic SMP preempt mod_unload modversions`` is for 6.8.0-87-generic: such a module loads into no other kernel.
    """
    words = (text or "").split()
    return words[0] if words and words[0][0].isdigit() else None


def search_log(text, patterns):
    """What stands in a kernel log of things that have a meaning: ``[{"pattern", "meaning", "line", "count"}]``.

    One entry for each pattern that is found, with its last line: a failing link fills a log with thousands.

    :param patterns: ``[{"pattern", "meaning"}]``, each pattern a regular expression to be found somewhere in a line.
    """
    lines = (text or "").splitlines()
    found = []
    for entry in patterns:
        hits = [line for line in lines if re.search(entry["pattern"], line)]
        if hits:
            found.append({"pattern": entry["pattern"], "meaning": entry["meaning"], "line": hits[-1].strip(), "count": len(hits)})
    return found


def unfit_pattern(entry):
    """Why an entry for :func:`search_log` cannot be used, as ``(observed, expected, remedy)``; None where it can."""
    try:
        re.compile(entry["pattern"])
    except re.error as error:
        return "%s (%s)" % (entry["pattern"], error), "a regular expression", "mend the pattern"
    return None
