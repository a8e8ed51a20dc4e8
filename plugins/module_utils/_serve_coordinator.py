# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The group's start and its watch, done by the program of the first host.

FlagScale starts Ray in all containers and the engine in this one, returns zero whatever happened, and looks at nothing
afterwards. So each step is proved here: every container answers on its sshd, Ray counts all hosts and devices, a completion
comes back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time

from . import _serve_container, _serve_ray, _serve_state
from ._serve_http import Endpoint, NoAnswerError, RefusedError

MEMBER_SECONDS = 20
RAY_STATUS_SECONDS = 60
JOIN_SECONDS = 60
STOP_SECONDS = 20
HEALTH_INTERVAL_SECONDS = 5.0
HEALTH_SECONDS = 10
REFUSALS_ALLOWED = 1
PLACEMENT_FILE = "placement.json"
PREVIOUS = "previous"

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HARMLESS = re.compile(r" (?:DEBUG|INFO|WARNING) \d")
_CAUSE = re.compile(r"(?:\b\w*(?:Error|Exception)|\berror): |died unexpectedly", re.IGNORECASE)
_LOG_PREFIX = re.compile(r"^(?:\([^)]*\) )*(?:ERROR [\d-]+ [\d:]+ \[[^\]]*\] )?")


class ServiceError(Exception):
    """The service cannot come up, or is no longer up.

    :ivar log: the last lines of the engine's log.
    """

    def __init__(self, reason, log=()):
        super(ServiceError, self).__init__(reason)
        self.log = list(log)


class Coordinator(object):
    """One group of containers that serves together.

    :param deployment: what the role rendered for the first host (``roles/serve``, ``deployment.json``).
    :param state: the :class:`_serve_state.StateFile` to tell how it goes.
    :param run: ``subprocess.run``, replaced in tests.
    """

    def __init__(self, deployment, state, run=subprocess.run, clock=time.monotonic, sleep=time.sleep):
        self.deployment = deployment
        self.state = state
        self.endpoint = Endpoint(deployment["address"], deployment["ports"]["api"])
        self.others = [peer for peer in deployment["peers"] if peer["address"] != deployment["address"]]
        self._run = run
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + deployment["limits"]["ready_seconds"]
        self._checked = clock()
        self._refusals = 0
        self._launched = False

    # Start

    def bring_up(self):
        """From nothing to a first answer. :raises ServiceError: with the step that did not come true."""
        self._wait_for_others()
        self._launch()
        self._count_ray()
        self._wait_for_answer()
        self._record_placement()

    def _wait_for_others(self):
        missing = {peer["name"]: "not asked yet" for peer in self.others}
        self.state.enter(_serve_state.WAITING)
        while missing:
            for peer in self.others:
                if peer["name"] not in missing:
                    continue
                report, trouble = self._member(peer, renew=True)
                if report is not None and not report["left_over"]:
                    del missing[peer["name"]]
                elif report is not None:
                    missing[peer["name"]] = "renewing, an earlier engine left %s" % ", ".join(report["left_over"])
                else:
                    missing[peer["name"]] = trouble
            if not missing:
                return
            waited_for = "; ".join("%s: %s" % item for item in sorted(missing.items()))
            self.state.enter(_serve_state.WAITING, waited_for)
            self._within_limit("no container answers on %s" % waited_for)
            self._sleep(1.0)

    def _launch(self):
        self.state.enter(_serve_state.LAUNCHING)
        logs = self.deployment["logs"]
        # FlagScale appends to its log and trusts an old pid file; one earlier run is kept for reading.
        previous = os.path.join(logs, PREVIOUS)
        shutil.rmtree(previous, ignore_errors=True)
        earlier = os.listdir(logs)
        os.mkdir(previous)
        for name in earlier:
            os.rename(os.path.join(logs, name), os.path.join(previous, name))
        self._launched = True
        result = self._shell("flagscale serve %(model)s %(document)s" % self.deployment, self._seconds_left())
        with open(os.path.join(logs, "flagscale.log"), "w") as stream:
            stream.write(result.stdout)
        if self._engine_pid() is None:
            raise ServiceError("flagscale serve started no engine: %s" % cause(result.stdout), tail(result.stdout))

    def _count_ray(self):
        expected = _serve_ray.RayCount(len(self.deployment["peers"]), len(self.deployment["peers"]) * self.deployment["slots"])
        until = min(self._clock() + JOIN_SECONDS, self._deadline)
        self.state.enter(_serve_state.JOINING)
        while True:
            found = _serve_ray.count(self._shell("ray status", RAY_STATUS_SECONDS).stdout)
            said = "%d of %d hosts, %d of %d devices" % (found.hosts, expected.hosts, found.devices, expected.devices)
            self.state.enter(_serve_state.JOINING, said)
            if found == expected:
                return
            self._engine_lives()
            if self._clock() >= until:
                raise ServiceError("Ray counts %s; no raylet on %s" % (said, self._without_ray() or "no host"), self._log())
            self._sleep(2.0)

    def _without_ray(self):
        names = []
        for peer in self.others:
            report, trouble = self._member(peer)
            if report is None:
                names.append("%s (%s)" % (peer["name"], trouble))
            elif "raylet" not in report["left_over"]:
                names.append(peer["name"])
        return ", ".join(names)

    def _wait_for_answer(self):
        self.state.enter(_serve_state.LOADING)
        while True:
            try:
                self.endpoint.complete(self.deployment["model"], "Hello", self.deployment["limits"]["probe_seconds"], max_tokens=1)
                return
            except (NoAnswerError, RefusedError) as error:
                self._engine_lives()
                self._within_limit("no completion: %s" % error)
            self._sleep(2.0)

    def _record_placement(self):
        workers = []
        own = {"left_over": [], "placement": _serve_container.placement()}
        for peer in self.deployment["peers"]:
            report = own if peer["address"] == self.deployment["address"] else self._member(peer)[0]
            workers += [dict(worker, host=peer["name"]) for worker in (report or own)["placement"] if report]
        path = os.path.join(self.deployment["folder"], "state", PLACEMENT_FILE)
        with open(path + ".part", "w") as stream:
            json.dump({"deployment": self.deployment["deployment"], "workers": sorted(workers, key=lambda w: w["rank"])}, stream, indent=1)
        os.rename(path + ".part", path)

    # Watch

    def check(self):
        """Whether the service still lives; cheap enough for every second. :raises ServiceError:"""
        self._engine_lives()
        if self._clock() - self._checked < HEALTH_INTERVAL_SECONDS:
            return
        self._checked = self._clock()
        try:
            self.endpoint.get("/health", HEALTH_SECONDS)
            self._refusals = 0
        except RefusedError as error:
            if error.status == 503:
                raise ServiceError("the engine says that it is dead: %s" % error, self._log())
        except NoAnswerError as error:
            # A saturated server may be late; one whose port is closed is gone.
            if "refused" in str(error):
                self._refusals += 1
            if self._refusals > REFUSALS_ALLOWED:
                raise ServiceError("the API is closed: %s" % error, self._log())

    # End

    def take_down(self):
        """FlagScale's own stop, and then fresh containers on the other hosts. Never raises."""
        if self._launched:
            folder, name = os.path.split(self.deployment["document"])
            self._shell(
                "python -m flag_scale.run --config-path %s --config-name %s action=stop" % (folder, os.path.splitext(name)[0]),
                STOP_SECONDS,
            )
        self.renew_others()

    def renew_others(self):
        """Ask every other container that an engine has used to end; its unit starts a fresh one."""
        for peer in self.others:
            self._member(peer, renew=True)

    # Helpers

    def _member(self, peer, renew=False):
        """What the container of ``peer`` says, as ``(report, None)``, or ``(None, trouble)``."""
        command = ["ssh", "-n", "-p", str(self.deployment["ports"]["ssh"]), peer["address"]]
        command += [sys.executable, self.deployment["program"], "member"] + (["--renew"] if renew else [])
        try:
            result = self._run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                timeout=MEMBER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, "no answer in %d s" % MEMBER_SECONDS
        try:
            return json.loads(result.stdout), None
        except ValueError:
            lines = result.stderr.split("\n")
            return None, next((line.strip() for line in reversed(lines) if line.strip()), "ssh ended with %d" % result.returncode)

    def _shell(self, command, seconds):
        """Run a command the way FlagScale's own documents do, after the image's activation; its output, never its status."""
        prepare = self.deployment.get("before_start") or ""
        try:
            return self._run(
                ["bash", "-c", "%s && %s" % (prepare, command) if prepare else command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                errors="replace",
                timeout=max(1, seconds),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            output = error.stdout or ""
            output = output.decode("utf-8", "replace") if isinstance(output, bytes) else output
            return subprocess.CompletedProcess(command, None, output + "\n%s: no end in %d s" % (command, seconds))

    def _seconds_left(self):
        return self._deadline - self._clock()

    def _within_limit(self, observed):
        if self._seconds_left() <= 0:
            limit = self.deployment["limits"]["ready_seconds"]
            raise ServiceError("not ready within %d s: %s" % (limit, observed), self._log())

    def _engine_pid(self):
        path = os.path.join(self.deployment["logs"], "serve_logs", "pids", "host_0_localhost.pid")
        try:
            with open(path) as stream:
                return int(stream.read())
        except (OSError, ValueError):
            return None

    def _engine_lives(self):
        pid = self._engine_pid()
        if pid is None or not _serve_container.alive(pid):
            log = self._log()
            raise ServiceError("the engine has ended: %s" % cause("\n".join(log)), log)

    def _log(self):
        path = os.path.join(self.deployment["logs"], "serve_logs", "host_0_localhost.output")
        try:
            with open(path, "rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - 65536))
                return tail(stream.read().decode("utf-8", "replace"), 200)
        except OSError:
            return []


def tail(text, count=_serve_state.LOG_LINES_KEPT):
    """The last lines that say something, without colours."""
    lines = [_COLOURS.sub("", line).rstrip() for line in text.splitlines()]
    return [line for line in lines if line][-count:]


def cause(text):
    """The line that most likely says why: the first that names an error, for what follows follows from it; else the last one."""
    lines = tail(text, 200)
    errors = [line for line in lines if _CAUSE.search(line) and not _HARMLESS.search(line)]
    chosen = errors[0] if errors else lines[-1] if lines else "its log is empty"
    return _LOG_PREFIX.sub("", chosen).strip()
