"""Successive halving: many configurations on few items, fewer and fewer on more and more.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016, algorithm 1, with a factor other than two where that is asked for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

# Fewer items than this tell configurations apart by chance alone.
LEAST_ITEMS = 8
_Z95 = 1.959964  # of the standard normal, two-sided


def first_rung(items: int, configurations: int, eta: int) -> int:
    """Return on how many items all configurations start.

    As many as leave one configuration on all items after the rungs it takes to come down to one; at
    least LEAST_ITEMS, at most all.
    """
    rungs = 0
    while configurations > 1:
        configurations = math.ceil(configurations / eta)
        rungs += 1
    share: int = math.ceil(items / eta**rungs)
    return min(items, max(LEAST_ITEMS, share))


def next_rung(size: int, items: int, left: int, eta: int) -> int:
    """Return the items of the rung after one of `size`; all for the last configuration left."""
    return items if left == 1 else min(items, size * eta)


def survivors(scores: Sequence[float], eta: int) -> list[int]:
    """Return the numbers of the best `1 / eta` of configurations, rounded up, best first.

    Of equal scores the configuration listed first is kept.
    """
    order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    return order[: math.ceil(len(scores) / eta)]


def shuffled(items: int, seed: int) -> list[int]:
    """Return the numbers of items in the order in which rungs take them, the same for all."""
    order = list(range(items))
    random.Random(seed).shuffle(order)
    return order


def interval(mean: float, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of n scores from 0 to 1.

    Wilson's score interval; exact for scores of 0 or 1 as far as that is, and too wide for others,
    whose variance is at most that of such with the same mean.
    """
    z2 = _Z95 * _Z95
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value of the nearest rank."""
    return sorted(values)[max(math.ceil(percent / 100 * len(values)) - 1, 0)]


def mean_over(scores: Mapping[int, float], items: Sequence[int]) -> float:
    """Return the mean score over these items."""
    return math.fsum(scores[item] for item in items) / len(items)
