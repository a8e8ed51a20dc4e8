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

# Modules with something to say of diffs that no stage on the lab's way up can make change anything.
PROVEN_ELSEWHERE = {
    # It waits and compares, and reports no change whatever it finds.
    "flagos.kunlunxin.serve_wait": "tests/unit/plugins/modules/test_serve_wait.py",
    # What the lab's hosts need not: enrolment, a driver, a boot line, RDMA, the wiring of accelerators.
    "flagos.kunlunxin.enrol_host": "tests/unit/enrol/test_enrol_host.py",
    "flagos.kunlunxin.host_keys": "tests/unit/enrol/test_enrol_playbook.py",
    "flagos.kunlunxin.host_boot_line": "tests/unit/plugins/modules/test_host_boot_line.py",
    "flagos.kunlunxin.xpu_driver": "tests/unit/plugins/modules/test_xpu_driver.py",
    "flagos.kunlunxin.rdma_ofed": "tests/unit/plugins/modules/test_rdma_ofed.py",
    "flagos.kunlunxin.rdma_settings": "tests/unit/plugins/modules/test_rdma_settings.py",
    "flagos.kunlunxin.topology_record": "tests/unit/plugins/action/test_topology_record.py",
    # Other ways for the weights than the swarm without TLS from a folder of the controller.
    "flagos.kunlunxin.weights_certificates": "tests/unit/plugins/modules/test_weights_certificates.py",
    "flagos.kunlunxin.weights_fetch": "tests/unit/plugins/modules/test_weights_fetch.py",
    "flagos.kunlunxin.rsync_push": "tests/unit/plugins/modules/test_weights.py",
    "flagos.kunlunxin.rsync_pull": "tests/unit/plugins/modules/test_rsync_serve.py",
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
