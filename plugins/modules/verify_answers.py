#!/usr/bin/python
# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_answers
short_description: Prove that the service answers as its model should
version_added: 0.1.0
description:
  - Runs on the first host and asks the running service, greedily, for token ids and log probabilities.
  - The same question must get the same answer twice, and different questions different answers.
  - With O(method=single_process) the answers must also be those of a single process of the same image, weights and engine arguments.
    That reference is recorded once, in a container of its own beside the service, and used again.
  - With O(reference) the answers must also be those of the given record, whoever made it.
  - Known answers are asked by chat and must match.
  - The record of the figures is written to a file on this host, and only when another outcome than the recorded one is found.
author:
  - FlagOS contributors (@flagos-ai)
extends_documentation_fragment:
  - flagos.kunlunxin.attributes
attributes:
  check_mode:
    support: partial
    details:
      - In check mode nothing is asked. A reference that would have to be made is predicted, and so is a record of another subject, as if
        all were well. How many questions and tokens it will count is not.
  diff_mode:
    support: partial
    details: The predicted record lacks what only the answers can tell.
  idempotent:
    support: full
options:
  plan:
    description: The plan of the cluster, as P(flagos.kunlunxin.plan#lookup) gives it.
    type: dict
    required: true
  method:
    description: What the answers are compared with, beside themselves.
    type: str
    choices: [single_process, self_consistency]
    required: true
  questions:
    description: What is asked; each with C(id), C(max_tokens), and C(prompt) or C(messages).
    type: list
    elements: dict
    required: true
  known_answers:
    description: What is asked by chat, and a regular expression that the answer has to match somewhere.
    type: list
    elements: dict
    default: []
    suboptions:
      prompt:
        description: The user's message.
        type: str
        required: true
      expect:
        description: The regular expression.
        type: str
        required: true
      max_tokens:
        description: Room for the answer.
        type: int
        default: 512
  reference:
    description: A record of questions and answers to compare with, in the form that O(method=single_process) records.
    type: dict
  reference_weights:
    description: A folder on this host with the weights that the single process reads, where they are not the served ones.
    type: path
  tolerance:
    description: How far a log probability may be from the expected one.
    type: float
    default: 0.001
  concurrency:
    description:
      - How many questions are asked at once.
      - Where the engine computes in a short floating point format, an answer may depend on what else is in its batch.
        Ask one at a time there.
    type: int
    default: 1
  answer_seconds:
    description: How long one answer may take.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Compare the service with a single process
  flagos.kunlunxin.verify_answers:
    plan: "{{ lookup('flagos.kunlunxin.plan') }}"
    method: single_process
    questions:
      - id: capital
        prompt: The capital of France is
        max_tokens: 16
"""

RETURN = r"""
record:
  description: The figures; without times when nothing was asked.
  returned: when the service is up
  type: dict
chat:
  description: A question and the service's own answer to it.
  returned: when something was asked
  type: dict
measured:
  description: Times and distances of this run; they differ from run to run, so the record keeps those of the run that wrote it.
  returned: when something was asked
  type: dict
runs_after:
  description: The stage that has to come first; only in check mode, elsewhere its absence is a failure.
  returned: when the service is not up, in check mode
  type: str
  sample: serve
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _answers, _receipt, _serve_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._changes import Change, read_text, settle
from ansible_collections.flagos.kunlunxin.plugins.module_utils._finding import Finding
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_coordinator import cause
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_files import LABEL_CLUSTER, folder, run_arguments
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_http import Endpoint, NoAnswerError, RefusedError
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_questions import ask
from ansible_collections.flagos.kunlunxin.plugins.module_utils._serve_reference import NOT_THE_ENGINES

REFERENCE_CONTAINER = "flagos-kunlunxin-reference"
DIFFERENCES_SHOWN = 5


class UnfitError(Exception):
    """The service cannot be verified, or is wrong.

    :ivar findings: what is said, one line each.
    """

    def __init__(self, *findings):
        super(UnfitError, self).__init__("\n".join(str(item) for item in findings))


class Verification(object):
    """One verification of one service."""

    def __init__(self, module):
        self.module = module
        params = module.params
        self.plan = params["plan"]
        self.head = self.plan["head"]["name"]
        self.endpoint = Endpoint(self.plan["head"]["address"], self.plan["ports"]["api"])
        self.questions = params["questions"]
        self.image = _receipt.read(self.plan["state_dir"], "image").get("image_id", "")
        self.weights = _receipt.read(self.plan["state_dir"], "weights").get("root", "")
        self.reference_weights = params["reference_weights"] or self.plan["model"]["path"]
        arguments = self.plan["engine_arguments"]
        self.arguments = {name: value for name, value in arguments.items() if name not in NOT_THE_ENGINES}
        self.reference_file = os.path.join(self.plan["state_dir"], "reference", self._reference_key() + ".json")
        self.record_file = os.path.join(self.plan["state_dir"], "verify.json")

    def _reference_key(self):
        subject = [self.image, self.weights, self.arguments, self.questions, self.module.params["reference_weights"]]
        return hashlib.sha256(json.dumps(subject, sort_keys=True).encode("utf-8")).hexdigest()[:16]

    def finding(self, check, observed, expected, remedy):
        return Finding(host=self.head, check=check, observed=observed, expected=expected, remedy=remedy)

    def ready(self):
        """Whether the serve program says that the service answers."""
        state = _serve_state.read(os.path.join(folder(self.plan), "state")) or {}
        return state.get("phase") == _serve_state.READY

    def reference_changes(self):
        """The recording of the reference, where the method wants one that is not there."""
        if self.module.params["method"] != "single_process" or os.path.exists(self.reference_file):
            return []
        return [
            Change(
                "record the answers of a single process", self.reference_file, "", "(answers of a single process)\n", self.record_reference
            )
        ]

    def record_reference(self, module):
        parent = os.path.dirname(self.reference_file)
        os.makedirs(parent, mode=0o755, exist_ok=True)
        # A run that was killed may still be recording: its container ends here, and its files are not these.
        module.run_command(["docker", "rm", "--force", REFERENCE_CONTAINER])
        request, answers = ("%s.%d.%s" % (self.reference_file, os.getpid(), name) for name in ("request", "answers"))
        with open(request, "w") as stream:
            json.dump(
                {
                    "model": self.reference_weights,
                    "engine_arguments": self.arguments,
                    "questions": self.questions,
                    "output": answers,
                },
                stream,
            )
        labels = {LABEL_CLUSTER: self.plan["name"]}
        host = next(one for one in self.plan["hosts"] if one["name"] == self.plan["head"]["name"])
        command = run_arguments(self.plan, host, self.image, REFERENCE_CONTAINER, labels, self.reference_weights, [parent])
        try:
            result = subprocess.run(
                [*command, "reference", request],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                errors="replace",
                timeout=self.plan["limits"]["ready_seconds"],
                check=False,
            )
            if result.returncode:
                raise UnfitError(
                    self.finding(
                        "reference",
                        "the single process ended with %d: %s" % (result.returncode, cause(result.stdout)),
                        "its answers",
                        "see whether the first host has memory for one more process of the model",
                    )
                )
            with open(answers) as stream:
                given = json.load(stream)
        except subprocess.TimeoutExpired:
            module.run_command(["docker", "rm", "--force", REFERENCE_CONTAINER])
            raise UnfitError(
                self.finding(
                    "reference",
                    "the single process has not answered in %d s" % self.plan["limits"]["ready_seconds"],
                    "its answers",
                    "raise serve_ready_seconds or make the host less busy",
                )
            )
        finally:
            for path in (request, answers):
                if os.path.exists(path):
                    os.unlink(path)
        text = json.dumps({"questions": self.questions, "answers": given}, indent=1) + "\n"
        _receipt.write_atomically(self.reference_file, text)

    # Asking

    def answer(self, question):
        try:
            return ask(self.endpoint, self.plan["model"]["name"], question, self.module.params["answer_seconds"])
        except (NoAnswerError, RefusedError) as error:
            raise UnfitError(self.finding("answer to %s" % question["id"], error, "an answer", "run the stage serve again"))

    def answers(self, questions):
        with concurrent.futures.ThreadPoolExecutor(self.module.params["concurrency"]) as threads:
            return list(threads.map(self.answer, questions))

    def checks(self):
        """All checks, as ``(name, figures)``; a check has passed when its figures name no difference."""
        tolerance = self.module.params["tolerance"]
        answers = self.answers(self.questions)
        again = self.answers(self.questions)
        done = [
            ("same question, same answer", _answers.compare(answers, again, tolerance)),
            ("different questions, different answers", {"differences": _answers.not_distinct(answers)}),
        ]
        if self.module.params["method"] == "single_process":
            reference = json.loads(read_text(self.reference_file))
            done.append(("a single process", _answers.compare(reference["answers"], answers, tolerance)))
        if self.module.params["reference"]:
            reference = self.module.params["reference"]
            given = self.answers(reference["questions"])
            done.append(("the given reference", _answers.compare(reference["answers"], given, tolerance)))
        if self.module.params["known_answers"]:
            done.append(("known answers", {"differences": self.wrong_answers()}))
        return answers, done

    def wrong_answers(self):
        wrong = []
        for item in self.module.params["known_answers"]:
            messages = [{"role": "user", "content": item["prompt"]}]
            given = self.answer({"id": item["prompt"], "messages": messages, "max_tokens": item["max_tokens"]})["text"]
            if not re.search(item["expect"], given):
                wrong.append("%s: the answer %r does not match %s" % (item["prompt"], given[-200:], item["expect"]))
        return wrong

    # Record

    def subject(self):
        """What a record is about; another subject makes another record."""
        return {
            "cluster": self.plan["name"],
            "image": self.image,
            "weights": self.weights,
            "engine_arguments": self.plan["engine_arguments"],
            "endpoint": self.endpoint.url,
            "method": self.module.params["method"],
        }

    def record_changes(self, record):
        """The change of the record's file; times and distances alone make none."""
        before = read_text(self.record_file)
        if before and outcome(json.loads(before)) == outcome(record):
            return []
        after = json.dumps(record, indent=1, sort_keys=True) + "\n"
        return [
            Change(
                "write %s" % self.record_file,
                self.record_file,
                before or "",
                after,
                lambda module: _receipt.write_atomically(self.record_file, after),
            )
        ]


def outcome(record):
    return {name: value for name, value in record.items() if name != "measured"}


def passed(figures):
    return not figures["differences"]


def summarise(verification, answers, checks, seconds):
    """The record: subject, outcome and, apart, what differs from run to run."""
    figures = dict(checks)
    compared = figures.get("a single process")
    tokens = sum(len(answer["tokens"]) for answer in answers)
    return dict(
        verification.subject(),
        passed=all(passed(value) for value in figures.values()),
        checks={name: {"passed": passed(value), "differences": value["differences"]} for name, value in checks},
        questions=len(answers),
        tokens=tokens,
        token_identical=compared["identical"] == compared["questions"] if compared else None,
        measured={
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(seconds, 1),
            "largest_logprob_difference": {
                name: value["largest_logprob_difference"] for name, value in checks if "largest_logprob_difference" in value
            },
        },
    )


def chat(questions, answers):
    """The first question by chat and its answer, for people to see."""
    texts = {answer["id"]: answer["text"] for answer in answers}
    asked = [item for item in questions if "messages" in item]
    return {"question": asked[0]["messages"][-1]["content"], "answer": texts[asked[0]["id"]]} if asked else {}


def predicted(verification):
    """The record as it will be if all is well: in check mode nothing is asked."""
    before = read_text(verification.record_file)
    record = json.loads(before) if before else {}
    return dict(record, **verification.subject())


def main():
    known = {
        "prompt": {"type": "str", "required": True},
        "expect": {"type": "str", "required": True},
        "max_tokens": {"type": "int", "default": 512, "no_log": False},
    }
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "method": {"type": "str", "choices": ["single_process", "self_consistency"], "required": True},
            "questions": {"type": "list", "elements": "dict", "required": True},
            "known_answers": {"type": "list", "elements": "dict", "default": [], "options": known},
            "reference": {"type": "dict"},
            "reference_weights": {"type": "path"},
            "tolerance": {"type": "float", "default": 0.001},
            "concurrency": {"type": "int", "default": 1},
            "answer_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    verification = Verification(module)
    if not verification.ready():
        if module.check_mode:
            module.exit_json(changed=False, actions=[], runs_after="serve")
        module.fail_json(
            msg=str(verification.finding("verify", "the service is not up", "a service that answers", "run the stage serve first"))
        )
    try:
        changes = verification.reference_changes()
        if module.check_mode:
            record = predicted(verification)
            module.exit_json(record=record, **settle(module, changes + verification.record_changes(record)))
        first = settle(module, changes)
        began = time.monotonic()
        answers, checks = verification.checks()
    except UnfitError as unfit:
        module.fail_json(msg=str(unfit))
    record = summarise(verification, answers, checks, time.monotonic() - began)
    second = settle(module, verification.record_changes(record))
    result = {
        "changed": first["changed"] or second["changed"],
        "actions": first["actions"] + second["actions"],
        "diff": first["diff"] + second["diff"],
    }
    if not record["passed"]:
        lines = [
            str(
                verification.finding(
                    name,
                    line,
                    "the same tokens, and log probabilities within %g" % module.params["tolerance"],
                    "do not use this service; compare image, weights and engine arguments with the record %s" % verification.record_file,
                )
            )
            for name, figures in checks
            for line in figures["differences"][:DIFFERENCES_SHOWN]
        ]
        module.fail_json(msg="\n".join(lines), record=record, **result)
    kept = json.loads(read_text(verification.record_file))
    module.exit_json(record=kept, chat=chat(verification.questions, answers), measured=record["measured"], **result)


if __name__ == "__main__":
    main()
