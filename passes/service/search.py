"""Branch and bound for the cheapest configuration of a workflow within two limits.

Lagrangian multipliers for the limits, one for accuracy and one for each path of stages that was
critical, bound the price from below by a sum over stages (Fisher, "The Lagrangian Relaxation Method
for Solving Integer Programming Problems", Management Science 27, 1981). Variants whose reduced
price exceeds what is left are dropped. Few labels (`labels`) find good choices soon, and two
sweeps that meet prove them, or find better ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .labels import Limits, Step, cheapest_pair, sweep
from .problem import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BEAM = 48  # labels that the quick search goes on with
NARROWER = 32  # how much so is a first look that finds better choices, with which fewer labels stay
STEPS = 200  # of subgradient ascent; multipliers of the last question are where the next begins
PATIENCE = 8  # steps that may lead nowhere before they are halved
CLOSE = 1e-9  # relative; limits and bounds that differ by less are equal


@dataclass(frozen=True, slots=True)
class Space:
    """What does not depend on prices: figures by stage and variant, infinite beyond a stage's last.

    `after` are the stages that each waits for, without those that these wait for themselves. `loss`
    is minus the logarithm of quality, `least_loss` the least of each stage. `heads_s` are
    the least seconds from the beginning of all to each stage's, `tails_s` from its end to that of
    all.
    """

    stages: tuple[Stage, ...]
    after: tuple[tuple[int, ...], ...]
    latency_s: NDArray[np.float64]
    loss: NDArray[np.float64]
    least_loss: tuple[float, ...]
    heads_s: tuple[float, ...]
    tails_s: tuple[float, ...]

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
        fastest_s = latency_s.min(axis=1).tolist()
        return Space(
            stages=stages,
            after=_direct(stages),
            latency_s=latency_s,
            loss=loss,
            least_loss=tuple(loss.min(axis=1).tolist()),
            heads_s=tuple(_heads(stages, fastest_s)),
            tails_s=tuple(_tails(stages, fastest_s)),
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
        self._choices: tuple[int, ...] | None = None
        self.best = math.inf  # the price of the best choices
        self.bound = -math.inf

    def know(self, price: float, choices: tuple[int, ...]) -> None:
        """Begin with choices that meet the limits."""
        self.best, self._choices = price, choices

    def run(self, below: float, width: int, enough: float = -math.inf) -> tuple[int, ...] | None:
        """Return the cheapest choices that cost less than `below`.

        The search goes on with at most `width` labels, none: with what is found soon, and ends with
        choices that cost no more than `enough`.
        """
        if below <= self.best:
            self.best, self._choices = below, None
        self._ascend()
        base = self.bound  # what labels' `extra` adds to
        if self._open and self.best > enough:
            self._grow(base)
        for labels in (width // NARROWER, width):
            if self._open and self.best > enough and labels:
                self._meet(base, labels)
        if not self._open:
            self.bound = self.best  # all that costs less has been looked at
        return self._choices

    @property
    def _open(self) -> bool:
        return self.bound < self.best - CLOSE * abs(self.best)

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

    # ---- labels

    def _grow(self, base: float) -> None:
        """Look for good choices with a few labels over all stages."""
        labels = sweep(self._steps(range(len(self._stages))), self.best - base, BEAM)
        if len(labels.price):
            cheapest = int(labels.price.argmin())
            if labels.price[cheapest] < self.best:
                self.best = float(labels.price[cheapest])
                self._choices = labels.choices(cheapest)
        self.bound = max(self.bound, min(self.best, base + labels.cut))

    def _meet(self, base: float, width: int) -> None:
        """Look at all choices, by labels over the first stages and over the last ones."""
        count = len(self._stages)
        middle = self._middle(self.best - base)
        heads = sweep(self._steps(range(middle)), self.best - base, width)
        tails = sweep(self._steps(range(count - 1, middle - 1, -1)), self.best - base, width)
        crossings = tuple(
            (before, count - 1 - number)
            for number in range(middle, count)
            for before in self._space.after[number]
            if before < middle
        )
        limits = Limits(self._limit_s, self._limit, crossings)
        self.best, pair = cheapest_pair(heads, tails, limits, base, self.best)
        if pair is not None:
            self._choices = (*heads.choices(pair[0]), *reversed(tails.choices(pair[1])))
        self.bound = max(self.bound, min(self.best, base + min(heads.cut, tails.cut)))

    def _middle(self, slack: float) -> int:
        """Return how many of the stages are to be the first, so that both sweeps have as much."""
        import numpy as np

        extra = self._reduced - self._reduced.min(axis=1)[:, None]
        weights = np.log((extra < slack).sum(axis=1) + 1.0).cumsum()
        return int(np.searchsorted(weights, weights[-1] / 2)) + 1 if len(weights) > 1 else 1

    def _steps(self, order: range) -> list[Step]:
        """Return the steps of a sweep over some stages, in their order or in its reverse."""
        space, forward = self._space, order.step > 0
        slack = self.best - self.bound
        least = self._reduced.min(axis=1)
        position = {stage: number for number, stage in enumerate(order)}
        before: list[list[int]] = [[] for _ in order]
        last = [-1] * len(order)
        for stage, needs in enumerate(space.after):
            for need in needs:
                first, then = (need, stage) if forward else (stage, need)
                if first not in position:
                    continue
                number = position[first]
                last[number] = max(last[number], position.get(then, len(order)))
                if then in position:
                    before[position[then]].append(number)
        steps: list[Step] = []
        for number, stage in enumerate(order):
            rest_s = space.tails_s[stage] if forward else space.heads_s[stage]
            others = space.least_loss[stage + 1 :] if forward else space.least_loss[:stage]
            extra = self._reduced[stage] - least[stage]
            variants = (extra <= slack).nonzero()[0]
            steps.append(
                Step(
                    variants=variants,
                    extra=extra[variants],
                    price=self._prices[stage, variants],
                    loss=space.loss[stage, variants],
                    latency_s=space.latency_s[stage, variants],
                    after=tuple(before[number]),
                    last=last[number],
                    until_s=self._limit_s - rest_s,
                    room=self._limit - sum(others),
                )
            )
        return steps


def _direct(stages: Sequence[Stage]) -> tuple[tuple[int, ...], ...]:
    """Return the stages that each waits for, those left out that another of them waits for."""
    waits_for: list[set[int]] = []
    found: list[tuple[int, ...]] = []
    for stage in stages:
        indirect = {i for before in stage.after for i in waits_for[before]}
        found.append(tuple(i for i in sorted(set(stage.after)) if i not in indirect))
        waits_for.append(indirect | set(stage.after))
    return tuple(found)


def _heads(stages: Sequence[Stage], fastest_s: Sequence[float]) -> list[float]:
    heads: list[float] = []
    for stage in stages:
        heads.append(max((heads[i] + fastest_s[i] for i in stage.after), default=0.0))
    return heads


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
