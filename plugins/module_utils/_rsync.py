# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""How files go from the controller to one host, or from host to host, by rsync: the command line, its run, its progress and its errors."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile

# `--info=progress2`:  "  1,234,567  45%   12.34MB/s    0:00:12 (xfr#3, to-chk=0/5)"
_PROGRESS = re.compile(r"^\s*([\d,.]+)\s+\d{1,3}%\s+\S+/s\s")
# `--itemize-changes`: "<f" begins the line of a file that was sent, ">f" where the receiver is this machine.
_SENT = re.compile(r"^[<>]f")
# Exit codes that say more than the last line of the errors does (rsync(1), EXIT VALUES).
_EXIT = {30: "no byte moved for too long", 35: "no answer from the host"}
_STALL_SECONDS = 300
_CONNECT_SECONDS = 30
# What a daemon of ours calls the folder that it gives from, and whom it lets in.
MODULE = "weights"
USER = "weights"


def command(source, destination, remote="", shell="", become="", compare_content=False):
    """The command that sends the files named on its standard input, each ended by a zero byte.

    What was received is kept when the command is broken off, and only the rest is sent the next time; ``--inplace`` keeps it
    even when both ends lose their power.

    :param source: folder that the names are below; a link among them is sent as the file it points to.
    :param destination: folder on the host; it is made.
    :param remote: ``user@address``, empty for this machine.
    :param shell: the ssh command line.
    :param become: a command such as ``sudo -n`` that precedes rsync on the host.
    :param compare_content: find a file that differs by reading both sides, not by size and time.
    """
    prefix = become + " " if become else ""
    receiver = "%smkdir -p -- %s && %srsync" % (prefix, shlex.quote(destination), prefix)
    options = _options(compare_content)
    if remote:
        options += ["--protect-args", "--rsh=" + shell, "--rsync-path=" + receiver]
    return ["rsync", *options, source.rstrip("/") + "/", (remote + ":" if remote else "") + destination.rstrip("/") + "/"]


def pull_command(address, port, own_address, destination, compare_content=False):
    """The command that takes files from a daemon of ours, named, kept and continued as by :func:`command`.

    :param address: where the daemon listens.
    :param own_address: where to connect from.
    :param destination: folder on this machine, which must be there.
    """
    options = [*_options(compare_content), "--contimeout=%d" % _CONNECT_SECONDS, "--address=" + own_address]
    return ["rsync", *options, "rsync://%s@%s:%d/%s/" % (USER, address, port, MODULE), destination.rstrip("/") + "/"]


def _options(compare_content):
    options = ["--files-from=-", "--from0", "--copy-links", "--times", "--perms", "--chmod=Du=rwx,Dgo=rx,Fu=rw,Fgo=r"]
    options += ["--inplace", "--partial", "--info=progress2", "--itemize-changes", "--timeout=%d" % _STALL_SECONDS]
    return [*options, "--checksum"] if compare_content else options


def sent_bytes(line):
    """Bytes sent so far by a line of rsync's output, or ``None`` when it is no line of progress."""
    match = _PROGRESS.match(line)
    return int(re.sub(r"\D", "", match.group(1))) if match else None


def is_file_sent(line):
    """Whether a line of rsync's output says that a file was sent."""
    return bool(_SENT.match(line))


def reason(code, errors):
    """Why rsync failed, in one line: the first error that names a cause, for the later ones only follow from it."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("rsync error:", "rsync: connection unexpectedly closed"))]
    return _EXIT.get(code) or (told or lines or ["exit code %d" % code])[0]


def lacks_rsync(code, errors):
    """Whether the host has no rsync: its shell or what becomes another user says so, and a shell's exit code is 127."""
    if re.search(r"\brsync: (command )?not found", errors):
        return True
    return code == 127 and not re.search(r": (command )?not found", errors)  # else another program is missing there


def run(command_line, files, report, note="sending", secret=""):
    """Run a command made by :func:`command` or :func:`pull_command`.

    :param files: the names of the files to send.
    :param report: called with (bytes sent so far, a note).
    :param note: that note.
    :param secret: that the daemon asks for; only the environment of rsync has it, which nobody else can read.
    :returns: (exit code, number of files sent, text of the errors).
    """
    # Errors go to a file: a pipe that nobody reads while progress is read would fill up and stop rsync.
    environment = dict(os.environ, RSYNC_PASSWORD=secret) if secret else None
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment) as process:
            with contextlib.suppress(BrokenPipeError):  # rsync ended early and says why
                process.stdin.write(b"".join(os.fsencode(name) + b"\0" for name in files))
                process.stdin.close()
            sent = _watch(process.stdout, report, note)
        errors.seek(0)
        return process.returncode, sent, errors.read()


def _watch(output, report, note):
    """Read rsync's output to its end, report the progress, count the files."""
    sent, rest = 0, b""
    while True:
        chunk = os.read(output.fileno(), 65536)
        if not chunk:
            return sent
        lines = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop()
        for line in lines:
            text = line.decode("utf-8", "replace")
            done = sent_bytes(text)
            if done is not None:
                report(done, note)
            sent += is_file_sent(text)
