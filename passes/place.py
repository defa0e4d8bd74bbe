"""Place: one joint choice of executors, knobs, optional work, engines, hardware and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ..ir.diagnostics import CompileError, Diagnostic
from ..ir.ops import Level, attributes
from ..ir.workflow import TIERS, Module, Requirement, Workflow
from .base import Context, Pass
from .formulate import Formulation, expected, formulate
from .job.problem import Conflict, Infeasible, Nearest, Placement, stated
from .job.schedule import TOLERANCE
from .readout import read_out
from .reference import reference_modes, serial

if TYPE_CHECKING:
    from .job.frontier import Axis
    from .modes import Way

POLICIES = ("optimal", "reference", "sequential")
# Where the value of a strict requirement must lie, given the best that can be had.
_BESIDE = {"<": "above", ">": "below"}


@dataclass(frozen=True)
class Place(Pass):
    """Turn a logical module into a placed one.

    `policy="optimal"` solves the joint problem with CP-SAT and keeps its proof. `"reference"` takes
    the best executor of every step, engines of its own for each, up to 32 items of a `for` at
    once: what an idiomatic asynchronous framework does (`-O0`); `"sequential"` is that, one call at
    a time. Both ignore requirements. Refuses, in the author's words, a program whose requirements
    cannot be met. With `failover`, steps on servers get substitutes, where there are any
    (passes/failover.py); run `substitute{prune=false}` before it, which keeps what no plan needs.
    """

    name: ClassVar[str] = "place"
    needs: ClassVar[Level] = "logical"
    policy: str = "optimal"
    failover: bool = False

    def __post_init__(self) -> None:
        """Refuse a policy that does not exist."""
        if self.policy not in POLICIES:
            raise ValueError(f"`policy` is one of {', '.join(POLICIES)}, not `{self.policy}`")

    def run(self, module: Module, context: Context) -> Module:
        """Return the placed module."""
        if module.level == "placed":
            return module
        if self.policy == "optimal":
            formulation, placement = optimal(module, context)
        else:
            formulation, placement = _fixed(module, context, self.policy)
        if context.decided is not None:
            context.decided(formulation, placement)
        spare: Mapping[str, Way] = {}
        if self.failover:
            from .failover import failovers

            spare = failovers(
                module,
                context,
                formulation,
                placement,
                context.reporter(self),
                reference=self.policy != "optimal",
            )
        placed = read_out(module, formulation, placement, spare)
        if self.policy != "sequential":
            return placed
        return replace(placed, attrs=attributes({**dict(placed.attrs), "sequential": True}))


def optimal(
    module: Module, context: Context, *, explaining: bool = True
) -> tuple[Formulation, Placement]:
    """Return the best plan whose steps share engines, or one with engines apart that is better.

    A service is planned by the planner of services, where that finds a plan. Raises CompileError
    where requirements cannot be met; why that is takes a while to find out, and is left out unless
    `explaining`.
    """
    from .apart import apart
    from .job.solver import solve
    from .turns import take_turns

    rate = expected(module.sole(), "rate")
    if rate is not None:
        from .service.placing import serve

        served = serve(module, context, rate)
        if served is not None:
            return served
    formulation = formulate(module, context)
    try:
        shared = solve(formulation.problem, budget=context.effort, explaining=explaining)
    except Infeasible as error:
        found = take_turns(formulation, None, context.effort)
        found = found or apart(module, context, None, error.conflict)
        if found is None:
            raise _explained(module.sole(), error.conflict, formulation) from None
    else:
        found = apart(module, context, shared, None) or (formulation, shared)
    return take_turns(*found, context.effort) or found


@dataclass(frozen=True, slots=True)
class Point:
    """A placement on a frontier; `gap` is None where it is not known how far it is proved."""

    formulation: Formulation
    placement: Placement
    gap: float | None


def place_along(
    module: Module,
    context: Context,
    axes: tuple[Axis, Axis],
    most: int,
    told: Callable[[], None],
) -> tuple[list[Point], list[Point], bool]:
    """Return the frontier of a module's placements, others beside it, and whether it is whole.

    The frontier is of placements whose steps share engines. Those beside it have engines apart or
    that take turns: what `Place` would choose, and what is better at the ends. `most` bounds the
    points of the frontier; `told` is called with each point found. Refuses, like `Place`,
    requirements that cannot be met.
    """
    from .job.frontier import frontier

    formulation = formulate(module, context)
    try:
        found = frontier(formulation.problem, axes, most=most, budget=context.effort, told=told)
    except Infeasible:
        return [Point(*optimal(module, context), None)], [], True
    points = [Point(formulation, point, found.gap(point)) for point in found.points]
    if formulation.problem.standing:
        return points, [], found.complete  # engines of a service stand all the time
    beside = [Point(*optimal(module, context), None)]
    workflow = module.sole()
    for axis, end in zip(axes, (found.points[0], found.points[-1]), strict=True):
        aimed = replace(module, workflows=(replace(workflow, goals=(axis.metric,)),))
        beside += [Point(*each, None) for each in _beyond(aimed, context, formulation, end)]
    return points, beside, found.complete


def _beyond(
    module: Module, context: Context, formulation: Formulation, end: Placement
) -> Iterator[tuple[Formulation, Placement]]:
    """Yield what engines apart or in turns make of an end of the frontier, where it is better."""
    from .apart import apart
    from .turns import take_turns

    objectives = module.sole().objectives
    problem = replace(formulation.problem, objectives=objectives)
    found = apart(module, context, end, None)
    if found is not None:
        yield found
    slept = take_turns(*(found or (replace(formulation, problem=problem), end)), context.effort)
    if slept is not None:
        yield slept


def _fixed(module: Module, context: Context, policy: str) -> tuple[Formulation, Placement]:
    from .job.schedule import Reason, evaluate

    formulation = formulate(module, context, prune=False, reference=True)
    problem = formulation.problem
    if policy == "sequential":
        problem = serial(problem)
        formulation = replace(formulation, problem=problem)
    found = evaluate(problem, reference_modes(formulation, policy))
    if isinstance(found, Reason):
        raise CompileError(
            [
                Diagnostic(
                    "reference-does-not-fit",
                    f"the best executors, an engine each, do not fit: {found.text}",
                    module.sole().loc,
                    help="compile with -O2, which shares engines and chooses smaller models",
                )
            ]
        )
    return formulation, replace(found, status="fixed", bounds=())


def _explained(workflow: Workflow, conflict: Conflict, formulation: Formulation) -> CompileError:
    """Say which requirements and resources conflict, and what would be feasible."""
    conflicts = (conflict, *conflict.further)
    return CompileError([_finding(workflow, each, formulation) for each in conflicts])


def _finding(workflow: Workflow, conflict: Conflict, formulation: Formulation) -> Diagnostic:
    stated = {need.text: need for need in workflow.requirements}
    blamed = [stated[reason] for reason in conflict.reasons if reason in stated]
    reasons = " and ".join(_reason(reason, stated, formulation) for reason in conflict.reasons)
    hints = [_nearest(conflict, nearest, formulation) for nearest in conflict.nearest]
    what = "cannot all be met" if len(conflict.reasons) > 1 else "cannot be met"
    if not conflict.proved:
        what = "may be met, but no placement was found within the solver's limit"
    place = blamed[0].loc if blamed else workflow.loc
    return Diagnostic("infeasible", f"{reasons} {what}", place, help="; ".join(hints) or None)


def _nearest(conflict: Conflict, nearest: Nearest, formulation: Formulation) -> str:
    """Say at what value a requirement would be feasible."""
    limit = next(x for x in formulation.problem.limits if x.text == nearest.text)
    value = _readable(nearest.text, _kept_feasible(nearest.value, limit.op), formulation)
    aside = " and ".join(f"`{text}`" for text in nearest.aside)
    beside = f", {aside} left aside" if aside else ""
    if not conflict.proved:
        return f"`{nearest.text}` is missed in the nearest found, at {value}"
    if limit.op in _BESIDE and math.isclose(nearest.value, limit.value, rel_tol=TOLERANCE):
        return f"`{nearest.text}` excludes the best there is, {value}: `{limit.op}=` has it{beside}"
    return f"`{nearest.text}` would be feasible {_BESIDE.get(limit.op, 'at')} {value}{beside}"


def _kept_feasible(value: float, op: str) -> float:
    """Round to the four digits that are shown, to the side on which a requirement is met."""
    if value <= 0.0 or op not in ("<=", ">="):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    towards = math.ceil if op == "<=" else math.floor
    return towards(value / unit * (1 + (-1e-9 if op == "<=" else 1e-9))) * unit


def _reason(reason: str, stated: Mapping[str, Requirement], formulation: Formulation) -> str:
    """Quote a reason; a tier comes with the value it stands for."""
    if reason not in stated or reason.split()[-1] not in TIERS:
        return f"`{reason}`"
    limit = next(x for x in formulation.problem.limits if x.text == reason)
    return f"`{reason}` ({_readable(reason, limit.value, formulation)})"


def _readable(text: str, value: float, formulation: Formulation) -> str:
    limit = next((x for x in formulation.problem.limits if x.text == text), None)
    metric = limit.metric if limit is not None else "latency"
    return stated(metric, value * (formulation.accuracy if metric == "accuracy" else 1.0))
