# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Which image is this? References, manifests and archives, as pure functions of text and bytes.

The identity of an image is its **config digest**: the SHA-256 of the image's configuration, which names every layer by the hash
of its content. A registry's manifest and an archive of the same image have it in common, whatever the tag, the registry or the
compression; the manifest digest, which names one registry's form of the image, stands beside it.
"""

from __future__ import annotations

import collections
import hashlib
import json
import platform
import re
import tarfile
import zlib

try:
    import lzma
except ImportError:  # a Python built without it refuses such archives by itself
    _DAMAGE = (zlib.error,)
else:
    _DAMAGE = (zlib.error, lzma.LZMAError)

# https://github.com/opencontainers/image-spec/blob/main/media-types.md, and Docker's names of the same documents.
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?$")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
# Names that the Open Container Initiative gives to what Python calls platform.machine().
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class IdentityError(ValueError):
    """A reference, manifest or archive that is not what it should be.

    :ivar observed: what was found.
    :ivar expected: what should have been there.
    """

    def __init__(self, observed, expected):
        super().__init__("%s (expected %s)" % (observed, expected))
        self.observed = observed
        self.expected = expected


class Reference(collections.namedtuple("Reference", "registry repository tag digest")):
    """An image's name in a registry; ``tag`` and ``digest`` may be empty."""

    @property
    def name(self):
        """Registry and repository, which is what a digest is looked up in."""
        return "%s/%s" % (self.registry, self.repository)

    @property
    def wanted(self):
        """The digest, else the tag: what to ask the registry for."""
        return self.digest or self.tag


def parse_reference(text):
    """``registry/repository[:tag][@digest]`` as a :class:`Reference`.

    The registry is required: an image "from somewhere" is not what a cluster should serve.

    :raises IdentityError: when the text is no such reference.
    """
    expected = "registry/repository:tag or registry/repository@sha256:..., for example registry.example:5000/flagos/serve:1"
    rest, _at, digest = text.partition("@")
    registry, slash, path = rest.partition("/")
    repository, _colon, tag = path.partition(":")
    known_registry = "." in registry or ":" in registry or registry == "localhost"
    if not (slash and known_registry and _REGISTRY.match(registry) and _REPOSITORY.match(repository)):
        raise IdentityError(repr(text), expected)
    if (digest and not DIGEST.match(digest)) or (tag and not _TAG.match(tag)) or text.endswith((":", "@")):
        raise IdentityError(repr(text), expected)
    if not (tag or digest):
        tag = "latest"
    return Reference(registry, repository, tag, digest)


def is_told_by_lock(pinned, reference):
    """Whether a reference means the pinned image, without a question to the registry: by a tag, or by the pinned digest."""
    return bool(pinned.get("config_digest") and pinned.get("manifest_digest")) and reference.digest in ("", pinned["manifest_digest"])


def digest_of(content):
    """The digest of bytes, as registries write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def architecture(machine=None):
    """The architecture as images name it (``amd64``), of this machine unless given."""
    machine = machine or platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def choose_manifest(index, arch):
    """The digest of the manifest for ``linux/<arch>`` in an index (a "multi-platform image").

    :raises IdentityError: when the image was not built for this architecture.
    """
    offered = []
    for entry in index.get("manifests", []):
        where = entry.get("platform", {})
        offered.append("%s/%s" % (where.get("os", "?"), where.get("architecture", "?")))
        if offered[-1] == "linux/" + arch:
            return entry["digest"]
    raise IdentityError("an image for %s only" % ", ".join(offered or ["nothing"]), "an image for linux/%s" % arch)


def identity_of_manifest(content):
    """What a registry's manifest says.

    :param content: the manifest's bytes, unchanged.
    :returns: dict of ``config_digest``, ``manifest_digest`` and ``bytes`` (the compressed layers, as they travel).
    :raises IdentityError: when it is no manifest with a configuration.
    """
    try:
        manifest = json.loads(content.decode("utf-8"))
        config = manifest["config"]["digest"]
        size = sum(layer["size"] for layer in manifest["layers"])
    except (ValueError, KeyError, TypeError) as error:
        raise IdentityError("a manifest without configuration or layers", "an image manifest, version 2 or OCI") from error
    return {"config_digest": config, "manifest_digest": digest_of(content), "bytes": size}


def identity_of_archive(path):
    """What an archive made by ``docker save`` holds; only its configuration is read, not its layers.

    Docker checks each layer against the configuration when it loads the archive, so a right configuration is enough here.

    :returns: dict of ``config_digest``, ``manifest_digest`` (empty in the older form, which has none) and ``bytes`` (on disk, once loaded).
    :raises IdentityError: when it is no archive of exactly one image, or its configuration is damaged.
    """
    expected = "a tar archive of one image, as docker save makes it"
    try:
        with tarfile.open(path) as archive:
            documents, unpacked = _documents(archive)
    except (tarfile.TarError, EOFError, OSError, ValueError, *_DAMAGE) as error:
        raise IdentityError("not readable as an archive: %s" % error, expected) from error
    images = documents.get("manifest.json")
    if not isinstance(images, list) or len(images) != 1:
        found = "%d images" % len(images) if isinstance(images, list) else "no manifest.json"
        raise IdentityError(found, expected)
    try:
        name = images[0]["Config"]
        content = documents[name]
    except (KeyError, TypeError) as error:
        raise IdentityError("no configuration of the image", expected) from error
    digest = digest_of(content)
    named = "sha256:" + name.rpartition("/")[2].partition(".")[0]
    if digest != named:
        raise IdentityError("a configuration whose hash is %s" % digest, "%s, as the archive names it" % named)
    return {"config_digest": digest, "manifest_digest": _archived_manifest(documents), "bytes": unpacked}


def _documents(archive):
    """The small files of an archive, by name (``manifest.json`` and ``index.json`` decoded), and the size of all of it.

    In both forms of the archive the configuration is a small file while layers are large: 1 MiB tells them apart.
    """
    documents = {}
    unpacked = 0
    for member in archive:
        unpacked += member.size
        if member.isfile() and member.size <= 2**20:
            content = archive.extractfile(member).read()
            documents[member.name] = json.loads(content.decode("utf-8")) if member.name in ("manifest.json", "index.json") else content
    return documents, unpacked


def _archived_manifest(documents):
    index = documents.get("index.json")
    manifests = index.get("manifests", []) if isinstance(index, dict) else []
    return manifests[0].get("digest", "") if len(manifests) == 1 else ""


def difference(pinned, found):
    """How an image differs from the one the cluster is pinned to, as (observed, expected), or ``None`` when it does not.

    A digest that one of the two does not know cannot differ.
    """
    for key in ("config_digest", "manifest_digest"):
        if pinned.get(key) and found.get(key) and pinned[key] != found[key]:
            return "%s %s" % (key.replace("_", " "), found[key]), pinned[key]
    return None
