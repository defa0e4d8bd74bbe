"""Profiling a model server: load after load, up to where more load gains nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from random import Random

from ..errors import CallFailed
from .figures import LoadPoint, load_point
from .lengths import Length, Lengths
from .load import Effort, Load, Traffic
from .meter import PowerMeter
from .requests import Requester, Sample

GAIN = 0.05  # a server that gives less than this for twice the load is saturated
MOST_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Campaign:
    """What to measure: these loads, or without any, 1, 2, 4, … at once up to saturation.

    The search also ends where the 95th percentile of a request's time exceeds `max_latency_s`.
    """

    lengths: Lengths
    loads: Sequence[Load]
    effort: Effort
    max_latency_s: float | None = None


async def measured(
    requester: Requester, campaign: Campaign, meter: PowerMeter
) -> AsyncIterator[LoadPoint]:
    """Yield the figures of each load when it is measured; raises `CallFailed`."""
    await requester.prepare()
    if campaign.loads:
        for load in campaign.loads:
            yield await _point(requester, campaign, load, meter)
        return
    level, before = 1, None
    while level <= MOST_AT_ONCE:
        point = await _point(requester, campaign, Load("closed", level), meter)
        yield point
        if _saturated(before, point) or _too_slow(point, campaign.max_latency_s):
            return
        level, before = 2 * level, point


async def _point(
    requester: Requester, campaign: Campaign, load: Load, meter: PowerMeter
) -> LoadPoint:
    async def ask(length: Length, chance: Random, streamed: bool) -> Sample:
        return await requester.ask(length, chance, streamed=streamed)

    traffic = Traffic(ask, campaign.lengths, load, campaign.effort)
    observed = await traffic.run(meter.begin, meter.end)
    if not any(sample.output_tokens for sample in observed.counted):
        raise CallFailed("the server made no tokens", help="check the model's answers")
    return load_point(observed, campaign.effort.repeats, meter.watts)


def _saturated(before: LoadPoint | None, point: LoadPoint) -> bool:
    if before is None:
        return False
    return point.tokens_per_s.value < (1.0 + GAIN) * before.tokens_per_s.value


def _too_slow(point: LoadPoint, most_s: float | None) -> bool:
    return most_s is not None and point.latency_s["p95"].value > most_s
