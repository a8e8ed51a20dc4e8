"""Loaded modules, what a module was built for, and the kernel's log."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _kernel_modules as kernel
from hypothesis import given
from hypothesis import strategies as st

MODULES = """\
kunlun_peermem 16384 0 - Live 0xffffffffc1a05000 (OE)
kunlun 4915200 76 kunlun_peermem, Live 0xffffffffc1000000 (OE)
ib_core 442368 9 kunlun_peermem,rdma_ucm,ib_uverbs, Live 0xffffffffc0c11000
xdr 32768 0 - Loading 0x0000000000000000 (OE+)
old 20480 0 - Live
"""
LOG = """\
[   12.000001] kunlun: loading out-of-tree module taints kernel.
[   19.411200] c2c port1 AM out of lock!, reg_val: 0x0
[   19.411311] c2c port3 AM out of lock!, reg_val: 0x0
"""
OUT_OF_LOCK = {"pattern": r"c2c port\d+ AM out of lock", "meaning": "a link between two XPUs is bad"}
XDR_OFF = {"pattern": "XDR disabled", "meaning": "direct RDMA is off"}


def test_modules_with_their_states():
    found, problems = kernel.parse_modules(MODULES)
    assert found == {"kunlun_peermem": "Live", "kunlun": "Live", "ib_core": "Live", "xdr": "Loading", "old": "Live"}
    assert problems == []


def test_a_line_that_is_no_module_is_told():
    found, problems = kernel.parse_modules("kunlun 1 0\n" + MODULES)
    assert len(found) == 5
    assert problems == ["line 1 is no module: 'kunlun 1 0'"]


def test_a_hyphen_in_a_name_is_an_underscore():
    assert kernel.module_name("kunlun-peermem") == "kunlun_peermem"


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("6.8.0-87-generic SMP preempt mod_unload modversions \n", "6.8.0-87-generic"),
        ("3.10.0-1160.el7.x86_64 SMP mod_unload modversions", "3.10.0-1160.el7.x86_64"),
        ("modinfo: ERROR: Module kunlun not found.", None),
        ("", None),
        (None, None),
    ],
)
def test_the_kernel_a_module_was_built_for(text, release):
    assert kernel.parse_vermagic(text) == release


def test_a_log_is_searched_for_what_has_a_meaning():
    assert kernel.search_log(LOG, [XDR_OFF, OUT_OF_LOCK]) == [
        {**OUT_OF_LOCK, "line": "[   19.411311] c2c port3 AM out of lock!, reg_val: 0x0", "count": 2}
    ]


@given(st.text())
def test_anything_at_all_raises_nothing(text):
    kernel.parse_modules(text)
    kernel.parse_vermagic(text)
    kernel.search_log(text, [OUT_OF_LOCK])
