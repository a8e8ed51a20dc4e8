"""The placement read back from the engine against the plan."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_placement import differences
from hypothesis import given
from hypothesis import strategies as st


def planned(hosts=4, devices=2):
    return [
        {"rank": host * devices + local, "local_rank": local, "host": f"node{host + 1}", "device": f"/dev/xpu{local}"}
        for host in range(hosts)
        for local in range(devices)
    ]


def observed(**options):
    return [dict(item, pid=100 + item["rank"]) for item in planned(**options)]


@given(st.integers(1, 5), st.integers(1, 8), st.randoms())
def test_the_plan_itself_is_no_difference_in_any_order(hosts, devices, shuffler):
    workers = observed(hosts=hosts, devices=devices)
    shuffler.shuffle(workers)
    assert differences(planned(hosts, devices), workers) == []


@given(st.permutations(range(8)))
def test_every_misplaced_rank_has_its_line(order):
    workers = [dict(item, rank=order[item["rank"]]) for item in observed()]
    found = differences(planned(), workers)
    assert len(found) == sum(order[rank] != rank for rank in range(8))


def test_a_missing_a_doubled_and_a_foreign_rank():
    workers = observed()
    gone = workers.pop(3)
    workers.append(dict(workers[0], host="node4"))
    workers.append(dict(gone, rank=9))
    found = differences(planned(), workers)
    assert [(item.host, item.observed) for item in found] == [
        ("node1", "rank 0: local rank 0 of node1 on /dev/xpu0 and local rank 0 of node4 on /dev/xpu0"),
        ("node2", "rank 3: no worker says that it is this rank"),
        ("node2", "rank 9: local rank 1 of node2 on /dev/xpu1"),
    ]


def test_a_device_is_compared_where_the_worker_holds_one():
    workers = observed()
    workers[5]["device"] = None
    assert differences(planned(), workers) == []
    workers[5]["device"] = "/dev/xpu0"
    assert differences(planned(), workers)[0].expected == "local rank 1 of node3 on /dev/xpu1"


def test_no_worker_at_all_is_a_line_for_each_rank():
    assert len(differences(planned(), [])) == 8
