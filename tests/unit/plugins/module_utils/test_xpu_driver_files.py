"""What an installer brought is found and taken away to the last file, and nothing else is."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _xpu_driver_files as files

PLACES = (("/usr/local", 2), ("/etc/modprobe.d", 1))


@pytest.fixture
def host(tmp_path):
    (tmp_path / "host/usr/local/bin").mkdir(parents=True)
    (tmp_path / "host/usr/local/bin/mine").write_text("")
    (tmp_path / "host/usr/local/deep/er/and/deeper").mkdir(parents=True)
    (tmp_path / "host/etc/modprobe.d").mkdir(parents=True)
    return tmp_path / "host"


@pytest.fixture
def record(tmp_path, host):
    return files.Record(str(tmp_path / "record"), PLACES, str(host))


def install(host, version="1"):
    (host / f"usr/local/xpu-{version}/so").mkdir(parents=True)
    (host / f"usr/local/xpu-{version}/so/libxpurt.so").write_text("")
    (host / "usr/local/xpu").unlink(missing_ok=True)
    (host / "usr/local/xpu").symlink_to(f"xpu-{version}")
    (host / "etc/modprobe.d/kunlun.conf").write_text("")


def tree(host):
    return sorted(str(path.relative_to(host)) for path in host.rglob("*"))


def test_what_was_brought_is_listed_and_removed(host, record):
    before = tree(host)
    record.begin()
    install(host)
    paths = record.end()["paths"]
    assert paths == [
        str(host / path)
        for path in (
            "etc/modprobe.d/kunlun.conf",
            "usr/local/xpu",
            "usr/local/xpu-1",
            "usr/local/xpu-1/so",
            "usr/local/xpu-1/so/libxpurt.so",
        )
    ]
    assert record.read()["paths"] == paths
    files.remove(paths)
    assert tree(host) == before


def test_places_are_looked_at_no_deeper_than_said(host):
    (host / "usr/local/deep/er/and/deeper/file").write_text("")
    assert files.listing((("/usr/local", 2),), str(host)) == {
        str(host / path) for path in ("usr/local/bin", "usr/local/bin/mine", "usr/local/deep", "usr/local/deep/er")
    }
    assert files.listing((("/nowhere", 2),), str(host)) == set()


def test_a_second_installer_adds_to_the_record(host, record):
    record.begin()
    install(host)
    record.end(packages=["b"], replaced="0.9")
    record.begin()
    install(host, "2")
    found = record.end(packages=["a"], replaced="1.0")
    assert {"usr/local/xpu-1", "usr/local/xpu-2", "usr/local/xpu"} <= {os.path.relpath(path, host) for path in found["paths"]}
    assert (found["packages"], found["replaced"]) == (["a", "b"], "0.9")


def test_an_installer_that_was_killed_is_not_forgotten(host, record):
    before = tree(host)
    record.begin()
    install(host)  # and here the run was killed
    record.begin()
    files.remove(record.end()["paths"])
    assert tree(host) == before


def test_what_came_long_after_one_that_was_killed_is_not_taken_for_its_own(host, record, tmp_path):
    record.begin()
    (host / "usr/local/bin/of-the-owner").write_text("")
    long_ago = time.time() - 2 * files.BEFORE_COUNTS_SECONDS
    os.utime(tmp_path / "record" / files.BEFORE, (long_ago, long_ago))
    record.begin()
    install(host)
    assert str(host / "usr/local/bin/of-the-owner") not in record.end()["paths"]


@pytest.mark.parametrize("text", ["", "[", "\0"])
def test_a_record_that_cannot_be_read_is_none(record, tmp_path, text):
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / files.BROUGHT).write_text(text)
    assert record.read() == files.NOTHING


def test_a_folder_keeps_what_others_put_into_it(host, record):
    record.begin()
    install(host)
    paths = record.end()["paths"]
    (host / "usr/local/xpu-1/mine").write_text("")
    files.remove(paths)
    assert (host / "usr/local/xpu-1/mine").exists()
    assert not (host / "usr/local/xpu-1/so").exists()


def test_the_uninstaller_is_looked_for_where_the_installer_put_things(tmp_path):
    base = tmp_path / "usr/local/xpu-1/bin"
    base.mkdir(parents=True)
    for name in ("uninstall_rt.sh", "xpu-smi"):
        (base / name).write_text("")
    paths = [str(tmp_path / "usr/bin/uninstall-other"), str(base), *(str(base / name) for name in ("uninstall_rt.sh", "xpu-smi"))]
    assert files.uninstaller(paths) == str(base / "uninstall_rt.sh")
    assert files.uninstaller(paths[:2]) is None


def archive(path, name, kind=tarfile.REGTYPE, link=""):
    with tarfile.open(path, "w:gz") as stream:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        stream.addfile(member, io.BytesIO())


def test_an_archive_is_unpacked_and_its_folder_found(tmp_path):
    archive(tmp_path / "a.tar.gz", "xdr-1/src/build.sh")
    files.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
    assert files.folder_with(str(tmp_path / "out"), ["build.sh"]) == str(tmp_path / "out/xdr-1/src")
    assert files.folder_with(str(tmp_path / "out"), ["build.sh", "install.sh"]) is None


@pytest.mark.parametrize(
    "member",
    [
        ("../out",),
        ("/etc/out",),
        ("a/../../out",),
        ("link", tarfile.SYMTYPE, "/etc"),
        ("link", tarfile.SYMTYPE, "../out"),
        ("link", tarfile.LNKTYPE, "../out"),
        ("pipe", tarfile.FIFOTYPE),
        ("null", tarfile.CHRTYPE),
    ],
)
def test_an_archive_that_leads_out_of_its_folder_is_refused_before_anything_is_unpacked(tmp_path, member):
    archive(tmp_path / "a.tar.gz", *member)
    with pytest.raises(ValueError, match=r"^holds"):
        files.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b\x08"])
def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"^cannot be unpacked: ") as refused:
        files.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
    assert "\n" not in str(refused.value)


def test_the_record_is_plain_json(host, record, tmp_path):
    record.begin()
    record.end()
    assert set(json.loads((tmp_path / "record" / files.BROUGHT).read_text())) == set(files.NOTHING)
    assert not (tmp_path / "record" / files.BEFORE).exists()
