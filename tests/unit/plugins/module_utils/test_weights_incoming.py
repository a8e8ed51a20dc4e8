"""Where weights arrive: nobody who reads the served folder meets half a file."""

from __future__ import annotations

import os

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _weights_incoming as incoming

OWNER = (os.geteuid(), os.getegid())
# Longer than what a file system keeps in the inode itself: such a link has blocks.
LONG = "x" * 200


@pytest.fixture
def folder(tmp_path):
    """A revision with one complete file and one that is damaged."""
    made = tmp_path / LONG / "98ea6e4f216f2fb4"
    (made / "sub dir").mkdir(parents=True)
    (made / "whole").write_bytes(b"right")
    (made / "sub dir" / "damaged").write_bytes(b"wrong")
    return made


def arrived(folder, path):
    return folder / incoming.NAME / path


def test_complete_files_stay_where_they_are_and_damaged_ones_are_repaired_where_others_arrive(folder):
    incoming.prepare(str(folder), ["whole"], ["sub dir/damaged"], OWNER)
    assert arrived(folder, "whole").is_symlink()
    assert arrived(folder, "whole").read_bytes() == b"right"
    assert arrived(folder, "sub dir/damaged").read_bytes() == b"wrong"
    assert not (folder / "sub dir" / "damaged").exists()


def test_a_second_start_leaves_what_is_right(folder):
    incoming.prepare(str(folder), ["whole"], ["sub dir/damaged"], OWNER)
    before = os.lstat(arrived(folder, "whole"))
    incoming.prepare(str(folder), ["whole"], [], OWNER)
    assert os.lstat(arrived(folder, "whole")).st_ino == before.st_ino
    assert arrived(folder, "sub dir/damaged").read_bytes() == b"wrong"


def test_a_link_of_an_earlier_run_is_no_copy_that_has_begun_to_arrive(folder):
    incoming.prepare(str(folder), ["whole", "sub dir/damaged"], [], OWNER)
    assert incoming.arrived_bytes(str(folder), "whole", 5) == 0
    incoming.prepare(str(folder), ["whole"], ["sub dir/damaged"], OWNER)
    assert not arrived(folder, "sub dir/damaged").is_symlink()
    assert arrived(folder, "sub dir/damaged").read_bytes() == b"wrong"


def test_a_link_to_a_file_that_is_gone_is_taken_away(folder):
    incoming.prepare(str(folder), ["whole"], [], OWNER)
    (folder / "whole").unlink()
    incoming.prepare(str(folder), [], [], OWNER)
    assert not arrived(folder, "whole").is_symlink()


def test_what_has_begun_to_arrive_is_kept_before_a_damaged_copy(folder):
    arrived(folder, "sub dir").mkdir(parents=True)
    arrived(folder, "sub dir/damaged").write_bytes(b"rig")
    incoming.prepare(str(folder), ["whole"], ["sub dir/damaged"], OWNER)
    assert arrived(folder, "sub dir/damaged").read_bytes() == b"rig"
    assert not (folder / "sub dir" / "damaged").exists()


def test_the_room_that_has_arrived_is_what_is_on_the_disk(folder):
    assert incoming.arrived_bytes(str(folder), "new", 100) == 0
    arrived(folder, "").mkdir()
    with arrived(folder, "new").open("wb") as stream:
        stream.truncate(10**9)
    assert incoming.arrived_bytes(str(folder), "new", 10**9) < 10**6
    arrived(folder, "new").write_bytes(b"x" * 5000)
    assert incoming.arrived_bytes(str(folder), "new", 100) == 100


def test_what_is_proven_goes_to_its_place_and_links_do_not(folder):
    incoming.prepare(str(folder), ["whole"], ["sub dir/damaged"], OWNER)
    arrived(folder, "sub dir/damaged").write_bytes(b"right")
    arrived(folder, "half").write_bytes(b"ha")
    assert incoming.settle(str(folder), ["whole", "sub dir/damaged", "never came"]) == ["sub dir/damaged"]
    assert (folder / "sub dir" / "damaged").read_bytes() == b"right"
    assert (folder / "sub dir" / "damaged").stat().st_mode & 0o777 == 0o644
    assert not (folder / "whole").is_symlink()
    incoming.clear(str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["sub dir", "whole"]


def test_a_folder_that_leads_away_is_not_followed(folder, tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "secret").write_text("secret")
    arrived(folder, "").mkdir()
    arrived(folder, "away").symlink_to(tmp_path / "others")
    assert incoming.settle(str(folder), ["away/secret"]) == []
    assert (tmp_path / "others" / "secret").exists()
    incoming.prepare(str(folder), [], [], OWNER)
    assert not arrived(folder, "away").is_symlink()
