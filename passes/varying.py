"""Quantities that depend on choices not yet made: a value per case of upstream decisions.

How big a value is may depend on how an earlier step is carried out (one frame or ten). Such a
quantity is a mapping from cases to values; a case names, for some steps, the class of output that
the step is assumed to put out. The cases of one quantity cover all combinations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")

Case = tuple[tuple[str, int], ...]  # (step, output class), sorted by step
Varying = Mapping[Case, T]

# More cases than this are merged pessimistically: exact for the workflows people write, bounded
# for those machines generate.
MAX_CASES = 24


def fixed(value: T) -> dict[Case, T]:
    """Return a quantity that depends on nothing."""
    return {(): value}


def merge(a: Case, b: Case) -> Case | None:
    """Return the case that assumes both, or None where they contradict each other."""
    if not a or a == b:
        return b
    if not b:
        return a
    both = dict(a)
    for step, output in b:
        if both.setdefault(step, output) != output:
            return None
    return tuple(sorted(both.items()))


def combine(
    function: Callable[..., U],
    *quantities: Varying[Any],
    worst: Callable[[U, U], U],
) -> dict[Case, U]:
    """Apply a function to quantities, case by case; `worst` merges cases beyond MAX_CASES."""
    cases: list[tuple[Case, tuple[Any, ...]]] = [((), ())]
    for quantity in quantities:
        cases = [
            (both, (*values, value))
            for case, values in cases
            for other, value in quantity.items()
            if (both := merge(case, other)) is not None
        ]
    return widen({case: function(*values) for case, values in cases}, worst)


def depend(
    outputs: Varying[tuple[U, ...]],
    step: str,
    classes: tuple[int, ...],
    worst: Callable[[U, U], U],
) -> dict[Case, U]:
    """Return a step's output by case: `outputs` holds, case by case, one value a configuration.

    Configurations of one class put out the same; where there is one class nothing new depends on
    the step.
    """
    members = {number: classes.index(number) for number in classes}
    if len(members) == 1:
        return {case: values[0] for case, values in outputs.items()}
    out: dict[Case, U] = {}
    for case, values in outputs.items():
        for number, index in members.items():
            both = merge(case, ((step, number),))
            if both is not None:
                out[both] = values[index]
    return widen(out, worst)


def widen(quantity: dict[Case, U], worst: Callable[[U, U], U]) -> dict[Case, U]:
    """Forget steps, those with most classes first, until at most MAX_CASES cases are left."""
    while len(quantity) > MAX_CASES:
        classes: dict[str, set[int]] = {}
        for case in quantity:
            for step, output in case:
                classes.setdefault(step, set()).add(output)
        forgotten = max(sorted(classes), key=lambda step: len(classes[step]))
        merged: dict[Case, U] = {}
        for case, value in quantity.items():
            less = tuple(pair for pair in case if pair[0] != forgotten)
            merged[less] = worst(merged[less], value) if less in merged else value
        quantity = merged
    return quantity
