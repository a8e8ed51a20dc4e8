"""Ray's and vLLM's own text; the samples are from Ray 2.60.0 and vLLM 0.32.0."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _serve_ray

STATUS = """\
======== Autoscaler status: 2026-11-23 21:53:51.154563 ========
Node status
---------------------------------------------------------------
Active:
 1 node_00000000000000000000000000000000000000000000000000000003
 1 node_00000000000000000000000000000000000000000000000000000002
 1 node_00000000000000000000000000000000000000000000000000000004
Pending:
 (no pending nodes)
Recent failures:
 (no failures)

Resources
---------------------------------------------------------------
Total Usage:
 0.0/8.0 CPU
 3.0/3.0 GPU (3.0 used of 3.0 reserved in placement groups)
 0B/16.17GiB memory
 0B/6.93GiB object_store_memory

From request_resources:
 (none)
Pending Demands:
 (no resource demands)
"""


def test_status_is_counted():
    assert _serve_ray.count(STATUS) == (3, 3)


def test_only_active_hosts_count():
    status = STATUS.replace("Pending:\n (no pending nodes)", "Pending:\n 1 node_00000000000000000000000000000000000000000000000000000001")
    assert _serve_ray.count(status).hosts == 3


def test_eight_devices_a_host():
    assert _serve_ray.count(STATUS.replace("3.0/3.0 GPU", "0.0/24.0 GPU")).devices == 24


def test_no_cluster_counts_nothing():
    assert _serve_ray.count("Ray cluster is not found at 10.91.0.11:6379") == (0, 0)


def test_a_worker_names_its_rank():
    line = (
        "(Worker pid=112) INFO 11-23 21:52:38 [parallel_state.py:1906] world_size=4 rank=%d local_rank=%d "
        "distributed_init_method=tcp://10.92.0.11:46533 backend=gloo\n"
    )
    assert _serve_ray.worker(line % (3, 1)) == (3, 1)
    assert _serve_ray.worker(line % (3, 1) + line % (2, 0)) == (2, 0)
    assert _serve_ray.worker("INFO nothing of the kind rank=1") is None
