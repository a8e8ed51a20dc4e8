"""What has to be on a host before it serves."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.modules.serve_deployment import MissingStageError, verified_weights

ROOT = "sha256:" + "a" * 64


@pytest.fixture
def models(tmp_path):
    """A folder with two revisions of the model m, the first of which is served."""
    for name in ("first", "second"):
        (tmp_path / "m.revisions" / name).mkdir(parents=True)
    (tmp_path / "m").symlink_to(tmp_path / "m.revisions" / "first")
    return tmp_path


def receipt(models, **changes):
    return {"root": ROOT, "path": str(models / "m"), "revision": str(models / "m.revisions" / "first"), **changes}


def test_the_revision_that_was_proven_is_served(models):
    assert verified_weights(str(models / "m"), receipt(models)) == ROOT


def test_a_folder_that_the_operator_brought_is_its_own_revision(models):
    own = str(models / "own")
    (models / "own").mkdir()
    assert verified_weights(own, receipt(models, path=own, revision=own)) == ROOT


def test_a_path_below_a_linked_folder_is_the_same_place(models, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "models"
    elsewhere.symlink_to(models)
    there = {"path": str(elsewhere / "m"), "revision": str(elsewhere / "m.revisions" / "first")}
    assert verified_weights(str(elsewhere / "m"), receipt(models, **there)) == ROOT


def test_a_link_that_was_turned_elsewhere_is_not_what_was_proven(models):
    (models / "m").unlink()
    (models / "m").symlink_to(models / "m.revisions" / "second")
    with pytest.raises(MissingStageError, match=r"m is .*/m\.revisions/second") as missing:
        verified_weights(str(models / "m"), receipt(models))
    assert missing.value.stage == "weights"
    assert missing.value.expected.endswith("m.revisions/first")


def test_another_path_was_not_proven(models):
    (models / "n").symlink_to(models / "m.revisions" / "first")
    with pytest.raises(MissingStageError, match=r"verified weights in .*/m only"):
        verified_weights(str(models / "n"), receipt(models))


@pytest.mark.parametrize("held", [{}, {"root": ""}])
def test_weights_without_receipt_are_not_served(models, held):
    with pytest.raises(MissingStageError, match="holds no verified weights"):
        verified_weights(str(models / "m"), held)


def test_weights_that_are_gone_are_not_served(models):
    with pytest.raises(MissingStageError, match="holds no verified weights"):
        verified_weights(str(models / "gone"), receipt(models, path=str(models / "gone")))
