"""Check mode tells the truth on hosts where nothing is yet, and just before each stage."""

from __future__ import annotations

import pytest
from clone import play

pytestmark = pytest.mark.lab


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
    assert "runs after" in ended.output
    assert ended.changes, "on fresh hosts there is something to do"
    after = {host: lab.execute(host, "find /etc /var/lib/flagos-kunlunxin -newer /proc/1 -type f 2>/dev/null | sort") for host in lab.hosts}
    assert after == before, "check mode wrote something"


@pytest.mark.full
def test_check_mode_just_before_a_stage_predicts_what_it_makes(fresh):
    for stage in ("preflight", "host", "container_engine", "image", "weights", "serve", "verify"):
        playbook = f"playbooks/{stage}.yml"
        predicted = play(playbook, "--check", "--diff", capture=True)
        made = play(playbook, capture=True)
        again = play(playbook, capture=True)
        assert (predicted.status, made.status, again.status) == (0, 0, 0), predicted.output + made.output + again.output
        assert predicted.changes == made.changes, stage
        assert again.changes == [], stage
