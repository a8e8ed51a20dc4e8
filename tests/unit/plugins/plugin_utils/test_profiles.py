"""Accelerators as data."""

from __future__ import annotations

import re

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _profile

TEXT = {name: (_profile.FOLDER / f"{name}.yml").read_text() for name in _profile.names()}


def test_accelerators():
    assert _profile.names() == ("cpu", "kunlunxin")


@pytest.mark.parametrize("name", _profile.names())
def test_every_profile_fits(name):
    profile = _profile.load(name)
    assert profile.name == name
    assert [profile.node(0), profile.node(1)] == ["/dev/xpu0", "/dev/xpu1"]
    assert set(profile.container) == {
        "privileged",
        "network",
        "uts",
        "ipc",
        "cap_add",
        "security_opt",
        "shm_options",
        "shm_size",
        "ulimits",
        "pids_limit",
    }
    assert set(profile.host) == {"limits", "kernel_parameters", "kernel_globals"}
    assert set(profile.limits) == {"ready_seconds", "probe_seconds"}


@pytest.mark.parametrize("name", _profile.names())
def test_every_variable_has_a_reason_and_a_value_that_flagscale_survives(name):
    profile = _profile.load(name)
    names = [variable.name for variable in profile.environment + profile.additions]
    assert len(names) == len(set(names))
    for variable in profile.environment + profile.additions:
        assert variable.reason
        assert variable.value is None or re.fullmatch(r"[A-Za-z0-9_./:,=+@%-]*", variable.value)


@pytest.mark.parametrize("name", _profile.names())
def test_only_namespaced_kernel_parameters_are_set_without_being_asked(name):
    """Kernel parameters of the whole machine are kernel_globals, which are switched on by the operator."""
    assert all(parameter.startswith("net.") for parameter in _profile.load(name).host["kernel_parameters"])


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("per_host: 8", "number: 8", "per_host"),
        ("rank_rule: driver_then_address_text", "rank_rule: random", "random"),
        ("from: visible_devices", "from: visible_gpus", "visible_gpus"),
        ('BKCL_USE_RDMA: {value: "1"', 'BKCL_USE_RDMA: {value: "1", from: address', "BKCL_USE_RDMA"),
        ('BKCL_USE_RDMA: {value: "1", source: the model card}', 'BKCL_USE_RDMA: {value: "1"}', "source"),
        ("title:", "- title:", ""),
        ("key: quantization_config", "keys: quantization_config", "no key"),
        ("severity: warning", "severity: bad", "severity bad"),
        ("stage: weights", "stage: wait", "stage wait"),
        ("least: 60", "least: 60\n    file: /x", "one of file, module"),
        ("name: step timeout", "name: step timeout\n    sort: x", "unknown sort"),
        ("environment: RAY_CGRAPH_get_timeout\n    least: 60", "kernel_log: {pattern: x}", "pattern and meaning"),
        ("environment: RAY_CGRAPH_get_timeout\n    least: 60", 'kernel_log: {pattern: "(", meaning: x}', "pattern ("),
    ],
)
def test_a_profile_that_does_not_fit_names_file_and_key(old, new, named):
    assert old in TEXT["kunlunxin"]
    with pytest.raises(_profile.ProfileError, match=r"profiles/kunlunxin\.yml") as error:
        _profile.parse("kunlunxin", TEXT["kunlunxin"].replace(old, new))
    assert named in str(error.value)
