# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter C(swarm); documented in swarm.yml beside it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._swarm import CONTROLLER, SwarmError, arrange, lane_count, summary


def swarm(
    plan: Mapping[str, Any],
    held: Mapping[str, Any],
    reached: Mapping[str, str],
    manifest: Mapping[str, Any],
    sources: Sequence[str] = (CONTROLLER,),
    lanes: int = 0,
) -> Any:
    """Who takes part in the swarm, and how."""
    told = {host: one["swarm"] for host, one in held.items()}
    count = lane_count(told, manifest, int(lanes), plan["swarm"]["most_lanes"])
    try:
        found = arrange(plan, told, {host: socket.gethostbyname(reached.get(host) or host) for host in told}, sources, count)
    except SwarmError as error:
        raise AnsibleFilterError(str(error)) from error
    except OSError as error:
        raise AnsibleFilterError(f"swarm: an address of {', '.join(reached.values())} cannot be resolved: {error}") from error
    return {"lanes": count, **found}


def swarm_summary(held: Mapping[str, Any], received: Mapping[str, Any], sent_by_source: int, size: int) -> str:
    """What the swarm did, in one line."""
    done = {host: one for host, one in received.items() if one and "seconds" in one}
    return summary({host: one["swarm"] for host, one in held.items()}, done, sent_by_source, size)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"swarm": swarm, "swarm_summary": swarm_summary}
