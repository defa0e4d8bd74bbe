"""Why a job cannot be placed: the fewest requirements that contradict, and what would do instead.

A deletion filter: requirements and capacities are left out one by one, and stay out where what is
left still contradicts itself. The linear relaxation refutes most of it in milliseconds, a placement
found on the way answers for all that it meets; only what both leave open is asked of the solver,
each time as a model of its own without the sentences in doubt: its presolve refutes that at once,
where it searches long for assumptions that conflict.

Requirements may contradict each other in several ways at a time. Each conflict is found with those
before it left aside, so that an author learns of all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from .greedy import closest
from .model import WHOLE, JobModel
from .problem import Conflict, Limit, Nearest, Placement, Problem
from .refutation import Refutation
from .scale import LOG_UNITS, Scale
from .schedule import broken, evaluate
from .search import deterministic_solver, minimise, read

CHECK_BUDGET = 0.3  # deterministic seconds for each question of feasibility
NEAREST_BUDGET = 0.3  # … for each nearest value
NEAR_ENOUGH = 1e-3  # relative, of a nearest value to its bound


def explain(problem: Problem, near: Placement | None) -> Conflict:
    """Return a minimal set of limits and capacities that no placement meets together.

    `near` is a placement that breaks limits, if one is known. `nearest` has, for each limit in the
    set, a value that can be met with all limits kept but those it names: a placement with it
    exists. `further` are the conflicts that remain with the limits of this one left out, each of
    limits of its own. All of it is as good as the solver's fixed deterministic limit allows.
    """
    asked = _Inquiry(problem, near)
    cores = asked.cores()
    if not cores:
        return Conflict(("the variants of the steps contradict each other",), ())
    first, *others = (Conflict(tuple(core), asked.nearest(core, cores)) for core in cores)
    return replace(first, further=tuple(others))


def not_found(problem: Problem, near: Placement | None) -> Conflict:
    """Return what the placement nearest to the limits breaks, where none was found within limits.

    No proof: there may be a placement all the same.
    """
    if near is None:
        return Conflict(tuple(dict.fromkeys(x.text for x in problem.limits)), (), proved=False)
    missed = {x.text: x for x in broken(problem, near.metrics)}
    values = (Nearest(x.text, near.metrics.of(x.metric, x.percentile)) for x in missed.values())
    return Conflict(tuple(missed), tuple(values), proved=False)


class _Inquiry:
    """What has been found out about a problem: what is refuted, and placements that are known."""

    def __init__(self, problem: Problem, near: Placement | None) -> None:
        # with objectives, models get what only their bounds need
        self.problem = replace(problem, objectives=())
        self.known = [] if near is None else [near]
        self.relaxed = len(problem.steps) > WHOLE
        self.refutation = Refutation(problem)
        self.limits = list(dict.fromkeys(limit.text for limit in problem.limits))
        self._capacities: list[str] | None = None

    @property
    def capacities(self) -> list[str]:
        """Return the sentences of what nodes have that could be exceeded."""
        if self._capacities is None:
            self._capacities = list(self._model(self.limits, frozenset()).capacities)
        return self._capacities

    def cores(self) -> list[list[str]]:
        """Return conflicts: sentences that contradict each other, none of which can be left out."""
        found = [[text] for text in self.limits if self.refutation.refutes([text])]
        while True:
            blamed = {text for core in found for text in core}
            core = self._core([text for text in self.limits if text not in blamed])
            if core is None:
                return found
            found.append(core)
            if blamed.issuperset(core) or not set(self.limits).intersection(core):
                return found  # of capacities alone: it stays whatever is left out

    def nearest(self, core: Sequence[str], cores: Sequence[Sequence[str]]) -> tuple[Nearest, ...]:
        """Return values for the limits of a conflict that can be met with the others kept.

        Those of other conflicts are left aside; where that leaves no room, all but this one's.
        """
        others = {text for other in cores if other is not core for text in other}
        found: dict[tuple[str, float], Nearest] = {}
        for limit in self.problem.limits:
            if limit.text not in core:
                continue
            kept = [text for text in self.limits if text not in others and text != limit.text]
            value = self._nearest(limit, kept)
            fewer = [text for text in core if text in kept]
            if value is None and len(fewer) < len(kept):
                value, kept = self._nearest(limit, fewer), fewer
            if value is not None:
                aside = [x for x in self.limits if x not in kept and x != limit.text]
                found.setdefault((limit.text, value), Nearest(limit.text, value, tuple(aside)))
        return tuple(found.values())

    def _core(self, limits: list[str]) -> list[str] | None:
        """Return a conflict of some of these limits and capacities, None where none is proved."""
        if self.refutation.refutes(limits):
            kept, doubtful = limits, [[text] for text in limits]
        elif self._contradict([*self.capacities, *limits]):
            kept = [*self.capacities, *limits]
            # capacities first, all at once: most often requirements contradict without them
            doubtful = [self.capacities, *([sentence] for sentence in kept)]
        else:
            return None
        for sentences in doubtful:
            rest = [sentence for sentence in kept if sentence not in sentences]
            if len(rest) < len(kept) and self._contradict(rest):
                kept = rest
        return [*(x for x in kept if x in limits), *(x for x in kept if x not in limits)]

    def _contradict(self, kept: Collection[str]) -> bool:
        """Tell whether it is proved that nothing meets these sentences together."""
        if self._met(kept) is not None:
            return False
        if self.refutation.refutes(kept):
            return True
        if len(kept) < len(self.limits):  # what is left of a conflict can often be met
            self._look(replace(self.problem, limits=self._limits(kept)))
            if self._met(kept) is not None:
                return False
        waived = frozenset(self.capacities).difference(kept)
        built = self._model(kept, waived)
        solver = deterministic_solver(CHECK_BUDGET)
        status = solver.status_name(solver.solve(built.model))
        if status in ("OPTIMAL", "FEASIBLE") and not waived and not self.relaxed:
            found = read(built, replace(self.problem, limits=()), solver)
            self.known += [] if found is None else [found]
        return status == "INFEASIBLE"

    def _look(self, problem: Problem) -> None:
        """Learn the placement that a short search finds nearest to the limits of a problem."""
        found = closest(problem, hurries=(0.0,))
        self.known += [] if found is None else [found]

    def _met(self, kept: Collection[str]) -> Placement | None:
        """Return a known placement that meets the limits among these sentences."""
        for placed in self.known:
            missed = {limit.text for limit in broken(self.problem, placed.metrics)}
            if missed.isdisjoint(kept):
                return placed
        return None

    def _model(self, kept: Collection[str], waived: frozenset[str]) -> JobModel:
        """Return the model with these of the limits, and all capacities but those waived."""
        limits = self._limits(kept)
        percentiles = {0, *(x.percentile for x in limits if x.metric == "latency")}
        scale = Scale.of(self.problem)
        built = JobModel(self.problem, scale, sorted(percentiles), waived, relaxed=self.relaxed)
        for limit in limits:
            built.limit(limit)
        return built

    def _limits(self, kept: Iterable[str]) -> tuple[Limit, ...]:
        texts = frozenset(kept)
        return tuple(limit for limit in self.problem.limits if limit.text in texts)

    def _nearest(self, limit: Limit, kept: Sequence[str]) -> float | None:
        """Return the closest value of a limit's metric that these other limits leave room for."""
        if self.refutation.refutes(kept):
            return None
        upwards = limit.op in (">=", ">")
        others = replace(self.problem, limits=self._limits(kept), aimed=limit.percentile)
        towards = upwards == (limit.metric == "accuracy")  # where objectives pull, too
        if towards:
            self._look(replace(others, objectives=(limit.metric,)))
        known = self._closest_known(limit, kept)
        if known is not None and towards:
            value = known.metrics.of(limit.metric, limit.percentile)
            if _near(value, self.refutation.least(limit, kept)):
                return value
        percentiles = {0, limit.percentile}
        percentiles |= {x.percentile for x in others.limits if x.metric == "latency"}
        scale = Scale.of(self.problem)
        built = JobModel(others, scale, sorted(percentiles), relaxed=self.relaxed)
        for other in others.limits:
            built.limit(other)
        values = []  # as the model rounds them, so that they are found feasible when asked for
        if known is not None:
            values.append(known.metrics.of(limit.metric, limit.percentile))
            laid = evaluate(built.problem, known.modes, known.starts_s)
            if isinstance(laid, Placement):
                built.hint(laid)
                if limit.metric == "latency":
                    values = [laid.metrics.latency_s[limit.percentile] * scale.tick_s]
        # as large as can be where it is from below, though not larger than asked for
        sign = -1 if upwards and limit.metric != "accuracy" else 1
        metric = built.metric(limit.metric, limit.percentile)
        outcome = minimise(built, sign * metric, NEAREST_BUDGET)
        if outcome.solver is not None and limit.metric == "accuracy":
            values.append(math.exp(-outcome.value / LOG_UNITS))
        elif outcome.solver is not None:
            values.append(sign * outcome.value * scale.unit(limit.metric))
        return min(values, key=lambda value: abs(value - limit.value), default=None)

    def _closest_known(self, limit: Limit, kept: Sequence[str]) -> Placement | None:
        """Return the known placement that meets these limits and comes closest to another."""

        def distance(placed: Placement) -> float:
            return abs(placed.metrics.of(limit.metric, limit.percentile) - limit.value)

        others = replace(self.problem, limits=self._limits(kept))
        fitting = [placed for placed in self.known if not broken(others, placed.metrics)]
        return min(fitting, key=distance, default=None)


def _near(value: float, bound: float) -> bool:
    return abs(value - bound) <= NEAR_ENOUGH * max(abs(value), abs(bound))
