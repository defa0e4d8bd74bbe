"""What pure operations compute: one table for whoever folds, checks or runs them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any


def _is_none(value: Any) -> bool:
    return value is None


# Operands are of the types the verifier demands; `div` by zero raises ZeroDivisionError.
COMPUTES: Mapping[str, Callable[..., Any]] = {
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
    "len": len,
}
