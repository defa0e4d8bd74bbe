"""Tiny models with random weights, written to disk without a hub, and a library that names them.

Their text is noise; what serves them, its batching, limits, metrics and failures are real.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

CONTEXT_TOKENS = 2048
SPECIAL_TOKENS = ("<s>", "</s>", "<pad>")
# What a server must be told so that random weights end a JSON document: within white space they
# would stay for ever.
STRUCTURED = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})
SERVER_ARGS = (
    f"--enforce-eager --max-model-len {CONTEXT_TOKENS} --structured-outputs-config '{STRUCTURED}'"
)
_CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# Quality of the two, relative to each other: a made-up figure for made-up weights.
_QUALITY = {"large": 1.0, "small": 0.8}


def write_model(
    folder: Path,
    *,
    hidden: int,
    layers: int,
    heads: int,
    seed: int,
    context: int = 2 * CONTEXT_TOKENS,
) -> int:
    """Write a Llama of these sizes with a byte-level tokenizer; return its number of parameters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    begin, end, padding = SPECIAL_TOKENS
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=padding
    )
    fast.chat_template = _CHAT_TEMPLATE
    fast.save_pretrained(folder)

    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=context,
        bos_token_id=vocabulary[begin],
        eos_token_id=vocabulary[end],
        pad_token_id=vocabulary[padding],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters())


def write_models(folder: Path) -> dict[str, int]:
    """Write the models `large` and `small` below a folder; return their parameters.

    The layers of one outweigh those of the other four to one; the embeddings, two to one.
    """
    return {
        "large": write_model(folder / "large", hidden=128, layers=2, heads=4, seed=0),
        "small": write_model(folder / "small", hidden=64, layers=2, heads=2, seed=1),
    }


def write_library(
    path: Path,
    names: Iterable[str] = ("large", "small"),
    *,
    max_tokens: int = 32,
    timeout_s: int = 60,
    temperature: float = 0.0,
    context: int = CONTEXT_TOKENS,
) -> Path:
    """Write an executor library of models that stand in folders of their names beside it."""
    entries = [_entry(name, max_tokens, timeout_s, temperature, context) for name in names]
    path.write_text("\n".join(entries), "utf-8")
    return path


def _entry(name: str, max_tokens: int, timeout_s: int, temperature: float, context: int) -> str:
    # JSON's strings, numbers and arrays are TOML's too
    rows: dict[str, object] = {
        "name": name,
        "implements": "generate",
        "description": f"A language model with random weights, the {name} one",
        "runner": "vllm",
        "model": f"./{name}",
        "devices": ["cpu"],
        "cores": 1,
        "context": context,
    }
    tables: dict[str, Mapping[str, object]] = {
        "quality": {"value": _QUALITY[name], "metric": "none", "source": "weights are random"},
        "work": {"prompt_tokens": "tokens(prompt) + 10", "output_tokens": max_tokens},
        "result": {"tokens": max_tokens},
        "settings": {
            "server_args": SERVER_ARGS,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "timeout_s": timeout_s,
        },
    }
    lines = ["[[executor]]", *_assignments(rows)]
    for table, content in tables.items():
        lines += [f"[executor.{table}]", *_assignments(content)]
    return "\n".join((*lines, ""))


def _assignments(content: Mapping[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in content.items()]
