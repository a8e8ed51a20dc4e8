"""The one line that a refusal is, taken apart: ``where: check: observed; expected X; remedy``, behind what Ansible puts before it."""

from __future__ import annotations

import dataclasses
import re

# What the callback puts in front of a message (`fatal: [node1 -> localhost]: FAILED! => `), or Ansible where it has no host yet.
BEFORE = re.compile(r"^(?:fatal: \[[^\]]*\]: [A-Z]+! => |\[ERROR\]: |ERROR! )?")
# A remedy is one clause, so it begins after the last semicolon; what was observed may have several. Preflight says behind it that it
# changed nothing.
PARTS = re.compile(
    r"(?P<where>[^:]*): (?P<check>.*?): (?P<observed>.*?); expected (?P<expected>.*?); (?P<remedy>[^;]*)(?:; no host was changed)?"
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is wrong: ``where``, what was looked at, what was there, what had to be there, and what the operator can do."""

    where: str
    check: str
    observed: str
    expected: str
    remedy: str

    @classmethod
    def of(cls, line: str) -> Finding:
        """The finding in a line of output.

        :raises AssertionError: a part is missing or empty.
        """
        found = PARTS.fullmatch(BEFORE.sub("", line.strip()))
        assert found, f"not 'where: check: observed; expected X; remedy': {line}"
        parts = {name: text.strip() for name, text in found.groupdict().items()}
        empty = [name for name, text in parts.items() if not text]
        assert not empty, f"no {', '.join(empty)} in: {line}"
        return cls(**parts)


def says(line: str, where: str = "", **words: str | tuple[str, ...]) -> Finding:
    """Hold a line against words that its parts must have: ``says(line, "node1", observed=("8123", "python3"), remedy="stop it")``.

    :param where: the host, or one of several that the line names.
    :raises AssertionError: a part is missing or empty, or lacks a word.
    """
    finding = Finding.of(line)
    assert not where or where in finding.where.split(", "), f"where is not {where}: {line}"
    for part, wanted in words.items():
        missing = [word for word in ((wanted,) if isinstance(wanted, str) else wanted) if word not in getattr(finding, part)]
        assert not missing, f"{part} lacks {missing}: {line}"
    return finding
