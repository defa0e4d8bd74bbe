"""What is lost by picking a configuration by prediction: the best one under a latency limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rows import SILICON, Row

LIMIT_S = 0.020
MARGIN = 0.05  # a pick keeps its predicted time this far below the limit


@dataclass(frozen=True)
class Picks:
    """Per cent: mean throughput per GPU lost to the best pick; picks that break the limit."""

    lost: float
    broken: float


def picked(rows: Sequence[Row], tokens_per_s: Any, time_s: Any) -> Picks:
    """Pick, for each model and task, the predicted best measured configuration; score the picks.

    The configurations of a model and task are its rows: degrees of parallelism and loads. The best
    has the highest throughput per GPU of those whose time per token is within the limit.
    """
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[row.source, row.name, row.task].append(i)
    lost, broken = [], []
    for members in groups.values():
        real = {i: _real(rows[i]) for i in members}
        within = [i for i in members if real[i][1] <= LIMIT_S]
        allowed = [i for i in members if time_s[i] <= LIMIT_S * (1 - MARGIN)]
        if not within or not allowed:
            continue
        best = max(real[i][0] for i in within)
        pick = max(allowed, key=lambda i: tokens_per_s[i] / rows[i].query.tp)
        broken.append(real[pick][1] > LIMIT_S)
        lost.append(max(0.0, 1 - real[pick][0] / best))
    return Picks(100 * sum(lost) / len(lost), 100 * sum(broken) / len(broken))


def _real(row: Row) -> tuple[float, float]:
    """Return a row's measured throughput per GPU and mean time per token."""
    if row.source == SILICON:
        time, q = row.tpot_s or 0.0, row.query
        request_s = (row.ttft_s or 0.0) + (q.osl - 1) * time
        return q.batch * q.osl / request_s / q.tp, time
    rate = row.tokens_per_s or 0.0
    return rate / row.query.tp, row.query.batch / rate
