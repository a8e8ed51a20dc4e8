"""A lab that is made, used and destroyed leaves the machine as it was, and changes nothing of the machine's own meanwhile.

It is a lab of one host beside whatever lab there is, with an image, a registry and a model of its own. Its packages are
installed before the first look: distribution packages stay, and the destroy play names them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import machine
import pytest
from lab import Lab

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("/var/lib/flagos-lab-guest")
LAB = {
    "lab_name": FOLDER.name,
    "lab_prefix": "10.92",
    "lab_link": "flagosguest0",
    "lab_root": str(FOLDER),
    "lab_cache": f"/var/cache/{FOLDER.name}",
    "lab_hosts": [{"name": "guest1", "number": 11, "memory": "1g"}],
    "lab_memory_gib": 1,
    "lab_disk_gib": 12,
}
# What mounts, cgroups, bridges and firewall rules come from: a container of a host's own Docker, on its own bridge.
NESTED_CONTAINER = """
set -e
mkdir -p tree/bin
cp /bin/sleep /bin/sh /bin/cat tree/bin
ldd /bin/sleep /bin/sh /bin/cat | grep -o '/[^ :]*/[^ :]*' | xargs -I@ cp --parents @ tree
tar -C tree -c . | docker import - try:1
docker run --detach --name try --privileged try:1 /bin/sleep 600
"""
# Writes to each a value that it has already, so that nothing changes where the guest can.
WRITE_KERNEL_PARAMETERS = """
for name in fs/file-max fs/protected_fifos kernel/pid_max vm/max_map_count vm/swappiness; do
    value=$(cat /proc/sys/$name)
    if (echo "$value" > /proc/sys/$name) 2> /dev/null; then echo $name; fi
done
"""
THE_MACHINES_OWN = ("sysctls", "iptables", "nftables", "rules", "mounts", "users")


def play(name: str, *options: str) -> str:
    command = ["ansible-playbook", "-i", "inventory/", f"playbooks/{name}.yml", "-e", json.dumps(LAB), *options]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def own_differences(before: machine.Snapshot, after: machine.Snapshot) -> list[str]:
    """Of what the machine has for itself; the settings of the lab's one interface are the lab's."""
    found = machine.differences(before, after)
    return [line for line in found if line.startswith(THE_MACHINES_OWN) and LAB["lab_link"] not in line]


@pytest.fixture(scope="module")
def before() -> Iterator[machine.Snapshot]:
    play("lab", "--tags", "lab_install")
    play("lab_destroy")  # the packages stay, the folders do not
    yield machine.take()
    play("lab_destroy")


@pytest.fixture(scope="module")
def guest(before: machine.Snapshot) -> Lab:
    play("lab")
    return Lab.of_this_machine(FOLDER)


def test_a_lab_in_use_changes_nothing_of_the_machines_own(before: machine.Snapshot, guest: Lab) -> None:
    assert guest.ssh("guest1", NESTED_CONTAINER)
    assert len(guest.containers("guest1")) == 1
    assert own_differences(before, machine.take()) == []


@pytest.mark.parametrize("inside", ["", "docker exec try "], ids=["host", "privileged container of a host"])
def test_what_is_the_whole_kernels_cannot_be_written(inside: str, guest: Lab) -> None:
    if inside and "try" not in guest.containers("guest1"):
        guest.ssh("guest1", NESTED_CONTAINER)
    assert guest.execute("guest1", f"{inside}sh -c '{WRITE_KERNEL_PARAMETERS}'") == ""
    own = "/proc/sys/net/core/somaxconn"
    assert guest.execute("guest1", f"{inside}sh -c 'echo 4096 > {own} && cat {own}'") == "4096\n"


def test_a_second_run_changes_nothing(guest: Lab) -> None:
    assert "changed=0" in play("lab")


def test_a_supervisor_that_is_killed_takes_every_process_along_and_a_run_mends_it(guest: Lab) -> None:
    subprocess.run(["kill", "-KILL", (guest.run / "labd.pid").read_text()], check=True)
    assert "changed=0" not in play("lab")
    assert guest.containers("guest1"), "what a host's own Docker held is lost"


def test_a_destroyed_lab_leaves_nothing(before: machine.Snapshot, guest: Lab) -> None:
    play("lab_destroy")
    assert machine.differences(before, machine.take()) == []
