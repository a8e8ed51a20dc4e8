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


@pytest.mark.usefixtures("bed_possible")
def test_hosts_tell_what_came_from_the_source_and_not_from_each_other():
    with weights_faults.stage(2, 8) as made:
        made.prepare()
        made.offer()
        made.join("h1", "h2")
        made.wait("h1", "h2", timeout=60)
        for name in ("source", "h1", "h2"):
            made.steady(name)
        from_source = sum(made.counted(name, "source_bytes") for name in ("h1", "h2"))
        received = sum(made.counted(name, "received_bytes") for name in ("h1", "h2"))
        sent = made.counted("source", "sent_bytes")
        made.end("source", "h1", "h2")
    assert from_source == pytest.approx(sent, rel=0.05)
    assert from_source < 0.9 * received
