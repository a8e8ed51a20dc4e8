# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster is pinned to."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_lock
short_description: What a cluster is pinned to
version_added: 0.1.0
author:
  - FlagOS contributors (@flagos-ai)
description:
  - Reads C(cluster.lock.yml), which C(playbooks/lock.yml) writes beside the inventory.
  - A cluster that was never locked is pinned to nothing.
options:
  _terms:
    description: Path of the file.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Show the pinned image
  ansible.builtin.debug:
    msg: "{{ lookup('flagos.kunlunxin.cluster_lock', inventory_dir ~ '/cluster.lock.yml').image }}"
"""

RETURN = r"""
_raw:
  description:
    - One dict for each file, with the sections C(image) and C(weights), each empty where nothing is pinned.
    - The section C(driver) is there only where a driver is pinned.
  type: list
  elements: dict
"""

import os
import re

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._image_identity import DIGEST

SECTIONS = ("image", "weights")


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        return [read_lock(term) for term in terms]


def read_lock(path):
    """The sections of a lock file; AnsibleLookupError with a finding when it is no lock file."""
    try:
        # The lock is written by a task, which expands ~ too: not found where it was written, it would pin nothing.
        with open(os.path.expanduser(path), encoding="utf-8") as stream:
            lock = yaml.safe_load(stream)
        sections = {name: _section(lock, name) if lock.get(name) else {} for name in SECTIONS}
        return {**sections, "driver": _driver(lock["driver"])} if lock.get("driver") else sections
    except FileNotFoundError:
        return {name: {} for name in SECTIONS}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        finding = Finding("localhost", f"lock {path}", error, "a file that lock.yml wrote", "restore it, or remove it and run lock.yml")
        raise AnsibleLookupError(str(finding)) from None


def _section(lock, name):
    section = lock[name]
    if name == "image":
        if not DIGEST.match(section["config_digest"]):
            raise ValueError(f"image.config_digest {section['config_digest']!r}")
        return section
    manifest = _weights.manifest_of(section["files"])
    if manifest["root"] != section["root"]:
        raise ValueError("the root of the weights does not belong to the files")
    return manifest


def _driver(section):
    for name, pattern in (("version", r"[0-9]+(\.[0-9]+)+"), ("sha256", r"[0-9a-f]{64}")):
        if not re.fullmatch(pattern, section[name]):
            raise ValueError(f"driver.{name} {section[name]!r}")
    return section
