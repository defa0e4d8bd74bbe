"""Reading what weights are from the headers of safetensors files, without reading the weights.

The format: eight bytes of header length, little-endian, then a JSON object of tensors by name, then
the numbers (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ir.diagnostics import Diagnostic, InputError

_MAX_HEADER_BYTES = 100 * 2**20  # the limit of the format
# The bits of a number, by its name in a header.
_BITS: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_MAX_COUNT = 2.0**60  # more than any disk holds, and few enough to add up
_USUAL = re.compile(r"model(-\d+-of-(?P<shards>\d+))?\.safetensors")
_MODULE = re.compile(r"\d+_\w+/")  # of sentence-transformers, which come after the model itself


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a file: how many numbers it has, the bytes that they take, and their type."""

    count: float
    bytes: float
    dtype: str

    @property
    def is_integer(self) -> bool:
        """Whether its numbers are integers, as packed weights are."""
        return self.dtype[0] in "IU"


def weight_names(names: Iterable[str]) -> list[str]:
    """Return which of a model's files are its weights, sorted.

    Where weights go by their usual name, other `*.safetensors` are the same weights in another
    precision or layout (`consolidated.safetensors`, `original/model.safetensors`).
    """
    found = sorted(name for name in names if name.endswith(".safetensors"))
    modules = [name for name in found if _MODULE.match(name)]
    layouts: dict[str | None, list[str]] = {}
    for name in found:
        if (usual := _USUAL.fullmatch(name)) is not None:
            layouts.setdefault(usual["shards"], []).append(name)
    return sorted(max(layouts.values(), key=len) + modules) if layouts else found


def missing_shards(names: Iterable[str]) -> int:
    """Return how many files the names of a model's weights, as `weight_names` has them, lack.

    Numbers begin with 1, and with 0 for some (gpt-oss), of which there is one more than they say.
    """
    shards = [usual for usual in map(_USUAL.fullmatch, names) if usual and usual["shards"]]
    return max(int(shards[0]["shards"]) - len(shards), 0) if shards else 0


def read_header(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name; raises `InputError` for what is no safetensors file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= _MAX_HEADER_BYTES else b""
        tensors = json.loads(header)
        return {name: _tensor(said) for name, said in tensors.items() if name != "__metadata__"}
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        raise unusable(path, "it is no safetensors file") from None


def _tensor(said: Mapping[str, object]) -> Tensor:
    shape, kind = said["shape"], said["dtype"]
    if not isinstance(shape, list) or not isinstance(kind, str):
        raise TypeError("shape or dtype")
    if not all(type(extent) is int and 0 <= extent < 2**40 for extent in shape):
        raise ValueError("shape")
    count = float(math.prod(shape))
    if count > _MAX_COUNT:
        raise ValueError("shape")
    return Tensor(count, count * _BITS[kind] / 8, kind)


def unusable(path: Path, why: str) -> InputError:
    """Return the error of a model's file or folder that cannot be used."""
    hint = "a model folder holds `config.json` and `*.safetensors`, as the hub has them"
    return InputError(Diagnostic("unusable-model", f"cannot use model `{path}`: {why}", help=hint))


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the error of a model's file or folder that the system does not let us read."""
    return unusable(path, (error.strerror or "it cannot be read").lower())
