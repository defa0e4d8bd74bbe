"""Models given as folders: a Hugging Face model on disk, its figures read from its own files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .library import Executor
from .safetensors_file import (
    Tensor,
    missing_shards,
    read_header,
    unreadable,
    unusable,
    weight_names,
)

if TYPE_CHECKING:
    from .catalog import Model

LOADING_RUNNERS = ("vllm", "torch")
_MARKS = ("./", "../", "/", "~")
_MAX_CONFIG_BYTES = 16 * 2**20
_LAYERS = ("num_hidden_layers", "decoder_layers", "n_layer")
# Routed experts, whether each has tensors of its own or all are in one; not those that all tokens
# meet (`shared_experts`).
_ROUTED = re.compile(r"(^|\.)experts\.")
# Integers that hold several numbers each: of bitsandbytes and NVFP4, GPTQ and AWQ,
# compressed-tensors, and MXFP4.
_PACKED = re.compile(r"(\.(weight|qweight|weight_packed)|_blocks)$")
# What packed numbers are unpacked with, which are no parameters.
_UNPACKING = re.compile(
    r"[._](scales?(_inv|_2)?|q?zeros|zero_point|g_idx|weight_shape|absmax|quant_map|SCB)$"
    r"|\.weight_format$|\.quant_state\."
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
    },
}
# Families whose layers all have the window, where there is one (their `modeling_….py`).
_WINDOWED = frozenset({"mistral", "mixtral", "phi3", "starcoder2"})


def names_folder(model: str) -> bool:
    """Tell whether a library's `model` is a folder rather than a name on a hub."""
    return model in (".", "..") or model.startswith(_MARKS)


def is_folder(executor: Executor) -> bool:
    """Tell whether an executor's model is a folder; a name that is sent elsewhere never is."""
    loads = executor.runner in LOADING_RUNNERS and executor.model is not None
    return loads and names_folder(executor.model or "")


def model_location(executor: Executor) -> str:
    """Return where an executor's model is: its folder's absolute path, or its name on the hub.

    A folder is relative to the library file that names it.
    """
    if executor.model is None:
        raise ValueError(f"`{executor.name}` has no model")
    if not is_folder(executor):
        return executor.model
    beside = Path(executor.loc.file).parent if executor.loc is not None else Path()
    return str((beside / _expanded(executor.model)).absolute())


def folder_model(executor: Executor) -> Model:
    """Return the figures of an executor's model folder.

    Raises `InputError` saying which file is missing or wrong.
    """
    folder = Path(model_location(executor))
    return _model(str(folder), executor.model or "", _stamp(folder))


def config_digest(model: str, beside: Path) -> str:
    """Return the SHA-256 of the configuration of a model that a library in folder `beside` names.

    It is that of nothing where it cannot be read.
    """
    try:
        content = (beside / _expanded(model) / "config.json").read_bytes()
    except OSError:
        content = b""
    return hashlib.sha256(content).hexdigest()


def _expanded(model: str) -> Path:
    # unlike `Path.expanduser`, this leaves the name of a user that is none as it is
    return Path(os.path.expanduser(model))


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a folder's figures may have: names, times and sizes of its files."""
    try:
        paths = (folder / "config.json", *sorted(folder.glob("*.safetensors")))
        stats = [(path, path.stat()) for path in paths if path.is_file()]
    except OSError as error:
        raise unreadable(folder, error) from None
    return tuple((path.name, stat.st_mtime_ns, stat.st_size) for path, stat in stats)


@lru_cache(maxsize=64)
def _model(folder: str, name: str, stamp: object) -> Model:
    path = Path(folder)
    config = _config(path)
    # models of several modalities keep the language model's figures apart
    text = config.get("text_config")
    words = {**config, **text} if isinstance(text, dict) else config
    words = {**_LEFT_OUT.get(str(words.get("model_type")), {}), **words}
    try:
        return _figures(path, name, config, words)
    except LookupError as error:
        named = f" of `{_architecture(config)[:60]}`" if _architecture(config) else ""
        raise unusable(path / "config.json", f"its figures{named} lack {error.args[0]}") from None
    except ValueError as error:
        raise unusable(path / "config.json", str(error)) from None


def _figures(folder: Path, name: str, config: Mapping[str, Any], words: Mapping[str, Any]) -> Model:
    from .catalog import Model  # running a plan asks for no figures, and does without the catalogue

    hidden = _count(words, "hidden_size", "d_model", "n_embd")
    heads = _count(words, "num_attention_heads", "decoder_attention_heads", "n_head")
    latent = _latent_kv_dim(words)
    kv_heads = _count(words, "num_key_value_heads", default=heads)
    params, routed, weight_bytes = _weights(folder, _packed_bits(words))
    experts, used = _experts(words) if routed else (0, 0)
    window_tokens, window_fraction = _windows(words)
    return Model(
        name=name,
        kind=_kind(config),
        params=params,
        active_params=params - (routed * (1 - used / experts) if experts else 0.0),
        layers=_count(words, *_LAYERS),
        hidden=hidden,
        q_heads=heads,
        kv_heads=kv_heads,
        head_dim=_head_dim(words, hidden, heads),
        context_tokens=_count(
            words,
            *("max_position_embeddings", "max_target_positions", "n_positions"),
            default=2048,  # of families that learn no positions: what most were trained with
        ),
        weight_bytes=weight_bytes,
        source=f"config.json and weights of `{name}`",
        experts=experts,
        experts_per_token=used,
        routed_params=routed,
        window_tokens=window_tokens,
        window_fraction=window_fraction,
        latent_kv_dim=latent,
    )


def _latent_kv_dim(words: Mapping[str, Any]) -> int:
    """Return the numbers that latent attention caches for a token and layer, 0 of another kind.

    They are one compressed vector and one rotary key for all heads (DeepSeek-V2, arXiv 2405.04434,
    section 2.1).
    """
    if words.get("kv_lora_rank") is None:
        return 0
    return _count(words, "kv_lora_rank") + _count(words, "qk_rope_head_dim")


def _head_dim(words: Mapping[str, Any], hidden: int, heads: int) -> int:
    """Return the numbers of a head's query; with latent attention it has two parts."""
    if words.get("qk_nope_head_dim") is not None and words.get("kv_lora_rank") is not None:
        return _count(words, "qk_nope_head_dim") + _count(words, "qk_rope_head_dim")
    return _count(words, "head_dim", default=max(hidden // heads, 1))


def _experts(words: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many experts a layer has, and how many of them a token meets."""
    experts = _count(
        words, *("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    )
    used = _count(
        words,
        *("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
        *("top_k_experts", "moe_topk", "moe_k"),
    )
    if used > experts:
        raise ValueError(f"a token meets {used} of its {experts} experts")
    return experts, used


def _windows(words: Mapping[str, Any]) -> tuple[int, float]:
    """Return the tokens that layers with a window see, and their share of the layers.

    Of a family that is not known, and says nothing itself, all layers are taken to see all tokens:
    they then never need more memory than was thought.
    """
    if words.get("sliding_window") is None or words.get("use_sliding_window") is False:
        return 0, 0.0
    share = _windowed_share(words)
    return (_count(words, "sliding_window"), share) if share else (0, 0.0)


def _windowed_share(words: Mapping[str, Any]) -> float:
    kinds = words.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return kinds.count("sliding_attention") / len(kinds)
    if words.get("sliding_window_pattern") is not None:
        layers = _count(words, *_LAYERS)
        return 1 - layers // _count(words, "sliding_window_pattern") / layers
    return 1.0 if str(words.get("model_type")) in _WINDOWED else 0.0


def _packed_bits(words: Mapping[str, Any]) -> int | None:
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
    bits = _count(words, *names, default=default)
    if bits > 8:
        raise ValueError(f"its weights are packed, with {bits} bits each")
    return bits


def _count(words: Mapping[str, Any], *names: str, default: int | None = None) -> int:
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


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def _kind(config: Mapping[str, Any]) -> str:
    architecture = _architecture(config)
    if "Whisper" in architecture or "Speech" in architecture or architecture.endswith("CTC"):
        return "asr"
    if architecture.endswith("ForSequenceClassification"):
        return "reranker"
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")):
        return "llm"
    return "embedding"


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise unusable(folder, "it does not exist" if not folder.exists() else "it is no folder")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CONFIG_BYTES)
        document = json.loads(content)
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, RecursionError):
        raise unusable(path, "it is not valid JSON") from None
    if not isinstance(document, dict):
        raise unusable(path, "it is no JSON object")
    return document


def _weights(folder: Path, packed_bits: int | None) -> tuple[float, float, float]:
    """Return the parameters of a model, those of its routed experts, and the bytes of all.

    Weights in other formats than safetensors may run code when they are read, and are not looked
    at.
    """
    names = weight_names(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise unusable(folder, "it has no weights in `*.safetensors`")
    if missing := missing_shards(names):
        raise unusable(folder, f"it lacks {missing} of its {len(names) + missing} files of weights")
    params = routed = weight_bytes = 0.0
    for file in names:
        for name, tensor in read_header(folder / file).items():
            count = tensor.count if packed_bits is None else _unpacked(name, tensor, packed_bits)
            params += count
            routed += count if _ROUTED.search(name) else 0.0
            weight_bytes += tensor.bytes
    if not params:
        raise unusable(folder / names[0], "it holds no weights")
    return params, routed, weight_bytes


def _unpacked(name: str, tensor: Tensor, bits: int) -> float:
    """Return the parameters that a tensor of a quantised model holds."""
    if _UNPACKING.search(name):
        return 0.0
    packed = tensor.is_integer and _PACKED.search(name)
    return tensor.bytes * 8 / bits if packed else tensor.count
