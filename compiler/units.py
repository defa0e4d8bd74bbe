"""The units that clauses may use, and what is said when they do not fit."""

from __future__ import annotations

import math

from ..ir.quantities import quantity
from . import ast
from .findings import Findings

_WORDS = {
    "s": "a time: `ms`, `s`, `min` or `h`",
    "J": "an energy: `J`, `kJ`, `Wh` or `kWh`",
    "USD": "an amount of money: `$0.01`",
    "bytes": "a size: `MB` or `GB`",
    "tokens": "a number of `tokens`",
    "frames/s": "a number of `fps`",
    "/s": "a rate: `/ s`, `/ min` or `/ h`",
    "": "a plain number",
}


def measured(node: ast.Quantity, units: tuple[str, ...], what: str, findings: Findings) -> float:
    """Return a quantity in its base unit, which must be one of `units`; NaN after an error.

    `what` says whose quantity it is, in backticks.
    """
    found = quantity(node.value, node.unit)
    if not math.isfinite(found.value):
        findings.error("number-too-large", "the quantity is too large", node.span)
        return math.nan
    if found.unit in units and not ("%" in node.unit and found.unit != ""):
        return found.value
    message = f"{what} is not measured in `{node.unit}`" if node.unit else f"{what} needs a unit"
    wanted = ", or ".join(_WORDS[unit] for unit in units)
    findings.error("unit-mismatch", message, node.span, help=f"it wants {wanted}")
    return math.nan
