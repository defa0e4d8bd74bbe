"""One epoch of a service as a (mixed-integer) linear programme: instances, routes, what waits.

Read top to bottom: data, variables, constraints, objective, solve, read-out. Requests of a class
that does not wait take instances in the period in which they come; which columns they go through
may differ from period to period, so that those beyond what the best instances hold in a peak go
where there is room. Requests of a class that waits flow (`flow`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from .flow import EPSILON, Flow, waited_periods
from .prices import direct_price, engine_price, no_room, totals
from .problem import (
    Backlog,
    Column,
    Engine,
    Epoch,
    EpochPlan,
    ServiceProblem,
    Unfinished,
)

if TYPE_CHECKING:
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

GAP = 5e-4  # relative, at which whole numbers are good enough
LACKING = 1e3  # a GPU that there is not costs this many times what the dearest does
TIME_LIMIT_S = 60.0  # a safety net: the gap is what ends a search


@dataclass(frozen=True, slots=True)
class Duals:
    """What a little more room would spare, of a linear programme's optimum.

    `second`: an instance-second of each engine in each period. `request`: what a request of each
    class costs that begins in each period.
    """

    value: float
    second: tuple[tuple[float, ...], ...]  # by engine, by period
    request: tuple[tuple[float, ...], ...]  # by class
    fits: bool  # whether the hardware is enough


@dataclass(frozen=True, slots=True)
class Between:
    """How many instances of each engine there must be, and may be (None: any number)."""

    least: tuple[int, ...]
    most: tuple[int | None, ...]

    @staticmethod
    def any(engines: Sequence[Engine]) -> Between:
        """Return what the engines themselves allow."""
        return Between((0,) * len(engines), tuple(engine.most for engine in engines))

    def split(self, engine: int, amount: float) -> tuple[Between, Between]:
        """Return those with fewer instances of an engine than a broken number, and with more."""
        below, most, least = math.floor(amount), list(self.most), list(self.least)
        most[engine], least[engine] = below, below + 1
        return replace(self, most=tuple(most)), replace(self, least=tuple(least))


class EpochModel:
    """The programme of one epoch over the given columns of each class."""

    def __init__(
        self,
        problem: ServiceProblem,
        epoch: Epoch,
        columns: Sequence[Sequence[Column]],
        *,
        whole: bool,
        slopes: Sequence[float] = (),
        between: Between | None = None,
    ) -> None:
        """Build it; `whole` asks for whole numbers of instances, `between` for more or fewer.

        `slopes` are factors of what instances cost, by engine: for one that is hardly used, a share
        of an instance costs as much as a whole one.

        Without them, hardware that lacks has a price beyond all others: other columns may do with
        less.
        """
        from ortools.math_opt.python import mathopt

        # data
        self.problem, self.epoch, self.columns = problem, epoch, columns
        self._slopes = slopes or (1.0,) * len(problem.engines)
        self.periods = range(len(epoch.requests[0]) if epoch.requests else 0)
        self.model = mathopt.Model()
        # variables
        self.between = between or Between.any(problem.engines)
        rows = zip(self.between.least, self.between.most, strict=True)
        self.instances = [
            self.model.add_variable(
                lb=least, ub=math.inf if most is None or not whole else most, is_integer=whole
            )
            for least, most in rows
        ]
        held = epoch.held or (0,) * len(problem.engines)
        self.started = [self.model.add_variable(lb=0.0) for _ in problem.engines]
        for new, now, before in zip(self.started, self.instances, held, strict=True):
            self.model.add_linear_constraint(new >= now - before)
        self._lacking: list[mathopt.Variable] | None = None
        if not whole:
            self._lacking = [self.model.add_variable(lb=0.0) for _ in problem.pools]
            self._beyond_most()
        self.served: dict[int, list[list[mathopt.Variable]]] = {}
        self.flows: dict[int, Flow] = {}
        # constraints
        self._load: list[list[list[mathopt.LinearTypes]]] = [
            [[] for _ in self.periods] for _ in problem.engines
        ]
        self.balance: dict[int, list[mathopt.LinearConstraint]] = {}
        for k, kind in enumerate(problem.classes):
            if waited_periods(kind, epoch.period_s):
                self._flow(k)
            else:
                self._immediate(k)
        self._room = [self._within(e) for e in range(len(problem.engines))]
        self._stand()
        # objective
        self.model.minimize(self._objective())

    def _beyond_most(self) -> None:
        """Let there be more of an engine than there may be, as there may be more hardware."""
        assert self._lacking is not None
        for most, n in zip(self.between.most, self.instances, strict=True):
            if most is not None:
                more = self.model.add_variable(lb=0.0)
                self._lacking.append(more)
                self.model.add_linear_constraint(n <= most + more)

    # ---- constraints

    def _immediate(self, k: int) -> None:
        from ortools.math_opt.python import mathopt

        served = [[self.model.add_variable(lb=0.0) for _ in self.periods] for _ in self.columns[k]]
        self.served[k] = served
        self.balance[k] = [
            self.model.add_linear_constraint(
                mathopt.LinearSum(row[t] for row in served) == self.epoch.requests[k][t]
            )
            for t in self.periods
        ]
        for column, row in zip(self.columns[k], served, strict=True):
            for engine, busy_s in column.busy:
                for t in self.periods:
                    self._load[engine][t].append(busy_s * row[t])

    def _flow(self, k: int) -> None:
        backlog = self.epoch.backlog[k] if self.epoch.backlog else Backlog()
        kind, requests = self.problem.classes[k], self.epoch.requests[k]
        flow = Flow(self.model, kind, self.epoch, requests, backlog, len(self.columns[k]))
        self.flows[k], self.served[k], self.balance[k] = flow, flow.begun, flow.balance
        for column, begun in zip(self.columns[k], flow.begun, strict=True):
            for engine, busy_s in column.busy:
                for t in self.periods:
                    self._load[engine][t].append(busy_s * begun[t])

    def _within(self, engine: int) -> list[mathopt.LinearConstraint]:
        """Keep the work of every period within the seconds of the instances."""
        from ortools.math_opt.python import mathopt

        seconds = self.epoch.period_s * self.instances[engine]
        return [
            self.model.add_linear_constraint(mathopt.LinearSum(load) <= seconds)
            for load in self._load[engine]
        ]

    def _stand(self) -> None:
        """Keep the instances within the GPUs and cores of their pools."""
        from ortools.math_opt.python import mathopt

        for index, pool in enumerate(self.problem.pools):
            here = [
                (engine, n)
                for engine, n in zip(self.problem.engines, self.instances, strict=True)
                if engine.pool == index
            ]
            gpus = mathopt.LinearSum(engine.gpus * n for engine, n in here)
            cores = mathopt.LinearSum(engine.cores * n for engine, n in here)
            more = 0.0 if self._lacking is None else self._lacking[index]
            self.model.add_linear_constraint(gpus <= pool.gpus + more)
            self.model.add_linear_constraint(cores <= pool.cores + more)

    # ---- objective

    def _objective(self) -> mathopt.LinearSum:
        from ortools.math_opt.python import mathopt

        terms: list[mathopt.LinearTypes] = []
        rows = zip(self.problem.engines, self.instances, self.started, self._slopes, strict=True)
        for engine, n, new, slope in rows:
            held, start = engine_price(self.problem, engine, self.epoch.duration_s)
            terms += [slope * held * n, start * new]
        for k, served in self.served.items():
            for column, row in zip(self.columns[k], served, strict=True):
                price = direct_price(self.problem, column)
                terms += [price * amount for amount in row] if price else []
        for k, flow in self.flows.items():
            terms.append(self._deferred(k) * flow.left())
        if self._lacking is not None:
            dearest = max(
                engine_price(self.problem, e, self.epoch.duration_s)[0] / max(e.gpus, e.cores, 1)
                for e in self.problem.engines
            )
            terms += [LACKING * dearest * more for more in self._lacking]
        return mathopt.LinearSum(terms)

    def _deferred(self, k: int) -> float:
        """Return what a request costs that is left to the next epoch: what it would at least."""
        second = [
            engine_price(self.problem, e, self.epoch.duration_s)[0] / self.epoch.duration_s
            for e in self.problem.engines
        ]
        return min(
            direct_price(self.problem, c) + sum(second[e] * busy_s for e, busy_s in c.busy)
            for c in self.columns[k]
        )

    # ---- solve

    @cached_property
    def _optimum(self) -> mathopt.SolveResult:
        """Return the linear programme's solution; whole numbers must not have been asked for."""
        from ortools.math_opt.python import mathopt

        result = mathopt.solve(self.model, mathopt.SolverType.HIGHS, params=_parameters())
        self._check(result)
        return result

    def relaxed(self) -> Duals:
        """Return the linear programme's optimum and its duals."""
        result = self._optimum
        requests = [
            tuple(result.dual_values(self.balance[k])) for k in range(len(self.problem.classes))
        ]
        less = map(self._unpaid, range(len(self.instances)))
        seconds = tuple(
            tuple(unpaid - x for x in result.dual_values(row))
            for row, unpaid in zip(self._room, less, strict=True)
        )
        lacking = sum(result.variable_values(self._lacking or []))
        return Duals(result.objective_value(), seconds, tuple(requests), lacking < EPSILON)

    def _unpaid(self, engine: int) -> float:
        """Return what a second may cost beyond its dual, so that columns keep away from an engine.

        Instances of which none is held may be priced at anything below what they cost: at just
        that, columns are not lured to them. Those of which none may be held have any price.
        """
        least, most = self.between.least[engine], self.between.most[engine]
        held, _ = engine_price(self.problem, self.problem.engines[engine], self.epoch.duration_s)
        if most == 0:
            return LACKING * held / self.epoch.duration_s
        if least:
            return 0.0
        reduced: float = self._optimum.reduced_costs(self.instances[engine])
        return max(reduced, 0.0) / self.epoch.duration_s

    def amounts(self) -> list[float]:
        """Return how many of each engine the linear programme has."""
        return list(self._optimum.variable_values(self.instances))

    def rounded(self) -> EpochPlan | None:
        """Round the linear programme's instances up; None where the hardware has no room for them.

        The optimum is the plan's bound, which holds if these are all columns and instances cost
        what they do.
        """
        result = self._optimum
        plan = self._read(result, result.objective_value(), "rounded")
        return plan if self._stands(plan.instances) else None

    def _stands(self, instances: Sequence[int]) -> bool:
        """Tell whether whole instances fit the hardware, and are no more than there may be."""
        rows = zip(self.problem.engines, instances, strict=True)
        if any(engine.most is not None and n > engine.most for engine, n in rows):
            return False
        for index, pool in enumerate(self.problem.pools):
            here = zip(self.problem.engines, instances, strict=True)
            held = [(engine, n) for engine, n in here if engine.pool == index]
            if sum(engine.gpus * n for engine, n in held) > pool.gpus:
                return False
            if sum(engine.cores * n for engine, n in held) > pool.cores:
                return False
        return True

    def solve(self, bound: float | None = None, gap: float = GAP) -> EpochPlan:
        """Return the best plan; `bound` is a lower one known, where not all columns are here.

        Raises `NoRoom` where there is none, `Unfinished` where none was found in time.
        """
        from ortools.math_opt.python import mathopt

        result = mathopt.solve(self.model, mathopt.SolverType.GSCIP, params=_parameters(gap))
        reason = result.termination.reason
        if reason == mathopt.TerminationReason.NO_SOLUTION_FOUND:
            raise Unfinished
        self._check(result)
        optimal = reason == mathopt.TerminationReason.OPTIMAL
        return self._read(
            result,
            result.best_objective_bound() if bound is None else bound,
            "optimal" if optimal else "time limit",
        )

    def _check(self, result: mathopt.SolveResult) -> None:
        if not result.has_primal_feasible_solution():
            raise no_room(self.problem)

    # ---- read-out

    def _read(self, result: mathopt.SolveResult, bound: float, status: str) -> EpochPlan:
        amounts = result.variable_values(self.instances)
        instances = tuple(math.ceil(x - EPSILON) for x in amounts)
        served = tuple(map(tuple, map(self._served, [result] * len(self.columns), self._classes)))
        held = self.epoch.held or (0,) * len(instances)
        started = tuple(max(n - before, 0) for n, before in zip(instances, held, strict=True))
        usd, energy_j = totals(self.problem, self.epoch, instances, started, self.columns, served)
        value = self._value(result, instances, started, served)
        return EpochPlan(
            instances=instances,
            columns=tuple(tuple(found) for found in self.columns),
            served=served,
            usd=usd,
            energy_j=energy_j,
            value=value,
            bound=min(bound, value),
            status=status,
            backlog=tuple(
                self.flows[k].backlog(result) if k in self.flows else Backlog()
                for k in self._classes
            ),
        )

    @property
    def _classes(self) -> range:
        return range(len(self.problem.classes))

    def _served(self, result: mathopt.SolveResult, k: int) -> list[tuple[float, ...]]:
        amounts = [result.variable_values(row) for row in self.served[k]]
        return [tuple(_clean(x) for x in row) for row in amounts]

    def _value(
        self,
        result: mathopt.SolveResult,
        instances: Sequence[int],
        started: Sequence[int],
        served: Sequence[Sequence[Sequence[float]]],
    ) -> float:
        """Return the objective of whole instances at their true prices."""
        total = 0.0
        for engine, n, new in zip(self.problem.engines, instances, started, strict=True):
            held, start = engine_price(self.problem, engine, self.epoch.duration_s)
            total += held * n + start * new
        for columns, rows in zip(self.columns, served, strict=True):
            for column, row in zip(columns, rows, strict=True):
                total += direct_price(self.problem, column) * sum(row)
        for k, flow in self.flows.items():
            total += self._deferred(k) * flow.backlog(result).waiting
        return total


def _clean(amount: float) -> float:
    return 0.0 if amount < EPSILON else amount


def _parameters(gap: float | None = None) -> mathopt.SolveParameters:
    """Return how to solve: a linear programme to its end, whole numbers to a gap or for a time."""
    import datetime

    from ortools.math_opt.python import mathopt

    if gap is None:
        return mathopt.SolveParameters(random_seed=1)
    return mathopt.SolveParameters(
        relative_gap_tolerance=gap,
        random_seed=1,
        time_limit=datetime.timedelta(seconds=TIME_LIMIT_S),
    )
