"""The constraint model of one job: data, variables, constraints, and metrics as expressions.

Times are whole ticks, energy and money whole units of a size fitted to the problem (`Scale`).
Durations round up, so that what the model holds feasible is feasible.

Every engine in use has a *hold*, an interval from its start to its last use. Strengthening beyond
the definition: a hold is at least as long as the work on the engine divided by its slots, plus what
passes before its first use can begin; and node capacity also holds summed over a pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from ...ir.workflow import MetricName
from .capacity import PEAK, constrain_capacity, gpus_sentence
from .cuts import bound_holds
from .exact import exact_holds, exact_makespan, exact_peaks
from .problem import Limit, Placement, Problem, loss
from .scale import LOG_UNITS, Scale
from .timeline import busy_replicas

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

WHOLE = 80  # steps up to which solvers put engines' and nodes' capacity over time into the model


@dataclass(slots=True)
class Track:
    """The timeline at one percentile."""

    starts: list[cp_model.IntVar] = field(default_factory=list)
    ends: list[cp_model.IntVar] = field(default_factory=list)
    hold_from: dict[int, cp_model.IntVar] = field(default_factory=dict)
    hold_to: dict[int, cp_model.IntVar] = field(default_factory=dict)
    held: dict[int, cp_model.IntVar] = field(default_factory=dict)
    makespan: cp_model.IntVar | None = None


class JobModel:
    """Variables and constraints of a problem; limits are added one by one by `limit`."""

    def __init__(
        self,
        problem: Problem,
        scale: Scale,
        percentiles: Sequence[int],
        waived: frozenset[str] = frozenset(),
        relaxed: bool = False,
    ) -> None:
        """Build everything but limits and objective; `percentiles` get a timeline each.

        `relaxed` leaves out what engines and nodes can take at a time: every placement meets it, so
        that its bounds hold, and it stays small with a thousand steps.

        `waived` are capacities that need not hold, by their sentences. `capacities` are the
        sentences of those that could be exceeded.
        """
        from ortools.sat.python import cp_model

        self.problem, self.scale = scale.in_ticks(problem), scale
        self.model = cp_model.CpModel()
        self.percentiles = tuple(percentiles)
        self.waived = waived
        self.capacities: dict[str, None] = {}
        self._variables()
        self._choice()
        bound_holds(self)
        for percentile in self.percentiles:
            self._precedence(percentile)
        self._postponed()
        if relaxed:
            for e in self.seated:
                gpus = problem.engines[e].gpus * problem.engines[e].replicas
                self.model.add(sum(self.peaks.values()) >= gpus * self.used[e])
            return
        for percentile in self.percentiles:
            self._engines(percentile)
            constrain_capacity(self, percentile)

    # -- variables --------------------------------------------------------------------------

    def _variables(self) -> None:
        model, problem = self.model, self.problem
        self.chosen = [
            [model.new_bool_var(f"x{s}.{m}") for m in range(len(step.modes))]
            for s, step in enumerate(problem.steps)
        ]
        # the modes of each step by engine
        self.on: dict[int, dict[int, list[int]]] = {}
        for s, step in enumerate(problem.steps):
            for m, mode in enumerate(step.modes):
                if mode.engine is not None:
                    self.on.setdefault(mode.engine, {}).setdefault(s, []).append(m)
        self.resident = [e for e in sorted(self.on) if problem.engines[e].resident]
        self.used = {e: model.new_bool_var(f"used{e}") for e in self.resident}
        self.prestarted = {e: model.new_bool_var(f"pre{e}") for e in self.resident}
        self.seated = {
            e: [
                model.new_int_var(0, problem.engines[e].replicas, f"seat{e}.{n}")
                for n in range(problem.pools[problem.engines[e].pool].nodes)
            ]
            for e in self.resident
            if problem.engines[e].pool >= 0
        }
        self.run_seated: dict[tuple[int, int], list[cp_model.IntVar]] = {}
        for e in sorted(self.on):
            engine = problem.engines[e]
            if engine.resident or engine.pool < 0 or problem.pools[engine.pool].nodes == 1:
                continue
            for s, modes in self.on[e].items():
                for m in modes:
                    self.run_seated[s, m] = [
                        model.new_int_var(0, engine.replicas, f"run{s}.{m}.{n}")
                        for n in range(problem.pools[engine.pool].nodes)
                    ]
        # which of the measured configurations it is
        self.rows = [
            model.new_bool_var(f"row{number}") for number in range(len(problem.accuracies or ()))
        ]
        self.tracks = {p: self._track(p) for p in self.percentiles}
        self.runs: dict[tuple[int, int, int], cp_model.IntervalVar] = {}
        self.peaks = {
            (k, n): model.new_int_var(
                0, PEAK if gpus_sentence(pool) in self.waived else pool.gpus, f"peak{k}.{n}"
            )
            for k, pool in enumerate(problem.pools)
            for n in range(pool.nodes if pool.gpus else 0)
        }

    def horizon(self, percentile: int) -> int:
        """Return a makespan in ticks that no sensible plan exceeds: one step after the other."""
        total = sum(
            max(m.times[percentile].duration_s + m.times[percentile].last_s for m in step.modes)
            for step in self.problem.steps
        )
        return int(total) + sum(int(self.problem.engines[e].late_s) for e in self.resident)

    def _track(self, percentile: int) -> Track:
        model, horizon, track = self.model, self.horizon(percentile), Track()
        for s in range(len(self.problem.steps)):
            track.starts.append(model.new_int_var(0, horizon, f"start{s}@{percentile}"))
            track.ends.append(model.new_int_var(0, horizon, f"end{s}@{percentile}"))
        for e in self.resident:
            track.hold_from[e] = model.new_int_var(0, horizon, f"from{e}@{percentile}")
            track.hold_to[e] = model.new_int_var(0, horizon, f"to{e}@{percentile}")
            track.held[e] = model.new_int_var(0, horizon, f"held{e}@{percentile}")
            model.add(track.hold_from[e] + track.held[e] == track.hold_to[e])
        track.makespan = model.new_int_var(0, horizon, f"makespan@{percentile}")
        for end in track.ends:
            model.add(track.makespan >= end)
        return track

    # -- constraints ------------------------------------------------------------------------

    def _choice(self) -> None:
        """One mode a step, agreeing with what earlier steps emit, on one engine of a group."""
        model, problem = self.model, self.problem
        for step, literals in zip(problem.steps, self.chosen, strict=True):
            model.add_exactly_one(literals)
            for mode, literal in zip(step.modes, literals, strict=True):
                for before, wanted in mode.when:
                    emitting = [
                        x
                        for x, m in zip(
                            self.chosen[before], problem.steps[before].modes, strict=True
                        )
                        if m.emits == wanted
                    ]
                    model.add_bool_or([literal.negated(), *emitting])
                if mode.engine is not None and mode.slots > problem.engines[mode.engine].slots:
                    model.add(literal == 0)
        self._measured()
        groups: dict[str, list[cp_model.IntVar]] = {}
        for e in self.resident:
            used = self.used[e]
            literals = [self.chosen[s][m] for s, modes in self.on[e].items() for m in modes]
            model.add_bool_or([used.negated(), *literals])
            for s, modes in self.on[e].items():
                model.add(sum(self.chosen[s][m] for m in modes) <= used)
            model.add_implication(self.prestarted[e], used)
            if problem.engines[e].standing:
                model.add_implication(used, self.prestarted[e])
            groups.setdefault(problem.engines[e].group, []).append(used)
            if e in self.seated:
                model.add(sum(self.seated[e]) == problem.engines[e].replicas * used)
        for alternatives in groups.values():
            model.add_at_most_one(alternatives)
        for (s, m), counts in self.run_seated.items():
            mode = problem.steps[s].modes[m]
            assert mode.engine is not None
            need = busy_replicas(problem.engines[mode.engine], mode.slots)
            model.add(sum(counts) == need * self.chosen[s][m])

    def _measured(self) -> None:
        """Let the steps' choices be one of the configurations that were measured.

        The table as equations between literals: its linear relaxation is its convex hull.
        """
        if self.problem.accuracies is None:
            return
        self.model.add_exactly_one(self.rows)
        for s, step in enumerate(self.problem.steps):
            for choice, numbers in self.problem.rows_with(s).items():
                modes = zip(self.chosen[s], step.modes, strict=True)
                mine = [literal for literal, mode in modes if mode.choice == choice]
                self.model.add(sum(mine) == sum(self.rows[number] for number in numbers))

    def total(self, step: int, amounts: Sequence[float]) -> cp_model.LinearExpr:
        """Return the amount of the chosen mode of a step; `amounts` are whole numbers."""
        from ortools.sat.python import cp_model

        whole = [int(amount) for amount in amounts]
        return cp_model.LinearExpr.weighted_sum(self.chosen[step], whole)

    def _postponed(self) -> None:
        """Start no step earlier at a higher percentile: what a plan starts late, it starts late.

        Costs no placement: the starts of a higher percentile do for a lower one, whose steps only
        take less.
        """
        for lower, higher in pairwise(sorted(self.percentiles)):
            starts = zip(self.tracks[lower].starts, self.tracks[higher].starts, strict=True)
            for earlier, later in starts:
                self.model.add(later >= earlier)

    def _precedence(self, p: int) -> None:
        model, track = self.model, self.tracks[p]
        for s, step in enumerate(self.problem.steps):
            duration = self.total(s, [m.times[p].duration_s for m in step.modes])
            if step.streams:
                model.add(track.ends[s] - track.starts[s] >= duration)
            else:
                model.add(track.ends[s] - track.starts[s] == duration)
            for before in step.after:
                model.add(track.starts[s] >= track.ends[before])
            last = self.total(s, [m.times[p].last_s for m in step.modes])
            for before in step.streams:
                modes = self.problem.steps[before].modes
                first = self.total(before, [m.times[p].first_s for m in modes])
                model.add(track.starts[s] >= track.starts[before] + first)
                model.add(track.ends[s] >= track.ends[before] + last)

    def _engines(self, p: int) -> None:
        """Slots, and the hold of every resident engine around its steps."""
        model, track = self.model, self.tracks[p]
        lengths: dict[int, cp_model.IntVar] = {}  # of steps that inputs may hold up
        for s, step in enumerate(self.problem.steps):
            if step.streams:
                lengths[s] = model.new_int_var(0, self.horizon(p), f"length{s}@{p}")
                model.add(track.starts[s] + lengths[s] == track.ends[s])
        for e, steps in self.on.items():
            engine = self.problem.engines[e]
            slots: list[int] = []
            for s, modes in steps.items():
                for m in modes:
                    literal, mode = self.chosen[s][m], self.problem.steps[s].modes[m]
                    size = lengths.get(s, int(mode.times[p].duration_s))
                    run = model.new_optional_interval_var(
                        track.starts[s], size, track.ends[s], literal, f"run{s}.{m}@{p}"
                    )
                    self.runs[p, s, m] = run
                    slots.append(mode.slots)
                    if not engine.resident:
                        continue
                    model.add(track.hold_to[e] >= track.ends[s]).only_enforce_if(literal)
                    up = int(engine.late_s)
                    model.add(track.hold_from[e] <= track.starts[s]).only_enforce_if(literal)
                    if up:
                        model.add(track.hold_from[e] + up <= track.starts[s]).only_enforce_if(
                            literal, self.prestarted[e].negated()
                        )
            most = sum(
                max(self.problem.steps[s].modes[m].slots for m in ms) for s, ms in steps.items()
            )
            if most > engine.slots:
                runs = [self.runs[p, s, m] for s, modes in steps.items() for m in modes]
                model.add_cumulative(runs, slots, engine.slots)
            if engine.standing and track.makespan is not None:
                model.add(track.hold_to[e] >= track.makespan).only_enforce_if(self.used[e])
            if engine.resident:
                model.add(track.hold_from[e] == 0).only_enforce_if(self.prestarted[e])
                for bound in (track.hold_from[e], track.hold_to[e]):
                    model.add(bound == 0).only_enforce_if(self.used[e].negated())

    # -- metrics ----------------------------------------------------------------------------

    def metric(self, metric: MetricName, percentile: int = 0) -> cp_model.LinearExprT:
        """Return a metric as a linear expression in its units; accuracy: minus its logarithm."""
        match metric:
            case "latency":
                makespan = self.tracks[percentile].makespan
                assert makespan is not None
                return makespan
            case "gpus":
                return sum(self.peaks.values())
            case "accuracy" if self.problem.accuracies is not None:
                accuracies = self.problem.accuracies.values()
                return sum(
                    round(loss(accuracy) * LOG_UNITS) * row
                    for accuracy, row in zip(accuracies, self.rows, strict=True)
                )
            case "accuracy":
                return sum(
                    self.total(s, [round(loss(m.quality) * LOG_UNITS) for m in step.modes])
                    for s, step in enumerate(self.problem.steps)
                )
        unit, energy = self.scale.unit(metric), metric == "energy"
        parts: list[cp_model.LinearExpr] = [
            self.total(s, [round((m.energy_j if energy else m.usd) / unit) for m in step.modes])
            for s, step in enumerate(self.problem.steps)
        ]
        track = self.tracks[0]
        for e in self.resident:
            engine = self.problem.engines[e]
            once = engine.startup_j if energy else engine.startup_usd
            rate = (engine.idle_w if energy else engine.usd_per_s) * self.scale.tick_s
            held = track.held[e]
            parts += [round(once / unit) * self.used[e], round(rate / unit) * held]
        return sum(parts)

    def limit(self, limit: Limit) -> None:
        """Add a limit."""
        expression = self.metric(limit.metric, limit.percentile)
        if limit.metric == "accuracy":
            value = -math.log(limit.value) * LOG_UNITS if limit.value > 0 else math.inf
            op = limit.op.translate(str.maketrans("<>", "><"))
            slack = float(len(self.problem.steps))
        else:
            value, op = limit.value / self.scale.unit(limit.metric), limit.op
            slack = 1e-6 * abs(value)
        value = min(value, 2.0**50)
        # beyond the value itself by one unit, the least that the model tells apart
        above, below = math.floor(value + slack), math.ceil(value - slack)
        if op in ("<", ">"):
            above, below = math.ceil(value) - 1, math.floor(value) + 1
        if op in ("<=", "<", "=="):
            self.model.add(expression <= above)
        if op in (">=", ">", "=="):
            if limit.metric == "latency":
                exact_makespan(self, limit.percentile)
            elif limit.metric == "gpus":
                exact_peaks(self)
            elif limit.metric != "accuracy":
                exact_holds(self)
            self.model.add(expression >= below)
        if op == "!=" and limit.metric == "gpus":  # of other figures, each exact value is unlikely
            exact_peaks(self)
            self.model.add(expression != round(value))

    def hint(self, found: Placement) -> None:
        """Start the search from a placement laid out in ticks (`Scale.in_ticks`)."""
        model, track = self.model, self.tracks[0]
        model.clear_hints()  # type: ignore[no-untyped-call]
        for literals, index in zip(self.chosen, found.modes, strict=True):
            for m, literal in enumerate(literals):
                model.add_hint(literal, m == index)
        for s, (start, end) in enumerate(zip(found.starts_s, found.ends_s, strict=True)):
            model.add_hint(track.starts[s], round(start))
            model.add_hint(track.ends[s], round(end))
        holds = {hold.engine: hold for hold in found.holds}
        for e in self.resident:
            hold = holds.get(e)
            model.add_hint(self.used[e], hold is not None)
            model.add_hint(self.prestarted[e], hold is not None and hold.prestarted)
            model.add_hint(track.hold_from[e], round(hold.start_s) if hold else 0)
            model.add_hint(track.hold_to[e], round(hold.end_s) if hold else 0)
            for n, count in enumerate(self.seated.get(e, ())):
                seats = [node for node, _ in hold.replicas] if hold else []
                model.add_hint(count, seats.count(n))

    def seats_of_run(self, step: int, mode: int) -> list[cp_model.IntVar] | list[int]:
        """Return how many replicas of a transient engine run on each node for a mode of a step."""
        if (step, mode) in self.run_seated:
            return self.run_seated[step, mode]
        chosen = self.problem.steps[step].modes[mode]
        assert chosen.engine is not None
        return [busy_replicas(self.problem.engines[chosen.engine], chosen.slots)]

    def keep(self, solver: cp_model.CpSolver) -> None:
        """Start the next search from a solution."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        for index, value in enumerate(solver.response_proto.solution):
            self.model.add_hint(self.model.get_int_var_from_proto_index(index), value)
