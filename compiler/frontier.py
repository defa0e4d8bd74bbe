"""The frontier of a program over two metrics: one front half, many placements, a plan for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.diagnostics import CompileError, Diagnostic, InputError, did_you_mean
from ..ir.workflow import METRICS, PERCENTILES, MetricName, Module, Workflow
from ..passes.alternatives import alternatives
from ..passes.job.frontier import LEAST_POINTS, Axis
from ..passes.pipeline import print_pipeline, run_pipeline
from ..passes.place import Place, place_along
from ..passes.place import Point as Placed
from ..passes.readout import read_out
from ..targets.lower import prediction
from ..targets.plan import Alternative, Plan, Prediction
from .driver import Request, begin

# Differences of less are rounding.
_SAME = 1e-6
_KNOWN = f"metrics are {', '.join(METRICS)}"


@dataclass(frozen=True, slots=True)
class Point:
    """A plan on the frontier; `gap` is 0 where it is proved, None where nothing is known."""

    plan: Plan
    gap: float | None


@dataclass(frozen=True, slots=True)
class PlanFrontier:
    """Plans of one program, from the best in the first metric to the best in the second.

    `axes` are the metrics' names, `p95 latency`; `percentiles` go with them, for latency. Not
    `complete`: more points lie between, which were not looked for. `reference` is what `-O0` is
    predicted to take, where it meets the requirements.
    """

    metrics: tuple[MetricName, MetricName]
    percentiles: tuple[str, str]
    axes: tuple[str, str]
    points: tuple[Point, ...]
    complete: bool
    reference: Prediction | None
    warnings: tuple[Diagnostic, ...]

    def at(self, predicted: Prediction) -> tuple[float, float]:
        """Return the two metrics of a prediction, in base units."""
        one, other = zip(self.metrics, self.percentiles, strict=True)
        return predicted.of(*one), predicted.of(*other)


def compile_frontier(
    request: Request,
    metrics: str | None,
    most: int,
    sources: dict[str, str] | None = None,
    told: Callable[[], None] = lambda: None,
) -> PlanFrontier:
    """Compile a program to the plans of its frontier, `most` at the most.

    `metrics` are two names, `"p95 latency,cost"`; left out: latency, at the percentile that the
    workflow requires it at, and its first other objective, or energy. `told` is called with each
    plan that is found on the way. The plan of `compile_workflow` is among the points, or one that
    is no worse on both axes. Raises as `compile_workflow`
    does, and InputError for metrics that cannot be traded or a pipeline that does not choose.
    """
    if most < LEAST_POINTS:
        raise _unusable(f"a frontier has two ends: `--points` is at least {LEAST_POINTS}")
    begun = begin(request, {} if sources is None else sources)
    axes = _axes(metrics, begun.flow.sole())
    choosing = next((i for i, p in enumerate(begun.passes) if p == Place()), None)
    if choosing is None:
        raise _unusable(
            f"the pipeline `{print_pipeline(begun.passes)}` chooses nothing to trade",
            help="compile with -O2, or end the pipeline in `place`",
        )
    module = begun.through(begun.passes[:choosing], begun.context)
    try:
        found, beside, complete = place_along(module, begun.context, axes, most, told)
    except CompileError as error:
        raise begun.explained(error) from None

    def candidate(point: Placed) -> _Candidate:
        placed = read_out(module, point.formulation, point.placement)
        placed = run_pipeline(placed, begun.passes[choosing + 1 :], begun.context)
        others = alternatives(point.formulation, point.placement.modes)
        return _Candidate(placed, others, point.gap)

    candidates = [candidate(point) for point in found]
    for point in beside:
        candidates = _with(candidates, candidate(point), axes)
    reference, notes = begun.reference()
    if reference is not None and reference.may_be_plan:
        candidates = _with(candidates, _Candidate(reference.placed, {}, None), axes)
    plans = []
    for number, one in enumerate(candidates, start=1):
        title = f"point {number} of {len(candidates)} on the frontier of "
        title += " and ".join(_name(axis) for axis in axes)
        plans.append(begun.plan(one.placed, one.others, reference, (*notes, title)))
    return PlanFrontier(
        metrics=(axes[0].metric, axes[1].metric),
        percentiles=(PERCENTILES[axes[0].percentile], PERCENTILES[axes[1].percentile]),
        axes=(_name(axes[0]), _name(axes[1])),
        points=tuple(Point(plan, c.gap) for plan, c in zip(plans, candidates, strict=True)),
        complete=complete,
        reference=reference.predicted if reference is not None and reference.may_be_plan else None,
        warnings=begun.warnings(request, plans),
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    placed: Module
    others: Mapping[str, tuple[Alternative, ...]]
    gap: float | None


def _with(
    candidates: Sequence[_Candidate], also: _Candidate, axes: tuple[Axis, Axis]
) -> list[_Candidate]:
    """Put a plan among the points where no point is as good, and take out those it beats."""
    mine = _values(prediction(also.placed), axes)
    others = [_values(prediction(one.placed), axes) for one in candidates]
    if any(_as_good(values, mine) for values in others):
        return list(candidates)
    kept = [
        (values, one)
        for values, one in zip(others, candidates, strict=True)
        if not _as_good(mine, values)
    ]
    kept.append((mine, also))
    return [one for _, one in sorted(kept, key=lambda pair: pair[0])]


def _values(predicted: Prediction, axes: tuple[Axis, Axis]) -> tuple[float, ...]:
    """Return the metrics on the axes, the less the better."""
    amounts = (predicted.of(axis.metric, PERCENTILES[axis.percentile]) for axis in axes)
    signs = (-1.0 if axis.metric == "accuracy" else 1.0 for axis in axes)
    return tuple(a * sign for a, sign in zip(amounts, signs, strict=True))


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b + _SAME * max(abs(a), abs(b)) for a, b in zip(one, other, strict=True))


def _name(axis: Axis) -> str:
    """Return `cost`, `p95 latency`, `GPUs`."""
    if axis.metric == "latency":
        return f"{PERCENTILES[axis.percentile]} latency"
    return "GPUs" if axis.metric == "gpus" else axis.metric


def _axes(metrics: str | None, workflow: Workflow) -> tuple[Axis, Axis]:
    if metrics is None:
        others = (metric for metric in workflow.goals if metric != "latency")
        return _axis("latency", workflow), _axis(next(others, "energy"), workflow)
    names = [name.strip() for name in metrics.split(",")]
    if len(names) != 2:
        raise _unusable(f"`--metrics {metrics}`: a frontier is of two metrics", _KNOWN)
    one, other = (_axis(name, workflow) for name in names)
    if one.metric == other.metric:
        raise _unusable(f"`--metrics {metrics}`: `{one.metric}` is given twice", _KNOWN)
    return one, other


def _axis(name: str, workflow: Workflow) -> Axis:
    """Return the axis that `cost`, `latency` or `p95 latency` names."""
    *before, word = name.split() or [""]
    metric = next((metric for metric in METRICS if metric == word), None)
    if metric is None:
        raise _unusable(f"no metric `{name}`", did_you_mean(word, METRICS) or _KNOWN)
    if not before:
        stated = (need.percentile for need in workflow.requirements if need.metric == metric)
        return Axis(metric, PERCENTILES.index(next(stated, None) or PERCENTILES[0]))
    if metric != "latency" or len(before) > 1 or before[0] not in PERCENTILES:
        known = ", ".join(f"`{each} latency`" for each in PERCENTILES)
        raise _unusable(f"no metric `{name}`", f"metrics with a percentile are {known}")
    return Axis(metric, PERCENTILES.index(before[0]))


def _unusable(message: str, help: str | None = None) -> InputError:
    return InputError(Diagnostic("usage", message, help=help))
