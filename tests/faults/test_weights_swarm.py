"""A seeded choice of the faults of tests/faults/weights.py in `make test`, and with everything all of them."""

from __future__ import annotations

import os
import random

import pytest
import weights_faults

SEED = int(os.environ.get("FLAGOS_KUNLUNXIN_TEST_SEED", "3"))
SAMPLE = random.Random(SEED).sample(sorted(weights_faults.FAULTS), 3)


@pytest.fixture(scope="session")
def bed_possible():
    if reason := weights_faults.impossible():
        pytest.skip(f"no bed of network namespaces here: {reason}")


@pytest.mark.parametrize("name", [pytest.param(one, marks=() if one in SAMPLE else pytest.mark.full) for one in weights_faults.FAULTS])
@pytest.mark.usefixtures("bed_possible")
def test_a_fault_costs_no_byte_that_counts(name):
    outcome = weights_faults.make(name)
    assert outcome.held, outcome
