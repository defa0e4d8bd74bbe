"""A relaxation of placing one job: which mode a step, which engines, held how long at least.

It has no timeline and no nodes; every placement meets it, so its optimum bounds every placement's.
What engines cost while they are held makes it a facility location problem, of which linear
programming sees little (a cheap and an accurate model in shares, each held for a share of the job):
whole numbers for modes and engines, and spans of their holds (`spans`), give bounds within a few
per cent. Jobs too large for that get a linear programme without either. The modes found are worth
laying out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir.workflow import MetricName
from .cuts import earliest_starts
from .problem import Limit, Problem, loss
from .scale import TICKS, UNITS, Scale
from .spans import span_groups, span_job

if TYPE_CHECKING:
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

GAP = 0.01  # relative, at which whole numbers are good enough
NODES = 100  # of the search tree; the usual job of 30 steps takes 20
MAGNITUDE = (
    1_000.0  # of a job's seconds, joules and dollars in the solver: its tolerances are fixed
)
SAFETY = 1e-6  # relative; taken off bounds for those tolerances


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A bound of a metric in its base unit, and a mode for each step (None: none was found)."""

    bound: float
    modes: tuple[int, ...] | None


def relax(
    problem: Problem, metric: MetricName, *, whole: bool, at_most: float | None = None
) -> Relaxed | None:
    """Solve the relaxation for one metric; None when it has no solution, so the job has none.

    `whole` asks for whole numbers and spans (HiGHS, limited by nodes), else it is linear (GLOP).
    `at_most` is the metric's value in a placement already known; nothing worse is looked for.
    """
    from ortools.math_opt.python import mathopt
    from ortools.math_opt.solvers import highs_pb2  # type: ignore[import-untyped]

    built = Relaxation(problem, whole)
    objective = built.amount(metric, problem.aimed)
    if at_most is not None:
        built.model.add_linear_constraint(objective <= built.scaled(metric, at_most) + SAFETY)
    built.model.minimize(objective)
    parameters = mathopt.SolveParameters()
    if whole:
        # its own heuristics take half of the time and find what list schedules improve on anyway
        options = highs_pb2.HighsOptionsProto(double_options={"mip_heuristic_effort": 0.0})
        parameters = mathopt.SolveParameters(
            node_limit=NODES, relative_gap_tolerance=GAP, random_seed=1, highs=options
        )
    solver = mathopt.SolverType.HIGHS if whole else mathopt.SolverType.GLOP
    result = mathopt.solve(built.model, solver, params=parameters)
    if result.termination.reason == mathopt.TerminationReason.INFEASIBLE:
        return None
    bound = result.best_objective_bound()
    if not whole and result.termination.reason != mathopt.TerminationReason.OPTIMAL:
        bound = 0.0
    modes = None
    if result.has_primal_feasible_solution():
        shares = [result.variable_values(row) for row in built.chosen]
        modes = tuple(max(range(len(row)), key=row.__getitem__) for row in shares)
    return Relaxed(built.unscaled(metric, bound), modes)


class Relaxation:
    """Variables and constraints of the relaxation; amounts are scaled to `MAGNITUDE`."""

    def __init__(self, problem: Problem, whole: bool) -> None:
        """Build everything but the objective; limits that bound a metric from above included."""
        from ortools.math_opt.python import mathopt

        self.problem, self.whole = problem, whole
        self.model = mathopt.Model()
        scale = Scale.of(problem)
        self.second = MAGNITUDE / (scale.tick_s * TICKS)
        self.units = {
            "energy": MAGNITUDE / (scale.unit_j * UNITS),
            "cost": MAGNITUDE / (scale.unit_usd * UNITS),
            "latency": self.second,
        }
        # variables
        self.chosen = [[self.switch() for _ in step.modes] for step in problem.steps]
        on = {mode.engine for step in problem.steps for mode in step.modes}
        self.resident = sorted(e for e in on if e is not None and problem.engines[e].resident)
        self.used = {e: self.switch() for e in self.resident}
        self.prestarted = {e: self.switch() for e in self.resident}
        self.held = {e: self.length() for e in self.resident}
        # the end of the job at each percentile that is limited or aimed at
        self.makespans = {percentile: self.length() for percentile in problem.timelines}
        self.gpus = self.length()
        self.rows = [self.switch() for _ in problem.accuracies or ()]
        self.limiting: list[tuple[Limit, mathopt.LinearConstraint]] = []
        # constraints
        self._choice()
        self._holding()
        span_job(self)
        if whole:
            span_groups(self)
        self._limits()

    def switch(self) -> mathopt.Variable:
        """Return a variable that is 0 or 1; a share where whole numbers are not asked for."""
        return self.model.add_variable(lb=0, ub=1, is_integer=self.whole)

    def share(self) -> mathopt.Variable:
        """Return a variable from 0 to 1."""
        return self.model.add_variable(lb=0, ub=1)

    def length(self) -> mathopt.Variable:
        """Return a variable from 0 on."""
        return self.model.add_variable(lb=0)

    def add(self, constraint: mathopt.BoundedLinearTypes) -> None:
        """Add one linear constraint."""
        self.model.add_linear_constraint(constraint)

    def scaled(self, metric: MetricName, value: float) -> float:
        """Return an amount of a metric in the model's units; accuracy: minus its logarithm."""
        if metric == "accuracy":
            return -math.log(value) if value > 0 else math.inf
        return value * self.units.get(metric, 1.0)

    def unscaled(self, metric: MetricName, value: float) -> float:
        """Return a bound in base units, less what the solver's tolerances may have added."""
        if metric == "accuracy":
            return min(1.0, math.exp(SAFETY - value))
        return max(0.0, value - SAFETY * max(1.0, abs(value))) / self.units.get(metric, 1.0)

    def amount(self, metric: MetricName, percentile: int = 0) -> mathopt.LinearTypes:
        """Return a metric as an expression in the model's units."""
        match metric:
            case "latency":
                return self.makespans[percentile]
            case "gpus":
                return self.gpus
            case "accuracy":
                return self._loss()
        energy, unit = metric == "energy", self.units[metric]
        total = self._total(
            [
                [unit * (mode.energy_j if energy else mode.usd) for mode in step.modes]
                for step in self.problem.steps
            ]
        )
        for e in self.resident:
            engine = self.problem.engines[e]
            once = engine.startup_j if energy else engine.startup_usd
            rate = (engine.idle_w if energy else engine.usd_per_s) / self.second
            total += unit * once * self.used[e] + unit * rate * self.held[e]
        return total

    def _loss(self) -> mathopt.LinearSum:
        from ortools.math_opt.python import mathopt

        measured = self.problem.accuracies
        if measured is None:
            return self._total([[loss(m.quality) for m in s.modes] for s in self.problem.steps])
        rows = zip(measured.values(), self.rows, strict=True)
        return mathopt.LinearSum(loss(accuracy) * row for accuracy, row in rows)

    def _measured(self) -> None:
        """Let the steps' choices be one of the configurations that were measured."""
        from ortools.math_opt.python import mathopt

        self.add(mathopt.LinearSum(self.rows) == 1)
        for s, step in enumerate(self.problem.steps):
            for choice, numbers in self.problem.rows_with(s).items():
                modes = zip(self.chosen[s], step.modes, strict=True)
                mine = [x for x, mode in modes if mode.choice == choice]
                rows = mathopt.LinearSum(self.rows[number] for number in numbers)
                self.add(mathopt.LinearSum(mine) == rows)

    def _total(self, amounts: Sequence[Sequence[float]]) -> mathopt.LinearSum:
        from ortools.math_opt.python import mathopt

        return mathopt.LinearSum(
            amount * x
            for row, xs in zip(amounts, self.chosen, strict=True)
            for amount, x in zip(row, xs, strict=True)
            if amount
        )

    def emitting(self, step: int, wanted: int) -> mathopt.LinearSum:
        """Return how much of a step emits a class."""
        from ortools.math_opt.python import mathopt

        modes = zip(self.chosen[step], self.problem.steps[step].modes, strict=True)
        return mathopt.LinearSum(x for x, mode in modes if mode.emits == wanted)

    def _choice(self) -> None:
        """One mode a step that agrees with what earlier steps emit, one engine of a group."""
        from ortools.math_opt.python import mathopt

        if self.problem.accuracies is not None:
            self._measured()
        groups: dict[str, list[mathopt.Variable]] = {}
        for step, xs in zip(self.problem.steps, self.chosen, strict=True):
            self.add(mathopt.LinearSum(xs) == 1)
            for x, mode in zip(xs, step.modes, strict=True):
                for before, wanted in mode.when:
                    self.add(x <= self.emitting(before, wanted))
                if mode.engine is not None and mode.slots > self.problem.engines[mode.engine].slots:
                    self.add(x <= 0)
        for e in self.resident:
            groups.setdefault(self.problem.engines[e].group, []).append(self.used[e])
            self.add(self.prestarted[e] <= self.used[e])
        for alternatives in groups.values():
            self.add(mathopt.LinearSum(alternatives) <= 1)

    def _holding(self) -> None:
        """Hold an engine for each step on it, and for the work on it, with what comes before.

        The start-up, or the time before the first step on it, passes before its use.
        """
        from ortools.math_opt.python import mathopt

        problem, heads = self.problem, earliest_starts(self.problem)
        for e in self.resident:
            engine = problem.engines[e]
            area, literals, lead = [], [], engine.late_s
            for s, step in enumerate(problem.steps):
                mine = [
                    (x, mode.times[0].duration_s, mode.slots)
                    for x, mode in zip(self.chosen[s], step.modes, strict=True)
                    if mode.engine == e
                ]
                if not mine:
                    continue
                before = min(engine.late_s, heads[s])
                lead = min(lead, before)
                literals += [x for x, _, _ in mine]
                area += [seconds * slots / engine.slots * x for x, seconds, slots in mine]
                self.add(mathopt.LinearSum(x for x, _, _ in mine) <= self.used[e])
                length = mathopt.LinearSum(self.second * (before + d) * x for x, d, _ in mine)
                self.add(self.held[e] >= length)
            self.add(self.used[e] <= mathopt.LinearSum(literals))
            work = self.second * mathopt.LinearSum(area)
            self.add(self.held[e] >= work + self.second * lead * self.used[e])
            self.add(self.gpus >= engine.gpus * engine.replicas * self.used[e])

    def _limits(self) -> None:
        """Keep the limits that bound an amount from above; others only raise the optimum."""
        for limit in self.problem.limits:
            below = (">=", ">", "==") if limit.metric == "accuracy" else ("<=", "<", "==")
            value = self.scaled(limit.metric, limit.value)
            if limit.op not in below or not math.isfinite(value):
                continue
            amount, slack = self.amount(limit.metric, limit.percentile), SAFETY * max(1, abs(value))
            row = self.model.add_linear_constraint(amount <= value + slack)
            self.limiting.append((limit, row))
