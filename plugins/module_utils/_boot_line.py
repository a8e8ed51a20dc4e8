# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The parameters that a kernel is booted with, and the texts that boot loaders keep them in: pure functions.

How a line is split, and that ``-`` and ``_`` of a name are the same: the kernel's admin-guide, kernel-parameters.rst. What GRUB reads and
writes: its manual, "Simple configuration", and Debian's grub-mkconfig, which reads /etc/default/grub.d/*.cfg behind /etc/default/grub.
What grubby prints: grubby(8).
"""

from __future__ import annotations

import re
import shlex

PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(=[A-Za-z0-9_.,:/@+%-]*)?\Z")
# They count each time they are given (kernel-parameters.rst; hugepages after the hugepagesz that it belongs to).
REPEATED = ("console", "earlycon", "hugepages", "hugepagesz")
HEADER = "# Written by the host stage of flagos.kunlunxin; changes made here are lost.\n"
GRUB_VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
# grub-mkconfig writes around what 10_linux made; other systems' kernels and the operator's own entries lie elsewhere.
_SECTION = re.compile(r"^### BEGIN /etc/grub\.d/10_linux ###$(.*?)^### END /etc/grub\.d/10_linux ###$", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^[ \t]*linux(?:16|efi)?[ \t]+\S+[ \t]*(.*)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(%s)(\+?)=(.*)$" % "|".join(GRUB_VARIABLES))


def split(line):
    """The parameters of a line. Blanks between double quotes belong to a value; what follows ``--`` is for init, not for the kernel."""
    words, word, quoted = [], "", False
    for letter in (line or "") + " ":
        if letter == '"':
            quoted = not quoted
        if letter.isspace() and not quoted:
            words += [word] if word else []
            word = ""
        else:
            word += letter
    words += [word.strip()] if word.strip() else []  # a quote without its partner reaches to the end
    return words[: words.index("--")] if "--" in words else words


def settled_by(parameter):
    """What a parameter settles, ``{name: value}``; of two that settle one name the later counts. One that may be repeated settles itself.

    ``iommu=pt`` and ``iommu.passthrough=1`` are two words for one thing (kernel-parameters.txt), which ``iommu=nopt`` switches off.
    """
    name, _sign, value = parameter.partition("=")
    name = name.replace("-", "_")
    if name in REPEATED:
        return {parameter: ""}
    if name == "iommu.passthrough":
        return {name: {"y": "1", "on": "1", "n": "0", "off": "0"}.get(value.lower(), value)}
    found = {name: value}
    words = value.split(",") if name == "iommu" else []
    for word, passes in (("pt", "1"), ("nopt", "0")):
        if word in words:
            found["iommu.passthrough"] = passes
    return found


def same(left, right):
    """Whether two parameters are one to the kernel."""
    return settled_by(left) == settled_by(right)


def contradict(left, right):
    """Whether the later of two parameters takes away what the earlier one says."""
    ours, theirs = settled_by(left), settled_by(right)
    return any(theirs.get(name, value) != value for name, value in ours.items())


def missing(parameters, wanted):
    """Those of ``wanted`` that are not among ``parameters``, or that a later one takes away."""
    lost = []
    for one in wanted:
        holds = False
        for other in parameters:
            holds = same(one, other) or (holds and not contradict(one, other))
        lost += [] if holds else [one]
    return lost


def unusable(wanted):
    """What is wrong with wanted parameters, ``(observed, expected)``; None when nothing is."""
    for position, one in enumerate(wanted):
        if not PARAMETER.match(one):
            return "%r" % one, "a name, or a name and a value such as iommu=pt, without blanks and quotes"
        for other in wanted[:position]:
            if contradict(other, one):
                return "%s and %s" % (other, one), "one of them"
    return None


# GRUB ---------------------------------------------------------------------------------------------------------


def grub_file(parameters):
    """The file of /etc/default/grub.d that adds parameters to those of every entry, the recovery ones too."""
    return HEADER + 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX %s"\n' % " ".join(parameters)


def grub_settings(text, before=None):
    """What a file of GRUB's settings says of boot lines: ``({variable: [parameter, ...]}, [line that cannot be read, ...])``.

    :param before: what the files that are read before it say.
    """
    found, unread = {name: list((before or {}).get(name, ())) for name in GRUB_VARIABLES}, []
    for line in (text or "").replace("\\\n", " ").splitlines():
        match = _ASSIGNMENT.match(line)
        if not match:
            continue
        name, adds, value = match.groups()
        words = _assigned(value, found)
        if words is None:
            unread.append(line.strip())
        else:
            found[name] = (found[name] if adds else []) + words
    return found, unread


def _assigned(value, known):
    """The parameters in what a shell would assign, ``known`` variables put in; None where only a shell could tell."""
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        return None
    literal = value.lstrip().startswith("'")
    if len(words) > 1 or (not literal and "`" in value):
        return None
    found = []
    for word in split(words[0]) if words else ():
        name = re.match(r"\$(?:(\w+)|\{(\w+)\})\Z", word)
        if name and not literal and (name.group(1) or name.group(2)) in known:
            found += known[name.group(1) or name.group(2)]
        elif "$" in word and not literal:
            return None
        else:
            found.append(word)
    return found


def grub_entries(text):
    """The parameters of each entry of grub.cfg that boots this system: of all entries, where no part of it is marked as that of 10_linux."""
    parts = _SECTION.findall(text or "") or [text or ""]
    return [split(line) for part in parts for line in _ENTRY.findall(part)]


# grubby -------------------------------------------------------------------------------------------------------


def grubby_kernels(text):
    """``{kernel: [parameter, ...]}`` of what ``grubby --info=ALL`` prints; entries that boot no Linux have no arguments and are left out."""
    found, kernel = {}, None
    for line in (text or "").splitlines():
        name, sign, value = line.partition("=")
        value = value.strip()
        inner = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        if name == "kernel" and sign:
            kernel = inner
        elif name == "args" and sign and kernel:
            found[kernel] = split(inner)
    return found
