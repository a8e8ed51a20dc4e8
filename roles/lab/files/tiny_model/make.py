"""Make the lab's tiny model: DeepSeek-R1's architecture, seventeen million parameters, no download.

The model has what makes DeepSeek-R1 special to a serving engine: multi-head latent attention with R1's latent
geometry (decode kernels are size-specific, so the geometry is kept), one dense layer before the mixture layers,
grouped sigmoid routing with a correction bias, and a shared expert. Its weights are seeded noise: what it says is
nonsense, but the same nonsense on every machine, and different nonsense for different prompts.

    make.py OUT        the model, its tokenizer and its chat template

It needs torch and transformers, and runs in the serving image.

Output is deterministic: equal versions of torch, transformers and tokenizers write equal bytes.
OUT appears whole or not at all. Exit status 0, or 1 with one line on standard error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

SEED = 20250120

LAYERS = 8
EXPERTS = 8

# The tokenizer is trained on these: enough English for a few hundred byte pairs, little enough to read.
CORPUS = (
    "The quick brown fox jumps over the lazy dog.",
    "Four machines serve one model together and answer a chat.",
    "What is the capital of France? The capital of France is Paris.",
    "How many planets are there? There are eight planets around the sun.",
    "A pipeline hands its hidden states from one host to the next.",
    "A tensor is split over two hosts, and the halves are added again.",
    "Every rank has a device, and every device has a network card.",
    "Please explain in one sentence why the sky is blue.",
    "Write a function that returns the sum of two numbers.",
    "def add(left, right):\n    return left + right\n",
    "One, two, three, four, five, six, seven, eight, nine, ten.",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 32 64 128 256",
    "Hello! Hello, world. Good morning. Good night. Thank you very much.",
    "She sells sea shells on the sea shore, and he reads a long book.",
    "The experts vote, the router listens, and the shared expert always speaks.",
    "Let us think step by step, and then give the answer.",
    "Yes or no? True or false? Left or right? Up or down?",
    "The weights are noise, but the same noise on every host.",
    "If the answer differs, something between the hosts is wrong.",
    "Stop all, prove that nothing is left, and start again.",
)

BEGIN, END, PAD, USER, ASSISTANT = SPECIAL_TOKENS = ("<|begin|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>")

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}{{ eos_token }}"
    "{% else %}<|user|>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_model(out: Path) -> None:
    """Write the whole model below *out*, an existing empty folder."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(out)
    save_weights(out, vocabulary=len(tokenizer))


def make_tokenizer():
    """Return a byte-level BPE tokenizer trained on CORPUS, with the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=4096,
        chat_template=CHAT_TEMPLATE,
    )


def save_weights(out: Path, vocabulary: int) -> None:
    """Write config.json, generation_config.json and model.safetensors for *vocabulary* tokens."""
    import torch
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, GenerationConfig

    config = DeepseekV3Config(
        vocab_size=vocabulary,
        num_hidden_layers=LAYERS,
        first_k_dense_replace=1,
        hidden_size=256,
        intermediate_size=512,
        moe_intermediate_size=128,
        num_attention_heads=8,
        num_key_value_heads=8,
        q_lora_rank=128,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        v_head_dim=128,
        n_routed_experts=EXPERTS,
        n_shared_experts=1,
        num_experts_per_tok=2,
        n_group=4,
        topk_group=2,
        norm_topk_prob=True,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        routed_scaling_factor=2.5,
        max_position_embeddings=4096,
        rope_theta=10000.0,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        torch_dtype="bfloat16",
    )
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    with torch.no_grad():
        model = DeepseekV3ForCausalLM(config)
        generator = torch.Generator().manual_seed(SEED)
        for name, tensor in sorted(model.state_dict().items()):
            fill(name, tensor, generator)
        # Of the special tokens and the single bytes, which rank first in the vocabulary, it never speaks: a score of
        # nought is never the highest. So an answer has the length that was asked for, and is text.
        model.lm_head.weight[: len(SPECIAL_TOKENS) + 256].zero_()
    model.to(torch.bfloat16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2, do_sample=False).save_pretrained(out)


def fill(name: str, tensor, generator) -> None:
    """Fill one tensor with seeded noise, wide enough that the next token depends on the prompt."""
    if name.endswith("norm.weight"):
        tensor.fill_(1.0)
    elif name.endswith("e_score_correction_bias"):
        tensor.normal_(0.0, 0.02, generator=generator)
    elif name.endswith("embed_tokens.weight"):
        tensor.normal_(0.0, 1.0, generator=generator)
    else:
        tensor.normal_(0.0, 1.4 * tensor.shape[-1] ** -0.5, generator=generator)


def whole_or_nothing(out: Path, make: Callable[[Path], None]) -> None:
    """Let *make* fill a folder beside *out*, which becomes *out* only when it is complete."""
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        make(unfinished)
        shutil.rmtree(out, ignore_errors=True)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Make the model; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args(arguments).out
    try:
        whole_or_nothing(out, make_model)
    except (OSError, KeyError, ValueError) as error:
        print(f"tiny model: {out}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
