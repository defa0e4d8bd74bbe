"""Room for chance: how many more requests a fleet is sized for than come on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..service.problem import Epoch, RequestClass

QUANTILE = 2.33  # of the standard normal: 99 % of windows need no more


def with_margin(epochs: Sequence[Epoch], classes: Sequence[RequestClass]) -> tuple[Epoch, ...]:
    """Return epochs with a margin on the requests of each class, by square-root staffing.

    Requests come by chance, and their work varies with coefficient of variation `c`. What comes in
    a window of `w` seconds at `r` a second has a relative deviation of sqrt((1 + c^2) / (r * w)),
    of which `QUANTILE` are added (Whitt, "Understanding the efficiency of multi-server service
    systems", Management Science 38, 1992). The window is as long as requests may wait, or take.
    """
    return tuple(
        replace(
            epoch,
            requests=tuple(
                tuple(_enlarged(amount, epoch.period_s, kind) for amount in row)
                for row, kind in zip(epoch.requests, classes, strict=True)
            ),
        )
        for epoch in epochs
    )


def _enlarged(requests: float, period_s: float, kind: RequestClass) -> float:
    window_s = kind.wait_s or kind.latency_s or period_s
    expected = requests * min(window_s, period_s) / period_s
    if expected <= 0:
        return requests
    deviation = math.sqrt((1 + kind.work_cv**2) / expected)
    return requests * (1 + QUANTILE * deviation)
