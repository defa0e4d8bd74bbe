"""A quick placement without a solver: the answer never to be worse than.

Each step takes the mode with the lowest weighted sum of what it adds to the metrics, among engines
that are open. Several weightings are tried (limits pull harder each time), then engines are closed,
opened and exchanged, the weights shifted and single steps changed as long as the placement gets
better. Deterministic; the work is bounded by a count of evaluated steps, not by time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...ir.workflow import METRICS, MetricName
from .problem import Limit, Mode, Placement, Problem, loss
from .schedule import Reason, broken, evaluate, is_better

EVALUATED_STEPS = 100_000  # for each start, about two seconds; bounds large jobs
MOST_EVALUATIONS = 750
HURRIES = (0.0, 0.3, 3.0)  # weight of latency on top of the objectives
PULLS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
SHIFTS = (0.25, 0.7, 1.4, 4.0)  # factors of one weight at a time, once engines are chosen
MOST_ROWS = 40  # measured configurations tried one by one, the most accurate first
PRIORITIES = (1.0, 0.02, 0.004, 0.001, 0.0002)  # weight of the first, second, … objective

Modes = tuple[int, ...]


def greedy(problem: Problem) -> Placement | None:
    """Return a placement that meets every limit, or None where this search finds none."""
    best = closest(problem)
    return best if best is not None and not broken(problem, best.metrics) else None


def closest(problem: Problem, hurries: Sequence[float] = HURRIES) -> Placement | None:
    """Return the best placement found, limits broken as little as this search can.

    `hurries` are the weights of latency that it starts from, each a search of its own.
    """
    # engines idle as long as the job lasts, so that a quick job is often a cheap one; which start
    # leads furthest shows only at the end
    found: list[Placement] = []
    for hurry in hurries:
        search = _Search(problem)
        for weights in _weightings(problem, hurry):
            search.try_open(weights, search.widest(weights))
        search.try_rows(next(_weightings(problem, hurry)))
        if search.best is not None:
            search.improve_engines()
            search.improve_weights()
            search.improve_steps()
            found.append(search.best)
    return min(found, key=lambda placed: rank(problem, placed), default=None)


def rank(problem: Problem, placed: Placement) -> tuple[float, ...]:
    """Order placements: limits broken the least, then the objectives in their order."""
    values = (placed.metrics.of(metric, problem.aimed) for metric in problem.objectives)
    signs = (-1.0 if metric == "accuracy" else 1.0 for metric in problem.objectives)
    return (_excess(problem, placed), *(v * s for v, s in zip(values, signs, strict=True)))


@dataclass(slots=True)
class _Weights:
    of: dict[MetricName, float]


def _weightings(problem: Problem, hurry: float) -> Iterator[_Weights]:
    """Yield weights by metric: the objectives', then with ever more pull of the limits."""
    base = dict.fromkeys(METRICS, 1e-5)
    for metric, weight in zip(problem.objectives, PRIORITIES, strict=False):
        base[metric] = weight
    limited = tuple(dict.fromkeys(limit.metric for limit in problem.limits))
    base["latency"] += hurry
    groups = [limited, *((metric,) for metric in limited if len(limited) > 1)]
    for pull in PULLS if limited else (0.0,):
        for group in groups:
            yield _Weights({m: w + (pull if m in group else 0.0) for m, w in base.items()})


class _Search:
    """The best placement so far, the weights and open engines that led to it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        size = max(1, len(problem.steps))
        self.left = min(MOST_EVALUATIONS, max(40, EVALUATED_STEPS // size))
        self.best: Placement | None = None
        self.weights = _Weights({})
        self.open: frozenset[int] = frozenset()
        self.seen: set[Modes] = set()
        self.on = [[mode.engine for mode in step.modes] for step in problem.steps]
        used = {engine for engines in self.on for engine in engines if engine is not None}
        self.resident = frozenset(e for e in used if problem.engines[e].resident)
        self.rows = sorted(problem.accuracies or (), key=self._inaccuracy)
        self.amounts = [
            [self._amounts(index, mode) for mode in step.modes]
            for index, step in enumerate(problem.steps)
        ]
        self.scale = self._scale()
        # the earlier steps whose outputs a step's modes assume something of, and who reads a step's
        self.read = [sorted({b for m in step.modes for b, _ in m.when}) for step in problem.steps]
        self.readers: list[list[int]] = [[] for _ in problem.steps]
        for index, befores in enumerate(self.read):
            for before in befores:
                self.readers[before].append(index)
        self.scored: tuple[tuple[float, ...], list[list[float]]] = ((), [])
        self.fits: dict[tuple[int, Modes], list[int]] = {}
        self.follows: dict[tuple[int, int, int], list[int]] = {}

    def _inaccuracy(self, row: Modes) -> float:
        return -(self.problem.accuracies or {})[row]

    def _loss(self, index: int, mode: Mode) -> float:
        """Return what a mode costs in accuracy; that of the best measured configuration with it."""
        measured = self.problem.accuracies
        if measured is None:
            return loss(mode.quality)
        best = next((row for row in self.rows if row[index] == mode.choice), None)
        return loss(0.0 if best is None else measured[best])

    def _amounts(self, index: int, mode: Mode) -> tuple[float, ...]:
        """Return what a mode adds to each of METRICS, its share of its engine's idling included."""
        seconds = mode.times[0].duration_s
        energy, usd, gpus = mode.energy_j, mode.usd, 0.0
        if mode.engine is not None:
            engine = self.problem.engines[mode.engine]
            share = seconds * mode.slots / engine.slots
            gpus = float(engine.gpus * engine.replicas)
            if engine.resident:
                energy += engine.idle_w * share
                usd += engine.usd_per_s * share
        by_metric = {
            "energy": energy,
            "cost": usd,
            "latency": seconds,
            "gpus": gpus,
            "accuracy": self._loss(index, mode),
        }
        return tuple(by_metric[metric] for metric in METRICS)

    def _scale(self) -> tuple[float, ...]:
        """Return one over the mean amount per step of each metric."""
        rows = [row for rows in self.amounts for row in rows]
        means = [math.fsum(row[k] for row in rows) / max(1, len(rows)) for k in range(len(METRICS))]
        return tuple(1.0 / mean if mean > 0 else 0.0 for mean in means)

    def scores(self, weights: _Weights) -> list[list[float]]:
        """Return what each mode of each step adds, weighted; the same list for the same weights."""
        factors = tuple(weights.of[m] * s for m, s in zip(METRICS, self.scale, strict=True))
        if factors != self.scored[0]:
            f, g, h, i, j = factors  # of five metrics: this is most of what the search does
            rows = [
                [f * a + g * b + h * c + i * d + j * e for a, b, c, d, e in rows]
                for rows in self.amounts
            ]
            self.scored = (factors, rows)
        return self.scored[1]

    def widest(self, weights: _Weights) -> frozenset[int]:
        """Open the engine of every group that the steps together score best with."""
        totals: dict[int, list[float]] = {}
        for step, scores in zip(self.problem.steps, self.scores(weights), strict=True):
            best: dict[int, float] = {}
            for mode, score in zip(step.modes, scores, strict=True):
                if mode.engine is not None and self.problem.engines[mode.engine].resident:
                    best[mode.engine] = min(score, best.get(mode.engine, math.inf))
            for engine, score in best.items():
                totals.setdefault(engine, []).append(score)
        # an engine more steps can use comes before one that fewer can, then the mean score decides
        rank = {e: (-len(scores), math.fsum(scores), e) for e, scores in totals.items()}
        chosen: dict[str, int] = {}
        for engine in sorted(rank, key=lambda e: rank[e]):
            chosen.setdefault(self.problem.engines[engine].group, engine)
        return frozenset(chosen.values())

    def assign(
        self, weights: _Weights, opened: frozenset[int], rows: Sequence[Modes]
    ) -> Modes | None:
        """Choose each step's best mode on open engines that fits what came before it.

        A step looks ahead at the steps that read what it emits, and keeps to what one of `rows`, if
        there are any, can be completed to. None when a step is left without.
        """
        problem, closed = self.problem, self.resident - opened
        scores = [
            [
                math.inf if engine in closed else score
                for engine, score in zip(engines, row, strict=True)
            ]
            for engines, row in zip(self.on, self.scores(weights), strict=True)
        ]
        chosen: list[int] = []
        emitted: list[int] = []
        for index, step in enumerate(problem.steps):
            ahead = {e: self._ahead(index, e, scores) for e in {m.emits for m in step.modes}}
            within = {row[index] for row in rows}
            options = [
                (scores[index][number] + ahead[step.modes[number].emits], number)
                for number in self._fitting(index, emitted)
                if not self.rows or step.modes[number].choice in within
            ]
            if not options or min(options)[0] == math.inf:
                return None
            chosen.append(min(options)[1])
            emitted.append(step.modes[chosen[-1]].emits)
            rows = [row for row in rows if row[index] == step.modes[chosen[-1]].choice]
        return tuple(chosen)

    def _ahead(self, index: int, emits: int, scores: list[list[float]]) -> float:
        """Return the least that the readers of this step's output can score after `emits`."""
        total = 0.0
        for reader in self.readers[index]:
            found = self.follows.get((reader, index, emits))
            if found is None:
                found = self.follows[reader, index, emits] = [
                    number
                    for number, mode in enumerate(self.problem.steps[reader].modes)
                    if all(b != index or wanted == emits for b, wanted in mode.when)
                ]
            row = scores[reader]
            total += min((row[number] for number in found), default=math.inf)
        return total

    def _fitting(self, index: int, emitted: Sequence[int]) -> list[int]:
        """Return a step's modes, by number, that agree with what the steps before it emit."""
        key = (index, tuple(emitted[before] for before in self.read[index]))
        found = self.fits.get(key)
        if found is None:
            found = self.fits[key] = [
                number
                for number, mode in enumerate(self.problem.steps[index].modes)
                if all(emitted[before] == wanted for before, wanted in mode.when)
            ]
        return found

    def try_rows(self, weights: _Weights) -> None:
        """Try measured configurations one by one: few may fit each other step by step."""
        opened = self.widest(weights)
        for row in self.rows[:MOST_ROWS]:
            modes = self.assign(weights, opened, [row])
            if modes is not None and self.try_modes(modes):
                self.weights, self.open = weights, opened

    def try_open(self, weights: _Weights, opened: frozenset[int]) -> bool:
        modes = self.assign(weights, opened, self.rows)
        if modes is None or not self.try_modes(modes):
            return False
        self.weights, self.open = weights, opened
        return True

    def try_modes(self, modes: Modes) -> bool:
        """Evaluate once; keep and say so if it is better than the best."""
        if modes in self.seen or self.left <= 0:
            return False
        self.seen.add(modes)
        self.left -= 1
        found = evaluate(self.problem, modes)
        if isinstance(found, Reason) or (self.best and not self._beats(found, self.best)):
            return False
        self.best = found
        return True

    def _beats(self, one: Placement, other: Placement) -> bool:
        mine, yours = (_excess(self.problem, p) for p in (one, other))
        if mine != yours:
            return mine < yours
        return is_better(self.problem, one.metrics, other.metrics)

    def improve_engines(self) -> None:
        """Close, open and exchange engines one at a time until nothing helps."""
        engines, improved = self.problem.engines, True
        while improved and self.left > 0:
            improved = False
            for engine in sorted(self.resident):
                rest = frozenset(e for e in self.open if engines[e].group != engines[engine].group)
                moved = rest if engine in self.open else rest | {engine}
                improved |= self.try_open(self.weights, moved)

    def improve_weights(self) -> None:
        """Shift the balance between the metrics, on the engines that are open, while it helps."""
        improved = True
        while improved and self.left > 0:
            improved = False
            for metric in METRICS:
                for shift in SHIFTS:
                    shifted = {**self.weights.of, metric: self.weights.of[metric] * shift}
                    improved |= self.try_open(_Weights(shifted), self.open)

    def improve_steps(self) -> None:
        """Change one step at a time, the readers of its output with it, until nothing helps."""
        improved = True
        while improved and self.left > 0:
            improved = False
            for index, step in enumerate(self.problem.steps):
                for number in range(len(step.modes)):
                    modes = self._changed(index, number)
                    improved |= modes is not None and self.try_modes(modes)

    def _changed(self, index: int, number: int) -> Modes | None:
        assert self.best is not None
        steps, modes = self.problem.steps, list(self.best.modes)
        emitted = [step.modes[m].emits for step, m in zip(steps, modes, strict=True)]
        if number not in self._fitting(index, emitted):
            return None
        modes[index], emitted[index] = number, steps[index].modes[number].emits
        for later in range(index + 1, len(modes)):
            fitting = self._fitting(later, emitted)
            if modes[later] in fitting:
                continue
            if not fitting:
                return None
            options, engine = steps[later].modes, steps[later].modes[modes[later]].engine
            modes[later] = next((n for n in fitting if options[n].engine == engine), fitting[0])
            emitted[later] = options[modes[later]].emits
        return tuple(modes)


def _excess(problem: Problem, found: Placement) -> float:
    """Return the relative amounts by which limits are broken, added up."""
    return math.fsum(_distance(limit, found) for limit in broken(problem, found.metrics))


def _distance(limit: Limit, found: Placement) -> float:
    value = found.metrics.of(limit.metric, limit.percentile)
    return max(1e-9, abs(value - limit.value) / max(abs(limit.value), 1e-12))
