"""Check mode tells the truth on hosts where nothing is yet, and just before each stage."""

from __future__ import annotations

import re

import attributes
import pytest
from clone import ROOT, play

pytestmark = pytest.mark.lab

# On fresh hosts the first `serve` makes the keys by which its containers know each other, and both of these write them down: what
# they will say is known only afterwards. That they foretell it where the keys are there, test_site.py proves.
WRITE_DOWN_NEW_KEYS = {"serve": ("flagos.kunlunxin.serve_deployment", "flagos.kunlunxin.receipt")}

# Modules with something to say of diffs that no stage on the way up can make change anything.
PROVEN_ELSEWHERE = {
    # It waits and compares, and reports no change whatever it finds.
    "flagos.kunlunxin.serve_wait": "tests/unit/plugins/modules/test_serve_wait.py",
}


@pytest.fixture
def fresh(lab):
    """Hosts as if just installed."""
    lab.reset(*lab.hosts)


def test_check_mode_ends_well_and_says_what_runs_after_what(fresh, lab):
    before = {
        host: lab.execute(host, "find /etc /var/lib/flagos-kunlunxin -newer /proc/1 -type f 2>/dev/null | sort") for host in lab.hosts
    }
    ended = play("site.yml", "--check", "--diff", capture=True)
    assert ended.status == 0, ended.output
    assert all(counts["unreachable"] == counts["failures"] == 0 for counts in ended.hosts.values())
    # The registry's certificate is not there yet, so nobody can ask it for the image; without an image nothing can be served, and
    # without a service nothing can be asked. Host, container engine and weights wait for nobody. A warning may be wrapped anywhere.
    said = set(re.findall(r"(\w+):\s+runs\s+after\s+(\w+)", ended.output))
    assert said == {("image", "container_engine"), ("serve", "image"), ("verify", "serve")}, ended.output
    assert ended.changes, "on fresh hosts there is something to do"
    after = {host: lab.execute(host, "find /etc /var/lib/flagos-kunlunxin -newer /proc/1 -type f 2>/dev/null | sort") for host in lab.hosts}
    assert after == before, "check mode wrote something"


@pytest.mark.full
def test_check_mode_just_before_a_stage_predicts_what_it_makes(fresh):
    exercised = set()
    for stage in ("preflight", "host", "container_engine", "image", "weights", "serve", "verify"):
        playbook = f"playbooks/{stage}.yml"
        predicted = play(playbook, "--check", "--diff", capture=True)
        made = play(playbook, "--diff", capture=True)
        again = play(playbook, "--diff", capture=True)
        assert (predicted.status, made.status, again.status) == (0, 0, 0), predicted.output + made.output + again.output
        assert attributes.changes(predicted, "check_mode") == attributes.changes(made, "check_mode"), stage
        unknown = WRITE_DOWN_NEW_KEYS.get(stage, ())
        assert attributes.diffs(predicted, unknown) == attributes.diffs(made, unknown), f"{stage}:\n{predicted.output}\n{made.output}"
        # An image is brought by a background job that shows no diff: that nothing is left to do proves that it did what was shown.
        assert attributes.changes(again, "idempotent") == [], stage
        exercised |= attributes.exercised(made)
    changing = attributes.declaring("diff_mode", "full", "partial", "none")
    assert changing - exercised == set(PROVEN_ELSEWHERE), (
        "what these modules declare is proven by no stage, or need not be proven elsewhere"
    )
    assert all((ROOT / test).is_file() for test in PROVEN_ELSEWHERE.values())
