"""Strict JSON, and dataclasses from it: what readers of saved documents have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_MAX_DIGITS = 300  # of an integer: beyond it, it may not fit a float


def strict_json(text: str) -> Any:
    """Parse strict JSON: ValueError for what Python's parser takes or makes beyond the standard."""
    document = json.loads(
        text,
        parse_float=_finite,
        parse_int=_short_integer,
        parse_constant=_finite,
        object_pairs_hook=_without_repeats,
    )
    json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return document


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"`{text[:40]}` is not a finite number")
    return float(text)


def _short_integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"`{text[:40]}…` is too long for a number")
    return int(text)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f"`{twice[:40]}` stands twice in an object")


def built(kind: Any, value: Any) -> Any:
    """Turn validated JSON into the dataclass tree that `kind` describes."""
    if is_dataclass(kind):
        make: Any = kind
        hints = _hints(make)
        return make(**{name: built(hints[name], value[name]) for name in hints if name in value})
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        if value is None:
            return None
        inner = [k for k in get_args(kind) if k is not type(None)]
        return built(inner[0], value) if len(inner) == 1 else _frozen(value)
    if origin is tuple:
        kinds = get_args(kind)
        if kinds[-1] is ...:
            return tuple(built(kinds[0], v) for v in value)
        return tuple(built(k, v) for k, v in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {k: _frozen(v) for k, v in value.items()}
    # to JSON Schema, `1.0` is an integer
    return kind(value) if kind in (int, float) else value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields; evaluating their text costs more than reading."""
    return get_type_hints(kind)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
