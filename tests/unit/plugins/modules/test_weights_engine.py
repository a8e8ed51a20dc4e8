"""What carries weights on the hosts, or that nothing does."""

from __future__ import annotations


def test_where_a_kind_of_host_has_no_wheel_it_is_named_and_nothing_is_fetched(run_module, tmp_path):
    # Nobody fetches anything in vain: a controller without an index goes on with another transport.
    kinds = ["cp38-x86_64", "cp311-riscv64", "cp311-x86_64"]
    answer = run_module("weights_engine", {"kinds": kinds, "cache": str(tmp_path / "cache")})
    assert (answer["wheels"], answer["changed"]) == ({}, False)
    assert {"cp38-x86_64", "cp311-riscv64"} <= set(answer["unknown"])
    assert not (tmp_path / "cache").exists()
