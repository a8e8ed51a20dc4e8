# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter C(finding); documented in finding.yml beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding


def finding(subject: str | Mapping[str, Any], **fields: Any) -> str:
    """One line that says what is wrong.

    :param subject: the host's name, or a record that holds some or all of the fields.
    :param fields: ``check``, ``observed``, ``expected``, ``remedy`` (and ``host`` when the subject lacks it).
    """
    given = dict(subject) if isinstance(subject, Mapping) else {"host": subject}
    given.update(fields)
    record = {name: value for name, value in given.items() if name in Finding._fields}
    missing = [name for name in Finding._fields if name not in record]
    unknown = [name for name in fields if name not in Finding._fields]
    if missing or unknown:
        raise AnsibleFilterError(
            f"finding: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}; it takes {', '.join(Finding._fields)}"
        )
    return str(Finding(**record))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"finding": finding}
