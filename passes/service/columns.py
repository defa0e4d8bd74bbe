"""Columns: the cheapest configuration of a workflow under given prices.

The pricing problem of column generation: choose a variant for every stage so that the sum of
their prices is least, every path of stages is within the latency limit, and the product of
qualities within the accuracy limit. Answers are exact up to so many labels of a search
(`search`); beyond, the bound is still one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .problem import Column, RequestClass, Unserved, Variant
from .search import CLOSE, Multipliers, Search, Space, critical

Price = Callable[[Variant], float]
WIDTH = 20_000  # labels


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
        self.kind = kind
        for stage in kind.stages:
            if not stage.variants:
                reason = f"nothing carries out `{stage.name}` on capacity that stays"
                raise Unserved(kind.name, reason)
        self._space = Space.of(kind.stages)
        self._limit_s = math.inf if kind.latency_s is None else kind.latency_s * (1 + CLOSE)
        self._limit = math.inf
        if kind.accuracy is not None:
            self._limit = math.log(kind.scale / kind.accuracy) + CLOSE
        self._multipliers = Multipliers()
        self._seen = [self._check()]  # configurations that meet the limits

    def cheapest(self, price: Price, below: float = math.inf, width: int = WIDTH) -> Priced:
        """Return the configuration of least price, if one costs less than `below`.

        With less `width` the answer is quick, and may be dearer than another. Equal questions,
        asked in the same order, have equal answers.
        """
        import numpy as np

        prices = np.full(self._space.loss.shape, math.inf)
        for s, stage in enumerate(self.kind.stages):
            prices[s, : len(stage.variants)] = [price(variant) for variant in stage.variants]
        rows = np.arange(len(self.kind.stages))
        known = [(float(prices[rows, list(choices)].sum()), choices) for choices in self._seen]
        search = Search(self._space, prices, self._limit_s, self._limit, self._multipliers)
        search.know(*min(known))
        choices = search.run(below, width)
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
        search = Search(self._space, self._space.loss, limit_s, math.inf, Multipliers())
        # the fastest there is has every stage at its fastest
        fastest = tuple(self._space.latency_s.argmin(axis=1).tolist())
        rows = range(len(fastest))
        _, length_s = critical(
            self.kind.stages, [float(self._space.latency_s[s, fastest[s]]) for s in rows]
        )
        if length_s > limit_s:
            return math.inf, None
        search.know(sum(float(self._space.loss[s, fastest[s]]) for s in rows), fastest)
        choices = search.run(math.inf, WIDTH, enough)
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
        low, high = 0.0, float(sum(self._space.latency_s[math.inf > self._space.latency_s]))
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
