"""Forecasts of requests: what an epoch is planned for before it has begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..service.problem import Epoch

Forecast = Callable[[Sequence[Epoch]], tuple[Epoch, ...]]
WEIGHT = 0.3  # of the newest epoch in the moving averages
MARGIN = 2.0  # mean errors that are planned for on top


def known(epochs: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """Return the epochs as they will be: what published studies plan with."""
    return tuple(epochs)


def ewma(epochs: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """Forecast each epoch from those before it, by exponentially weighted moving averages.

    A class's requests are expected to come as in the epoch before, grown by the average growth from
    epoch to epoch, with a margin of `MARGIN` times the average error of the forecasts so far. The
    first epoch is known: there is nothing to tell it by.
    """
    rows = [_ewma([e.requests[k] for e in epochs]) for k in range(len(epochs[0].requests))]
    return tuple(
        replace(epoch, requests=tuple(row[number] for row in rows))
        for number, epoch in enumerate(epochs)
    )


def _ewma(actual: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the forecasts of one class, by epoch and period."""
    growth, error = 1.0, 0.0
    found = [actual[0]]
    for number in range(1, len(actual)):
        before = sum(actual[number - 1])
        expected = before * growth
        factor = growth * (1.0 + MARGIN * error)
        length = len(actual[number])
        pattern = (*actual[number - 1], *[before / len(actual[number - 1])] * length)[:length]
        found.append(tuple(r * factor for r in pattern))
        if before <= 0 or expected <= 0:
            continue
        now = sum(actual[number])
        growth += WEIGHT * (now / before - growth)
        error += WEIGHT * (abs(now - expected) / expected - error)
    return found


FORECASTS: Mapping[str, Forecast] = {
    "known": known,
    "ewma": ewma,
}
