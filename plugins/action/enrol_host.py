# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module enrol_host: it runs on the controller, which sends the host neither a module nor any other file.

Secrets so stay in the memory of this process: a module's arguments would be written into a program for the host.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _enrolment, _operator_key, _ssh_session
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._public_key import parse
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused

_OWN_KEY = "own key"


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "ssh": {"type": "dict", "required": True},
                "host_keys": {"type": "list", "elements": "str", "required": True},
                "user": {"type": "str", "default": ""},
                "password": {"type": "str", "default": "", "no_log": True},
                "private_key": {"type": "str", "default": ""},
                "public_key": {"type": "str", "default": ""},
                "become_password": {"type": "str", "default": "", "no_log": True},
                "timeout": {"type": "float", "default": 20},
            }
        )
        enrolment = Enrolment(options, self._task.check_mode)
        try:
            enrolment.run()
        except Refused as refused:
            finding = refused.finding(task_vars["inventory_hostname"])
            return dict(result, **enrolment.done, failed=True, msg=str(finding), finding=finding.as_dict())
        return dict(result, **enrolment.done)


class Enrolment:
    """One host's enrolment.

    :ivar done: what it came to so far, as the module returns it, so that a host that is refused half-way tells what was changed.
    """

    def __init__(self, options, check_mode):
        self._options = options
        self._check_mode = check_mode
        self._host_keys = [parse(key) for key in options["host_keys"]]
        self._user = options["user"] or options["ssh"]["user"]
        self.done = {"changed": False, "login": "", "sudo": "", "diff": {"before": "", "after": ""}, "actions": []}

    def run(self):
        if self._user != self._options["ssh"]["user"]:
            observed = f"Ansible logs in as {self._options['ssh']['user']}"
            raise Refused(
                "enrol_user", observed, f"{self._user}, which is enrolled", f"set ansible_user to {self._user}, or mend enrol_user"
            )
        key = _operator_key.operator_key(self._options["public_key"], self._options["ssh"]["identities"])
        own = _ssh_session.by_key(_OWN_KEY, key.private())
        with self._first_login(own, list(self._others())) as session:
            self.done["login"] = session.by
            account = _enrolment.read_account(session)
            # A key that is let in is where this host's sshd looks for it, wherever that is.
            if session.by != _OWN_KEY:
                self._add(session, account, key)
                if not self._check_mode:
                    self._verify(own, account)
            self.done["sudo"] = _enrolment.check_sudo(session, account, self._user, self._options["become_password"])

    def _others(self):
        """What the fresh host may know instead of the operator's key."""
        options = self._options
        if options["private_key"]:
            yield _ssh_session.by_key("other key", _operator_key.other_key(options["private_key"]))
        if options["password"]:
            yield _ssh_session.by_password(options["password"])

    def _first_login(self, own, others):
        try:
            return self._login([own, *others])
        except Refused as refused:
            check, observed, expected, remedy = refused.args
            if others or check != _OWN_KEY:
                raise
            remedy = f"set enrol_password or enrol_private_key to what the host takes today; if yours should be in already: {remedy}"
            raise Refused("login", f"the {check} is {observed}, and nothing else is given", expected, remedy) from None

    def _login(self, credentials):
        ssh = self._options["ssh"]
        arguments = (ssh["address"], ssh["port"], self._user, self._host_keys, credentials, self._options["timeout"])
        return _ssh_session.login(*arguments)

    def _add(self, session, account, key):
        addition = _enrolment.plan_addition(account, self._user, key)
        header = f"{account.home}/.ssh/authorized_keys"
        self.done["diff"] = {"before_header": header, "after_header": header, "before": addition.before, "after": addition.after}
        if not addition.changes:
            return
        if not self._check_mode:
            _enrolment.add(session, addition, self._user, key)
        self.done["changed"] = True
        self.done["actions"] = [f"add {key.public.fingerprint} to {header}" if addition.adds else f"chmod go-w {header} and its folder"]

    def _verify(self, own, account):
        """Log in anew, as Ansible will."""
        try:
            with self._login([own]) as session:
                _enrolment.read_account(session)
        except Refused as refused:
            raise _enrolment.explain(refused, account) from None
