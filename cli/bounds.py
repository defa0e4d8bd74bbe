"""What a run may use up, as a command line says it: `--budget` and `--deadline`."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

import click

from ..ir.quantities import parse_quantity
from .options import together

if TYPE_CHECKING:
    from ..runtime.spending import Bounds

_FORMS = "`$5`, `100 Wh`, `2 kJ`"

bound_flags = together(
    click.option(
        "--budget",
        "budgets",
        metavar="Q",
        multiple=True,
        help='Stop before more is used up: "$5", "100 Wh"; may be repeated.',
    ),
    click.option("--deadline", metavar="T", help='Stop before it takes longer: "10 min".'),
)


def bounds(budgets: Sequence[str], deadline: str | None) -> Bounds:
    """Return the bounds that the flags state; raises click's usage errors."""
    from ..runtime.spending import Bounds

    found: dict[str, float] = {}
    for text in budgets:
        unit, value = quantity_of_flag("--budget", text, {"USD": "usd", "J": "joules"}, _FORMS)
        if unit in found:
            raise click.UsageError(f"`--budget {text}`: there is one of that kind already")
        found[unit] = value
    if deadline is not None:
        units = {"s": "seconds", "": "seconds"}
        unit, value = quantity_of_flag("--deadline", deadline, units, "`90 s`, `10 min`, `2 h`")
        found |= {unit: value, "began_s": monotonic()}
    return Bounds(**found)


def quantity_of_flag(flag: str, text: str, units: dict[str, str], forms: str) -> tuple[str, float]:
    """Return the name that `units` have for a quantity's base unit, and its value, at least 0.

    `forms` are examples for the message. Raises click's usage errors.
    """
    try:
        found = parse_quantity(text)
    except ValueError as error:
        raise click.UsageError(f"`{flag}`: {error}; write {forms}") from None
    if found.unit not in units or not found.value >= 0.0:
        raise click.UsageError(f"`{flag}`: `{text}` is none of its quantities; write {forms}")
    return units[found.unit], found.value
