"""What the pure operations compute: one Python function for each kind (`ir/ops.py`)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from ..ir.ops import Op

Evaluator = Callable[..., Any]


def _coalesce(value: Any, other: Any) -> Any:
    return other if value is None else value


def _flatten(lists: list[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def _join(texts: list[str], separator: str) -> str:
    return separator.join(texts)


def _list(*items: Any) -> list[Any]:
    return list(items)


def _is_none(value: Any) -> bool:
    return value is None


_FIXED: Mapping[str, Evaluator] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and": operator.and_,
    "or": operator.or_,
    "not": operator.not_,
    "neg": operator.neg,
    "is_none": _is_none,
    "coalesce": _coalesce,
    "len": len,
    "flatten": _flatten,
    "join": _join,
    "list": _list,
}


def evaluator(op: Op) -> Evaluator:
    """Return the function of an operation's operands; KeyError for a kind that is not pure.

    The functions raise `ArithmeticError` (a division by zero, a result too large) and nothing else
    on operands of the types the verifier demands.
    """
    if op.kind == "field":
        return operator.itemgetter(op.attr("name"))
    if op.kind == "record":
        names = op.attr("fields", ())
        assert isinstance(names, tuple)  # the verifier's rule `types`
        return lambda *values: dict(zip(names, values, strict=True))
    return _FIXED[op.kind]
