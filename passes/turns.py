"""Engines that take turns on GPUs, without a start within the job for each turn.

Where memory allows, model servers stand *beside* each other on one GPU: both are up before the job,
and the change from one to the next takes no time. They do not work at the same time: the plan has
the steps of one wait for those of the other, so that neither slows the other down. That accounts
for contention conservatively: two that shared the GPU's time would hardly get more done.

Where GPU memory is too small a server may be put to *sleep* before the job, its weights in host
memory; to wake it takes seconds where its start takes a minute. Plans that start nothing within the
job gain nothing from either and are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .formulate import Formulation
from .job.problem import Bound, EngineOption, Hold, Infeasible, Metrics, Placement, Problem
from .job.schedule import spent
from .job.search import better
from .modes import Way

MOST_TRIES = 6  # each with less in the memory that was too small in the one before
SLACK = 1e-6  # relative, of memory


def take_turns(
    formulation: Formulation, known: Placement | None, budget: float
) -> tuple[Formulation, Placement] | None:
    """Return the plan in which engines stand beside others or sleep, where better than `known`.

    None where `known` starts no engine within the job. What was found with everything beside
    everything is checked against the memory of each GPU and node; the largest of what does not fit
    sleeps in the next try, or is started when it is needed.
    """
    problem = formulation.problem
    if known is not None and all(
        hold.prestarted or not _takes_turns(problem.engines[hold.engine]) for hold in known.holds
    ):
        return None
    engines = tuple(
        replace(e, beside=_takes_turns(e), sleeps=_can_sleep(e)) for e in problem.engines
    )
    problem = replace(problem, engines=engines)
    for _ in range(MOST_TRIES):
        tried = replace(formulation, problem=problem)
        found = _solved(problem, budget)
        if found is None or (known is not None and better(problem, known, found) is known):
            return None
        large = _too_large(tried, found)
        if large is None:
            paid = _paid(problem, found)
            return (tried, paid) if known is None or _gains(problem, known, paid) else None
        group, beside = large
        problem = _without(problem, group, beside=beside)
    return None


def gpu_bytes(users: Sequence[Way]) -> float:
    """Return what a replica that these ways share needs of each of its GPUs' memory.

    Keys and values of all of them, which may be at work at the same time, and the weights once.
    """
    sizes, weights = [], 0.0
    for way in users:
        if way.engine is not None and way.engine.gpus:
            sizes.append(way.engine.gpu_memory_bytes)
            weights = way.engine.asleep_bytes / way.engine.gpus
    return sum(sizes) - max(0, len(sizes) - 1) * weights


def _takes_turns(engine: EngineOption) -> bool:
    """Tell whether an engine may stand beside others: what can sleep also keeps to a share.

    Both are vLLM's; a model that runs in a process of its own takes what memory it gets.
    """
    return engine.resident and not engine.standing and engine.wake_s > 0.0


def _can_sleep(engine: EngineOption) -> bool:
    return _takes_turns(engine) and engine.wake_s < engine.startup_s


def _solved(problem: Problem, budget: float) -> Placement | None:
    from .job.solver import solve

    try:
        return solve(problem, budget=budget, explaining=False)
    except Infeasible:
        return None


def _gains(problem: Problem, known: Placement, paid: Placement) -> bool:
    return better(problem, known, paid) is paid


def _without(problem: Problem, group: str, *, beside: bool) -> Problem:
    """Return the problem in which no engine of a group stands beside others, or sleeps."""
    engines = tuple(
        engine
        if engine.group != group
        else replace(engine, beside=False, sleeps=engine.sleeps and beside)
        for engine in problem.engines
    )
    return replace(problem, engines=engines)


def _too_large(formulation: Formulation, found: Placement) -> tuple[str, bool] | None:
    """Return the group of the largest engine in memory that is too small; None where all fits.

    With it whether it is memory of GPUs, where it stands beside others, or of a node.
    """
    problem = formulation.problem
    sizes = _gpu_sizes(formulation, found)
    for gpu, here in _on_gpus(problem, found).items():
        room = problem.pools[gpu[0]].gpu_bytes * (1 + SLACK)
        if _peak([(*_in_memory(hold), sizes[hold.engine]) for hold in here]) > room:
            waiting = [hold.engine for hold in here if hold.beside and hold.start_s > 0.0]
            if waiting:
                return problem.engines[max(waiting, key=lambda e: sizes[e])].group, True
    for node, spans in _on_nodes(problem, found).items():
        if _peak(spans) > problem.pools[node[0]].memory_bytes * (1 + SLACK):
            asleep = [h.engine for h in found.holds if h.woken or (h.beside and h.start_s > 0.0)]
            if asleep:
                heavy = max(asleep, key=lambda e: problem.engines[e].asleep_bytes)
                return problem.engines[heavy].group, problem.engines[heavy].beside
    return None


def _in_memory(hold: Hold) -> tuple[float, float]:
    """Return from when to when an engine is in the memory of its GPUs."""
    return (0.0 if hold.beside else hold.start_s, hold.end_s)


def _gpu_sizes(formulation: Formulation, found: Placement) -> dict[int, float]:
    """Return what each engine held needs of each of its GPUs' memory."""
    problem, users = formulation.problem, dict[int, list[Way]]()
    for step, listed, index in zip(problem.steps, formulation.ways, found.modes, strict=True):
        engine = step.modes[index].engine
        if engine is not None:
            users.setdefault(engine, []).append(listed[index])
    return {engine: gpu_bytes(ways) for engine, ways in users.items()}


def _on_gpus(problem: Problem, found: Placement) -> dict[tuple[int, int, int], list[Hold]]:
    """Return who is held on each GPU, by pool, node and number."""
    held: dict[tuple[int, int, int], list[Hold]] = {}
    for hold in found.holds:
        for node, gpus in hold.replicas:
            for gpu in gpus:
                held.setdefault((problem.engines[hold.engine].pool, node, gpu), []).append(hold)
    return held


def _on_nodes(
    problem: Problem, found: Placement
) -> dict[tuple[int, int], list[tuple[float, float, float]]]:
    """Return from when to when how much host memory is taken on each node."""
    spans: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for hold in found.holds:
        engine = problem.engines[hold.engine]
        for node, _ in hold.replicas:
            here = spans.setdefault((engine.pool, node), [])
            up_s = 0.0 if hold.woken or hold.beside else hold.start_s
            here.append((up_s, hold.end_s, engine.memory_bytes))
            if hold.woken:
                here.append((0.0, hold.start_s + engine.wake_s, engine.asleep_bytes))
    return spans


def _peak(spans: Sequence[tuple[float, float, float]]) -> float:
    """Return the most that is taken at a time, of (from, to, amount)."""
    moments = (start for start, _, _ in spans)
    return max(
        (sum(size for a, b, size in spans if a <= moment < b) for moment in moments), default=0.0
    )


def _paid(problem: Problem, found: Placement) -> Placement:
    """Return the placement with engines beside others held from when those have left.

    What is in a GPU's memory keeps it: between the turns, too, somebody pays for it.
    """
    holds = tuple(_since(problem, hold, found) for hold in found.holds)
    chosen = [step.modes[m] for step, m in zip(problem.steps, found.modes, strict=True)]
    energy, usd = spent(problem, chosen, holds)
    metrics = replace(found.metrics, energy_j=energy, cost_usd=usd)
    bounds = tuple(_as_paid(bound, metrics) for bound in found.bounds)
    status = "feasible" if found.status == "optimal" and bounds != found.bounds else found.status
    return replace(found, holds=holds, metrics=metrics, bounds=bounds, status=status)


def _as_paid(bound: Bound, paid: Metrics) -> Bound:
    """Return how far energy or cost is proved where what is held between the turns counts too."""
    if bound.metric not in ("energy", "cost") or paid.of(bound.metric) <= bound.value:
        return bound
    value = paid.of(bound.metric)
    return replace(bound, value=value, gap=(value - bound.bound) / value)


def _since(problem: Problem, hold: Hold, found: Placement) -> Hold:
    if not hold.beside:
        return hold
    return replace(hold, start_s=min(_left(problem, hold, found), default=hold.start_s))


def _left(problem: Problem, hold: Hold, found: Placement) -> Iterator[float]:
    """Yield when the last engine before this one has left each of its GPUs."""
    on = _on_gpus(problem, found)
    for node, gpus in hold.replicas:
        for gpu in gpus:
            here = on[problem.engines[hold.engine].pool, node, gpu]
            ends = (h.end_s for h in here if h is not hold and h.end_s <= hold.start_s)
            yield max(ends, default=0.0)
