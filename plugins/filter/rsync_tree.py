# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter C(rsync_tree); documented in rsync_tree.yml beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._rsync_tree import arrange
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._swarm import SwarmError


def rsync_tree(
    plan: Mapping[str, Any], held: Mapping[str, Any], took: Collection[str] = (), silent: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The rounds in which hosts give each other what they lack."""
    try:
        return arrange(plan, held, took, silent)
    except SwarmError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rsync_tree": rsync_tree}
