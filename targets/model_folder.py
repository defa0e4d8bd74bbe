"""Models given as folders: a Hugging Face model on disk, its figures read from its own files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError
from .catalog import Model
from .library import Executor

_MARKS = ("./", "../", "/", "~")
_MAX_CONFIG_BYTES = 16 * 2**20
_MAX_HEADER_BYTES = 100 * 2**20  # the limit of the safetensors format
# The bits of a number, by its name in a safetensors header.
_BITS: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


def names_folder(model: str) -> bool:
    """Tell whether a library's `model` is a folder rather than a name on a hub."""
    return model in (".", "..") or model.startswith(_MARKS)


def is_folder(executor: Executor) -> bool:
    """Tell whether an executor's model is a folder."""
    return executor.model is not None and names_folder(executor.model)


def model_location(executor: Executor) -> str:
    """Return where an executor's model is: its folder's absolute path, or its name on the hub.

    A folder is relative to the library file that names it.
    """
    if executor.model is None:
        raise ValueError(f"`{executor.name}` has no model")
    if not is_folder(executor):
        return executor.model
    beside = Path(executor.loc.file).parent if executor.loc is not None else Path()
    return str((beside / Path(executor.model).expanduser()).absolute())


def folder_model(executor: Executor) -> Model:
    """Return the figures of an executor's model folder.

    Raises `InputError` saying which file is missing or wrong.
    """
    folder = Path(model_location(executor))
    return _model(str(folder), executor.model or "", _stamp(folder))


def config_digest(folder: Path) -> str:
    """Return the SHA-256 of a model's configuration; that of nothing where it cannot be read."""
    try:
        return hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    except OSError:
        return hashlib.sha256(b"").hexdigest()


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a folder's figures may have: names, times and sizes of its files."""
    paths = (folder / "config.json", *sorted(folder.glob("*.safetensors")))
    stats = ((path, path.stat()) for path in paths if path.is_file())
    return tuple((path.name, stat.st_mtime_ns, stat.st_size) for path, stat in stats)


@lru_cache(maxsize=64)
def _model(folder: str, name: str, stamp: object) -> Model:
    path = Path(folder)
    config = _config(path)
    # models of several modalities keep the language model's figures apart
    text = config.get("text_config")
    words = {**config, **text} if isinstance(text, dict) else config
    try:
        return _figures(path, name, config, words)
    except (LookupError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise _unusable(path / "config.json", f"it lacks or garbles {error}") from None


def _figures(folder: Path, name: str, config: Mapping[str, Any], words: Mapping[str, Any]) -> Model:
    layers = _positive(words, "num_hidden_layers", "decoder_layers", "n_layer")
    hidden = _positive(words, "hidden_size", "d_model", "n_embd")
    heads = _positive(words, "num_attention_heads", "decoder_attention_heads", "n_head")
    kv_heads = _positive(words, "num_key_value_heads", default=heads)
    params, weight_bytes = _weights(folder)
    experts = _positive(words, "num_experts", "num_local_experts", "n_routed_experts", default=0)
    routed = _routed(words, layers, hidden, experts)
    used = _positive(words, "num_experts_per_tok", default=1 if experts else 0)
    return Model(
        name=name,
        kind=_kind(config),
        params=params,
        active_params=params - routed + (routed * used / experts if experts else 0.0),
        layers=layers,
        hidden=hidden,
        q_heads=heads,
        kv_heads=kv_heads,
        head_dim=_positive(words, "head_dim", default=hidden // heads),
        context_tokens=_positive(
            words,
            *("max_position_embeddings", "max_target_positions", "n_positions"),
            default=2048,
        ),
        weight_bytes=weight_bytes,
        source=f"config.json and weights of `{name}`",
        experts=experts,
        experts_per_token=used,
        routed_params=min(routed, params),
    )


def _routed(words: Mapping[str, Any], layers: int, hidden: int, experts: int) -> float:
    """Return the parameters of all experts: three matrices each, in the layers that have them."""
    if not experts:
        return 0.0
    width = _positive(words, "moe_intermediate_size", "intermediate_size")
    dense = _positive(words, "first_k_dense_replace", default=0)
    return 3.0 * hidden * width * experts * max(layers - dense, 0)


def _positive(words: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = words.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value < 2**40 or (value == 0 and default is None):
            raise ValueError(f"`{name}`")
        return value
    if default is None:
        raise LookupError(f"`{names[0]}`")
    return default


def _kind(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    if "Whisper" in architecture or "Speech" in architecture:
        return "asr"
    if architecture.endswith("ForSequenceClassification"):
        return "reranker"
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")):
        return "llm"
    return "embedding"


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise _unusable(folder, "it does not exist" if not folder.exists() else "it is no folder")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CONFIG_BYTES)
        document = json.loads(content)
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be read") from None
    except (ValueError, RecursionError):
        raise _unusable(path, "it is not valid JSON") from None
    if not isinstance(document, dict):
        raise _unusable(path, "it is no JSON object")
    return document


def _weights(folder: Path) -> tuple[float, float]:
    """Return the number of parameters and the bytes of a model's weights.

    Weights in other formats than safetensors may run code when they are read, and are not looked
    at.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise _unusable(folder, "it has no weights in `*.safetensors`")
    params = weight_bytes = 0.0
    for path in paths:
        for count, size in safetensors_sizes(path):
            params += count
            weight_bytes += size
    if not params:
        raise _unusable(paths[0], "it holds no weights")
    return params, weight_bytes


def safetensors_sizes(path: Path) -> list[tuple[float, float]]:
    """Return the numbers and the bytes of each tensor, from the file's header alone.

    Raises `InputError` for a file that is no safetensors file. The format: eight bytes of header
    length, little-endian, then a JSON object of tensors by name
    (https://github.com/huggingface/safetensors).
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= _MAX_HEADER_BYTES else b""
        tensors = json.loads(header)
        return [_size(tensor) for name, tensor in tensors.items() if name != "__metadata__"]
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be read") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        raise _unusable(path, "it is no safetensors file") from None


def _size(tensor: Mapping[str, Any]) -> tuple[float, float]:
    shape = tensor["shape"]
    if not all(type(extent) is int and 0 <= extent < 2**40 for extent in shape):
        raise ValueError("shape")
    count = float(math.prod(shape))
    return count, count * _BITS[tensor["dtype"]] / 8


def _unusable(path: Path, why: str) -> InputError:
    hint = "a model folder holds `config.json` and `*.safetensors`, as the hub has them"
    return InputError(Diagnostic("unusable-model", f"cannot use model `{path}`: {why}", help=hint))
