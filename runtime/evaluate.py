"""What the pure operations compute: one Python function for each kind (`ir/ops.py`)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from ..ir.ops import Op
from ..ir.semantics import COMPUTES
from ..ir.voting import agreement, majority

Evaluator = Callable[..., Any]


INT_LIMIT = 2**63  # an Int is one that every store and protocol can hold


def _bounded(compute: Evaluator) -> Evaluator:
    """Make a result that is no Int or Float an `OverflowError`; other results pass."""

    def computed(*operands: Any) -> Any:
        value = compute(*operands)
        if isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
            raise OverflowError("the result does not fit in 64 bits")
        if isinstance(value, float) and not math.isfinite(value):
            raise OverflowError("the result is too large for a Float")
        return value

    return computed


def _coalesce(value: Any, other: Any) -> Any:
    return other if value is None else value


def _flatten(lists: list[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def _join(texts: list[str], separator: str) -> str:
    return separator.join(texts)


def _list(*items: Any) -> list[Any]:
    return list(items)


# Numbers that leave the range of their type are an error where they do.
_CAN_OVERFLOW = ("add", "sub", "mul", "div", "neg")
_FIXED: Mapping[str, Evaluator] = {
    **COMPUTES,
    **{kind: _bounded(COMPUTES[kind]) for kind in _CAN_OVERFLOW},
    "agreement": agreement,
    "coalesce": _coalesce,
    "flatten": _flatten,
    "join": _join,
    "list": _list,
    "majority": majority,
}


def evaluator(op: Op) -> Evaluator:
    """Return the function of an operation's operands; KeyError for a kind that is not pure.

    The functions raise `ArithmeticError` (a division by zero, a result too large, a vote
    of nobody) and nothing else
    on operands of the types the verifier demands.
    """
    if op.kind == "field":
        return operator.itemgetter(op.attr("name"))
    if op.kind == "record":
        names = op.attr("fields", ())
        assert isinstance(names, tuple)  # the verifier's rule `types`
        return lambda *values: dict(zip(names, values, strict=True))
    return _FIXED[op.kind]
