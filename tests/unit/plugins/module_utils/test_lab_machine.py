"""What keeps a machine from carrying the lab."""

from __future__ import annotations

import copy
import ipaddress

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _lab_machine as lab_machine
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024**3
NEEDS = {"prefix": "10.91", "memory": 16 * GIB, "disk": 40 * GIB}
GOOD = {
    "uid": 0,
    "system": {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
    "architecture": "x86_64",
    "namespaces": "",
    "tun": True,
    "overlay": True,
    "memory": 20 * GIB,
    "disks": {"/var/lib/lab": 80 * GIB},
    "foreign": [],
    "routes": "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2\n",
    "sources": "deb http://mirror.example/debian bookworm main\n",
    "lab": {"running": False, "prefix": None, "link": None},
}


def lines(**changes):
    return [str(finding) for finding in lab_machine.findings(dict(copy.deepcopy(GOOD), **changes), NEEDS)]


def test_a_good_machine_has_no_finding():
    assert lines() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"uid": 1000}, "this machine: user: uid 1000; expected root; run the playbook as root, for instance with sudo"),
        (
            {"system": {"ID": "fedora", "VERSION_ID": "40", "PRETTY_NAME": "Fedora 40"}},
            "operating system: Fedora 40; expected Debian 12 or Ubuntu 24.04",
        ),
        ({"architecture": "aarch64"}, "architecture: aarch64; expected x86_64"),
        (
            {"namespaces": "unshare: unshare failed: Operation not permitted"},
            "namespaces: unshare: unshare failed: Operation not permitted",
        ),
        ({"tun": False}, "/dev/net/tun: missing"),
        ({"overlay": False}, "file systems: overlay is missing"),
        ({"sources": "\n"}, "package sources: none of the distribution's own; expected entries in /etc/apt/sources.list or"),
        (
            {"foreign": ["/data"]},
            "folder: /data holds other things; expected a folder of the lab's own; put lab_root and lab_cache elsewhere",
        ),
        ({"memory": 8 * GIB}, "memory: 8 GiB available; expected 16 GiB"),
        ({"disks": {"/var/lib/lab": 10 * GIB}}, "disk: 10 GiB available for /var/lib/lab; expected 40 GiB"),
        (
            {"lab": {"running": True, "prefix": "10.90", "link": "l0"}},
            "lab_prefix: a lab with 10.90; expected 10.91; run playbooks/lab_destroy.yml first",
        ),
        (
            {"routes": "10.91.4.0/24 dev docker9 proto kernel scope link src 10.91.4.1 linkdown"},
            "lab_prefix: the route 10.91.4.0/24 dev docker9 proto kernel",
        ),
        (
            {"routes": "10.0.0.0/8 via 192.0.2.9 dev tun0"},
            "lab_prefix: the route 10.0.0.0/8 via 192.0.2.9 dev tun0; expected 10.91.0.0/16 free on this machine",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes, expected):
    (line,) = lines(**changes)
    assert expected in line


def test_a_user_who_is_not_root_hears_of_nothing_else():
    assert len(lines(uid=1000, tun=False, memory=0)) == 1


def test_a_running_lab_needs_neither_memory_nor_disk_again():
    assert lines(memory=GIB, disks={"/var/lib/lab": GIB}, lab={"running": True, "prefix": "10.91", "link": "flagoslab0"}) == []


def test_the_labs_own_route_is_its_own():
    route = "10.91.0.0/24 dev flagoslab0 proto kernel scope link src 10.91.0.254"
    assert lines(routes=route, lab={"running": True, "prefix": "10.91", "link": "flagoslab0"}) == []
    assert len(lines(routes=route)) == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 32))
def test_every_route_that_shares_an_address_is_found_and_no_other(address, length):
    network = ipaddress.ip_network((address, length), strict=False)
    shared = network.overlaps(ipaddress.ip_network("10.91.0.0/16"))
    assert bool(lines(routes=f"{network} dev eth9")) == shared


def test_default_routes_and_the_words_of_other_kinds_claim_nothing():
    text = "default via 192.0.2.1 dev eth0\nlocal 10.91.0.1 dev lo table local\nunreachable 10.91.0.0/16\n\n"
    assert lab_machine.parse_routes(text) == []


def test_deb822_sources_come_before_one_line_sources():
    files = {
        "/etc/apt/sources.list.d/ubuntu.sources": "# mirrors\nTypes: deb\nURIs: http://mirror.example/\nSuites: noble\nComponents: main\n",
        "/etc/apt/sources.list": "# moved to ubuntu.sources\n",
        "/etc/apt/sources.list.d/vendor.sources": "Types: deb\nURIs: https://vendor.example\nSuites: noble\nComponents: main\n",
    }
    text = lab_machine.distribution_sources(files, "ubuntu")
    assert text.startswith("Types: deb\n") and "mirror.example" in text and "vendor" not in text and "#" not in text


def test_one_line_sources_serve_where_there_are_no_others():
    files = {
        "/etc/apt/sources.list": "# security\ndeb http://mirror.example/debian bookworm main\n\ndeb-src http://mirror.example/debian bookworm main\n"
    }
    assert lab_machine.distribution_sources(files, "debian").startswith("deb http://mirror.example/debian bookworm main\n")
