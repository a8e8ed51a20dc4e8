"""The service's arguments, turned into those of a single process."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_reference import engine_options

KNOWN = {"model", "dtype", "max_model_len", "enable_prefix_caching", "tensor_parallel_size", "distributed_executor_backend"}


def test_what_spreads_or_serves_is_left_out():
    arguments = {
        "model": "/m",
        "host": "0.0.0.0",
        "port": 8000,
        "dtype": "float32",
        "max_model_len": 512,
        "tensor_parallel_size": 2,
        "distributed_executor_backend": "ray",
    }
    assert engine_options(arguments, KNOWN) == {"dtype": "float32", "max_model_len": 512}


def test_a_negative_flag_becomes_its_value():
    assert engine_options({"no_enable_prefix_caching": True}, KNOWN) == {"enable_prefix_caching": False}
    assert engine_options({"no_enable_prefix_caching": False, "no_such": True}, KNOWN) == {}
