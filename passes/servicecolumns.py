"""Columns: the cheapest configuration of a workflow under given prices.

The pricing problem of column generation: choose a variant for every stage so that the sum of
their prices is least, every path of stages is within the latency limit, and the product of
qualities within the accuracy limit. Branch and bound: Lagrangian multipliers for the two limits,
one for accuracy and one for each path that was critical, bound the price from below by a sum over
stages (Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
Management Science 27, 1981); variants whose reduced price exceeds what is left are dropped, and
what remains is searched best first. Answers are exact up to `NODES` nodes; beyond, the bound is
still one.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .serviceproblem import Column, RequestClass, Stage, Unserved, Variant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Price = Callable[[Variant], float]
_Node = tuple[float, int, int, float, float, tuple[float, ...], tuple[int, ...]]
NODES = 2_000
CHECKED = 200_000  # nodes to find out whether there is any configuration
STEPS = 60  # of subgradient ascent; multipliers of the last question are where the next begins
CLOSE = 1e-9  # relative; limits and bounds that differ by less are equal


@dataclass(frozen=True, slots=True)
class Priced:
    """An answer: no configuration within the limits costs less than `bound`.

    `column` is the cheapest found that costs less than was asked for, None where there is none.
    """

    bound: float
    price: float
    column: Column | None


class Columns:
    """The configurations of one class that meet its limits.

    Raises `Unserved` where there is none.
    """

    def __init__(self, kind: RequestClass) -> None:
        """Prepare what does not depend on prices."""
        import numpy as np

        self.kind = kind
        stages = kind.stages
        width = max(len(stage.variants) for stage in stages)
        self._shape = (len(stages), width)
        self._latency_s = np.full(self._shape, math.inf)
        self._loss = np.full(self._shape, math.inf)
        for s, stage in enumerate(stages):
            for v, variant in enumerate(stage.variants):
                self._latency_s[s, v] = variant.latency_s
                self._loss[s, v] = -math.log(variant.quality)
        self._tails_s = _tails(stages, self._latency_s.min(axis=1).tolist())
        least = self._loss.min(axis=1).tolist()
        self._least_loss = [sum(least[s + 1 :]) for s in range(len(stages))]
        self._limit_s = math.inf if kind.latency_s is None else kind.latency_s * (1 + CLOSE)
        self._limit = math.inf
        if kind.accuracy is not None:
            self._limit = math.log(kind.scale / kind.accuracy) + CLOSE
        self._multipliers = _Multipliers()
        self._seen = [self._check()]  # configurations that meet the limits

    def cheapest(self, price: Price, below: float = math.inf, nodes: int = NODES) -> Priced:
        """Return the configuration of least price, if one costs less than `below`.

        With fewer `nodes` the answer is quick, and may be dearer than another. Equal questions,
        asked in the same order, have equal answers.
        """
        import numpy as np

        prices = np.full(self._shape, math.inf)
        for s, stage in enumerate(self.kind.stages):
            prices[s, : len(stage.variants)] = [price(variant) for variant in stage.variants]
        rows = np.arange(len(self.kind.stages))
        known = [(float(prices[rows, list(choices)].sum()), choices) for choices in self._seen]
        search = _Search(self, prices, self._limit_s, self._limit, self._multipliers)
        search.know(*min(known))
        choices = search.run(below, nodes)
        if choices is None:
            return Priced(search.bound, search.best, None)
        if choices not in self._seen:
            self._seen.append(choices)
        return Priced(search.bound, search.best, Column.of(self.kind, choices))

    # ---- whether there is any

    def _check(self) -> tuple[int, ...]:
        loss, choices = self._most_accurate(self._limit_s, self._limit)
        if choices is None or loss > self._limit:
            raise Unserved(self.kind.name, self._why(loss))
        return choices

    def _most_accurate(
        self, limit_s: float, enough: float = -math.inf
    ) -> tuple[float, tuple[int, ...] | None]:
        """Return the least loss of quality within a latency, infinite where nothing is as fast.

        It is not looked for below `enough`.
        """
        search = _Search(self, self._loss, limit_s, math.inf, _Multipliers())
        # the fastest there is has every stage at its fastest
        fastest = tuple(self._latency_s.argmin(axis=1).tolist())
        rows = range(len(fastest))
        _, length_s = _critical(
            self.kind.stages, [float(self._latency_s[s, fastest[s]]) for s in rows]
        )
        if length_s > limit_s:
            return math.inf, None
        search.know(sum(float(self._loss[s, fastest[s]]) for s in rows), fastest)
        choices = search.run(math.inf, CHECKED, enough)
        return search.best, choices

    def _why(self, best: float) -> str:
        """Return what the nearest configurations reach."""
        kind, wants = self.kind, []
        if kind.latency_s is not None:
            wants.append(
                f"a latency of {kind.latency_s:.4g} s (the least is {self._fastest():.4g} s)"
            )
        if kind.accuracy is not None:
            reached = ""
            if math.isfinite(best):
                reached = f" (the best is {kind.scale * math.exp(-best):.4g})"
            wants.append(f"an accuracy of {kind.accuracy:.4g}{reached}")
        return "no configuration has " + " and ".join(wants)

    def _fastest(self) -> float:
        """Return the least latency with the accuracy that is wanted, or with any if none has it."""
        limit = self._limit
        low, high = 0.0, float(sum(self._latency_s[math.inf > self._latency_s]))
        if self._most_accurate(high)[0] > limit:
            limit = math.inf
        while high - low > 1e-4 * high:
            middle = (low + high) / 2
            loss, choices = self._most_accurate(middle, limit)
            if choices is not None and loss <= limit:
                high = middle
            else:
                low = middle
        return high

    # ---- for the search

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """Seconds by stage and variant; infinite where there is no such variant."""
        return self._latency_s

    @property
    def loss(self) -> NDArray[np.float64]:
        """Minus the logarithm of quality, by stage and variant."""
        return self._loss

    @property
    def tails_s(self) -> list[float]:
        """The least seconds from each stage's end to the end of all."""
        return self._tails_s

    @property
    def least_loss(self) -> list[float]:
        """The least loss of the stages after each."""
        return self._least_loss


class _Multipliers:
    """What a little more loss, and a little more time on a path of stages, would be worth."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.paths: dict[tuple[int, ...], float] = {}


class _Search:
    """One question: bounds by multipliers, then branch and bound."""

    def __init__(
        self,
        owner: Columns,
        prices: NDArray[np.float64],
        limit_s: float,
        limit: float,
        multipliers: _Multipliers,
    ) -> None:
        self._stages = owner.kind.stages
        self._owner = owner
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
        if open_still and self.best > enough and nodes:
            self._branch()
            open_still = self._left <= 0
        if not open_still:
            self.bound = self.best  # all that costs less has been looked at
        return self._choices

    # ---- bounds

    def _ascend(self) -> None:
        """Raise the bound by subgradient steps of Polyak's length."""
        import numpy as np

        m, owner = self._multipliers, self._owner
        rows = np.arange(len(self._stages))
        for _ in range(STEPS):
            reduced, constant = self._relaxed()
            picked = reduced.argmin(axis=1)
            bound = float(reduced[rows, picked].sum()) - constant
            if bound > self.bound:
                self.bound, self._reduced = bound, reduced
            latency_s, loss = owner.latency_s[rows, picked], float(owner.loss[rows, picked].sum())
            path, length_s = _critical(self._stages, latency_s.tolist())
            if length_s <= self._limit_s and loss <= self._limit:
                price = float(self._prices[rows, picked].sum())
                if price < self.best:
                    self.best, self._choices = price, tuple(picked.tolist())
            if self.bound >= self.best - CLOSE * abs(self.best):
                return
            over = loss - self._limit if math.isfinite(self._limit) else 0.0
            slopes = {p: sum(latency_s[list(p)]) - self._limit_s for p in m.paths}
            if math.isfinite(self._limit_s):
                slopes.setdefault(path, length_s - self._limit_s)
            steep = (max(over, 0.0) if m.loss == 0 else over) ** 2
            steep += sum(
                (max(g, 0.0) if m.paths.get(p, 0.0) == 0 else g) ** 2 for p, g in slopes.items()
            )
            if steep == 0:
                return
            goal = self.best if math.isfinite(self.best) else bound + abs(bound) * 0.1 + 1e-12
            step = max(goal - bound, 1e-12) / steep
            m.loss = max(m.loss + step * over, 0.0)
            m.paths = {
                p: value
                for p, g in slopes.items()
                if (value := max(m.paths.get(p, 0.0) + step * g, 0.0)) > 0
            }

    def _relaxed(self) -> tuple[NDArray[np.float64], float]:
        """Return reduced prices by stage and variant, and what comes off their sum."""
        m, owner = self._multipliers, self._owner
        reduced, constant = self._prices, 0.0
        if m.loss:
            reduced = reduced + m.loss * owner.loss
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
                    reduced[stage] += weight * owner.latency_s[stage]
        return reduced, constant

    # ---- branching

    def _branch(self) -> None:
        """Search what may cost less than the best, cheapest reduced prices first."""
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
                        float(self._owner.loss[s, v]),
                        float(self._owner.latency_s[s, v]),
                    )
                    for v in order
                    if extra[v] <= slack
                ]
            )
        self._best_first(offers)

    def _best_first(self, offers: list[list[_Offer]]) -> None:
        """Extend the choices of least bound; when it stops, what is left bounds the rest."""
        owner, count = self._owner, len(offers)
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
            until_s = self._limit_s - owner.tails_s[stage]
            room = self._limit - owner.least_loss[stage]
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


def _critical(stages: Sequence[Stage], latency_s: Sequence[float]) -> tuple[tuple[int, ...], float]:
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
