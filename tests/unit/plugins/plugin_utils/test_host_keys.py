"""Which keys are accepted: by known_hosts, by the list, by the operator's word, and never by themselves."""

from __future__ import annotations

import pytest
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _host_keys, _ssh_settings
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._host_keys import Listed, Standing, judge, read_list
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._known_hosts import read
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._public_key import PublicKey
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused, printable
from hypothesis import given
from hypothesis import strategies as st


def make_key(seed, kind="ssh-ed25519"):
    return PublicKey(kind, len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([seed]) * 32)


ED, RSA, OTHER_ED = make_key(1), make_key(2, "ssh-rsa"), make_key(3)
NAME = "10.0.0.11"


def decide(known="", listed=(), confirmed=False, offered=(ED, RSA)):
    return judge(NAME, ("node1",), offered, read(known.encode())[0], read_list(listed, "enrol_fingerprints"), confirmed, "/k/known_hosts")


def standings(judgement):
    return [standing for _key, standing in judgement.standings]


def test_an_unknown_host_waits_for_the_operator():
    found = decide()
    assert (found.waits, found.accepted, found.new) == (True, [], [])
    line = str(found.refused.finding("node1"))
    assert ED.fingerprint in line
    assert "enrol_fingerprints" in line
    assert "ssh-keygen -lf" in line


def test_the_operators_word_accepts_all_that_is_shown():
    assert decide(confirmed=True).new == [ED, RSA]


def test_a_list_accepts_what_it_names_alone_whatever_the_operator_says():
    found = decide(listed=[f"256 {ED.fingerprint} root@p800-1 (ED25519)"], confirmed=True)
    assert standings(found) == [Standing.LISTED, Standing.UNLISTED]
    assert (found.accepted, found.new, found.refused) == ([ED], [ED], None)


def test_a_host_outside_the_list_is_refused_and_nobody_is_asked():
    found = decide(listed=[OTHER_ED.fingerprint], confirmed=True)
    assert (found.accepted, found.waits) == ([], False)
    assert found.refused.args[1].startswith(f"not in the list: {ED.fingerprint}")


@pytest.mark.parametrize(("line", "accepted"), [(f"{NAME} {ED}", [ED]), (f"node1,x {ED} c", [ED]), (f"10.0.0.12 {ED}", [])])
def test_a_line_of_known_hosts_counts_for_the_hosts_it_names(line, accepted):
    assert decide(listed=["# from the vendor", "", line]).accepted == accepted


def test_a_marked_line_accepts_nothing():
    assert decide(listed=[f"@revoked {NAME} {ED}"]).accepted == []


def test_a_known_host_needs_no_word_and_gets_no_line():
    found = decide(known=f"{NAME} {ED}\n")
    assert standings(found) == [Standing.KNOWN, Standing.LEFT_OUT]
    assert (found.accepted, found.new, found.waits, found.refused) == ([ED], [], False, None)


def test_a_changed_key_is_refused_even_where_it_is_listed_and_confirmed():
    found = decide(known=f"{NAME} {OTHER_ED}\n", listed=[ED.fingerprint, RSA.fingerprint], confirmed=True)
    assert (found.accepted, found.new, found.waits) == ([], [], False)
    assert found.refused.args[1].startswith(f"changed: {ED.fingerprint}")
    assert f"ssh-keygen -f /k/known_hosts -R '{NAME}'" in found.refused.args[3]


def test_a_host_that_offers_none_of_its_known_types_is_a_changed_one():
    assert standings(decide(known=f"{NAME} {ED}\n", offered=[RSA], confirmed=True)) == [Standing.CHANGED]


def test_one_changed_type_spoils_the_others():
    assert decide(known=f"{NAME} {ED}\n{NAME} {make_key(9, 'ssh-rsa')}\n").accepted == []


def test_a_revoked_key_is_refused():
    found = decide(known=f"{NAME} {ED}\n@revoked * {ED}\n", confirmed=True)
    assert found.accepted == []
    assert found.refused.args[1].startswith("revoked: ")


def test_other_hosts_lines_do_not_count():
    assert decide(known=f"10.0.0.12 {ED}\n").waits


@given(
    st.lists(st.sampled_from([f"{NAME} {key}" for key in (ED, RSA, OTHER_ED)] + [f"@revoked {NAME} {RSA}", f"* {ED}"]), max_size=3),
    st.lists(st.sampled_from([ED.fingerprint, RSA.fingerprint, OTHER_ED.fingerprint]), max_size=2),
)
def test_nothing_is_accepted_silently(known, listed):
    found = decide("\n".join(known), listed)
    for key in found.accepted:
        assert key.fingerprint in listed or any(line.endswith(str(key)) for line in known)
    for key in found.new:
        assert key.fingerprint in listed
    assert bool(found.accepted) is (found.refused is None)


@pytest.mark.parametrize("line", ["MD5:16:27:ac:a5", "SHA256:tooshort", "ssh-ed25519", "hello"])
def test_a_line_that_is_no_key_is_named(line):
    with pytest.raises(Refused) as caught:
        read_list(["# fine", line], "the list")
    assert caught.value.args[:2] == ("the list", f"line 2: {line}")


def test_an_empty_list_is_none():
    assert not read_list(["", "# nothing"], "x")
    assert Listed() | Listed(frozenset(["a"]))


def test_the_table_has_a_line_for_each_key():
    lines = _host_keys.table([("node1", NAME, decide()), ("node2", "[10.0.0.12]:2222", decide(known=f"{NAME} {OTHER_ED}"))])
    assert len(lines) == 5
    assert lines[1].split()[:4] == ["node1", NAME, "ssh-ed25519", ED.fingerprint]
    assert lines[3].endswith("CHANGED")


def test_a_hosts_words_cannot_steer_a_terminal():
    assert printable("a\x1b[31mb\x07\u202e\tc") == "a[31mb\tc"


SETTINGS = """user root
hostname 10.0.0.11
port 2222
hashknownhosts yes
identityfile /k/one
identityfile /k/two
userknownhostsfile /k/known_hosts /k/known_hosts2
globalknownhostsfile /etc/ssh/ssh_known_hosts
"""


def test_sshs_own_settings_are_read():
    found = _ssh_settings.read(SETTINGS)
    assert (found.address, found.port, found.user, found.name, found.hashed) == ("10.0.0.11", 2222, "root", "[10.0.0.11]:2222", True)
    assert found.known_hosts == ("/k/known_hosts", "/k/known_hosts2", "/etc/ssh/ssh_known_hosts")
    assert found.identities == ("/k/one", "/k/two")
    assert _ssh_settings.read(SETTINGS + "hostkeyalias Alias\n").name == "alias"


@pytest.mark.parametrize("line", ["proxyjump jump", "proxycommand nc %h %p"])
def test_a_way_by_another_host_is_refused(line):
    with pytest.raises(Refused) as caught:
        _ssh_settings.read(SETTINGS + line + "\n")
    assert caught.value.args[1] == line
    assert _ssh_settings.read(SETTINGS + line.split()[0] + " none\n").port == 2222


def test_ssh_is_asked_as_ansible_calls_it(tmp_path):
    (tmp_path / "id").touch()
    found = _ssh_settings.ask(f"ssh -F none -p 2022 -o UserKnownHostsFile={tmp_path}/k -i {tmp_path}/id -o HashKnownHosts=no", "me@[::1]")
    assert (found.address, found.port, found.user, found.hashed) == ("::1", 2022, "me", False)
    assert (found.known_hosts[0], found.identities) == (f"{tmp_path}/k", (f"{tmp_path}/id",))


@pytest.mark.parametrize(("shell", "check"), [("ssh -o Nonsense=1", "ssh settings"), ("no-such-ssh", "ssh")])
def test_an_ssh_that_does_not_answer_is_told(shell, check):
    with pytest.raises(Refused) as caught:
        _ssh_settings.ask(shell, "host")
    assert caught.value.args[0] == check
