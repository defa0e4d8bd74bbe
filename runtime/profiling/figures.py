"""What measured requests come to: percentiles and rates, each with its 95 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean, stdev
from typing import Any

from ...targets.profiles import PERCENTILES
from .load import Load, Observed

_RESAMPLES = 400
# Student's t at 97.5 % by degrees of freedom (Abramowitz and Stegun, table 26.10); then normal.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """Return half the interval's width relative to the value."""
        return (self.high - self.low) / 2.0 / self.value if self.value else 0.0


Percentiles = Mapping[str, Measure]


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """A language model's server at one load.

    `tokens_per_s` are output tokens; `ttft_s`, `tpot_s` and `latency_s` are by percentile, the
    first two empty where no answer came token by token. `power_w` is None where it cannot be
    measured. `sustained` is False for arrivals that came faster than answers.
    """

    load: Load
    requests: int
    window_s: float
    isl_tok: float
    osl_tok: float
    in_flight: float
    tokens_per_s: Measure
    ttft_s: Percentiles
    tpot_s: Percentiles
    latency_s: Percentiles
    power_w: float | None = None
    sustained: bool = True

    @property
    def energy_j_per_token(self) -> float | None:
        """Return joules for each output token."""
        return None if self.power_w is None else self.power_w / self.tokens_per_s.value

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        return {**asdict(self), "energy_j_per_output_tok": self.energy_j_per_token}


def load_point(observed: Observed, repeats: int, power_w: float | None) -> LoadPoint:
    """Return the figures of a load; the rate's interval is over `repeats` stretches of time."""
    counted = observed.counted
    window_s = observed.end_s - observed.begin_s
    arrived = len(counted) / window_s
    latencies = [s.latency_s for s in counted]
    # in-flight requests of a server that keeps up stay where Little's law has them
    done = sum(observed.begin_s < s.end_s <= observed.end_s for s in (*counted, *observed.others))
    return LoadPoint(
        load=observed.load,
        requests=len(counted),
        window_s=window_s,
        isl_tok=fmean(s.prompt_tokens for s in counted),
        osl_tok=fmean(s.output_tokens for s in counted),
        in_flight=observed.in_flight,
        tokens_per_s=_rate(observed, repeats),
        ttft_s=percentiles(s.ttft_s for s in counted),
        tpot_s=percentiles(s.tpot_s for s in counted),
        latency_s=percentiles(latencies),
        power_w=power_w,
        sustained=observed.load.kind == "closed" or done / window_s > 0.9 * arrived,
    )


def _rate(observed: Observed, repeats: int) -> Measure:
    """Return output tokens per second: batch means over stretches of equal length."""
    part_s = (observed.end_s - observed.begin_s) / repeats
    rates = [
        observed.tokens_between(observed.begin_s + i * part_s, observed.begin_s + (i + 1) * part_s)
        / part_s
        for i in range(repeats)
    ]
    return mean(rates)


def mean(values: Sequence[float]) -> Measure:
    """Return the mean of measurements and its interval by Student's t; of one, no width."""
    middle = fmean(values)
    if len(values) < 2:
        return Measure(middle, middle, middle)
    t = _T[len(values) - 2] if len(values) - 2 < len(_T) else _NORMAL
    half = t * stdev(values) / math.sqrt(len(values))
    return Measure(middle, max(middle - half, 0.0), middle + half)


def percentiles(values: Iterable[float | None]) -> dict[str, Measure]:
    """Return the percentiles of what was measured, intervals by bootstrap (Efron 1979)."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {}
    chance = Random(0)
    draws = [sorted(chance.choices(known, k=len(known))) for _ in range(_RESAMPLES)]
    found = {}
    for name in PERCENTILES:
        share = int(name[1:]) / 100.0
        resampled = sorted(quantile(draw, share) for draw in draws)
        low, high = quantile(resampled, 0.025), quantile(resampled, 0.975)
        found[name] = Measure(quantile(known, share), low, high)
    return found


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of values in ascending order, linear between them."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
