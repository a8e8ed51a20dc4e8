# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""FlagScale's documents, and the habits of FlagScale that they have to get around.

* Paths are absolute: relative ones are taken from wherever FlagScale is started or installed.
* ``type=gpu``: any other type of a host puts quotes into quotes in the commands for the other hosts.
* ``use_fs_serve: false``: without it FlagScale runs a server of its own that needs Python 3.12. It stands in two places: FlagScale of
  May 2025, the base of Kunlunxin's patches, reads ``experiment.deploy`` alone, later ones read ``experiment.runner.deploy``.
* No ``nodes_envs``: exporting it breaks FlagScale's stop. No ``docker``: ssh goes into the containers themselves.
* An engine argument that is ``false`` is dropped, and of a dictionary only the contents are passed on; see ``engine_arguments``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

HOSTFILE = "hostfile.txt"
SERVE = "serve.yaml"

_HEADER = "# Rendered by flagos.kunlunxin from the plan; changes are overwritten.\n"
_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./-]*\Z")
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}


def engine_arguments(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in the form that survives FlagScale: ``false`` as ``no_...: true``, a dictionary as its JSON, null left out."""
    survives: dict[str, Any] = {}
    for name, value in chosen.items():
        if value is False:
            survives[f"no_{name}"] = True
        elif isinstance(value, dict):
            survives[name] = json.dumps(value, separators=(",", ":"))
        elif value is not None:
            survives[name] = value
    return survives


def hostfile(hosts: Iterable[tuple[str, int]]) -> str:
    """``hostfile.txt`` of (address, slots), the head first."""
    return "".join(f"{address} slots={slots} type=gpu\n" for address, slots in hosts)


def documents(
    model: str,
    folder: str,
    ports: Mapping[str, int],
    arguments: Mapping[str, Any],
    environment: Mapping[str, str],
    before_start: str,
    hosts: str,
) -> dict[str, str]:
    """All documents, by their path below ``folder``/documents.

    :param folder: the folder of the service, on the hosts and in the containers.
    :param environment: exported by FlagScale too; only what must reach an image that resets its environment.
    :param hosts: the hostfile's text.
    """
    deploy = {"use_fs_serve": False, "port": ports["api"]}
    experiment: dict[str, Any] = {
        "exp_name": model,
        "exp_dir": f"{folder}/logs",
        "task": {"type": "serve"},
        "deploy": deploy,
        "runner": {
            "hostfile": f"{folder}/documents/{HOSTFILE}",
            "ssh_port": ports["container_ssh"],
            "deploy": deploy,
        },
        "envs": dict(environment),
    }
    if before_start:
        experiment["cmds"] = {"before_start": before_start}
    serve = {
        "defaults": ["_self_", {"serve": model}],
        "experiment": experiment,
        "action": "run",
        "hydra": {"run": {"dir": f"{folder}/logs/hydra"}},
    }
    engine = [{"serve_id": "vllm_model", "engine": "vllm", "engine_args": dict(arguments)}]
    return {SERVE: _yaml(serve), f"serve/{model}.yaml": _yaml(engine), HOSTFILE: hosts}


class _Dumper(yaml.SafeDumper):
    """YAML that OmegaConf reads as it was meant: it takes more text for numbers than PyYAML does (1e5), so doubtful text is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        """What stands twice is written twice."""
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = None if _PLAIN.match(value) and value.lower() not in _YAML_WORDS else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _yaml(document: Any) -> str:
    return _HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=10_000)
