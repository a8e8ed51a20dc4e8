"""Which process is which: what tells a living run from one that died."""

from __future__ import annotations

import os
import subprocess
import sys

from ansible_collections.flagos.kunlunxin.plugins.action import cluster_lease


def test_a_living_process_has_an_identity_that_lasts():
    assert cluster_lease.process_identity(os.getpid()) == cluster_lease.process_identity(os.getpid())
    assert f"/{os.getpid()}/" in cluster_lease.process_identity(os.getpid())


def test_a_process_that_ended_is_told_from_one_that_lives():
    controller = cluster_lease.controller_identity()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        record = {"controller": controller, "process": cluster_lease.process_identity(child.pid)}
        assert not cluster_lease.is_ended(record, controller)
        child.communicate()
    assert cluster_lease.is_ended(record, controller)


def test_a_later_process_with_the_same_number_is_another_one():
    controller = cluster_lease.controller_identity()
    boot, pid, started = cluster_lease.process_identity(os.getpid()).split("/")
    for process in (f"{boot}/{pid}/{int(started) - 1}", f"another-boot/{pid}/{started}", "damaged", ""):
        assert cluster_lease.is_ended({"controller": controller, "process": process}, controller)


def test_nothing_is_known_of_another_controllers_processes():
    assert not cluster_lease.is_ended({"controller": "another", "process": "x/1/1"}, cluster_lease.controller_identity())
