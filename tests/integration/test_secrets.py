"""The registry's password is where it is needed and nowhere else."""

from __future__ import annotations

import base64

import pytest
from clone import ARTIFACTS, evaluate

pytestmark = [pytest.mark.serving, pytest.mark.full]

HOSTS = ("node1", "node2", "node3", "node4")


@pytest.fixture(scope="module")
def forms():
    """The password as it stands, and as Docker's own files write it."""
    user, password = evaluate("[image_registry_username, image_registry_password]", host="node1")
    return password, base64.b64encode(f"{user}:{password}".encode()).decode()


def test_no_artefact_of_the_controller_holds_it(serving, forms):
    files = [path for path in ARTIFACTS.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if any(form in path.read_text(errors="replace") for form in forms)]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_keeps_it_where_only_root_reads(host, serving, forms, lab):
    patterns = " ".join(f"-e {form}" for form in forms)
    found = lab.execute(host, f"grep -rlsF {patterns} /etc /root /var/lib/flagos-kunlunxin /var/log /tmp /run/systemd || true").split()
    modes = {path: lab.execute(host, f"stat -c '%a %U' {path}").strip() for path in found}
    assert set(modes.values()) <= {"600 root"}, modes


@pytest.mark.parametrize("host", HOSTS)
def test_no_container_process_or_journal_shows_it(host, serving, forms, lab):
    shown = lab.execute(host, "docker inspect $(docker ps --all --quiet); ps -eo args; journalctl --no-pager --quiet")
    assert shown
    assert not any(form in shown for form in forms)
