# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind the module host_keys: it runs on the controller, once for all hosts, because they share one file."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils import _host_keys, _known_hosts
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._public_key import parse
from ansible_collections.flagos.kunlunxin.plugins.plugin_utils._refused import Refused


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "dict", "required": True},
                "fingerprints": {"type": "dict", "default": {}},
                "fingerprints_file": {"type": "str", "default": ""},
                "confirmed": {"type": "bool", "default": False},
                "path": {"type": "str", "default": ""},
                "hash": {"type": "bool"},
            }
        )
        try:
            return dict(result, **self._settle(options))
        except Refused as refused:
            finding = refused.finding("localhost")
            return dict(result, changed=False, failed=True, msg=str(finding), finding=finding.as_dict())

    def _settle(self, options):
        in_file = file_lines(options["fingerprints_file"])
        files, judged, notes = {}, {}, set()
        for host, answer in options["hosts"].items():
            ssh = answer["ssh"]
            path = operators_file(options["path"], ssh["known_hosts"])
            files.setdefault(path, read_file(path))
            entries = []
            for read in dict.fromkeys([path, *map(Path, ssh["known_hosts"])]):
                found, unreadable = _known_hosts.read(files[read] if read in files else read_file(read))
                entries += found
                notes.update(f"{read}: line {number} is none of known_hosts, and was left alone" for number in unreadable)
            listed = _host_keys.read_list(in_file, "enrol_fingerprints_file") | _host_keys.read_list(
                as_lines(options["fingerprints"].get(host)), "enrol_fingerprints"
            )
            offered = [parse(key["key"]) for key in answer["host_keys"]]
            aliases = (host, ssh["address"])
            judgement = _host_keys.judge(ssh["name"], aliases, offered, entries, listed, options["confirmed"], str(path))
            judged[host] = (ssh, path, judgement)
        written = {path: with_new(content, path, judged, options["hash"]) for path, content in files.items()}
        changed = {path: content for path, content in written.items() if content != files[path]}
        if not self._task.check_mode:
            for path, content in changed.items():
                write_file(path, content)
        return {
            "changed": bool(changed),
            "diff": [
                {
                    "before_header": str(path),
                    "after_header": str(path),
                    "before": files[path].decode("utf-8", "replace"),
                    "after": content.decode("utf-8", "replace"),
                }
                for path, content in written.items()
            ],
            "table": _host_keys.table([(host, ssh["name"], judgement) for host, (ssh, _path, judgement) in judged.items()]),
            "waiting": [host for host, (_ssh, _path, judgement) in judged.items() if judgement.waits and judgement.refused],
            "accepted": {host: list(map(str, judgement.accepted)) for host, (_ssh, _path, judgement) in judged.items()},
            "findings": {
                host: judgement.refused.finding(host).as_dict() for host, (_ssh, _path, judgement) in judged.items() if judgement.refused
            },
            "warnings": sorted(notes),
        }


def with_new(content, path, judged, hashed):
    """A file with the keys that were accepted for it."""
    lines = [
        _known_hosts.line_of(ssh["name"], key, ssh["hashed"] if hashed is None else hashed)
        for ssh, goes_to, judgement in judged.values()
        if goes_to == path
        for key in judgement.new
    ]
    return _known_hosts.with_lines(content, dict.fromkeys(lines))


def operators_file(given, read_by_ssh):
    """The file that accepted keys go to: the named one, or the first that ssh reads."""
    path = given or next(iter(read_by_ssh), "none")
    if path in ("none", "/dev/null"):
        remedy = "set enrol_known_hosts, and -o UserKnownHostsFile=... in ansible_ssh_common_args to the same"
        raise Refused("known_hosts", f"ssh keeps none (UserKnownHostsFile {path})", "a file", remedy)
    return Path(path).expanduser().absolute()


def read_file(path):
    try:
        return _known_hosts.content_of(path)
    except OSError as error:
        raise Refused("known_hosts", f"{path}: {error.strerror}", "a file that can be read", "mend it, or set enrol_known_hosts") from None


def write_file(path, content):
    try:
        _known_hosts.replace(path, content)
    except OSError as error:
        raise Refused(
            "known_hosts", f"{path}: {error.strerror}", "a file that can be written", "mend it, or set enrol_known_hosts"
        ) from None


def as_lines(value):
    """A list, or text with an entry a line, as it comes from a command line."""
    return value.splitlines() if isinstance(value, str) else value or []


def file_lines(name):
    """The lines of the operator's list; none where no file is named."""
    if not name:
        return []
    try:
        return Path(name).expanduser().read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "no text"
        raise Refused("enrol_fingerprints_file", f"{name}: {words}", "a file that can be read", "mend enrol_fingerprints_file") from None
