"""The playbook as an operator runs it, on hosts of the loopback interface: one bad host stops no other, and nothing is trusted silently."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from .conftest import PASSWORD, free_port, keygen

ROOT = Path(__file__).absolute().parents[3]
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"

pytestmark = pytest.mark.skipif(not (PLAYBOOK.exists() and (ROOT / "collections").is_dir()), reason="needs a clone that set-up made")


class Site:
    """Hosts in an inventory, and runs of the playbook on them."""

    def __init__(self, folder, own_key, hosts, **variables):
        self.known_hosts = folder / "ssh" / "known_hosts"
        self.variables = {"enrol_public_key": f"{own_key}.pub", **variables}
        group = {name: {"ansible_host": "127.0.0.1", "ansible_port": port} for name, port in hosts.items()}
        common = {
            "ansible_user": "fresh",
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.known_hosts} -o HashKnownHosts=no",
        }
        self.inventory = folder / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump({"all": {"children": {"cluster": {"hosts": group, "vars": common}}}}))
        self.secrets = folder / "secrets.yml"
        self.artifacts = folder / "artifacts"

    def command(self, *options, **variables):
        self.secrets.write_text(yaml.safe_dump({"enrol_password": PASSWORD}))
        given = json.dumps({**self.variables, **variables})
        files = ["-i", str(self.inventory), "-e", f"@{self.secrets}", "-e", given]
        return [str(PLAYBOOK), str(ROOT / "playbooks" / "enrol.yml"), *files, *options]

    @property
    def environment(self):
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.artifacts / "home"),
            "FLAGOS_KUNLUNXIN_TIMINGS": str(self.artifacts / "timings.json"),
            "ANSIBLE_LOG_PATH": str(self.artifacts / "log"),
            "ANSIBLE_NOCOLOR": "1",
            "NO_COLOR": "1",
            "SSH_AUTH_SOCK": "",
        }

    def run(self, *options, **variables):
        self.artifacts.mkdir(exist_ok=True)
        return subprocess.run(
            self.command(*options, **variables),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def run_on_terminal(self, answer):
        """The same on a terminal, where somebody answers the prompt."""
        self.artifacts.mkdir(exist_ok=True)
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(ROOT)
            os.execve(PLAYBOOK, self.command(), self.environment)  # noqa: S606
        shown, asked, deadline, typed = b"", False, time.monotonic() + 60, 0.0
        try:
            while time.monotonic() < deadline:
                if select.select([terminal], [], [], 0.2)[0]:
                    shown += os.read(terminal, 65536)
                # What is typed before the prompt listens is discarded, so it is typed again until the play goes on.
                if b"Only yes accepts them" in shown and b"Add the accepted keys" not in shown and time.monotonic() > typed + 1:
                    asked, typed = True, time.monotonic()
                    os.write(terminal, answer.encode() + b"\r")
            os.kill(process, signal.SIGKILL)
        except OSError:  # how a terminal ends
            pass
        _pid, status = os.waitpid(process, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace"), asked


def recap(output):
    """Of each host, the counts of the last lines."""
    return {name: dict(re.findall(r"(\w+)=(\d+)", rest)) for name, rest in re.findall(r"^(\w+) +: (ok=.*)$", output, re.MULTILINE)}


def fingerprints(*hosts):
    return [
        subprocess.run(["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True).stdout.strip()
        for host in hosts
        for path in host.host_keys
    ]


@pytest.fixture
def two_hosts(openssh):
    hosts = [openssh(), openssh()]
    for host in hosts:
        host.allow_sudo("free")
        host.start()
    return hosts


def test_a_bad_host_stops_no_other_and_a_second_run_changes_nothing(two_hosts, tmp_path, own_key):
    one, two = two_hosts
    gone = free_port()
    site = Site(tmp_path, own_key, {"node1": gone, "node2": one.port, "node3": two.port}, enrol_fingerprints=fingerprints(one, two))

    predicted = site.run("--check", "--diff")
    assert not site.known_hosts.exists()
    assert not (one.home / ".ssh").exists()
    made = site.run("--diff", "-vvvv")
    assert made.returncode == predicted.returncode == 2
    assert f"node1: sshd: nothing listens on port {gone} of 127.0.0.1; expected an sshd; start sshd on the host" in made.stdout
    assert "2 of 3 hosts are enrolled: node2, node3" in made.stdout, made.stdout
    assert "2 of 3 hosts would be enrolled: node2, node3" in predicted.stdout
    counts = {name: (host["changed"], host["failed"]) for name, host in recap(made.stdout).items()}
    assert counts["node1"][1] == "1"
    assert (counts["node2"][1], counts["node3"][1]) == ("0", "0")
    assert counts == {name: (host["changed"], host["failed"]) for name, host in recap(predicted.stdout).items()}
    for line in [*own_key.with_suffix(".pub").read_text().splitlines(), *site.known_hosts.read_text().splitlines()]:
        assert f"+{line}" in made.stdout.replace("\n+ ", "\n+")
        assert f"+{line}" in predicted.stdout.replace("\n+ ", "\n+")
    for host in two_hosts:
        assert (host.home / ".ssh" / "authorized_keys").read_bytes() == own_key.with_suffix(".pub").read_bytes()
    # What Ansible itself then does, with nothing but the key and the file.
    ssh = ["ssh", "-F", "none", "-i", str(own_key), "-o", f"UserKnownHostsFile={site.known_hosts}", "-o", "BatchMode=yes"]
    reached = subprocess.run(
        [*ssh, "-p", str(two.port), "fresh@127.0.0.1", "id -un"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert reached.stdout == "fresh\n"

    site.inventory.write_text(site.inventory.read_text().replace(str(gone), str(one.port)))
    before = site.known_hosts.read_bytes()
    again = site.run("--diff", enrol_fingerprints=[])
    assert again.returncode == 0, again.stdout
    assert {host["changed"] for host in recap(again.stdout).values()} == {"0"}
    assert site.known_hosts.read_bytes() == before

    shown = made.stdout + made.stderr + predicted.stdout + again.stdout
    kept = [path.read_text(errors="replace") for path in site.artifacts.rglob("*") if path.is_file()]
    assert kept
    assert not [text for text in [shown, *kept] if PASSWORD in text]


def test_without_list_and_terminal_it_is_a_refusal_that_says_what_to_set(paramiko_host, tmp_path, own_key):
    host = paramiko_host()
    ended = Site(tmp_path, own_key, {"node1": host.port}).run()
    assert ended.returncode == 2
    assert re.search(
        r"fatal: \[node1\].*node1: host key: not accepted: SHA256:\S{43} \(ssh-ed25519\); .*set enrol_fingerprints", ended.stdout
    )
    assert "0 of 1 hosts are enrolled" in ended.stdout
    assert not (tmp_path / "ssh").exists()
    assert host.passwords == []


@pytest.mark.parametrize(("answer", "status"), [("yes", 0), ("y", 2), ("", 2)])
def test_only_yes_at_the_prompt_accepts(paramiko_host, tmp_path, own_key, answer, status):
    host = paramiko_host()
    site = Site(tmp_path, own_key, {"node1": host.port})
    code, shown, asked = site.run_on_terminal(answer)
    assert (asked, code) == (True, status), shown
    assert (host.passwords == [PASSWORD]) is site.known_hosts.exists() is (answer == "yes")


def test_a_changed_key_is_refused_and_the_line_stays(paramiko_host, tmp_path, own_key):
    host, other = paramiko_host(), paramiko_host()
    site = Site(tmp_path, own_key, {"node1": host.port, "node2": other.port})
    site.known_hosts.parent.mkdir()
    stranger = " ".join(keygen(tmp_path / "stranger").with_suffix(".pub").read_text().split()[:2])
    line = f"[127.0.0.1]:{host.port} {stranger}"
    site.known_hosts.write_text(line)
    listed = [f"SHA256:{one.key.fingerprint.removeprefix('SHA256:')}" for one in (host, other)]
    ended = site.run(enrol_fingerprints=listed)
    assert ended.returncode == 2
    assert re.search(
        rf"node1: host key: changed: {re.escape(listed[0])} .*ssh-keygen -f {re.escape(str(site.known_hosts))} -R", ended.stdout
    )
    assert "1 of 2 hosts are enrolled: node2" in ended.stdout
    assert site.known_hosts.read_text().startswith(line + f"\n[127.0.0.1]:{other.port} ")
    assert host.passwords == []


def test_names_are_hashed_where_that_is_asked(paramiko_host, tmp_path, own_key):
    host = paramiko_host()
    site = Site(tmp_path, own_key, {"node1": host.port}, enrol_fingerprints_file=str(tmp_path / "list"), enrol_hash_known_hosts=True)
    (tmp_path / "list").write_text(f"# by the vendor\n[127.0.0.1]:{host.port} {host.key.get_name()} {host.key.get_base64()}\n")
    ended = site.run()
    assert ended.returncode == 0, ended.stdout
    assert site.known_hosts.read_text().startswith("|1|")
    assert recap(site.run().stdout)["node1"]["changed"] == "0"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"enrol_fingerprints": ["MD5:16:27"]}, "localhost: enrol_fingerprints: line 1: MD5:16:27; expected a fingerprint"),
        ({"enrol_fingerprints_file": "/nowhere/list"}, "localhost: enrol_fingerprints_file: /nowhere/list: No such file or directory"),
        ({"enrol_known_hosts": "/dev/null"}, "localhost: known_hosts: ssh keeps none (UserKnownHostsFile /dev/null)"),
        ({"enrol_known_hosts": "/proc/nowhere/known_hosts", "enrol_fingerprints": "ALL"}, "localhost: known_hosts: /proc/nowhere"),
    ],
)
def test_bad_input_is_one_line(paramiko_host, tmp_path, own_key, variables, line):
    host = paramiko_host()
    if variables.get("enrol_fingerprints") == "ALL":
        variables = {**variables, "enrol_fingerprints": host.key.fingerprint}
    ended = Site(tmp_path, own_key, {"node1": host.port}, **variables).run()
    assert ended.returncode == 2
    assert re.search(rf"fatal: \[node1\].*{re.escape(line)}", ended.stdout), ended.stdout
    assert host.passwords == []


def test_hosts_that_fail_in_different_ways_are_all_told_and_the_others_enrolled(paramiko_host, tmp_path, own_key):
    good, locked, stranger = paramiko_host(), paramiko_host(), paramiko_host()
    locked.methods = "publickey"
    site = Site(tmp_path, own_key, {"node1": free_port(), "node2": locked.port, "node3": stranger.port, "node4": good.port})
    predicted = site.run("--check", enrol_fingerprints=[good.key.fingerprint, locked.key.fingerprint])
    assert not site.known_hosts.exists()
    made = site.run(enrol_fingerprints=[good.key.fingerprint, locked.key.fingerprint])
    assert (predicted.returncode, made.returncode) == (2, 2)
    for host, line in {"node1": "sshd: nothing", "node2": "password: not asked for", "node3": "host key: not in the list"}.items():
        assert re.search(rf"fatal: \[{host}\].*{host}: {line}", made.stdout), made.stdout
    assert "1 of 4 hosts are enrolled: node4" in made.stdout
    assert "fatal: [node4]" not in made.stdout
    assert len(site.known_hosts.read_text().splitlines()) == 2
    assert (good.home / ".ssh" / "authorized_keys").read_bytes() == own_key.with_suffix(".pub").read_bytes()
    assert stranger.passwords == []


def test_each_hosts_key_goes_to_the_file_that_its_ssh_reads(paramiko_host, tmp_path, own_key):
    hosts = {"node1": paramiko_host(), "node2": paramiko_host()}
    site = Site(tmp_path, own_key, {name: host.port for name, host in hosts.items()})
    inventory = yaml.safe_load(site.inventory.read_text())
    for name in hosts:
        own = f"-F none -o UserKnownHostsFile={tmp_path}/of-{name}"
        inventory["all"]["children"]["cluster"]["hosts"][name]["ansible_ssh_common_args"] = own
    site.inventory.write_text(yaml.safe_dump(inventory))
    assert site.run(enrol_fingerprints=[host.key.fingerprint for host in hosts.values()]).returncode == 0
    for name, host in hosts.items():
        (line,) = (tmp_path / f"of-{name}").read_text().splitlines()
        assert host.key.get_base64() in line
