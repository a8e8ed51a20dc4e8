# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter C(pair_listeners); documented in pair_listeners.yml beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._pairs import listen_options


def pair_listeners(plan: Mapping[str, Any], host: str, among: Sequence[str], rails: Sequence[str] = (), forks: int = 1) -> dict[str, Any]:
    """The options with which a host of the plan listens for the others."""
    names = [one["name"] for one in plan["hosts"]]
    if host not in names:
        raise AnsibleFilterError(f"pair_listeners: {host} is not in the plan, which has {', '.join(names)}")
    return listen_options(plan, host, among, rails, int(forks))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"pair_listeners": pair_listeners}
