"""The hash of a file, and the refusal of another one."""

from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _file_hash
from ansible_collections.flagos.kunlunxin.plugins.module_utils._unfit import UnfitError

DIGEST = hashlib.sha256(b"x" * 5_000_000).hexdigest()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 5_000_000)
    return str(tmp_path / "a")


def test_the_bytes_are_hashed_and_counted(path):
    counts = []
    assert _file_hash.sha256_of(path, counts.append) == DIGEST
    assert sum(counts) == 5_000_000


def test_a_file_that_changes_while_it_is_read_has_no_hash(path):
    def grow(_count):
        with open(path, "ab") as stream:
            stream.write(b"y")

    with pytest.raises(_file_hash.ChangedError, match=r"a\Z"):
        _file_hash.sha256_of(path, lambda count: grow(count) if os.path.getsize(path) == 5_000_000 else None)


def test_the_file_that_is_wanted_is_taken_in_either_case_of_letters(path):
    _file_hash.check_sha256("archive", path, DIGEST.upper(), "get it again")


def test_another_file_is_refused_with_both_hashes_and_the_remedy(path):
    with pytest.raises(UnfitError) as refused:
        _file_hash.check_sha256("archive", path, "0" * 64, "get it again")
    finding = refused.value.finding
    assert (finding.host, finding.check) == (os.uname().nodename, "archive")
    assert (finding.observed, finding.expected, finding.remedy) == (f"{path} has sha256 {DIGEST}", "0" * 64, "get it again")


def test_a_file_that_somebody_writes_to_is_refused(path, monkeypatch):
    def changed(_path):
        raise _file_hash.ChangedError(path)

    monkeypatch.setattr(_file_hash, "sha256_of", changed)
    with pytest.raises(UnfitError, match="a changed while it was read; expected a file that nobody writes to"):
        _file_hash.check_sha256("archive", path, DIGEST, "get it again")
