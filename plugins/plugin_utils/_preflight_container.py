# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Checks of the container engine and of what can be read of image, weights and our containers without starting anything."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import format_size, parse_version
from ansible_collections.flagos.kunlunxin.plugins.module_utils._image_registry import NOT_FOUND, REMEDIES
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import CONTAINER

from ._judgement import Check, Fault, Said, Severity, Unread, View, listed
from ._preflight_host import PREPARE, holds_image


def _engine(view: View) -> Iterator[Said]:
    engine = view.facts["engine"]
    if engine["version"] is None:
        observed = "installed, does not answer" if engine["installed"] else "none"
        yield Fault(observed, f"{view.needs.oldest_engine} or newer", PREPARE, "container_engine", evidence=engine["error"] or "")


def _engine_version(view: View) -> Iterator[Said]:
    version, oldest = view.facts["engine"]["version"], view.needs.oldest_engine
    if version is None:
        yield Unread("no container engine answers")
    elif parse_version(version) < parse_version(oldest):
        yield Fault(
            version,
            f"{oldest} or newer",
            "update it by the host's package manager (apt-get install docker.io): an engine that is there is never replaced",
        )


def _runtime(view: View) -> Iterator[Said]:
    """A toolkit's package that goes leaves its entry in the engine's configuration: of the default runtime, no container starts any more."""
    if view.facts["engine"]["version"] is None:
        yield Unread("no container engine answers")
        return
    gone = {name: one for name, one in view.facts["engine"]["runtimes"].items() if not one["there"]}
    for name, one in gone.items():
        kind, severity = ("default runtime", Severity.ERROR) if one["default"] else ("runtime", Severity.WARNING)
        remedy = f"install what brings {one['path']}, or take {name} out of /etc/docker/daemon.json and run systemctl reload docker"
        yield Fault(f"the {kind} {name} is {one['path']}, which is not there", "a program", remedy, severity=severity)


def _registry(view: View) -> Iterator[Said]:
    registry = view.facts["registry"]
    if not registry:
        yield Unread("no image comes from a registry with a name of its own")
        return
    if registry["state"] == "ok":
        return
    expected = "a login over TLS"
    if registry["state"] == NOT_FOUND:
        if holds_image(view.facts, view.needs.image_source):
            return
        expected = f"the manifest of {view.needs.image_source}"
    observed = f"{registry['state'].replace('_', ' ')}: {registry['detail']}"
    yield Fault(observed, expected, REMEDIES[registry["state"]], about=registry["address"])


def _image(view: View) -> Iterator[Said]:
    source = view.needs.image_source
    if source and not holds_image(view.facts, source):
        yield Fault("not in the engine", source, "run distribute.yml", "image")


def _weights(view: View) -> Iterator[Said]:
    """Their size alone: the weights stage compares every file with the manifest."""
    path, wanted = view.plan["model"]["path"], max(1, view.needs.weights_bytes)
    held = view.facts["filesystems"][path]["holds_bytes"] or 0
    if held < wanted:
        yield Fault(f"{format_size(held)} in {path}", f"{format_size(wanted)} or more", "run distribute.yml", "weights")


def _container_name(view: View) -> Iterator[Said]:
    """Docker refuses a second container of a name, whoever made the first."""
    for container in view.facts["engine"]["containers"]:
        if container["name"] == CONTAINER and not view.is_ours(container):
            remedy = f"docker rename {CONTAINER} OTHER, or docker rm it, if it is yours; it was not made for this cluster"
            yield Fault(f"{CONTAINER} is a container of someone else", "the name free, or this cluster's", remedy)


def _container_environment(view: View) -> Iterator[Said]:
    """Of a container that runs: what the plan says, and the container began without."""
    for container in view.facts["engine"]["containers"]:
        if not (container["name"] == CONTAINER and view.is_ours(container) and container["running"]):
            continue
        there, planned = container["environment"], view.host["environment"]
        differing = sorted(name for name, value in planned.items() if there.get(name) != value)
        if differing:
            observed = f"{container['name']} has {listed([f'{name}={there.get(name)}' for name in differing], 4)}"
            expected = listed([f"{name}={planned[name]}" for name in differing], 4)
            yield Fault(observed, expected, "run serve.yml, which starts it anew", "serve")


CHECKS = (
    Check("container engine", "GET /version of the engine's socket", _engine, ("container_engine",)),
    Check("container engine version", "GET /version of the engine's socket", _engine_version, ()),
    Check("container runtime", "GET /info of the engine's socket", _runtime, ()),
    Check("registry", "the registry, asked from the host", _registry, ()),
    Check("image", "the image stage's receipt, and the engine's list of images", _image, ("image",)),
    Check("weights", "the sizes of the files in weights_path", _weights, ("weights",)),
    Check("container name", "the engine's list of containers", _container_name, ()),
    Check("container environment", "the engine's description of this cluster's containers", _container_environment, ("serve",)),
)
