"""Measured load points as anchors of the analytic model: what they say of other loads of a server.

The logarithm of measured over predicted is a line through the points over the logarithm of the
concurrency: at a measured load the measurement wins. Beyond the points it fades, as far as it is no
more than the model's usual error: a load `e ** REACH` times the measured one keeps 1/e of it.
Chosen on the ML.ENERGY rows, where each point in turn was the only one (benchmarks/model_accuracy).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .perfconstants import CONSTANTS, Constants
from .perfmodel import Query, answers

if TYPE_CHECKING:
    from .perfmodel import Answers
    from .profiles import TokenPoint

REACH = 4.0
USUAL = 0.15  # logarithm of measured over predicted that may be chance; more than it is not
NEAR = 0.02  # logarithm of a load that counts as measured: its concurrency was measured too
ASSUMED_PROMPT_TOKENS = 120.0  # of a load point whose lengths were not published
ASSUMED_OUTPUT_TOKENS = 500.0


@dataclass(frozen=True, slots=True)
class Trend:
    """Measured over predicted: logarithms `ys` at logarithms `xs` of the concurrency, ascending."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def at(self, concurrency: Any) -> Any:
        """Return the factor at a concurrency, or at an array of them."""
        import numpy as np

        x = np.log(concurrency)
        y = np.interp(x, self.xs, self.ys)
        beyond = np.maximum(np.maximum(self.xs[0] - x, x - self.xs[-1]), 0.0)
        chance = np.minimum(1.0, USUAL / np.maximum(np.abs(y), 1e-12))
        return np.exp(y * np.exp(-beyond / REACH * chance))

    def covers(self, concurrency: float) -> bool:
        """Tell whether a load lies between measured ones, or on the only one."""
        return self.xs[0] - NEAR <= math.log(concurrency) <= self.xs[-1] + NEAR


@dataclass(frozen=True, slots=True)
class Anchor:
    """What load points say of a server; a quantity that none has is None."""

    time: Trend | None
    first: Trend | None
    power: Trend | None


def anchor(
    points: Sequence[TokenPoint], server: Query, constants: Constants = CONSTANTS
) -> Anchor | None:
    """Return what load points say of a query's server, None where there are no points.

    The time per token is compared with the mean of a request where its prompt length is known, else
    with the median step, which has no prompts.
    """
    if not points:
        return None
    asked = [
        replace(
            server,
            batch=point.concurrency,
            isl=ASSUMED_PROMPT_TOKENS if point.isl_tok is None else point.isl_tok,
            osl=point.osl_tok or ASSUMED_OUTPUT_TOKENS,
        )
        for point in points
    ]
    found = answers(asked, constants)
    return Anchor(
        time=_trend(points, found, _time),
        first=_trend(points, found, _first),
        power=_trend(points, found, _power),
    )


def _trend(
    points: Sequence[TokenPoint],
    found: Answers,
    ratio: Callable[[TokenPoint, Answers, int], float | None],
) -> Trend | None:
    known = {
        math.log(point.concurrency): math.log(value)
        for i, point in enumerate(points)
        for value in [ratio(point, found, i)]
        if value is not None
    }
    xs = tuple(sorted(known))
    return Trend(xs, tuple(known[x] for x in xs)) if xs else None


def _time(point: TokenPoint, found: Answers, i: int) -> float | None:
    measured = point.tpot_s[0]
    if measured is None:
        return None
    return measured / float((found.itl_s if point.isl_tok is None else found.tpot_s)[i])


def _first(point: TokenPoint, found: Answers, i: int) -> float | None:
    measured = point.ttft_s[0]
    return None if measured is None else measured / float(found.ttft_s[i])


def _power(point: TokenPoint, found: Answers, i: int) -> float | None:
    return None if point.power_w is None else point.power_w / float(found.power_w[i])
