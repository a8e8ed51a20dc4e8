"""One host's enrolment: what is added, what is proved, and each way in which a host can refuse."""

from __future__ import annotations

import os
import subprocess

import paramiko
import pytest
from ansible_collections.flagos.kunlunxin.plugins.action.enrol_host import Enrolment
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._enrolment import Account, Path, check_sudo
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._ssh_session import by_key, login, offered_keys

from .conftest import PASSWORD, USER_ID, keygen


@pytest.fixture(autouse=True)
def without_agent(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def enrol(own_key):
    """``enrol(host, options...)`` returns what was done; ``check=True`` only predicts."""

    def run(host, check=False, **options):
        keys = options.pop("host_keys", None) or list(map(str, offered_keys("127.0.0.1", host.port, 10)))
        given = {
            "ssh": {"address": "127.0.0.1", "port": host.port, "user": "fresh", "identities": []},
            "host_keys": keys,
            "user": "",
            "password": PASSWORD,
            "private_key": "",
            "public_key": f"{own_key}.pub",
            "become_password": "",
            "timeout": 10,
            **options,
        }
        enrolment = Enrolment(given, check)
        run.last = enrolment
        enrolment.run()
        return enrolment.done

    return run


def refusal(enrol, host, **options):
    """The finding's fields."""
    with pytest.raises(Refused) as caught:
        enrol(host, **options)
    assert PASSWORD not in str(caught.value.finding("host"))
    return caught.value.args


def tree(home):
    return {
        str(path.relative_to(home)): (path.stat().st_mode & 0o7777, path.stat().st_uid, path.read_bytes() if path.is_file() else None)
        for path in home.rglob("*")
    }


@pytest.fixture
def fresh(openssh):
    """A running OpenSSH host whose account may use sudo."""
    host = openssh()
    host.allow_sudo("free")
    host.start()
    return host


def test_a_fresh_host_is_enrolled_by_password(fresh, enrol, own_key):
    before = tree(fresh.home)
    predicted = enrol(fresh, check=True)
    assert tree(fresh.home) == before
    made = enrol(fresh)
    assert (predicted["changed"], predicted["diff"], predicted["actions"]) == (made["changed"], made["diff"], made["actions"])
    assert (made["changed"], made["login"], made["sudo"]) == (True, "password", "no password")
    line = (own_key.with_suffix(".pub")).read_bytes()
    assert tree(fresh.home) == {
        ".sudo": before[".sudo"],
        ".ssh": (0o700, USER_ID, None),
        ".ssh/authorized_keys": (0o600, USER_ID, line),
    }
    after = tree(fresh.home)
    again = enrol(fresh, password="")
    assert (again["changed"], again["login"]) == (False, "own key")
    assert tree(fresh.home) == after


def test_another_key_does_it_too(openssh, enrol, tmp_path):
    host = openssh(PasswordAuthentication="no")
    host.allow_sudo("free")
    other = keygen(tmp_path / "other", "rsa")
    folder = host.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_bytes(other.with_suffix(".pub").read_bytes().rstrip())  # its end is missing
    for path in (folder, folder / "authorized_keys"):
        os.chown(path, USER_ID, USER_ID)
    host.start()
    before = (folder / "authorized_keys").read_bytes()
    assert enrol(host, password="", private_key=str(other))["login"] == "other key"
    assert (folder / "authorized_keys").read_bytes().startswith(before + b"\nssh-ed25519 ")


def test_modes_are_narrowed_where_sshd_would_ignore_the_file(fresh, enrol, own_key):
    folder = fresh.home / ".ssh"
    folder.mkdir()
    folder.chmod(0o777)  # Debian's sshd forgives the group, no sshd forgives the others
    (folder / "authorized_keys").write_bytes(own_key.with_suffix(".pub").read_bytes())
    (folder / "authorized_keys").chmod(0o666)
    for path in (folder, folder / "authorized_keys"):
        os.chown(path, USER_ID, USER_ID)
    predicted = enrol(fresh, check=True)
    made = enrol(fresh)
    assert (predicted["changed"], predicted["diff"]) == (True, made["diff"])
    assert "# mode of /home/fresh/.ssh is 0777" in made["diff"]["before"]
    assert tree(folder)["authorized_keys"] == (0o644, USER_ID, own_key.with_suffix(".pub").read_bytes())
    assert folder.stat().st_mode & 0o777 == 0o755
    assert not enrol(fresh)["changed"]


def test_a_wrong_password_is_told_and_nothing_is_changed(fresh, enrol):
    before = tree(fresh.home)
    check, observed, _expected, remedy = refusal(enrol, fresh, password="not-it")
    assert (check, "refused" in observed) == ("password", True)
    assert "enrol_password" in remedy
    assert "not-it" not in remedy + observed
    assert tree(fresh.home) == before


def test_a_refused_key_is_told(fresh, enrol, tmp_path):
    check, observed, _expected, remedy = refusal(enrol, fresh, password="", private_key=str(keygen(tmp_path / "unknown")))
    assert (check, "refused" in observed, "enrol_private_key" in remedy) == ("key login", True, True)


def test_a_host_that_takes_no_password_says_what_it_takes(openssh, enrol):
    host = openssh(PasswordAuthentication="no", KbdInteractiveAuthentication="no")
    host.start()
    check, observed, _expected, _remedy = refusal(enrol, host)
    assert (check, observed) == ("password", "not asked for: the host takes publickey")


def test_without_any_credential_it_says_what_to_set(fresh, enrol):
    check, _observed, _expected, remedy = refusal(enrol, fresh, password="")
    assert check == "login"
    assert "enrol_password or enrol_private_key" in remedy


def test_a_host_with_another_key_than_accepted_gets_no_password(paramiko_host, enrol, tmp_path):
    host = paramiko_host()
    stranger = keygen(tmp_path / "stranger").with_suffix(".pub").read_text()
    check, observed, _expected, _remedy = refusal(enrol, host, host_keys=[stranger])
    assert check == "host key"
    assert "another one than a moment ago" in observed
    assert host.passwords == []


def test_a_host_whose_accepted_key_is_of_a_type_it_does_not_offer_gets_no_password(paramiko_host, enrol, tmp_path):
    host = paramiko_host()
    assert refusal(enrol, host, host_keys=[keygen(tmp_path / "rsa", "rsa").with_suffix(".pub").read_text()])[0] == "host key"
    assert host.passwords == []


def test_an_rsa_key_among_others_can_be_the_accepted_one(fresh, enrol):
    accepted = [str(key) for key in offered_keys("127.0.0.1", fresh.port, 10) if key.type == "ssh-rsa"]
    assert enrol(fresh, host_keys=accepted)["changed"]


def test_a_password_that_must_be_changed_is_told(openssh, enrol):
    host = openssh()
    name, _changed, rest = host.shadow.split(":", 2)
    host.shadow = f"{name}:0:{rest}"
    host.start()
    check, observed, _expected, remedy = refusal(enrol, host)
    assert (check, "must be changed" in observed) == ("password", True)
    assert "chage -d" in remedy


def test_an_expired_account_is_refused_with_where_to_look(openssh, enrol):
    host = openssh()
    host.shadow = host.shadow.replace(":::", "::1:")
    host.start()
    check, _observed, _expected, remedy = refusal(enrol, host)
    assert check == "password"  # without PAM, sshd says no more to the outside
    assert "chage -l fresh" in remedy
    assert "Account fresh has expired" in host.log()


def test_an_expired_account_is_told_where_the_host_says_so(paramiko_host, enrol):
    host = paramiko_host()
    host.banner = "Your account has expired; please contact your system administrator.\n\x1b[31m"
    check, observed, _expected, remedy = refusal(enrol, host)
    assert (check, "Your account has expired" in observed) == ("account", True)
    assert remedy == "as root on the host: chage -E -1 fresh"


def test_the_only_question_of_a_host_is_answered(paramiko_host, enrol):
    host = paramiko_host()
    host.methods = "publickey,keyboard-interactive"
    assert enrol(host)["login"] == "password"
    assert host.answers == [[PASSWORD]]


@pytest.mark.parametrize(
    "questions",
    [
        [[("Password: ", False)], [("New password: ", False)]],
        [[("You are required to change your password immediately. New password: ", False)]],
    ],
)
def test_a_question_for_a_new_password_is_never_answered(paramiko_host, enrol, questions):
    host = paramiko_host()
    host.methods, host.questions = "publickey,keyboard-interactive", questions
    assert refusal(enrol, host)[0] == "password"
    assert host.answers == [[PASSWORD]] * (len(questions) - 1)


@pytest.mark.parametrize("question", [("Password: ", True), ("One-time code shown: ", True)])
def test_a_question_whose_answer_is_shown_is_not_answered(paramiko_host, enrol, question):
    host = paramiko_host()
    host.methods, host.questions = "publickey,keyboard-interactive", [[question]]
    refusal(enrol, host)
    assert host.answers == []


def test_a_login_shell_that_runs_nothing_is_told(openssh, enrol):
    host = openssh()
    host.shell = "/usr/sbin/nologin"
    host.start()
    check, observed, _expected, remedy = refusal(enrol, host)
    assert (check, "not available" in observed, "chsh" in remedy) == ("session", True, True)


def test_what_a_shell_prints_by_itself_does_no_harm(fresh, enrol):
    (fresh.home / ".bashrc").write_text("echo welcome; echo 0\n")
    assert enrol(fresh)["changed"]


def test_sudo_that_wants_a_password_is_told_and_the_key_stays(fresh, enrol):
    fresh.allow_sudo("password")
    check, observed, _expected, remedy = refusal(enrol, fresh)
    assert (check, observed) == ("sudo", "sudo: a password is required")
    assert "NOPASSWD" in remedy
    assert "enrol_become_password" in remedy
    assert enrol.last.done["changed"]
    assert enrol(fresh, become_password="sudo-Password-42")["sudo"] == "password"


def test_a_wrong_password_of_sudo_is_told_without_it(fresh, enrol):
    fresh.allow_sudo("password")
    check, observed, _expected, _remedy = refusal(enrol, fresh, become_password="wrong-Password-43")
    assert (check, "1 incorrect password attempt for ***" in observed) == ("sudo", True)


def test_an_account_without_any_rule_is_told(fresh, enrol):
    fresh.allow_sudo("none")
    assert refusal(enrol, fresh, become_password="sudo-Password-42")[0] == "sudo"


def test_a_host_without_sudo_is_told(fresh, enrol):
    (fresh.homes / ".tools" / "sudo").unlink()
    assert refusal(enrol, fresh)[:2] == ("sudo", "not installed")


def test_a_home_that_is_not_writable_is_told(fresh, enrol):
    os.chown(fresh.home, 0, 0)
    fresh.home.chmod(0o755)
    check, observed, _expected, remedy = refusal(enrol, fresh)
    assert (check, observed) == ("home", "/home/fresh is not writable for fresh")
    assert "chown fresh: /home/fresh" in remedy


def test_a_home_that_is_missing_is_told(fresh, enrol):
    fresh.home.rename(fresh.homes / "elsewhere")
    assert refusal(enrol, fresh)[:2] == ("home", "/home/fresh is missing")


@pytest.mark.parametrize(("path", "mode", "check"), [(".ssh", 0o755, "home"), (".ssh/authorized_keys", 0o600, "authorized_keys")])
def test_files_of_another_owner_are_told(fresh, enrol, path, mode, check):
    folder = fresh.home / ".ssh"
    folder.mkdir(mode=0o755)
    (folder / "authorized_keys").write_text("# kept\n")
    os.chown(folder, USER_ID, USER_ID)
    os.chown(folder / "authorized_keys", USER_ID, USER_ID)
    os.chown(fresh.home / path, 0, 0)
    (fresh.home / path).chmod(mode)
    before = tree(folder)
    assert refusal(enrol, fresh)[0] == check
    assert tree(folder) == before


def test_a_home_that_others_may_write_to_is_why_sshd_ignores_the_key(fresh, enrol):
    fresh.home.chmod(0o777)
    check, observed, _expected, remedy = refusal(enrol, fresh)
    assert (check, "mode 0777 of /home/fresh" in observed, "chmod go-w /home/fresh" in remedy) == ("home", True, True)


def test_an_sshd_that_reads_another_file_is_found_by_the_new_login(openssh, enrol):
    host = openssh(AuthorizedKeysFile="/etc/ssh/keys-of-%u")
    host.start()
    check, observed, _expected, remedy = refusal(enrol, host)
    assert (check, "refused" in observed, "AuthorizedKeysFile" in remedy) == ("own key", True, True)


def test_a_key_that_is_there_with_options_is_left_alone(fresh, enrol, own_key):
    folder = fresh.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text('from="192.0.2.1" ' + own_key.with_suffix(".pub").read_text())
    for path in (folder, folder / "authorized_keys"):
        os.chown(path, USER_ID, USER_ID)
    before = tree(folder)
    check, observed, _expected, _remedy = refusal(enrol, fresh)
    assert (check, 'bound by from="192.0.2.1"' in observed) == ("authorized_keys", True)
    assert tree(folder) == before


def test_another_account_than_ansibles_is_refused_before_anything_is_sent(paramiko_host, enrol):
    host = paramiko_host()
    assert refusal(enrol, host, user="somebody")[0] == "enrol_user"
    assert host.passwords == []


def test_an_encrypted_key_of_the_operator_needs_an_agent(paramiko_host, enrol, tmp_path, monkeypatch):
    encrypted = keygen(tmp_path / "encrypted", passphrase="of the key")
    host = paramiko_host()
    check, observed, _expected, remedy = refusal(enrol, host, public_key=f"{encrypted}.pub")
    assert (check, f"{encrypted}: encrypted; no agent holds it" in observed, "ssh-add" in remedy) == ("enrol_public_key", True, True)
    assert host.passwords == []
    plain = tmp_path / "plain"
    plain.write_bytes(encrypted.read_bytes())
    plain.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "of the key", "-N", "", "-f", str(plain)], check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL) as agent:
        try:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
            while not (tmp_path / "agent").exists():
                assert agent.poll() is None
            subprocess.run(["ssh-add", "-q", str(plain)], check=True)
            assert enrol(host, public_key=f"{encrypted}.pub")["changed"]
        finally:
            agent.terminate()


@pytest.mark.parametrize(
    ("content", "observed"),
    [("", "0 lines"), ("ssh-ed25519 AAAA\n", "a key that is cut or is no ssh-ed25519"), ("hello\n", "no public key")],
)
def test_what_is_no_public_key_goes_to_no_host(paramiko_host, enrol, tmp_path, content, observed):
    (tmp_path / "bad.pub").write_text(content)
    assert refusal(enrol, paramiko_host(), public_key=str(tmp_path / "bad.pub"))[:2] == (
        "enrol_public_key",
        f"{tmp_path}/bad.pub: {observed}",
    )


def test_a_private_key_in_its_place_is_refused_and_not_shown(paramiko_host, enrol, own_key):
    found = refusal(enrol, paramiko_host(), public_key=str(own_key))
    assert found[1] == f"{own_key} is a private key"
    assert own_key.read_text().splitlines()[1] not in str(found)


def test_a_public_key_as_text_finds_its_private_half_among_sshs_own(paramiko_host, enrol, own_key):
    host = paramiko_host()
    ssh = {"address": "127.0.0.1", "port": host.port, "user": "fresh", "identities": ["/nowhere/id_rsa", str(own_key)]}
    assert enrol(host, ssh=ssh, public_key=own_key.with_suffix(".pub").read_text())["changed"]
    assert not enrol(host, ssh=ssh, public_key="")["changed"]


def test_a_key_that_is_let_in_from_elsewhere_is_not_added_again(paramiko_host, enrol, own_key):
    host = paramiko_host()
    host.also_lets_in = own_key.with_suffix(".pub").read_text()
    assert (enrol(host)["login"], enrol.last.done["changed"]) == ("own key", False)
    assert not (host.home / ".ssh").exists()


def test_a_key_that_is_written_and_not_let_in_is_no_success(paramiko_host, enrol):
    host = paramiko_host()
    host.deaf = True
    assert refusal(enrol, host)[0] == "own key"
    assert enrol.last.done["changed"]
    assert enrol(host, check=True)["changed"] is False


def test_a_folder_that_others_may_write_to_is_narrowed(paramiko_host, enrol):
    host = paramiko_host()
    (host.home / ".ssh").mkdir()
    (host.home / ".ssh").chmod(0o777)
    enrol(host)
    assert (host.home / ".ssh").stat().st_mode & 0o777 == 0o755


def test_a_private_half_of_another_key_is_not_used(paramiko_host, enrol, tmp_path):
    mine, other = keygen(tmp_path / "mine"), keygen(tmp_path / "other")
    mine.with_suffix(".pub").write_bytes(other.with_suffix(".pub").read_bytes())
    host = paramiko_host()
    check, observed, _expected, _remedy = refusal(enrol, host, public_key=f"{mine}.pub")
    assert (check, f"{mine}: another key" in observed) == ("enrol_public_key", True)
    assert host.passwords == []


def test_among_several_types_the_accepted_one_is_asked_for(paramiko_host, enrol, tmp_path):
    host = paramiko_host()
    rsa = keygen(tmp_path / "host_rsa", "rsa")
    host.further_key = paramiko.PKey.from_path(str(rsa))
    assert enrol(host, host_keys=[rsa.with_suffix(".pub").read_text()])["changed"]


def test_what_a_host_says_back_is_shown_without_the_secret(paramiko_host, own_key):
    host = paramiko_host()
    host.also_lets_in = own_key.with_suffix(".pub").read_text()
    keys = offered_keys("127.0.0.1", host.port, 10)
    own = by_key("own key", paramiko.PKey.from_path(str(own_key)))
    with login("127.0.0.1", host.port, "fresh", keys, [own], 10) as session:
        assert session.run("cat >&2", secret="sudo-Password-42\n") == (0, b"", "***")


@pytest.mark.parametrize(
    ("answers", "password", "expected"),
    [
        ([(0, "")], "", "no password"),
        ([(1, "sudo: a password is required"), (0, "")], "right", "password"),
        ([(1, "sudo: a password is required")], "", "sudo: a password is required"),
        ([(1, "x"), (1, "1 incorrect password attempt")], "wrong", "with enrol_become_password: 1 incorrect password attempt"),
        ([(127, "sh: sudo: not found")], "right", "not installed"),
    ],
)
def test_each_answer_of_sudo_has_its_meaning(answers, password, expected):
    asked, account = [], Account(USER_ID, "/home/fresh", *[Path(0o700, USER_ID, True)] * 3, b"")

    class Answers:
        def run(self, script, *arguments, secret=""):
            asked.append((script, secret))
            code, errors = answers[len(asked) - 1]
            return code, b"", errors

    try:
        assert check_sudo(Answers(), account, "fresh", password) == expected
    except Refused as refused:
        assert refused.args[:2] == ("sudo", expected)
    assert len(asked) == len(answers)
    for script, secret in asked:
        assert " -k " in script  # an earlier ticket does not count
        assert (secret == f"{password}\n") is (" -S " in script)
        assert not password or password not in script
