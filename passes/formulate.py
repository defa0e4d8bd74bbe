"""From a logical module to the placement problem: data in, data out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.diagnostics import CompileError, Diagnostic
from ..ir.ops import Op
from ..ir.workflow import PERCENTILES, TIERS, MetricName, Module, Requirement, Workflow
from ..targets.library import Executor
from ..targets.perfconstants import USABLE_MEMORY
from ..targets.service_plan import ServicePlan
from .base import Context
from .configurations import configurations
from .dominance import undominated
from .job.problem import LEAST_ACCURACY, EngineOption, Limit, Pool, Problem, Step
from .job.search import reachable_latency
from .measured import Measured, measure
from .modes import Terms, Way, as_mode, slots_of, ways
from .pins import pins_of
from .tiers import tier_value
from .work import StepWork, analyse

# Without a requirement on accuracy a plan may lose this much of the reference plan's.
DEFAULT_FLOOR = 0.95
DEFAULT_TEXT = f"accuracy >= {DEFAULT_FLOOR:g} of the reference (the default)"


@dataclass(frozen=True, slots=True)
class Formulation:
    """A problem with what its indices stand for.

    `accuracy` is what the problem's is a factor of: the reference plan's; 1.0 where the problem has
    that of whole configurations, as `measured`. `service` is what was planned for all requests,
    where a service was: the problem is then that of its largest route.
    """

    problem: Problem
    steps: tuple[StepWork, ...]
    ways: tuple[tuple[Way, ...], ...]  # aligned with problem.steps[i].modes
    accuracy: float
    measured: Measured | None = None
    service: ServicePlan | None = None


def formulate(
    module: Module, context: Context, *, prune: bool = True, reference: bool = False
) -> Formulation:
    """Return the placement problem of a logical module.

    `prune` drops dominated ways; `reference` gives every step engines of its own (`-O0`). Raises
    CompileError where a step has no way to run on this target and cluster.
    """
    workflow = module.sole()
    steps, everything = variants(module, context, reference=reference)
    measured = measure(workflow, context.measured, steps, everything, reference=reference)
    accuracy, floor = reference_accuracy(workflow), DEFAULT_FLOOR
    accuracies = None if measured is None or not measured.rows else measured.accuracies
    needs = without_tiers(workflow, steps, everything, accuracies)
    if measured is not None and reference:
        # the reference may not have been measured, so that it is no row of a table
        accuracy, accuracies = measured.reference, None
    elif measured is not None:
        everything = measured.only(everything)
        accuracy, floor = 1.0, DEFAULT_FLOOR * measured.reference
    found = undominated(everything, apart=accuracies is not None) if prune else everything
    limits = limits_of(needs, max(accuracy, LEAST_ACCURACY), floor)
    problem = problem_of(workflow, context, steps, found, limits, accuracies)
    if not reference:
        problem = replace(problem, limits=tuple(_reachable(problem, x) for x in problem.limits))
    return Formulation(problem, steps, tuple(map(tuple, found)), accuracy, measured)


def problem_of(
    workflow: Workflow,
    context: Context,
    steps: Sequence[StepWork],
    found: Sequence[Sequence[Way]],
    limits: tuple[Limit, ...],
    accuracies: Mapping[tuple[str, ...], float] | None = None,
) -> Problem:
    """Return the problem of steps that can be carried out in these ways."""
    numbers = {step.op.out().name: index for index, step in enumerate(steps)}
    engines = _engines(found)
    places = {engine.label: index for index, engine in enumerate(engines)}
    choices = [_choices(listed) for listed in found]
    return Problem(
        steps=tuple(
            _step(step, listed, numbers, places, own)
            for step, listed, own in zip(steps, found, choices, strict=True)
        ),
        engines=engines,
        pools=_pools(context),
        objectives=_objectives(workflow),
        limits=limits,
        percentiles=PERCENTILES,
        accuracies=None if accuracies is None else _numbered(accuracies, choices),
    )


def _choices(listed: Sequence[Way]) -> dict[str, int]:
    """Number a step's configurations, by label."""
    labels = dict.fromkeys(way.configuration.label for way in listed)
    return {label: number for number, label in enumerate(labels)}


def _numbered(
    accuracies: Mapping[tuple[str, ...], float], choices: Sequence[Mapping[str, int]]
) -> dict[tuple[int, ...], float]:
    """Return accuracies by the numbers of the configurations."""
    return {
        tuple(own[label] for own, label in zip(choices, labels, strict=True)): accuracy
        for labels, accuracy in accuracies.items()
    }


def variants(
    module: Module, context: Context, *, reference: bool = False, single: bool = False
) -> tuple[tuple[StepWork, ...], list[list[Way]]]:
    """Return every step with every way to carry it out, none dropped.

    `single`: on one replica, whatever the rate that the author expects.
    """
    workflow = module.sole()
    configured = {op.out().name: configurations(op, context) for op in workflow.calls()}
    steps = analyse(module, configured)
    # every prediction states all percentiles; the solver models those that limits mention
    rate = None if single else expected(workflow, "rate")
    terms = Terms(context, PERCENTILES, rate, reference=reference, single=single)
    found = [list(ways(step, terms)) for step in steps]
    _require_ways(steps, found, terms)
    return steps, found


def without_tiers(
    workflow: Workflow,
    steps: Sequence[StepWork],
    found: Sequence[Sequence[Way]],
    measured: Mapping[tuple[str, ...], float] | None,
) -> tuple[Requirement, ...]:
    """Return the requirements with tiers as the values they stand for among these ways.

    `measured` are the accuracies of the only configurations there are, by label for each step.
    """
    accuracy = reference_accuracy(workflow)
    return tuple(
        _without_tier(need, steps, found, accuracy, measured) for need in workflow.requirements
    )


def _without_tier(
    need: Requirement,
    steps: Sequence[StepWork],
    found: Sequence[Sequence[Way]],
    accuracy: float,
    measured: Mapping[tuple[str, ...], float] | None,
) -> Requirement:
    if not isinstance(need.value, str):
        return need
    percent = TIERS[need.value]
    percentile = _percentile(need)
    value = tier_value(need.metric, percent, steps, found, accuracy, percentile, measured)
    return replace(need, value=value)


def _percentile(need: Requirement) -> int:
    return PERCENTILES.index(need.percentile) if need.percentile else 0


def expected(workflow: Workflow, name: str) -> float | None:
    """Return what the author expects of a fact, None where he does not say."""
    return next((e.value for e in workflow.expectations if e.fact == name), None)


def reference_accuracy(workflow: Workflow) -> float:
    """Return the accuracy with the best of everything, as far as rewrites have left it.

    That is what the author expects (1: it is relative) times the factors of rewrites that are not
    exact.
    """
    factors = [op.number("factor", 1.0) for op in workflow.calls()]
    left_out = dict(workflow.attrs).get("factor", 1.0)
    whole = left_out if isinstance(left_out, float) else 1.0
    return (expected(workflow, "accuracy") or 1.0) * whole * math.prod(factors)


def _objectives(workflow: Workflow) -> tuple[MetricName, ...]:
    """Return what is stated and the defaults; of plans equal in all that, the most accurate."""
    stated = workflow.objectives
    return stated if "accuracy" in stated else (*stated, "accuracy")


def _pools(context: Context) -> tuple[Pool, ...]:
    return tuple(
        Pool(
            pool.name,
            pool.nodes,
            pool.gpus,
            pool.cpu.cores,
            pool.memory_bytes,
            0.0 if pool.gpu is None else pool.gpu.memory_bytes * USABLE_MEMORY,
        )
        for pool in context.cluster.pools
    )


def _engines(found: Sequence[Sequence[Way]]) -> tuple[EngineOption, ...]:
    """Collect the engines of all ways; one label is one engine, as big as its hungriest use."""
    engines: dict[str, EngineOption] = {}
    for listed in found:
        for way in listed:
            if way.engine is not None:
                engines.setdefault(way.engine.label, way.engine)
    return tuple(engines[label] for label in sorted(engines))


def _step(
    step: StepWork,
    listed: Sequence[Way],
    numbers: Mapping[str, int],
    places: Mapping[str, int],
    choices: Mapping[str, int],
) -> Step:
    modes = tuple(
        as_mode(
            way,
            places[way.engine.label] if way.engine is not None else None,
            tuple(sorted((numbers[name], output) for name, output in way.case)),
            choices[way.configuration.label],
        )
        for way in listed
    )
    waits = step.waits
    return Step(
        step.op.out().name,
        modes,
        after=tuple(sorted(numbers[name] for name in waits.after)),
        streams=tuple(sorted(numbers[name] for name in waits.streams - waits.after)),
    )


def limits_of(needs: Sequence[Requirement], accuracy: float, floor: float) -> tuple[Limit, ...]:
    """Return requirements as limits, of accuracy relative to `accuracy`; `floor` where none is."""
    limits = []
    for need in needs:
        if isinstance(need.value, str):
            raise ValueError(f"the tier `{need.value}` has not been resolved")
        value = need.value / accuracy if need.metric == "accuracy" else need.value
        limits.append(Limit(need.metric, need.op, value, need.text, _percentile(need)))
    if not any(limit.metric == "accuracy" for limit in limits):
        limits.append(Limit("accuracy", ">=", floor, DEFAULT_TEXT))
    return tuple(limits)


def _reachable(problem: Problem, limit: Limit) -> Limit:
    """Return the limit; a tier of latency is no less than what the cluster can reach at all.

    Tiers are read off with capacity left aside, and no combination is faster than the fastest
    placement: a rank among latencies none of which is below it is not below it either. Nor is it
    less than what the accuracy allows that is kept where none is required: a tier alone can be met.
    """
    if limit.metric != "latency" or limit.text.split()[-1] not in TIERS:
        return limit
    kept = tuple(other for other in problem.limits if other.text == DEFAULT_TEXT)
    bare = replace(problem, limits=kept)
    return replace(limit, value=reachable_latency(bare, limit.value, limit.percentile))


def _require_ways(steps: Sequence[StepWork], found: Sequence[Sequence[Way]], terms: Terms) -> None:
    context = terms.context
    faults = [
        Diagnostic(
            "no-executor-here",
            f"no executor of `{step.task.name}` can run on cluster `{context.cluster.name}`"
            + _pinned(step.op),
            step.op.locs[0] if step.op.locs else None,
            help=_too_slow(step, terms) or "; ".join(_reasons(step.op, terms)) or None,
        )
        for step, listed in zip(steps, found, strict=True)
        if all(way.engine is None for way in listed)
        and not step.op.flag("optional")
        and not _only_follows(step, terms)
    ]
    if faults:
        raise CompileError(faults)


def _only_follows(step: StepWork, terms: Terms) -> bool:
    """Tell whether a step could run here, were it not for one before it that cannot."""
    if step.sizes and step.counts:
        return False
    return any(slots_of(step.op, config.executor, terms) for config in step.configurations)


def _too_slow(step: StepWork, terms: Terms) -> str | None:
    """Say so where executors could stand here, but none keeps up with the expected rate."""
    patient = replace(terms, rate=None, priced={})
    if terms.rate is None or all(way.engine is None for way in ways(step, patient)):
        return None
    return f"none keeps up with {terms.rate:g} requests/s on this hardware (`expect rate`)"


def _pinned(op: Op) -> str:
    """Say which pins on hardware narrow the choice; `bind` has seen to all others."""
    pins = [f"`{pin}`" for pin in pins_of(op) if pin.name in ("device", "gpu")]
    return f" with {' and '.join(pins)}" if pins else ""


def _reasons(op: Op, terms: Terms) -> list[str]:
    context = terms.context
    named = op.attr("candidates", ())
    reasons: dict[str, list[str]] = {}  # those of one reason together: none hides another
    for label in named if isinstance(named, tuple) else ():
        executor = context.library.get(str(label).partition("{")[0])
        if executor is None:
            continue
        if executor.runner not in context.runners:
            why: str | None = f"needs runner `{executor.runner}`, which the target does not offer"
        elif executor.name in context.missing:
            why = context.missing[executor.name]
        else:
            why = context.costs.why_not(executor, context.cluster)
        reasons.setdefault(why or _unplaced(op, executor, terms), []).append(executor.name)
    return [f"{_listed(names)}: {why}" for why, names in list(reasons.items())[:4]]


def _listed(names: list[str]) -> str:
    first = f"`{names[0]}`"
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _unplaced(op: Op, executor: Executor, terms: Terms) -> str:
    """Say why an executor that could stand on the cluster cannot carry out this step there."""
    if not slots_of(op, executor, terms):
        pools = terms.context.cluster.pools
        types = sorted({f"`{pool.gpu.type}`" for pool in pools if pool.gpu is not None})
        return f"the cluster's GPUs are {', '.join(types)}" if types else "there are no GPUs"
    return f"the longest prompt and answer expected exceed its {executor.context_tokens} tokens"
