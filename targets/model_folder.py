"""Models given as folders: a Hugging Face model on disk, its figures read from its own files."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .library import Executor
from .model_config import (
    Configuration,
    Weights,
    configured_model,
    packed_bits,
    read_configuration,
)
from .model_sizes import weights_by_sizes
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
# Routed experts, whether each has tensors of its own or all are in one; not those that all tokens
# meet (`shared_experts`).
_ROUTED = re.compile(r"(^|\.)experts\.")
# Vision towers and audio encoders, which decoding does not read.
_ENCODER = re.compile(
    r"(^|\.)(visual|vision_(tower|model|encoder)|audio_(tower|encoder)|multi_modal_projector)\."
    r"|^model\.encoder\."
)
# Integers that hold several numbers each: of bitsandbytes and NVFP4, GPTQ and AWQ,
# compressed-tensors, and MXFP4.
_PACKED = re.compile(r"(\.(weight|qweight|weight_packed)|_blocks)$")
# What packed numbers are unpacked with, which are no parameters.
_UNPACKING = re.compile(
    r"[._](scales?(_inv|_2)?|q?zeros|zero_point|g_idx|weight_shape|absmax|quant_map|SCB)$"
    r"|\.weight_format$|\.quant_state\."
)


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


def folder_figures(folder: Path) -> Model:
    """Return the figures of a model's folder.

    Raises `InputError` saying which file is missing or wrong.
    """
    folder = _expanded(str(folder)).absolute()
    return _model(str(folder), folder.name, _stamp(folder))


def described_model(path: Path, name: str) -> Model:
    """Return the figures of a model by this name, from its folder or from its `config.json` alone.

    Without weights beside it, parameters follow from the sizes that the configuration states.
    Raises `InputError` naming every figure that is missing, or what cannot be read.
    """
    config = path / "config.json" if path.is_dir() else path
    found = read_configuration(config)
    if config.name == "config.json" and any(config.parent.glob("*.safetensors")):
        return configured_model(found, name, _weights(config.parent, name, found))
    return configured_model(found, name, weights_by_sizes(found))


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
    if not path.is_dir():
        raise unusable(path, "it does not exist" if not path.exists() else "it is no folder")
    found = read_configuration(path / "config.json")
    return configured_model(found, name, _weights(path, name, found))


def _weights(folder: Path, name: str, found: Configuration) -> Weights:
    """Count what a model's files hold.

    Weights in other formats than safetensors may run code when they are read, and are not looked
    at.
    """
    names = weight_names(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise unusable(folder, "it has no weights in `*.safetensors`")
    if missing := missing_shards(names):
        raise unusable(folder, f"it lacks {missing} of its {len(names) + missing} files of weights")
    bits = packed_bits(found)
    params = routed = encoder = weight_bytes = 0.0
    for file in names:
        for said, tensor in read_header(folder / file).items():
            count = tensor.count if bits is None else _unpacked(said, tensor, bits)
            params += count
            routed += count if _ROUTED.search(said) else 0.0
            encoder += count if _ENCODER.search(said) else 0.0
            weight_bytes += tensor.bytes
    if not params:
        raise unusable(folder / names[0], "it holds no weights")
    source = f"config.json and weights of `{name}`"
    return Weights(params, routed, encoder, weight_bytes, source)


def _unpacked(name: str, tensor: Tensor, bits: int) -> float:
    """Return the parameters that a tensor of a quantised model holds."""
    if _UNPACKING.search(name):
        return 0.0
    packed = tensor.is_integer and _PACKED.search(name)
    return tensor.bytes * 8 / bits if packed else tensor.count
