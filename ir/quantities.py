"""Quantities with units, in the few base units everything is computed in.

Base units: s, J, USD, bytes, tokens, frames, and their ratios; a percentage is a fraction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# unit -> (base unit, factor)
UNITS: dict[str, tuple[str, float]] = {
    "ms": ("s", 1e-3),
    "s": ("s", 1.0),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "J": ("J", 1.0),
    "kJ": ("J", 1e3),
    "Wh": ("J", 3600.0),
    "kWh": ("J", 3.6e6),
    "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9),
    "tokens": ("tokens", 1.0),
    "fps": ("frames/s", 1.0),
}
_TEXT = re.compile(
    r"\s*(?P<money>\$)?\s*(?P<number>-?\d+(?:\.\d+)?)\s*(?P<unit>%|[A-Za-z]+)?\s*(?:/\s*(?P<per>[A-Za-z]+))?\s*"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in a base unit; `unit` is `""` for plain numbers and fractions."""

    value: float
    unit: str


def quantity(value: float, unit: str) -> Quantity:
    """Convert a number with a unit as written (`"min"`, `"/ min"`, `"$"`, `"$ / h"`, `"%"`).

    Raises ValueError naming the unit when it is not one of the language's.
    """
    top, _, bottom = (part.strip() for part in unit.partition("/"))
    base, factor = _unit(top)
    if not bottom:
        return Quantity(value * factor, base)
    per, divisor = _unit(bottom)
    return Quantity(value * factor / divisor, f"{base}/{per}")


def _unit(name: str) -> tuple[str, float]:
    if name == "":
        return "", 1.0
    if name == "%":
        return "", 0.01
    if name == "$":
        return "USD", 1.0
    if name not in UNITS:
        raise ValueError(f"unknown unit `{name}`")
    return UNITS[name]


def parse_quantity(text: str) -> Quantity:
    """Read `"30 s"`, `"$27.20 / h"`, `"900 GB"`; ValueError says what is wrong with the text."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is not a number with a unit")
    unit = "$" if match["money"] else (match["unit"] or "")
    if match["money"] and match["unit"]:
        raise ValueError(f"`{text}` has both `$` and a unit")
    if match["per"]:
        unit = f"{unit} / {match['per']}"
    return quantity(float(match["number"]), unit)
