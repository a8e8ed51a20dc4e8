"""A service that was stopped leaves nothing running: asked of the hosts themselves, without the modules that stopped it."""

from __future__ import annotations

import json
import re

import machine
import pytest
from clone import evaluate, play

pytestmark = pytest.mark.lab

# What a stopped service keeps: its documents, logs and the unit that is off.
OUR_FILES = re.compile(r"files: \+ .* /(var/lib|etc/systemd/system)/flagos-kunlunxin")
# What a host's own login sessions, kept open by ssh, come and go with.
OF_A_LOGIN = re.compile(r"sshd: |/systemd --user|\(sd-pam\)|/usr/bin/dbus-daemon --session|namespaces: |cgroups: .*user\.slice|/run/user/")
# The folder of cgroups that Docker makes for its containers comes and goes with them.
OF_THE_ENGINE = re.compile(r"cgroups: [+-] /sys/fs/cgroup/\w+/docker$")


@pytest.fixture
def stopped(lab, serving):
    """The hosts after a stop, by name: processes that carry the cluster's mark, containers, networks, and what listens on the plan's ports."""
    plan = evaluate("lookup('flagos.kunlunxin.plan')")
    ended = play("playbooks/stop.yml", capture=True)
    assert ended.status == 0, ended.output
    ports = "|".join(str(port) for port in plan["ports"].values())
    return {
        host: {
            "processes": lab.execute(host, "grep -lsz ^FLAGOS_KUNLUNXIN_CLUSTER= /proc/[0-9]*/environ || true").split(),
            "engine": lab.execute(host, "pgrep -fa 'ray|vllm|flagscale' | grep -v pgrep || true").splitlines(),
            "containers": lab.containers(host),
            "networks": lab.execute(host, "docker network ls --format '{{.Name}}'").split(),
            "ports": lab.execute(host, f"ss --no-header --listening --tcp --numeric | grep -E ':({ports}) ' || true").splitlines(),
        }
        for host in lab.hosts
    }


def test_nothing_of_ours_runs_after_a_stop_and_a_second_one_changes_nothing(stopped):
    bare = {"processes": [], "engine": [], "containers": [], "networks": ["bridge", "host", "none"], "ports": []}
    assert stopped == dict.fromkeys(stopped, bare)
    again = play("playbooks/stop.yml", capture=True)
    assert (again.status, again.changed) == (0, 0), again.output


def look_at(lab, host) -> machine.Snapshot:
    lab.docker("cp", machine.__file__, f"{host}:/root/machine.py")
    lab.execute(host, "python3 /root/machine.py take /root/machine.json")
    return json.loads(lab.execute(host, "cat /root/machine.json"))


@pytest.mark.full
def test_a_host_is_as_it_was_before_the_service_but_for_its_files(lab):
    lab.reset(*lab.hosts)
    for playbook in ("prepare", "distribute"):
        ended = play(f"playbooks/{playbook}.yml", capture=True)
        assert ended.status == 0, ended.output
    # An engine keeps folders and cgroups of its own from its first container on, whosever that is: it has had one before.
    for host in lab.hosts:
        lab.execute(host, "docker run --rm --network=host --entrypoint=true $(docker images --quiet | head -1)")
    before = {host: look_at(lab, host) for host in lab.hosts}
    for playbook in ("serve", "stop"):
        ended = play(f"playbooks/{playbook}.yml", capture=True)
        assert ended.status == 0, ended.output
    for host in lab.hosts:
        found = machine.differences(before[host], look_at(lab, host))
        assert [line for line in found if not any(known.search(line) for known in (OF_A_LOGIN, OF_THE_ENGINE, OUR_FILES))] == [], host
