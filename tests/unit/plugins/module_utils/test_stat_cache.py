from __future__ import annotations

import os

from ansible_collections.flagos.kunlunxin.plugins.module_utils._stat_cache import StatCache


def test_a_value_is_known_until_the_file_is_written_to_even_if_its_time_is_put_back(tmp_path):
    file, kept = tmp_path / "f", tmp_path / "cache" / "c.json"
    file.write_text("one")
    before = file.stat()
    cache = StatCache(str(kept))
    cache.put("f", before, "value")
    cache.save()
    assert StatCache(str(kept)).get("f", file.stat()) == "value"

    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert StatCache(str(kept)).get("f", file.stat()) is None


def test_a_cache_that_cannot_be_read_is_empty(tmp_path):
    kept = tmp_path / "c.json"
    for text in ("", "[]", "{", '"x"'):
        kept.write_text(text)
        assert StatCache(str(kept)).get("f", tmp_path.stat()) is None


def test_nothing_is_written_when_nothing_changed(tmp_path):
    StatCache(str(tmp_path / "c.json")).save()
    assert list(tmp_path.iterdir()) == []
