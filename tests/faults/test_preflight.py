"""A seeded choice of the faults of tests/faults/preflight.yml in `make test`, and with everything all of them; and runs on healthy hosts."""

from __future__ import annotations

import os
import random

import injection
import pytest

pytestmark = pytest.mark.lab

SEED = int(os.environ.get("FLAGOS_KUNLUNXIN_TEST_SEED", "3"))
SAMPLE = random.Random(SEED).sample(sorted(injection.FAULTS), 2)
HOSTS = injection.hosts_for(injection.FAULTS, SEED)


def first_of(chosen, everything):
    return [pytest.param(one, marks=() if one in chosen else pytest.mark.full) for one in everything]


@pytest.mark.parametrize("fault", first_of(SAMPLE, injection.FAULTS))
def test_a_fault_is_found_where_it_is_and_as_what_it_is(rendered, lab, fault):
    outcome = injection.inject(injection.FAULTS[fault], lab, HOSTS[fault])
    assert outcome.good, outcome


@pytest.mark.parametrize("number", first_of([1], range(1, injection.HEALTHY_RUNS + 1)))
def test_of_healthy_hosts_nothing_is_said(rendered, number):
    assert injection.alarms() == []
