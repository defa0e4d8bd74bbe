"""Metrics: how good a result is, from 0 to 1, beside what was expected."""

from __future__ import annotations

import asyncio
import hashlib
import math
import unicodedata
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic, InputError, did_you_mean
from ..entries import load_stated
from ..errors import CallFailed
from ..values import canonical, describe, encode
from .dataset import Dataset, Item

NAMES = ("exact_match", "contains", "judge")
# Returns the score of an item's result; raises InputError where the metric itself is at fault.
Score = Callable[[Item, Any], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is named, what tells it from others of that name, and how it scores."""

    name: str
    digest: str
    score: Score


def metric_named(name: str, dataset: Dataset) -> Metric:
    """Return `exact_match`, `contains`, or the user's own `MODULE:FUNCTION` or `FILE.py:FUNCTION`.

    Raises InputError where there is none, or the dataset's items do not suit it.
    """
    if name == "exact_match":
        return Metric(name, "", _exact_match)
    if name == "contains":
        _require_texts(dataset)
        return Metric(name, "", _contains)
    module, colon, function = name.rpartition(":")
    if not colon or not module or not function:
        known = ", ".join(f"`{known}`" for known in NAMES)
        hint = did_you_mean(name, NAMES) or f"there are {known}, and `MODULE:FUNCTION` of yours"
        raise InputError(Diagnostic("unknown-metric", f"no metric `{name}`", help=hint))
    return _own(name, module, function)


async def _exact_match(item: Item, result: Any) -> float:
    """Score 1 where the result is what is expected, or one of the texts that are."""
    return float(any(_same(result, wanted) for wanted in _accepted(item.expected, result)))


async def _contains(item: Item, result: Any) -> float:
    """Score 1 where the result's text contains what is expected, or one of the texts that are."""
    text = normal(_text(result))
    return float(any(normal(wanted) in text for wanted in _accepted(item.expected, result)))


def _accepted(expected: Any, result: Any) -> Iterable[Any]:
    """Return what may be the result: a list of texts is alternatives, unless results are lists."""
    texts = isinstance(expected, list) and all(isinstance(one, str) for one in expected)
    return expected if texts and not isinstance(result, list) else [expected]


def _same(result: Any, expected: Any) -> bool:
    if isinstance(result, str) or isinstance(expected, str):
        return normal(_text(result)) == normal(_text(expected))
    return bool(_plain(result) == _plain(expected))


def _plain(value: Any) -> Any:
    """Return a value as equality of results has it: texts alike in the form of `normal`."""
    match value:
        case str():
            return normal(value)
        case bool() | None:
            return (type(value), value)  # `true` is not 1
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case int() | float():
            return value
    return encode(value)


def normal(text: str) -> str:
    """Return a text without what comparisons leave aside: case, outer and repeated white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(encode(value))


def _require_texts(dataset: Dataset) -> None:
    wrong = [item for item in dataset.items if not _is_text(item.expected)]
    if wrong:
        first = wrong[0]
        message = (
            f"`{dataset.path}` line {first.line}: `contains` looks for a text, or one of a list of"
            f" texts, not for {describe(first.expected)}"
        )
        raise InputError(Diagnostic("bad-item", message))


def _is_text(expected: Any) -> bool:
    texts = expected if isinstance(expected, list) else [expected]
    return bool(texts) and all(isinstance(one, str) and one.strip() for one in texts)


# ---- metrics of the user's own


def _own(name: str, module: str, function: str) -> Metric:
    try:
        score = load_stated(module, function)
    except CallFailed as error:
        message = f"metric `{name}`: {error.message}"
        beside = Path(f"{module}.py")
        hint = f"`{beside}:{function}` is the file" if beside.is_file() else None
        raise InputError(Diagnostic("unknown-metric", message, help=hint)) from None

    async def scored(item: Item, result: Any) -> float:
        try:
            value = await asyncio.to_thread(score, result, item.expected)
        except Exception as error:
            message = f"metric `{name}` raised {type(error).__name__}: {error}"
            raise _faulty(message, item) from error
        return _checked(name, item, value)

    return Metric(name, _code_digest(module), scored)


def _checked(name: str, item: Item, value: Any) -> float:
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    score = float(value) if number else math.nan
    if not 0.0 <= score <= 1.0:
        given = describe(value) if not number or not isinstance(value, float) else repr(value)
        message = f"metric `{name}` returned {given}: a score is a number from 0 to 1"
        raise _faulty(message, item)
    return score


def _faulty(message: str, item: Item) -> InputError:
    return InputError(Diagnostic("bad-score", f"{message} (item of line {item.line})"))


def _code_digest(module: str) -> str:
    """Return the digest of the file that a metric is in; what it imports is not followed."""
    path = Path(module)
    if path.suffix != ".py":
        spec = find_spec(module)
        path = Path(spec.origin) if spec is not None and spec.origin is not None else path
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
