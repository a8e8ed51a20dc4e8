# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Greedy answers of a single process of the image's own vLLM: no Ray, no FlagScale, no second rank.

The engine's arguments are those of the service, less what spreads it over ranks or opens its API.
"""

from __future__ import annotations

import json
import os

# What spreads the engine over ranks, or belongs to its API, changes no answer.
NOT_THE_ENGINES = frozenset(
    (
        "model",
        "served_model_name",
        "host",
        "port",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "distributed_executor_backend",
    )
)


def engine_options(arguments, known):
    """Keyword arguments for ``vllm.LLM``.

    :param arguments: FlagScale's ``engine_args``; ``no_x: true`` stands for the flag ``--no-x``.
    :param known: the names that the engine takes; the API server's own arguments are not among them.
    """
    options = {}
    for name, value in arguments.items():
        if name not in known and name.startswith("no_") and value is True:
            name, value = name[3:], False
        if name in known and name not in NOT_THE_ENGINES:
            options[name] = value
    return options


def record(path):
    """Answer the questions of the request file and write the answers beside it.

    The request: ``{"model", "engine_arguments", "questions", "output"}``; the output: a list of answers (``_answers``).
    """
    with open(path) as stream:
        request = json.load(stream)
    # One process means one: the engine's core in this one too.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    import dataclasses

    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs

    known = {field.name for field in dataclasses.fields(EngineArgs)}
    engine = LLM(model=request["model"], **engine_options(request["engine_arguments"], known))
    answers = [_answer(engine, question) for question in request["questions"]]
    part = request["output"] + ".part"
    with open(part, "w") as stream:
        json.dump(answers, stream, indent=1)
        stream.write("\n")
    os.rename(part, request["output"])
    return 0


def _answer(engine, question):
    sampling = engine.get_default_sampling_params()
    sampling.temperature = 0.0
    sampling.max_tokens = question["max_tokens"]
    sampling.logprobs = 0
    if "messages" in question:
        result = engine.chat(question["messages"], sampling, use_tqdm=False)
    else:
        result = engine.generate(question["prompt"], sampling, use_tqdm=False)
    output = result[0].outputs[0]
    tokens = list(output.token_ids)
    return {
        "id": question["id"],
        "tokens": tokens,
        "logprobs": [output.logprobs[place][token].logprob for place, token in enumerate(tokens)],
        "text": output.text,
    }
