"""Branch and bound for the cheapest configuration of a workflow within two limits.

Lagrangian multipliers for the limits, one for accuracy and one for each path of stages that was
critical, bound the price from below by a sum over stages (Fisher, "The Lagrangian Relaxation Method
for Solving Integer Programming Problems", Management Science 27, 1981). Variants whose reduced
price exceeds what is left are dropped. A beam search finds good choices soon, and a best-first
search proves them, or finds better ones.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .serviceproblem import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# how far the bound rose; price, loss, ends, choices
_State = tuple[float, float, float, tuple[float, ...], tuple[int, ...]]
_Node = tuple[float, int, int, float, float, tuple[float, ...], tuple[int, ...]]
BEAM = 48  # choices that the quick search goes on with
STEPS = 200  # of subgradient ascent; multipliers of the last question are where the next begins
PATIENCE = 8  # steps that may lead nowhere before they are halved
CLOSE = 1e-9  # relative; limits and bounds that differ by less are equal


@dataclass(frozen=True, slots=True)
class Space:
    """What does not depend on prices: figures by stage and variant, infinite beyond a stage's last.

    `loss` is minus the logarithm of quality. `tails_s` are the least seconds from each stage's end
    to the end of all, `least_loss` the least loss of the stages after each.
    """

    stages: tuple[Stage, ...]
    latency_s: NDArray[np.float64]
    loss: NDArray[np.float64]
    tails_s: tuple[float, ...]
    least_loss: tuple[float, ...]

    @staticmethod
    def of(stages: tuple[Stage, ...]) -> Space:
        """Return the figures of stages."""
        import numpy as np

        shape = (len(stages), max(len(stage.variants) for stage in stages))
        latency_s, loss = np.full(shape, math.inf), np.full(shape, math.inf)
        for s, stage in enumerate(stages):
            for v, variant in enumerate(stage.variants):
                latency_s[s, v] = variant.latency_s
                loss[s, v] = -math.log(variant.quality)
        least = loss.min(axis=1).tolist()
        return Space(
            stages=stages,
            latency_s=latency_s,
            loss=loss,
            tails_s=tuple(_tails(stages, latency_s.min(axis=1).tolist())),
            least_loss=tuple(sum(least[s + 1 :]) for s in range(len(stages))),
        )


class Multipliers:
    """What a little more loss, and a little more time on a path of stages, would be worth."""

    def __init__(self) -> None:
        """Start with limits that are worth nothing."""
        self.loss = 0.0
        self.paths: dict[tuple[int, ...], float] = {}


class Search:
    """One question: bounds by multipliers, then branch and bound."""

    def __init__(
        self,
        space: Space,
        prices: NDArray[np.float64],
        limit_s: float,
        limit: float,
        multipliers: Multipliers,
    ) -> None:
        """Take prices by stage and variant, and limits of latency and of loss."""
        self._stages = space.stages
        self._space = space
        self._prices = prices
        self._limit_s, self._limit = limit_s, limit
        self._multipliers = multipliers
        self._reduced = prices
        self._left = 0  # nodes that may still be looked at
        self._enough = -math.inf
        self._choices: tuple[int, ...] | None = None
        self.best = math.inf  # the price of the best choices
        self.bound = -math.inf

    def know(self, price: float, choices: tuple[int, ...]) -> None:
        """Begin with choices that meet the limits."""
        self.best, self._choices = price, choices

    def run(self, below: float, nodes: int, enough: float = -math.inf) -> tuple[int, ...] | None:
        """Return the cheapest choices that cost less than `below`.

        The search ends after so many nodes, and with choices that cost no more than `enough`.
        """
        self._left, self._enough = nodes, enough
        if below <= self.best:
            self.best, self._choices = below, None
        self._ascend()
        open_still = self.bound < self.best - CLOSE * abs(self.best)
        if open_still and self.best > enough:
            offers = self._offers()
            self._beam(offers)
            if nodes:
                self._best_first(offers)
                open_still = self._left <= 0
        if not open_still:
            self.bound = self.best  # all that costs less has been looked at
        return self._choices

    # ---- bounds

    def _ascend(self) -> None:
        """Raise the bound by subgradient steps of Polyak's length, shorter when they lead nowhere.

        Limits count relative to their size. The multipliers of the best bound are kept.
        """
        import numpy as np

        m, space = self._multipliers, self._space
        rows = np.arange(len(self._stages))
        best, length, idle = (m.loss, m.paths), 1.0, 0
        for _ in range(STEPS):
            reduced, constant = self._relaxed()
            picked = reduced.argmin(axis=1)
            bound = float(reduced[rows, picked].sum()) - constant
            idle += 1
            if bound > self.bound:
                self.bound, self._reduced = bound, reduced
                best, idle = (m.loss, m.paths), 0
            if idle == PATIENCE:
                length, idle = length / 2, 0
            latency_s, loss = space.latency_s[rows, picked], float(space.loss[rows, picked].sum())
            path, length_s = critical(self._stages, latency_s.tolist())
            if length_s <= self._limit_s and loss <= self._limit:
                price = float(self._prices[rows, picked].sum())
                if price < self.best:
                    self.best, self._choices = price, tuple(picked.tolist())
            if self.bound >= self.best - CLOSE * abs(self.best):
                break
            slopes = {p: float(sum(latency_s[list(p)])) - self._limit_s for p in m.paths}
            if math.isfinite(self._limit_s):
                slopes.setdefault(path, length_s - self._limit_s)
            if not self._step(loss, slopes, length, bound):
                break
        m.loss, m.paths = best

    def _step(
        self, loss: float, slopes: dict[tuple[int, ...], float], length: float, bound: float
    ) -> bool:
        """Move the multipliers along the slopes; tell whether there is anywhere to go."""
        m = self._multipliers
        over = loss - self._limit if math.isfinite(self._limit) else 0.0
        size, size_s = max(self._limit, 1e-2), self._limit_s
        parts = [(over / size, m.loss)]
        parts += [(g / size_s, m.paths.get(p, 0.0)) for p, g in slopes.items()]
        steep = sum((g if held else max(g, 0.0)) ** 2 for g, held in parts)
        if steep == 0:
            return False
        goal = self.best if math.isfinite(self.best) else bound + abs(bound) * 0.1 + 1e-12
        step = length * max(goal - bound, 1e-12) / steep
        m.loss = max(m.loss + step * over / size**2, 0.0)
        moved = {p: m.paths.get(p, 0.0) + step * g / size_s**2 for p, g in slopes.items()}
        m.paths = {p: value for p, value in moved.items() if value > 0}
        return True

    def _relaxed(self) -> tuple[NDArray[np.float64], float]:
        """Return reduced prices by stage and variant, and what comes off their sum."""
        m, space = self._multipliers, self._space
        reduced, constant = self._prices, 0.0
        if m.loss:
            reduced = reduced + m.loss * space.loss
            constant += m.loss * self._limit
        if m.paths:
            weights = [0.0] * len(self._stages)
            for path, value in m.paths.items():
                constant += value * self._limit_s
                for stage in path:
                    weights[stage] += value
            for stage, weight in enumerate(weights):
                if weight:
                    reduced = reduced.copy() if reduced is self._prices else reduced
                    reduced[stage] += weight * space.latency_s[stage]
        return reduced, constant

    # ---- branching

    def _offers(self) -> list[list[_Offer]]:
        """Return the variants that something cheaper than the best may have, cheapest first."""
        reduced = self._reduced
        least = reduced.min(axis=1)
        slack = self.best - self.bound
        offers: list[list[_Offer]] = []
        for s in range(len(self._stages)):
            extra = (reduced[s] - least[s]).tolist()
            order = sorted(range(len(self._stages[s].variants)), key=extra.__getitem__)
            offers.append(
                [
                    _Offer(
                        v,
                        extra[v],
                        float(self._prices[s, v]),
                        float(self._space.loss[s, v]),
                        float(self._space.latency_s[s, v]),
                    )
                    for v in order
                    if extra[v] <= slack
                ]
            )
        return offers

    def _beam(self, offers: list[list[_Offer]]) -> None:
        """Choose stage by stage, going on with the few choices whose bound rose least."""
        space = self._space
        kept: list[_State] = [(0.0, 0.0, 0.0, (), ())]
        for stage, found in enumerate(offers):
            until_s = self._limit_s - space.tails_s[stage]
            room = self._limit - space.least_loss[stage]
            grown: list[_State] = []
            for extra, price, loss, ends, choices in kept:
                start = max((ends[i] for i in self._stages[stage].after), default=0.0)
                for offer in found:
                    end, lost = start + offer.latency_s, loss + offer.loss
                    if end <= until_s and lost <= room:
                        state = (extra + offer.extra, price + offer.price, lost)
                        grown.append((*state, (*ends, end), (*choices, offer.variant)))
            kept = heapq.nsmallest(BEAM, grown)
        for _, price, _, _, choices in kept:
            if price < self.best:
                self.best, self._choices = price, choices

    def _best_first(self, offers: list[list[_Offer]]) -> None:
        """Extend the choices of least bound; when it stops, what is left bounds the rest."""
        space, count = self._space, len(offers)
        order = itertools.count()
        # how far the bound rose, stages still to choose, age; price, loss, ends, choices
        heap: list[_Node] = [(0.0, count, next(order), 0.0, 0.0, (), ())]
        while heap and self._left > 0 and self.best > self._enough:
            extra, left, _, price, loss, ends, choices = heapq.heappop(heap)
            if self.bound + extra >= self.best - CLOSE * abs(self.best):
                heap.clear()
                break
            self._left -= 1
            stage = count - left
            start = max((ends[i] for i in self._stages[stage].after), default=0.0)
            until_s = self._limit_s - space.tails_s[stage]
            room = self._limit - space.least_loss[stage]
            most = self.best - CLOSE * abs(self.best) - self.bound - extra
            for offer in offers[stage]:
                if offer.extra >= most:
                    break  # those that follow cost more
                end, lost = start + offer.latency_s, loss + offer.loss
                if end > until_s or lost > room:
                    continue
                chosen = (*choices, offer.variant)
                if left == 1:
                    if price + offer.price < self.best:
                        self.best, self._choices = price + offer.price, chosen
                    continue
                node = (extra + offer.extra, left - 1, next(order), price + offer.price, lost)
                heapq.heappush(heap, (*node, (*ends, end), chosen))
        if heap:
            self.bound += heap[0][0]
            self._left = 0


@dataclass(frozen=True, slots=True)
class _Offer:
    variant: int
    extra: float  # reduced price over the stage's least
    price: float
    loss: float
    latency_s: float


def _tails(stages: Sequence[Stage], fastest_s: Sequence[float]) -> list[float]:
    tails = [0.0] * len(stages)
    for number in reversed(range(len(stages))):
        for before in stages[number].after:
            tails[before] = max(tails[before], fastest_s[number] + tails[number])
    return tails


def critical(stages: Sequence[Stage], latency_s: Sequence[float]) -> tuple[tuple[int, ...], float]:
    """Return the longest path of stages and its seconds."""
    ends: list[float] = []
    came_from: list[int] = []
    for stage, seconds in zip(stages, latency_s, strict=True):
        last = max(stage.after, key=lambda i: ends[i], default=-1)
        came_from.append(last)
        ends.append(seconds + (ends[last] if last >= 0 else 0.0))
    at = max(range(len(ends)), key=ends.__getitem__)
    length_s, path = ends[at], []
    while at >= 0:
        path.append(at)
        at = came_from[at]
    return tuple(reversed(path)), length_s
