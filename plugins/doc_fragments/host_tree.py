# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Where the reading modules read."""

    DOCUMENTATION = r"""
options:
  root:
    description: Prefix below which files are read; another than V(/) is a captured tree.
    type: path
    default: /
  overlay:
    description:
      - A folder on the host, laid out like V(/), whose files are read before the host's own.
      - It tells what is there on a host whose kernel shows less, as that of a container or of a virtual machine may.
    type: path
    version_added: 0.2.0
"""
