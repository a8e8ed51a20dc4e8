"""What a reference means for a cluster that is pinned to an image; the registry is one that knows a few digests."""

from __future__ import annotations

import types
from typing import ClassVar

import pytest
from ansible_collections.flagos.kunlunxin.plugins.modules import image_identity_info

CONFIG, OTHER_CONFIG = "sha256:" + "c" * 64, "sha256:" + "e" * 64
MANIFEST, OTHER_MANIFEST, INDEX = ("sha256:" + letter * 64 for letter in "dab")
PINNED = {"config_digest": CONFIG, "manifest_digest": MANIFEST, "bytes": 5}
HELD = {
    MANIFEST: (CONFIG, MANIFEST),
    INDEX: (CONFIG, MANIFEST),
    OTHER_MANIFEST: (OTHER_CONFIG, OTHER_MANIFEST),
    "1": (CONFIG, MANIFEST),
    "2": (OTHER_CONFIG, OTHER_MANIFEST),
}


class Refused(Exception):
    """What the module would fail with."""


class Registry:
    asked: ClassVar[list[str]] = []

    def __init__(self, reference, *unused):
        self.wanted = reference.wanted

    def identity(self, _architecture):
        self.asked.append(self.wanted)
        config, manifest = HELD[self.wanted]
        return {"config_digest": config, "manifest_digest": manifest, "bytes": 9}


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """``ask(reference, pinned)`` returns the identity and what the registry was asked."""
    monkeypatch.setattr(image_identity_info._image_registry, "Registry", Registry)
    monkeypatch.setattr(Registry, "asked", [])

    def run(reference, pinned):
        def fail_json(msg):
            raise Refused(msg)

        options = {"reference": reference, "pinned": pinned, "certificates": str(tmp_path), "username": "", "password": ""}
        module = types.SimpleNamespace(params=options, check_mode=False, fail_json=fail_json)
        return image_identity_info._Question(module).from_reference(), Registry.asked

    return run


@pytest.mark.parametrize("wanted", [":1", ":2", "@" + MANIFEST])
def test_the_lock_alone_says_what_a_tag_or_its_own_digest_means(ask, wanted):
    image, asked = ask("r.io/serve" + wanted, PINNED)
    assert image == {**PINNED, "name": "r.io/serve", "unpacked_bytes": 0}
    assert asked == []


def test_the_digest_of_an_index_is_asked_for_and_means_the_pinned_image(ask):
    image, asked = ask("r.io/serve@" + INDEX, PINNED)
    assert (image["config_digest"], image["manifest_digest"], asked) == (CONFIG, MANIFEST, [INDEX])


@pytest.mark.parametrize("pinned", [PINNED, {**PINNED, "manifest_digest": ""}], ids=["from a registry", "from an older archive"])
def test_another_image_than_the_pinned_one_is_refused(ask, pinned):
    with pytest.raises(Refused, match=f"image identity: r.io/serve@{OTHER_MANIFEST} has config digest {OTHER_CONFIG}; expected {CONFIG}"):
        ask("r.io/serve@" + OTHER_MANIFEST, pinned)


def test_a_lock_without_manifest_holds_what_the_registry_says_against_the_configuration(ask):
    older = {**PINNED, "manifest_digest": ""}
    assert ask("r.io/serve:1", older)[0]["manifest_digest"] == MANIFEST
    with pytest.raises(Refused, match="as cluster"):
        ask("r.io/serve:2", older)


def test_what_is_no_reference_is_refused(ask):
    with pytest.raises(Refused, match="image_reference"):
        ask("", PINNED)
