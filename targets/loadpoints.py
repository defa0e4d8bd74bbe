"""What load points say of a model server: one step of decoding, and reading one prompt token.

A request in a closed loop of `c` equal ones takes

    request = REQUEST_S + output tokens * step(c) + c * prompt tokens * prefill

because one prefill of each of the others falls into its time (continuous batching: Yu et al., OSDI
2022). The time to the first token at the least load has one prefill and one step. A request's time
at each load then gives the step, so that other lengths than the measured ones can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .cost import Latency
from .profiles import Curve, TokenPoint, token_curve

REQUEST_S = 0.005  # HTTP, tokenising, scheduling of one call
_Z90, _Z95, _Z99 = 1.2816, 1.6449, 2.3263  # standard normal quantiles


def prompt_token_s(points: Sequence[TokenPoint]) -> float | None:
    """Return the seconds that reading one prompt token takes, None where no point tells.

    Of the least load whose time to the first token was measured: what is beyond one step.
    """
    for point in sorted(points, key=lambda p: p.concurrency):
        ttft_s, tpot_s = point.ttft_s[0], point.tpot_s[0]
        if ttft_s is not None and tpot_s is not None and point.isl_tok is not None:
            return max(ttft_s - tpot_s - REQUEST_S, 0.0) / point.isl_tok
    return None


def step_s(point: TokenPoint, prefill_s: float) -> float | None:
    """Return the seconds of one step at a load; `prefill_s` is the reading of a prompt token.

    Where the time of whole requests is not known, the time per token stands for the step: then it
    was measured between the prefills of others. None where neither is known.

    Prefills of several prompts share passes where these are short. So they take at most half of a
    request's time, which leaves the step positive, and the request's time as it was measured.
    """
    whole_s = point.request_s
    if whole_s is None or point.osl_tok is None:
        return point.tpot_s[0]
    working_s = max(whole_s - REQUEST_S, whole_s / 2.0)
    reading_s = point.concurrency * (point.isl_tok or 0.0) * prefill_s
    return (working_s - min(reading_s, working_s / 2.0)) / point.osl_tok


def prefill_share(point: TokenPoint, prefill_s: float) -> float:
    """Return which share of the prefills' sum a request at this load spends on them: 1 or less."""
    step, whole_s = step_s(point, prefill_s), point.request_s
    reading_s = point.concurrency * (point.isl_tok or 0.0) * prefill_s
    if step is None or whole_s is None or point.osl_tok is None or not reading_s:
        return 1.0
    working_s = max(whole_s - REQUEST_S, whole_s / 2.0)
    return min(1.0, (working_s - point.osl_tok * step) / reading_s)


@dataclass(frozen=True, slots=True)
class Tails:
    """Measured percentiles of a time over its median, as curves over the requests in flight."""

    p90: Curve | None = None
    p95: Curve | None = None
    p99: Curve | None = None

    @staticmethod
    def of(points: Sequence[TokenPoint]) -> Tails:
        """Return those of the time per token."""

        def ratio(index: int) -> Curve | None:
            return token_curve(points, lambda p: over_median(p.tpot_s, index))

        return Tails(ratio(1), ratio(2), ratio(3))

    def on(self, latency: Latency, in_flight: float) -> Latency:
        """Return a latency whose p90 has its tail already, with measured ones for p95 and p99.

        What was not measured stays log-normal.
        """
        known = [None if c is None else c.at(in_flight) for c in (self.p90, self.p95, self.p99)]
        return with_tails(latency, *known)


def over_median(times: Sequence[float | None], index: int) -> float | None:
    """Return a percentile over the median, None where either was not measured."""
    median, time = times[0], times[index]
    return None if median is None or time is None else time / median


def with_tails(
    latency: Latency, p90: float | None, p95: float | None, p99: float | None
) -> Latency:
    """Return a log-normal latency with measured ratios to the median in the place of its tail's."""
    if p90 is None:
        return latency
    at_95, at_99 = latency.p95, latency.p99
    if p95 is not None:
        at_95 *= p95 / p90 ** (_Z95 / _Z90)
    if p99 is not None:
        at_99 *= p99 / p90 ** (_Z99 / _Z90)
    at_95 = max(at_95, latency.p90)
    return Latency(latency.p50, latency.p90, at_95, max(at_99, at_95))
