"""The metric of `mkb evaluate` for solutions that end in `Answer: ` and a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

_ANSWER = re.compile(r"answer[:*\s]*\$?\s*(-?[\d,]*\.?\d+)", re.IGNORECASE)


def same_number(result: Mapping[str, str], expected: str) -> float:
    """Return 1.0 where the last answer of a solution is the expected number, else 0.0."""
    found = _ANSWER.findall(result["solution"])
    if not found:
        return 0.0
    try:
        return float(Decimal(found[-1].replace(",", "")) == Decimal(expected))
    except InvalidOperation:
        return 0.0
