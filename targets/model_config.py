"""A Hugging Face `config.json`: what a model is, as far as its configuration says.

What its weights hold comes from elsewhere: counted in files (`model_folder`), or taken to follow
from the sizes (`model_sizes`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .safetensors_file import unreadable, unusable

if TYPE_CHECKING:
    from .catalog import Model

_MAX_CONFIG_BYTES = 16 * 2**20
LAYERS = ("num_hidden_layers", "decoder_layers", "n_layer")
HIDDEN = ("hidden_size", "d_model", "n_embd")
HEADS = ("num_attention_heads", "decoder_attention_heads", "n_head")
INNER = ("intermediate_size", "decoder_ffn_dim", "n_inner")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
USED = (
    *("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
    *("top_k_experts", "moe_topk", "moe_k"),
)
# What `transformers` takes where configurations, of several modalities above all, leave it out
# (configuration_gemma2.py, configuration_gemma3.py). Of a pattern of 6, each sixth layer sees all.
_LEFT_OUT: Mapping[str, Mapping[str, int]] = {
    "gemma2": {"sliding_window_pattern": 2},
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "sliding_window_pattern": 6,
        "vocab_size": 262208,
    },
}
# Families whose layers all have the window, where there is one (their `modeling_….py`).
_WINDOWED = frozenset({"mistral", "mixtral", "phi3", "starcoder2"})


@dataclass(frozen=True, slots=True)
class Configuration:
    """A `config.json`: all of it, and the figures of its language model with what is left out."""

    path: Path
    whole: Mapping[str, Any]
    words: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Weights:
    """What weights hold: parameters, those of routed experts and of encoders, bytes, who says so.

    encoder: of vision towers and audio encoders, whatever the model; 0 where it has none.
    """

    params: float
    routed: float
    encoder: float
    bytes: float
    source: str


def read_configuration(path: Path) -> Configuration:
    """Read a `config.json`; InputError where it is no JSON object."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CONFIG_BYTES)
        whole = json.loads(content)
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, RecursionError):
        raise unusable(path, "it is not valid JSON") from None
    if not isinstance(whole, dict):
        raise unusable(path, "it is no JSON object")
    # models of several modalities keep the language model's figures apart
    text = whole.get("text_config")
    words = {**whole, **text} if isinstance(text, dict) else whole
    return Configuration(path, whole, {**_LEFT_OUT.get(str(words.get("model_type")), {}), **words})


def configured_model(found: Configuration, name: str, weights: Weights) -> Model:
    """Return the figures of a model with these weights.

    Raises `InputError` naming every figure that its configuration lacks, or one that cannot be.
    """
    with judged(found):
        return _figures(found, name, weights)


def packed_bits(found: Configuration) -> int | None:
    """Return the bits of a number in packed tensors, None where the model has none; InputError."""
    with judged(found):
        return _packed(found.words)


@contextmanager
def judged(found: Configuration) -> Iterator[None]:
    """Turn what is missing or cannot be into the error of a configuration that cannot be used."""
    try:
        yield
    except LookupError as error:
        named = f" of `{_architecture(found.whole)[:60]}`" if _architecture(found.whole) else ""
        raise unusable(found.path, f"its figures{named} lack {error.args[0]}") from None
    except ValueError as error:
        raise unusable(found.path, str(error)) from None


def _figures(found: Configuration, name: str, weights: Weights) -> Model:
    from .catalog import Model  # running a plan asks for no figures, and does without the catalogue

    words = found.words
    require(words, weights.routed > 0)
    hidden, heads = count(words, *HIDDEN), count(words, *HEADS)
    experts, used = experts_of(words) if weights.routed else (0, 0)
    layers = count(words, *LAYERS)
    window_tokens, window_fraction = _windows(words)
    kind = kind_of(found.whole)
    dense = dense_layers(words, layers) if experts else 0
    inner = stated(words, "intermediate_size_mlp", *INNER)
    return Model(
        name=name,
        kind=kind,
        params=weights.params,
        active_params=weights.params - (weights.routed * (1 - used / experts) if experts else 0.0),
        layers=layers,
        hidden=hidden,
        q_heads=heads,
        kv_heads=count(words, "num_key_value_heads", default=heads),
        head_dim=head_dim(words, hidden, heads),
        context_tokens=count(
            words,
            *("max_position_embeddings", "max_target_positions", "n_positions"),
            default=2048,  # of families that learn no positions: what most were trained with
        ),
        weight_bytes=weights.bytes,
        source=weights.source,
        experts=experts,
        experts_per_token=used,
        routed_params=weights.routed,
        window_tokens=window_tokens,
        window_fraction=window_fraction,
        latent_kv_dim=_latent_kv_dim(words),
        precision=_precision(words, weights),
        vocab=stated(words, "vocab_size"),
        intermediate=inner if dense or not experts else 0,
        moe_intermediate=stated(words, "moe_intermediate_size", *INNER) if experts else 0,
        dense_layers=dense,
        encoder_params=weights.encoder if kind in ("llm", "asr") else 0.0,
    )


def require(words: Mapping[str, Any], mixture: bool, *more: tuple[str, ...]) -> None:
    """Raise `LookupError` naming every figure that is needed and not there, by its usual name."""
    needed = [HIDDEN, HEADS, LAYERS, *more]
    if stated(words, "kv_lora_rank"):
        needed.append(("qk_rope_head_dim",))
    if mixture:
        needed += [EXPERTS, USED]
    absent = [names[0] for names in needed if all(words.get(name) is None for name in names)]
    if absent:
        raise LookupError(", ".join(f"`{name}`" for name in absent))


def _latent_kv_dim(words: Mapping[str, Any]) -> int:
    """Return the numbers that latent attention caches for a token and layer, 0 of another kind.

    They are one compressed vector and one rotary key for all heads (DeepSeek-V2, arXiv 2405.04434,
    section 2.1).
    """
    if words.get("kv_lora_rank") is None:
        return 0
    return count(words, "kv_lora_rank") + count(words, "qk_rope_head_dim")


def head_dim(words: Mapping[str, Any], hidden: int, heads: int) -> int:
    """Return the numbers of a head's query; with latent attention it has two parts."""
    if words.get("qk_nope_head_dim") is not None and words.get("kv_lora_rank") is not None:
        return count(words, "qk_nope_head_dim") + count(words, "qk_rope_head_dim")
    return count(words, "head_dim", default=max(hidden // heads, 1))


def experts_of(words: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many experts a layer has, and how many of them a token meets."""
    experts, used = count(words, *EXPERTS), count(words, *USED)
    if used > experts:
        raise ValueError(f"a token meets {used} of its {experts} experts")
    return experts, used


def dense_layers(words: Mapping[str, Any], layers: int) -> int:
    """Return how many layers of a mixture have no experts: the first, or all but each n-th."""
    first = stated(words, "first_k_dense_replace")
    step = stated(words, "interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq")
    each = layers - layers // step if step > 1 else 0
    return min(first or each, layers)


def _windows(words: Mapping[str, Any]) -> tuple[int, float]:
    """Return the tokens that layers with a window see, and their share of the layers.

    Of a family that is not known, and says nothing itself, all layers are taken to see all tokens:
    they then never need more memory than was thought.
    """
    if words.get("attention_chunk_size") is not None:  # Llama 4: all but each fourth layer
        return count(words, "attention_chunk_size"), 0.75
    if words.get("sliding_window") is None or words.get("use_sliding_window") is False:
        return 0, 0.0
    share = _windowed_share(words)
    return (count(words, "sliding_window"), share) if share else (0, 0.0)


def _windowed_share(words: Mapping[str, Any]) -> float:
    kinds = words.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return kinds.count("sliding_attention") / len(kinds)
    if words.get("sliding_window_pattern") is not None:
        layers = count(words, *LAYERS)
        return 1 - layers // count(words, "sliding_window_pattern") / layers
    return 1.0 if str(words.get("model_type")) in _WINDOWED else 0.0


def _packed(words: Mapping[str, Any]) -> int | None:
    """Return the bits of a number in packed tensors, None where the model has none."""
    said = words.get("quantization_config")
    if not isinstance(said, dict):
        return None
    groups = said.get("config_groups")
    weights = [
        group["weights"]
        for group in (groups.values() if isinstance(groups, dict) else ())
        if isinstance(group, dict) and isinstance(group.get("weights"), dict)
    ]
    if weights:  # of several groups, those of 8 bits are not packed
        return min(_bits(group, "num_bits") for group in weights)
    named = 8 if said.get("load_in_8bit") is True else 4  # by the names of MXFP4 and bitsandbytes
    return _bits(said, "bits", "w_bit", default=named)


def _bits(words: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    bits = count(words, *names, default=default)
    if bits > 8:
        raise ValueError(f"its weights are packed, with {bits} bits each")
    return bits


def count(words: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    """Return the first figure that is given, of these names; at least 1."""
    for name in names:
        value = words.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 < value < 2**40:
            raise ValueError(f"`{name}` is no positive integer")
        return value
    if default is None:
        raise LookupError(f"`{names[0]}`")
    return default


def stated(words: Mapping[str, Any], *names: str) -> int:
    """Return the first figure that is given, of these names, or 0 where none is usable."""
    for name in names:
        value = words.get(name)
        if type(value) is int and 0 < value < 2**40:
            return value
    return 0


def quantisation(words: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a configuration says of how its weights are quantised; empty where nothing."""
    said = words.get("quantization_config")
    return said if isinstance(said, dict) else {}


def quantiser(words: Mapping[str, Any]) -> str:
    """Return the method by which weights are quantised, such as `gptq`; empty where none is."""
    return str(quantisation(words).get("quant_method", "")).lower()


def _precision(words: Mapping[str, Any], weights: Weights) -> str:
    """Return the precision of most weights, by what the configuration says of it, or their size."""
    method = quantiser(words)
    if not quantisation(words):
        return "fp32" if weights.bytes > 3 * weights.params else "bf16"
    if method == "mxfp4":
        return "mxfp4"
    if "fp8" in method:
        return "fp8"
    floats = '"float"' in json.dumps(quantisation(words)) or method == "modelopt"
    if _packed(words) == 8:
        return "fp8" if floats else "int8"
    return "fp4" if floats else "int4"


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the kind of a model, by the name of its class."""
    architecture = _architecture(config)
    if "Whisper" in architecture or "Speech" in architecture or architecture.endswith("CTC"):
        return "asr"
    if architecture.endswith("ForSequenceClassification"):
        return "reranker"
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")):
        return "llm"
    return "embedding"
