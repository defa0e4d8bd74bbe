"""The units that clauses may use, and what is said when they do not fit."""

from __future__ import annotations

import math

from ..ir.quantities import UNITS, Quantity, quantity
from . import ast
from .findings import Findings

UNIT_NAMES = (*UNITS, "%", "$")

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
    found = _base(node, findings)
    if found is None:
        return math.nan
    if found.unit in units and not ("%" in node.unit and found.unit != ""):
        return found.value
    written = f"`{node.unit}`" if node.unit else "no unit"
    findings.error(
        "unit-mismatch",
        f"{what} is measured in other units than {written}"
        if node.unit
        else f"{what} needs a unit",
        node.span,
        help="it wants " + ", or ".join(_WORDS[unit] for unit in units),
    )
    return math.nan


def _base(node: ast.Quantity, findings: Findings) -> Quantity | None:
    try:
        found = quantity(node.value, node.unit)
    except ValueError as error:
        wrong = [p.strip() for p in node.unit.split("/") if p.strip() not in (*UNIT_NAMES, "")]
        findings.error(
            "unknown-unit",
            str(error),
            node.span,
            help=findings.suggest(wrong[0], UNIT_NAMES) if wrong else None,
        )
        return None
    if math.isfinite(found.value):
        return found
    findings.error("number-range", "the number is too large", node.span)
    return None
