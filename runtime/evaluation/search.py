"""The search for the best configurations: rungs of trials, each kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ...ir.diagnostics import CompileError
from ...targets.plan import Plan
from .dataset import Item
from .halving import mean_over, next_rung, survivors
from .journal import Journal, Outcome
from .scoring import Score
from .trials import CannotRun, Trials


@dataclass
class Candidate:
    """A configuration, and what became of it.

    `label` is for people, `key` tells it from all others. `plan` makes its plan; `why_not` says why
    it could not be measured. `n` are the items, the first in the order of the rungs, that it was
    scored on.
    """

    key: str
    label: str
    plan: Callable[[], Plan]
    n: int = 0
    mean: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    why_not: str | None = None
    made: Plan | None = field(default=None, repr=False)


class Watcher(Protocol):
    """Is told how an evaluation goes on."""

    def rung(self, number: int, candidates: int, items: int, known: int, runs: int) -> None:
        """Learn of a rung: of its runs, so many are known from before."""

    def outcome(self, candidate: Candidate, item: Item, outcome: Outcome) -> None:
        """Learn what became of an item."""

    def measured(self, candidate: Candidate) -> None:
        """Learn that a configuration is through a rung, or cannot be measured."""


@dataclass
class Search:
    """Successive halving over candidates: `items` are in the order in which rungs take them."""

    candidates: Sequence[Candidate]
    items: Sequence[Item]
    first: int
    eta: int
    journal: Journal
    trials: Trials
    score: Score
    watcher: Watcher

    async def run(self) -> None:
        """Measure; returns early where the trials are stopped. Raises what the metric raises."""
        left, size, number = list(self.candidates), self.first, 1
        while left:
            await self._rung(number, left, size)
            left = [candidate for candidate in left if candidate.why_not is None]
            if size == len(self.items) or not left or self.trials.stopping:
                return
            best = survivors([candidate.mean for candidate in left], self.eta)
            left = [left[index] for index in best]
            size, number = next_rung(size, len(self.items), len(left), self.eta), number + 1

    async def _rung(self, number: int, left: Sequence[Candidate], size: int) -> None:
        items = self.items[:size]
        missing = {c.key: [i for i in items if i.line not in self.journal.of(c.key)] for c in left}
        runs = sum(map(len, missing.values()))
        self.watcher.rung(number, len(left), size, len(left) * size - runs, runs)
        for candidate in left:
            try:
                await self._measure(candidate, items, missing[candidate.key])
            except CannotRun as error:
                candidate.why_not = str(error)
            except CompileError as error:
                candidate.why_not = error.diagnostics[0].message
            if self.trials.stopping:
                return
            self.watcher.measured(candidate)

    async def _measure(
        self, candidate: Candidate, items: Sequence[Item], missing: Sequence[Item]
    ) -> None:
        if missing:
            if candidate.made is None:
                candidate.made = candidate.plan()
            keep = partial(self._keep, candidate)
            await self.trials.run(candidate.made, missing, self.score, keep)
        if self.trials.stopping:
            return
        own = self.journal.of(candidate.key)
        candidate.outcomes = [own[item.line] for item in items]
        if all(outcome.error is not None for outcome in candidate.outcomes):
            why = f"every run failed, the first of them: {candidate.outcomes[0].error}"
            raise CannotRun(why)
        candidate.n = len(items)
        scores = {line: outcome.score for line, outcome in own.items()}
        candidate.mean = mean_over(scores, [item.line for item in items])

    def _keep(self, candidate: Candidate, item: Item, outcome: Outcome) -> None:
        self.journal.add(candidate.key, item.line, outcome)
        self.watcher.outcome(candidate, item, outcome)
