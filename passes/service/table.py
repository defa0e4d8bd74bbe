"""Classes of workflows that were measured: only configurations that were are chosen.

A class has those that are as accurate as it asks. Where its variants are few, the planner lists
every combination and knows by the table which there are. Else combinations are generated stage by
stage, from configurations of which every combination was measured: those of the row that is
cheapest, and of the rows after it with which that stays so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..job.problem import LEAST_ACCURACY
from .planner import LISTED
from .problem import Engine, RequestClass, Stage, Variant

Row = tuple[str, ...]  # a configuration for each stage, by name


def measured_class(
    kind: RequestClass, table: Mapping[Row, float], engines: Sequence[Engine]
) -> RequestClass:
    """Return a class whose configurations are rows of a table of absolute accuracies.

    Where no row is as accurate as it asks, the most accurate are kept, and of rows that are too
    slow the fastest: the class is then told to ask too much.
    """
    best = max(table.values())
    floor = min(kind.accuracy or 0.0, best)
    rows = [row for row, accuracy in table.items() if accuracy >= floor * (1 - 1e-9)]
    fastest_s = {row: _fastest_s(kind, row) for row in rows}
    limit_s = max(kind.latency_s or math.inf, min(fastest_s.values()))
    rows = [row for row in rows if fastest_s[row] <= limit_s * (1 + 1e-9)]
    stages = _of_rows(kind.stages, rows)
    if math.prod(len(stage.variants) for stage in stages) > LISTED:
        stages = _of_rows(kind.stages, _together(kind, rows, engines))
    # the table says how accurate a combination is; among those that may be generated all will do
    even = tuple(
        replace(stage, variants=tuple(replace(v, quality=1.0) for v in stage.variants))
        for stage in stages
    )
    return replace(
        kind,
        stages=even,
        accuracy=max(kind.accuracy or 0.0, LEAST_ACCURACY),  # what was not measured has less
        scale=best,
        table=dict(table),
    )


def _of_rows(stages: Sequence[Stage], rows: Sequence[Row]) -> tuple[Stage, ...]:
    """Return the variants whose configuration is in some row."""
    return tuple(
        replace(stage, variants=tuple(v for v in stage.variants if v.configuration in names))
        for stage, names in zip(stages, _names(rows, len(stages)), strict=True)
    )


def _names(rows: Sequence[Row], stages: int) -> list[set[str]]:
    return [{row[s] for row in rows} for s in range(stages)]


def _together(kind: RequestClass, rows: Sequence[Row], engines: Sequence[Engine]) -> list[Row]:
    """Return the cheapest rows of which every combination is a row."""
    known = set(rows)
    ranked = sorted(rows, key=lambda row: (_cost(kind, row, engines), row))
    kept: list[Row] = []
    for row in ranked:
        names = _names([*kept, row], len(kind.stages))
        combinations = math.prod(map(len, names))
        if combinations > len(known):
            continue
        inside = [
            other for other in rows if all(n in of for n, of in zip(other, names, strict=True))
        ]
        if len(inside) == combinations:
            kept = inside
    return kept


def _fastest_s(kind: RequestClass, row: Row) -> float:
    """Return the critical path of a row with each stage at its fastest."""
    ends_s: list[float] = []
    for stage, name in zip(kind.stages, row, strict=True):
        start_s = max((ends_s[i] for i in stage.after), default=0.0)
        found = (v.latency_s for v in stage.variants if v.configuration == name)
        ends_s.append(start_s + min(found, default=math.inf))
    return max(ends_s, default=0.0)


def _cost(kind: RequestClass, row: Row, engines: Sequence[Engine]) -> float:
    """Return what a request of a row costs as if all seconds of instances were used."""
    return sum(
        min((_usd(v, engines) for v in stage.variants if v.configuration == name), default=math.inf)
        for stage, name in zip(kind.stages, row, strict=True)
    )


def _usd(variant: Variant, engines: Sequence[Engine]) -> float:
    held = 0.0 if variant.engine is None else engines[variant.engine].usd_per_s
    return variant.usd + held * variant.busy_s
