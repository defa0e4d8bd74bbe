"""One epoch of a service as a (mixed-integer) linear programme: instances, routes, what waits.

Read top to bottom: data, variables, constraints, objective, solve, read-out. Requests of a class
that does not wait go through its columns in shares that are fixed for the epoch, and take instances
in the period in which they come. Those of a class that waits flow: what has begun by any time is
at most what has come, and at least what had come `wait_s` before, late requests apart; between the
ends of periods both are linear. Late ones are begun by the epoch's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .serviceproblem import (
    Backlog,
    Column,
    Engine,
    Epoch,
    EpochPlan,
    NoRoom,
    RequestClass,
    ServiceProblem,
    Variant,
)

if TYPE_CHECKING:
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

GAP = 5e-4  # relative, at which whole numbers are good enough
LACKING = 1e3  # a GPU that there is not costs this many times what the dearest does
TIME_LIMIT_S = 60.0  # a safety net: the gap is what ends a search
EPSILON = 1e-6  # of requests; what a solver leaves of zero


@dataclass(frozen=True, slots=True)
class Duals:
    """What a little more room would spare, of a linear programme's optimum.

    `second`: an instance-second of each engine in each period. `request`: what a request of each
    class costs, in each period where it waits, else in one entry for all requests of the epoch.
    """

    value: float
    second: tuple[tuple[float, ...], ...]  # by engine, by period
    request: tuple[tuple[float, ...], ...]  # by class
    fits: bool  # whether the hardware is enough


class EpochModel:
    """The programme of one epoch over the given columns of each class."""

    def __init__(
        self,
        problem: ServiceProblem,
        epoch: Epoch,
        columns: Sequence[Sequence[Column]],
        *,
        whole: bool,
    ) -> None:
        """Build it; `whole` asks for whole numbers of instances.

        Without them, hardware that lacks has a price beyond all others: other columns may do with
        less.
        """
        from ortools.math_opt.python import mathopt

        # data
        self.problem, self.epoch, self.columns = problem, epoch, columns
        self.periods = range(len(epoch.requests[0]) if epoch.requests else 0)
        self.model = mathopt.Model()
        # variables
        self.instances = [self._instance(e, whole) for e in problem.engines]
        held = epoch.held or (0,) * len(problem.engines)
        self.started = [self.model.add_variable(lb=0.0) for _ in problem.engines]
        for new, now, before in zip(self.started, self.instances, held, strict=True):
            self.model.add_linear_constraint(new >= now - before)
        self._lacking: list[mathopt.Variable] | None = None
        if not whole:
            self._lacking = [self.model.add_variable(lb=0.0) for _ in problem.pools]
        self.shares: dict[int, list[mathopt.Variable]] = {}
        self.flows: dict[int, _Flow] = {}
        # constraints
        self._load: list[list[list[mathopt.LinearTypes]]] = [
            [[] for _ in self.periods] for _ in problem.engines
        ]
        self._whole_share: dict[int, mathopt.LinearConstraint] = {}
        for k, kind in enumerate(problem.classes):
            if kind.waits:
                self._flow(k)
            else:
                self._immediate(k)
        self._room = [self._within(e) for e in range(len(problem.engines))]
        self._stand()
        # objective
        self.model.minimize(self._objective())

    def _instance(self, engine: Engine, whole: bool) -> mathopt.Variable:
        most = float("inf") if engine.most is None else float(engine.most)
        if whole:
            return self.model.add_integer_variable(lb=0, ub=most)
        return self.model.add_variable(lb=0.0, ub=most)

    # ---- constraints

    def _immediate(self, k: int) -> None:
        from ortools.math_opt.python import mathopt

        shares = [self.model.add_variable(lb=0.0, ub=1.0) for _ in self.columns[k]]
        self.shares[k] = shares
        self._whole_share[k] = self.model.add_linear_constraint(mathopt.LinearSum(shares) == 1.0)
        for column, share in zip(self.columns[k], shares, strict=True):
            for engine, busy_s in column.busy:
                for t in self.periods:
                    requests = self.epoch.requests[k][t]
                    if requests:
                        self._load[engine][t].append(busy_s * requests * share)

    def _flow(self, k: int) -> None:
        backlog = self.epoch.backlog[k] if self.epoch.backlog else Backlog()
        flow = _Flow(self, k, backlog)
        self.flows[k] = flow
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
        for engine, n, new in zip(self.problem.engines, self.instances, self.started, strict=True):
            held, start = engine_price(self.problem, engine, self.epoch.duration_s)
            terms += [held * n, start * new]
        for k, shares in self.shares.items():
            requests = sum(self.epoch.requests[k])
            for column, share in zip(self.columns[k], shares, strict=True):
                terms.append(requests * direct_price(self.problem, column) * share)
        for k, flow in self.flows.items():
            for column, begun in zip(self.columns[k], flow.begun, strict=True):
                terms += [direct_price(self.problem, column) * b for b in begun]
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

    def relaxed(self) -> Duals:
        """Solve the linear programme; whole numbers must not have been asked for."""
        from ortools.math_opt.python import mathopt

        result = mathopt.solve(self.model, mathopt.SolverType.HIGHS, params=_parameters())
        self._check(result)
        requests = [
            tuple(
                result.dual_values(flow.balance)
                if (flow := self.flows.get(k)) is not None
                else [result.dual_values(self._whole_share[k])]
            )
            for k in range(len(self.problem.classes))
        ]
        seconds = tuple(tuple(-x for x in result.dual_values(row)) for row in self._room)
        lacking = sum(result.variable_values(self._lacking or []))
        return Duals(result.objective_value(), seconds, tuple(requests), lacking < EPSILON)

    def solve(self, bound: float | None = None, gap: float = GAP) -> EpochPlan:
        """Return the best plan; `bound` is a lower one known, where not all columns are here."""
        from ortools.math_opt.python import mathopt

        result = mathopt.solve(self.model, mathopt.SolverType.GSCIP, params=_parameters(gap))
        self._check(result)
        optimal = result.termination.reason == mathopt.TerminationReason.OPTIMAL
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
        instances = tuple(round(x) for x in result.variable_values(self.instances))
        served: list[tuple[tuple[float, ...], ...]] = []
        for k in range(len(self.problem.classes)):
            if k in self.flows:
                amounts = [result.variable_values(b) for b in self.flows[k].begun]
                rows = tuple(tuple(_clean(x) for x in row) for row in amounts)
            else:
                shares = result.variable_values(self.shares[k])
                requests = self.epoch.requests[k]
                rows = tuple(tuple(_clean(s * r) for r in requests) for s in shares)
            served.append(rows)
        held = self.epoch.held or (0,) * len(instances)
        started = tuple(max(n - before, 0) for n, before in zip(instances, held, strict=True))
        usd, energy_j = totals(self.problem, self.epoch, instances, started, self.columns, served)
        return EpochPlan(
            instances=instances,
            columns=tuple(tuple(found) for found in self.columns),
            served=tuple(served),
            usd=usd,
            energy_j=energy_j,
            value=result.objective_value(),
            bound=min(bound, result.objective_value()),
            status=status,
            backlog=tuple(
                self.flows[k].backlog(result) if k in self.flows else Backlog()
                for k in range(len(self.problem.classes))
            ),
        )


class _Flow:
    """The requests of a class that waits: what has come, what has begun, what is late.

    All amounts are in requests since the epoch began, at the ends of periods, with what waited
    before it in the first place.
    """

    def __init__(self, owner: EpochModel, k: int, backlog: Backlog) -> None:
        from ortools.math_opt.python import mathopt

        self.model, self.epoch = owner.model, owner.epoch
        self.kind: RequestClass = owner.problem.classes[k]
        self.requests = self.epoch.requests[k]
        self.before = backlog.came()  # what was there to begin, at the ends of past periods
        count = len(self.requests)
        self.came = [backlog.waiting]
        for requests in self.requests:
            self.came.append(self.came[-1] + requests)
        new = self.model.add_variable
        self.begun = [[new(lb=0.0) for _ in range(count)] for _ in owner.columns[k]]
        # sums up to the end of each period, from 0: on-time ones begun, late ones, those begun
        self.punctual: list[mathopt.LinearTypes] = [0.0, *(new(lb=0.0) for _ in range(count))]
        self.late: list[mathopt.LinearTypes] = [0.0, *(new(lb=0.0) for _ in range(count))]
        self.caught_up: list[mathopt.LinearTypes] = [0.0, *(new(lb=0.0) for _ in range(count))]
        add = self.model.add_linear_constraint
        self.balance = []
        for t in range(count):
            for series in (self.punctual, self.late, self.caught_up):
                add(series[t + 1] - series[t] >= 0.0)
            add(self.late[t + 1] - self.late[t] <= self.requests[t])
            done = self.punctual[t + 1] - self.punctual[t] + self.caught_up[t + 1]
            total = mathopt.LinearSum(b[t] for b in self.begun)
            self.balance.append(add(total - done + self.caught_up[t] == 0.0))
            add(self.punctual[t + 1] + self.late[t + 1] <= self.came[t + 1])
            add(self.caught_up[t + 1] - self.late[t + 1] <= 0.0)
        add(self.caught_up[count] - self.late[count] == 0.0)
        add(self.late[count] <= self.kind.late * sum(self.requests))
        self._in_time(count)

    def _in_time(self, count: int) -> None:
        """Have begun at any time what had come `wait_s` before: at every bend of either line."""
        wait = self.kind.wait_s / self.epoch.period_s
        add = self.model.add_linear_constraint
        for t in range(1, count + 1):
            due, late = self._due(t - wait)
            add(self.punctual[t] >= due - late)
        part = wait % 1.0
        for t in range(count) if part else ():
            end = t + wait
            if end >= count:
                break
            i = int(end)
            done = (1 - part) * self.punctual[i] + part * self.punctual[i + 1]
            due, late = self._due(t)
            add(done >= due - late)
        if self.epoch.last:
            add(self.punctual[count] + self.late[count] >= self.came[count])

    def _due(self, at: float) -> tuple[float, mathopt.LinearTypes]:
        """Return what had come by a time, in periods, and the late ones of it."""
        if at < 0:
            back = min(int(-at), len(self.before) - 1)
            return self.before[-1 - back], 0.0  # at the start of that period, or sooner: no more
        i = int(at)
        part = at - i
        if not part:
            return self.came[i], self.late[i]
        came = (1 - part) * self.came[i] + part * self.came[i + 1]
        return came, (1 - part) * self.late[i] + part * self.late[i + 1]

    def left(self) -> mathopt.LinearTypes:
        """Return the requests left to the next epoch."""
        return self.came[-1] - self.punctual[-1] - self.late[-1]

    def backlog(self, result: mathopt.SolveResult) -> Backlog:
        """Return what is left to the next epoch."""
        late = [0.0, *result.variable_values(self.late[1:])]
        punctual = result.variable_values(self.punctual[-1])
        waiting = max(self.came[-1] - punctual - late[-1], 0.0)
        keep = int(self.kind.wait_s / self.epoch.period_s) + 1
        recent = [
            max(requests - (late[t + 1] - late[t]), 0.0) for t, requests in enumerate(self.requests)
        ][-keep:]
        return Backlog(0.0 if waiting < EPSILON else waiting, tuple(recent))


def no_room(problem: ServiceProblem) -> NoRoom:
    """Return the error of requests that the hardware cannot serve."""
    pools = ", ".join(f"{pool.gpus} GPUs of `{pool.name}`" for pool in problem.pools if pool.gpus)
    return NoRoom(f"the requests need more than there is ({pools or 'no GPUs'})")


def engine_price(problem: ServiceProblem, engine: Engine, held_s: float) -> tuple[float, float]:
    """Return what holding an instance so long adds to the objective, and what starting it does."""
    match problem.objective:
        case "cost":
            return engine.usd_per_s * held_s, engine.usd_per_s * engine.startup_s
        case "energy":
            return engine.idle_w * held_s, engine.idle_w * engine.startup_s
    return float(engine.gpus), 0.0


def direct_price(problem: ServiceProblem, item: Column | Variant) -> float:
    """Return what a request adds to the objective beyond the instances."""
    match problem.objective:
        case "cost":
            return item.usd
        case "energy":
            return item.energy_j
    return 0.0


def totals(
    problem: ServiceProblem,
    epoch: Epoch,
    instances: Sequence[int],
    started: Sequence[int],
    columns: Sequence[Sequence[Column]],
    served: Sequence[Sequence[Sequence[float]]],
) -> tuple[float, float]:
    """Return the dollars and joules of an epoch, start-ups included."""
    usd = energy_j = 0.0
    for engine, n, new in zip(problem.engines, instances, started, strict=True):
        held_s = n * epoch.duration_s + new * engine.startup_s
        usd += engine.usd_per_s * held_s
        energy_j += engine.idle_w * held_s
    for found, rows in zip(columns, served, strict=True):
        for column, row in zip(found, rows, strict=True):
            usd += column.usd * sum(row)
            energy_j += column.energy_j * sum(row)
    return usd, energy_j


def _clean(amount: float) -> float:
    return 0.0 if amount < EPSILON else amount


def _parameters(gap: float | None = None) -> mathopt.SolveParameters:
    import datetime

    from ortools.math_opt.python import mathopt

    return mathopt.SolveParameters(
        relative_gap_tolerance=gap,
        random_seed=1,
        time_limit=datetime.timedelta(seconds=TIME_LIMIT_S),
    )
