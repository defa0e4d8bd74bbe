"""Tiers of a service's classes: positions among the configurations of their own stages.

As for one job (`tiers`), with each configuration at its fastest: on the hardware and at the load at
which a request takes least.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from ...ir.workflow import TIERS
from ..tiers import combinations, nearest_rank, product_rank
from .problem import Stage

Rows = Collection[tuple[str, ...]]  # configurations of all stages, by name
_ROUNDED = 1e-8  # relative, what products are off by


def class_tier(
    metric: Literal["accuracy", "latency"],
    tier: str,
    stages: Sequence[Stage],
    scale: float,
    measured: dict[tuple[str, ...], float] | None = None,
) -> float:
    """Return the value of a tier: absolute accuracy, or seconds.

    Where configurations were `measured` (absolute accuracy by name for each stage), they are the
    space; else all combinations are, of accuracy `scale` times the product of qualities.
    """
    percent = TIERS[tier]
    if metric == "latency":
        return -nearest_rank((-s for s in _latencies(stages, measured)), percent)
    if measured is not None:
        return nearest_rank(measured.values(), percent)
    qualities = ({v.configuration: v.quality for v in stage.variants} for stage in stages)
    found = product_rank((of.values() for of in qualities), percent)
    return scale * found * (1 - _ROUNDED)  # so that the configuration itself has it


def _latencies(stages: Sequence[Stage], rows: Rows | None) -> Iterator[float]:
    """Yield the critical path of each combination."""
    fastest: list[dict[str, float]] = []
    for stage in stages:
        least: dict[str, float] = {}
        for v in stage.variants:
            least[v.configuration] = min(v.latency_s, least.get(v.configuration, v.latency_s))
        fastest.append(least)
    for names in combinations([tuple(least) for least in fastest]) if rows is None else rows:
        ends: list[float] = []
        for stage, least, name in zip(stages, fastest, names, strict=True):
            ends.append(max((ends[i] for i in stage.after), default=0.0) + least[name])
        yield max(ends, default=0.0)
