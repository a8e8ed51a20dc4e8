"""An image as files: layers from a tree, and the OCI layout around them, with the same bytes from the same tree."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

CHUNK = 1 << 20

# Everything in an image is this old (2025-01-20): its identity depends on content, not on when it was made.
EPOCH = 1737331200
CREATED = "2025-01-20T00:00:00Z"


@dataclass(frozen=True)
class Layer:
    """One packed layer. Sizes in bytes; digests as ``sha256:HEX``."""

    name: str
    digest: str
    size: int
    diff_id: str
    unpacked: int


@dataclass(frozen=True)
class Image:
    """A packed image: its two identities and its layers."""

    config_digest: str
    manifest_digest: str
    layers: list[Layer]

    def as_dict(self) -> dict:
        return asdict(self)


def divide(names: Iterable[str], patterns: Sequence[str]) -> list[list[str]]:
    """Divide file names over layers: each belongs to the first pattern it matches, sorted, parent folders before it.

    Raises ValueError for a name that no pattern matches.
    """
    expressions = [re.compile(pattern) for pattern in patterns]
    parts: list[set[str]] = [set() for _pattern in patterns]
    for name in names:
        for expression, part in zip(expressions, parts, strict=True):
            if expression.search(name):
                part.add(name)
                part.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
                break
        else:
            raise ValueError(f"no layer takes {name}")
    return [sorted(part) for part in parts]


def names_below(root: Path) -> list[str]:
    """All paths below *root*, relative to it: files, links and folders (sockets and devices do not belong in an image)."""
    found = []
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder, name)
            if path.is_symlink() or path.is_file() or path.is_dir():
                found.append(str(path.relative_to(root)))
    return found


def pack_layer(name: str, root: Path, names: Sequence[str], blobs: Path) -> Layer:
    """Pack *names* of *root* into a gzip-ed tar below *blobs*, named after its digest."""
    with tempfile.NamedTemporaryFile(dir=blobs, delete=False) as packed, tempfile.NamedTemporaryFile() as listing:
        listing.write(b"".join(os.fsencode(entry) + b"\0" for entry in names))
        listing.flush()
        tar = subprocess.Popen(
            [
                "tar",
                "--create",
                "--directory",
                str(root),
                "--format=gnu",
                "--numeric-owner",
                f"--mtime=@{EPOCH}",
                "--no-recursion",
                "--null",
                "--verbatim-files-from",
                f"--files-from={listing.name}",
            ],
            stdout=subprocess.PIPE,
        )
        compressor = zlib.compressobj(level=1, wbits=31)
        plain, squeezed = hashlib.sha256(), hashlib.sha256()
        unpacked = size = 0
        while chunk := tar.stdout.read(CHUNK):
            plain.update(chunk)
            unpacked += len(chunk)
            size += _append(compressor.compress(chunk), packed, squeezed)
        size += _append(compressor.flush(), packed, squeezed)
        if tar.wait() != 0:
            raise OSError(f"tar ended with status {tar.returncode} on layer {name}")
    blob = Path(packed.name)
    blob.chmod(0o644)
    blob.replace(blobs / squeezed.hexdigest())
    return Layer(name, f"sha256:{squeezed.hexdigest()}", size, f"sha256:{plain.hexdigest()}", unpacked)


def _append(data: bytes, stream, digest) -> int:
    digest.update(data)
    stream.write(data)
    return len(data)


def pack(root: Path, layout: Path, layers: Sequence[dict], config: dict) -> Image:
    """Pack the tree *root* as an OCI layout.

    *layers* are ``{"name": ..., "pattern": ...}`` in their order; *config* is the image's run configuration
    (``Env``, ``Cmd``, ``Labels`` ... of the OCI image specification).
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    parts = divide(names_below(root), [layer["pattern"] for layer in layers])
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        packed = list(pool.map(lambda pair: pack_layer(pair[0]["name"], root, pair[1], blobs), zip(layers, parts, strict=True)))
    configuration = _put(
        blobs,
        {
            "created": CREATED,
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in packed]},
            "history": [{"created": CREATED, "created_by": layer.name} for layer in packed],
        },
    )
    manifest = _put(
        blobs,
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **configuration},
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.size} for layer in packed
            ],
        },
    )
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest}]}
    (layout / "index.json").write_text(json.dumps(index))
    return Image(configuration["digest"], manifest["digest"], packed)


def _put(blobs: Path, document: dict) -> dict:
    """Store a JSON document as a blob; return its descriptor."""
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}
