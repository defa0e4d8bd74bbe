"""Labels: partial configurations of a workflow, grown stage by stage, dominated ones dropped.

A sweep over the first stages and one, backwards, over the last meet in the middle: each grows far
fewer labels than a sweep over all would. A label knows its price, its loss of accuracy, and when
the stages end that others still wait for (backwards: how long it takes from the beginning of those
stages to the end of all). Of two labels, one that has no more of anything than another leaves it
without use (resource-constrained shortest paths: Desrosiers et al., "Time Constrained Routing and
Scheduling", Handbooks in Operations Research and Management Science 8, 1995).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BLOCK = 512  # labels that are compared with others at once
SIFTED = 4  # times the width: more labels than that are cut before dominated ones are looked for


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of a sweep: variants that are of use, what they add, and what still waits for it.

    `after` are the steps of this sweep that come before it, `last` the last of it that waits for it
    (-1: none; beyond the sweep: another sweep does). `until_s` and `room` are how late it may end,
    and how much loss there may be, so that the stages that follow have a chance.
    """

    variants: Ints
    extra: Floats  # reduced price over the stage's least
    price: Floats
    loss: Floats
    latency_s: Floats
    after: tuple[int, ...]
    last: int
    until_s: float
    room: float


@dataclass(frozen=True, slots=True)
class Labels:
    """What a sweep leaves. `ends_s` are by label and by step of `open`.

    No label that was cut for want of room had less `extra` than `cut`.
    """

    extra: Floats
    price: Floats
    loss: Floats
    ends_s: Floats
    open: tuple[int, ...]
    cut: float
    trail: tuple[tuple[Ints, Ints], ...]  # by step: the label before, the variant

    def choices(self, label: int) -> tuple[int, ...]:
        """Return the variants of a label, by step."""
        found: list[int] = []
        for before, variants in reversed(self.trail):
            found.append(int(variants[label]))
            label = int(before[label])
        return tuple(reversed(found))


def sweep(steps: Sequence[Step], slack: float, width: int) -> Labels:
    """Return the labels over some stages whose `extra` is less than `slack`, at most `width`."""
    import numpy as np

    extra, price, loss = np.zeros(1), np.zeros(1), np.zeros(1)
    ends_s, cut = np.zeros((1, 0)), math.inf
    waited_for: tuple[int, ...] = ()
    trail: list[tuple[Ints, Ints]] = []
    for number, step in enumerate(steps):
        start_s = np.zeros(len(extra))
        if step.after:
            start_s = ends_s[:, [waited_for.index(i) for i in step.after]].max(axis=1)
        end_s = start_s[:, None] + step.latency_s
        lost = loss[:, None] + step.loss
        grown = extra[:, None] + step.extra
        fits = (end_s <= step.until_s) & (lost <= step.room) & (grown < slack)
        before, offer = np.nonzero(fits)
        extra, loss = grown[fits], lost[fits]
        price = price[before] + step.price[offer]
        still = [i for i in waited_for if steps[i].last > number]
        columns = [ends_s[before, waited_for.index(i)] for i in still]
        if step.last > number:
            still.append(number)
            columns.append(end_s[fits])
        waited_for = tuple(still)
        ends_s = np.column_stack(columns) if columns else np.zeros((len(extra), 0))
        kept, left_out = _kept(extra, np.column_stack([price, loss, ends_s]), width)
        cut = min(cut, left_out)
        extra, price, loss, ends_s = extra[kept], price[kept], loss[kept], ends_s[kept]
        trail.append((before[kept], step.variants[offer[kept]]))
    return Labels(extra, price, loss, ends_s, waited_for, cut, tuple(trail))


def _kept(extra: Floats, amounts: Floats, width: int) -> tuple[Ints, float]:
    """Return the labels to go on with, least `extra` first, and the least of those cut."""
    import numpy as np

    order = np.argsort(extra, kind="stable")
    cut = math.inf
    if len(order) > SIFTED * width:
        cut = float(extra[order[SIFTED * width]])
        order = order[: SIFTED * width]
    order = order[_undominated(amounts[order])]
    if len(order) > width:
        cut = min(cut, float(extra[order[width]]))
        order = order[:width]
    return order, cut


def _undominated(amounts: Floats) -> NDArray[np.bool_]:
    """Tell which rows have less of something than every other row; of equal ones, the first."""
    import numpy as np

    order = np.lexsort(amounts.T[::-1])
    alive = np.ones(len(amounts), dtype=bool)
    if amounts.shape[1] <= 3:  # price, loss, and when one stage ends, or none
        alive[order] = _staircase(amounts[order, 1].tolist(), amounts[order, -1].tolist())
        return alive
    kept = np.zeros((0, amounts.shape[1] - 1))
    for first in range(0, len(order), BLOCK):
        rows = order[first : first + BLOCK]
        block = amounts[rows, 1:]
        no_more = (block[None] <= block[:, None]).all(axis=2)
        worse = np.any((kept[None] <= block[:, None]).all(axis=2), axis=1)
        worse |= np.any(np.tril(no_more, -1), axis=1)
        alive[rows] = ~worse
        kept = np.concatenate([kept, block[~worse]])
    return alive


def _staircase(xs: Sequence[float], ys: Sequence[float]) -> list[bool]:
    """Tell of each point whether all points before it have more of one of the two."""
    steps_x: list[float] = []  # ascending, with descending `steps_y`
    steps_y: list[float] = []
    alive: list[bool] = []
    for x, y in zip(xs, ys, strict=True):
        at = bisect_right(steps_x, x)
        new = at == 0 or steps_y[at - 1] > y
        alive.append(new)
        if new:
            first = bisect_left(steps_x, x)
            last = first
            while last < len(steps_x) and steps_y[last] >= y:
                last += 1
            steps_x[first:last] = [x]
            steps_y[first:last] = [y]
    return alive


@dataclass(frozen=True, slots=True)
class Limits:
    """What a configuration must keep within, and the crossings between two sweeps.

    `crossings` are pairs (a step open in one sweep, a step open in the other): the second waits for
    the first.
    """

    latency_s: float
    loss: float
    crossings: tuple[tuple[int, int], ...]


def cheapest_pair(
    one: Labels, other: Labels, limits: Limits, bound: float, best: float
) -> tuple[float, tuple[int, int] | None]:
    """Return the labels that together cost least, if less than `best`, within the limits.

    `bound` plus the `extra` of two labels is no more than what they cost.
    """
    import numpy as np

    found: tuple[int, int] | None = None
    pairs = [(one.open.index(i), other.open.index(j)) for i, j in limits.crossings]
    for first in range(0, len(one.extra), BLOCK):
        rows = slice(first, first + BLOCK)
        many = int(np.searchsorted(other.extra, best - bound - one.extra[first]))
        if not many:
            break  # labels come by ascending `extra`
        price = one.price[rows, None] + other.price[None, :many]
        fits = price < best
        fits &= one.loss[rows, None] + other.loss[None, :many] <= limits.loss
        for i, j in pairs:
            if math.isfinite(limits.latency_s):
                ends_s = one.ends_s[rows, i, None] + other.ends_s[None, :many, j]
                fits &= ends_s <= limits.latency_s
        if fits.any():
            price[~fits] = math.inf
            row, column = divmod(int(price.argmin()), many)
            best, found = float(price[row, column]), (first + row, column)
    return best, found
