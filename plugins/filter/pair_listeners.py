# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter C(pair_listeners); documented in pair_listeners.yml beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._bandwidth import longest_seconds, measured_rails
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._pairs import listen_options


def pair_listeners(
    plan: Mapping[str, Any], host: str, among: Sequence[str], rails: Sequence[str] = (), forks: int = 1, test_seconds: int = 0
) -> dict[str, Any]:
    """The options with which a host of the plan listens for the others."""
    known = {one["name"]: one for one in plan["hosts"]}
    if host not in known:
        raise AnsibleFilterError(f"pair_listeners: {host} is not in the plan, which has {', '.join(known)}")
    more = longest_seconds(len(among), len(measured_rails(plan, known[host], rails)), int(test_seconds)) if int(test_seconds) else 0
    return listen_options(plan, host, among, rails, int(forks), more)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"pair_listeners": pair_listeners}
