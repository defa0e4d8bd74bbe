"""The solver of one job against exhaustive enumeration, greedy, and its own promises."""

import itertools
import math
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from murakkab.ir.workflow import MetricName
from murakkab.passes.job.audit import check
from murakkab.passes.job.greedy import greedy
from murakkab.passes.job.problem import (
    EngineOption,
    Infeasible,
    Limit,
    Mode,
    Placement,
    Pool,
    Problem,
    Step,
    Times,
)
from murakkab.passes.job.relaxation import relax
from murakkab.passes.job.schedule import is_better, placement
from murakkab.passes.job.solver import solve
from murakkab.passes.job.timeline import Stay, Timeline

BUDGET = 5.0
LAST_START_S = 7
OBJECTIVES: tuple[tuple[MetricName, ...], ...] = (
    ("energy", "latency"),
    ("cost", "energy"),
    ("latency", "energy"),
    ("gpus", "latency"),
    ("accuracy", "cost"),
)


def engine(rng: random.Random, label: str, group: str, resident: bool) -> EngineOption:
    return EngineOption(
        label=label,
        pool=0,
        resident=resident,
        replicas=1,
        gpus=rng.choice((1, 2, 3)) if resident else 0,
        cores=rng.choice((1, 2)),
        memory_bytes=float(rng.choice((1, 4))),
        gpu_memory_bytes=0.0,
        slots=rng.choice((1, 2)),
        startup_s=float(rng.choice((0, 1, 2))) if resident else 0.0,
        startup_j=float(rng.choice((0, 3))) if resident else 0.0,
        startup_usd=float(rng.choice((0, 1))) if resident else 0.0,
        idle_w=float(rng.choice((1, 2, 5))) if resident else 0.0,
        usd_per_s=float(rng.choice((1, 2))) if resident else 0.0,
        group=group,
    )


def small(seed: int, objectives: tuple[MetricName, ...]) -> Problem:
    """Return three steps of whole seconds on one node of four GPUs and three cores."""
    rng = random.Random(seed)
    engines = (
        engine(rng, "large", "large", True),
        engine(rng, "large, other shape", "large", True),
        engine(rng, "small", "small", True),
        engine(rng, "tool", "tool", False),
    )
    steps: list[Step] = []
    for index in range(3):
        modes: list[Mode] = []
        for number in rng.sample(range(4), 2):
            seconds = float(rng.choice((1, 2, 3)))
            part = min(seconds, float(rng.choice((1, 2))))
            modes.append(
                Mode(
                    label=f"{engines[number].label} {len(modes)}",
                    engine=number,
                    slots=1,
                    times=(Times(seconds, part, part),),
                    energy_j=float(rng.randint(1, 9)),
                    usd=float(rng.randint(1, 9)),
                    quality=rng.choice((1.0, 0.9, 0.8)),
                    emits=len(modes) if index == 0 else 0,
                )
            )
        if index == 1 and rng.random() < 0.5:
            modes = [replace(m, when=((0, n),)) for m, n in zip(modes, (0, 1), strict=True)]
        earlier = [i for i in range(index) if rng.random() < 0.6]
        streaming = rng.random() < 0.4
        after, streams = ((), earlier) if streaming else (earlier, ())
        steps.append(Step(f"s{index}", tuple(modes), tuple(after), tuple(streams)))
    limits = (Limit("accuracy", ">=", 0.72, "accuracy >= 0.72"),)
    return Problem(tuple(steps), engines, (Pool("node", 1, 4, 3, 8.0),), objectives, limits)


def every_placement(problem: Problem) -> Iterator[Placement]:
    """Yield all sound placements that start steps at whole seconds and hold no longer than due."""
    for modes in itertools.product(*(range(len(step.modes)) for step in problem.steps)):
        chosen = [step.modes[m] for step, m in zip(problem.steps, modes, strict=True)]
        for starts in itertools.product(range(LAST_START_S + 1), repeat=len(modes)):
            ends = _ends(problem, chosen, starts)
            if ends is not None:
                timeline = _timeline(problem, chosen, [float(s) for s in starts], ends)
                found = placement(problem, modes, timeline, [max(ends)])
                if not check(problem, found):
                    yield found


def _ends(problem: Problem, chosen: Sequence[Mode], starts: Sequence[int]) -> list[float] | None:
    ends: list[float] = []
    for index, step in enumerate(problem.steps):
        if any(starts[index] < ends[before] for before in step.after):
            return None
        end = starts[index] + chosen[index].times[0].duration_s
        ends.append(max([end, *(ends[b] + chosen[index].times[0].last_s for b in step.streams)]))
    return ends


def _timeline(
    problem: Problem, chosen: Sequence[Mode], starts: Sequence[float], ends: Sequence[float]
) -> Timeline:
    stays = []
    for number in {mode.engine for mode in chosen if mode.engine is not None}:
        option = problem.engines[number]
        mine = [s for s, mode in enumerate(chosen) if mode.engine == number]
        if option.resident:
            start = max(0.0, min(starts[s] for s in mine) - option.startup_s)
            stays.append(Stay(number, start, max(ends[s] for s in mine), (0,)))
        else:
            stays += [Stay(number, starts[s], ends[s], (0,), s) for s in mine]
    return Timeline(tuple(starts), tuple(ends), tuple(stays))


@pytest.mark.parametrize("seed", range(10))
def test_the_answer_is_the_best_of_all_placements(seed: int) -> None:
    """Every objective order against one enumeration of all modes and all whole-second starts.

    All durations are whole seconds, so that some best placement starts every step at one.
    """
    problem = small(seed, OBJECTIVES[0])
    everything = list(every_placement(problem))
    for objectives in OBJECTIVES:
        ordered = replace(problem, objectives=objectives)
        if not everything:
            with pytest.raises(Infeasible):
                solve(ordered, budget=BUDGET)
            continue
        found = solve(ordered, budget=BUDGET)
        assert found.status == "optimal"
        assert check(ordered, found) == []
        better = [p for p in everything if is_better(ordered, p.metrics, found.metrics)]
        assert better == []
        best = min(everything, key=lambda p: _key(ordered, p))
        for metric in objectives:
            assert found.metrics.of(metric) == pytest.approx(best.metrics.of(metric), rel=2e-5)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "linear"])
def test_a_relaxation_bounds_every_placement(seed: int, whole: bool) -> None:
    problem = small(seed, ("cost",))
    everything = list(every_placement(problem))
    metrics: tuple[MetricName, ...] = ("cost", "energy", "latency", "gpus", "accuracy")
    for metric in metrics if everything else ():
        values = [found.metrics.of(metric) for found in everything]
        best = max(values) if metric == "accuracy" else min(values)
        for known in (None, values[0]):
            found = relax(problem, metric, whole=whole, at_most=known)
            assert found is not None
            if metric == "accuracy":
                assert found.bound >= best * (1 - 1e-9)
            else:
                assert found.bound <= best * (1 + 1e-9)


def test_the_relaxation_in_whole_numbers_proves_most_small_jobs() -> None:
    problems = [small(seed, ("cost",)) for seed in (1, 5, 6, 7, 9)]
    for problem in problems:
        best = min(found.metrics.cost_usd for found in every_placement(problem))
        found = relax(problem, "cost", whole=True)
        assert found is not None
        assert found.bound == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize("metric", ["energy", "cost", "gpus", "latency"])
def test_a_limit_from_below_is_met_in_truth(metric: MetricName) -> None:
    """The best of all placements that spend so much; it may hold engines by starting steps late."""
    for seed in (1, 5, 6, 7, 9):
        problem = small(seed, ("cost",))
        everything = list(every_placement(problem))
        values = sorted(found.metrics.of(metric) for found in everything)
        least = values[len(values) // 2]
        limit = Limit(metric, ">=", least, f"{metric} >= {least:g}")
        limited = replace(problem, limits=(*problem.limits, limit))
        found = solve(limited, budget=BUDGET)
        assert check(limited, found) == []
        enough = [p for p in everything if p.metrics.of(metric) >= least]
        assert found.metrics.cost_usd <= min(p.metrics.cost_usd for p in enough) * (1 + 1e-3)


@pytest.mark.parametrize("metric", ["cost", "energy"])
def test_a_job_whose_engines_a_relaxation_chooses(metric: MetricName) -> None:
    """Fourteen steps: more than are solved directly; the bounds stay below what is found."""
    first = larger(2, (metric, "latency"))
    later = tuple(
        replace(
            step,
            name=f"{step.name} again",
            after=tuple(b + 8 for b in step.after) or (7,),
            streams=tuple(b + 8 for b in step.streams),
        )
        for step in first.steps[:6]
    )
    problem = replace(first, steps=(*first.steps, *later), limits=())
    found, quick = solve(problem, budget=1.0), greedy(problem)
    assert check(problem, found) == []
    assert quick is not None and not is_better(problem, quick.metrics, found.metrics)
    assert found.bounds[0].bound <= found.metrics.of(metric) * (1 + 1e-9)
    assert found.bounds[0].gap <= 0.1


def _key(problem: Problem, found: Placement) -> tuple[float, ...]:
    values = [found.metrics.of(metric) for metric in problem.objectives]
    signs = [-1.0 if metric == "accuracy" else 1.0 for metric in problem.objectives]
    return tuple(round(s * v, 9) for s, v in zip(signs, values, strict=True))


def larger(seed: int, objectives: tuple[MetricName, ...] = ("cost", "energy")) -> Problem:
    """Return eight steps on two nodes, p95 half as slow again, with streams and shared engines."""
    rng = random.Random(seed)
    engines = []
    for model in range(3):
        base = engine(rng, f"model{model}", f"model{model}", True)
        engines += [base, replace(base, label=f"{base.label} twice", replicas=2, slots=4)]
    engines.append(replace(engine(rng, "tool", "tool", False), replicas=4, slots=4))
    steps = []
    for index in range(8):
        modes = []
        for number in rng.sample(range(7), 4):
            seconds = rng.uniform(0.5, 20.0)
            times = (Times(seconds, seconds / 4, seconds / 4), Times(1.5 * seconds, seconds, 1.0))
            joules, usd = rng.uniform(10, 500), rng.uniform(0.0, 1e-3)
            quality = rng.uniform(0.9, 1.0)
            slots = rng.randint(1, min(2, engines[number].slots))
            modes.append(Mode(f"m{number}", number, slots, times, joules, usd, quality))
        before = tuple(sorted(rng.sample(range(index), min(index, rng.randint(0, 2)))))
        links = ((), before) if rng.random() < 0.4 else (before, ())
        steps.append(Step(f"s{index}", tuple(modes), *links))
    pools = (Pool("nodes", 2, 4, 8, 32.0),)
    limits = (Limit("accuracy", ">=", 0.7, "accuracy >= 0.7"),)
    return Problem(tuple(steps), tuple(engines), pools, objectives, limits, ("p50", "p95"))


@pytest.mark.parametrize("seed", range(8))
def test_answers_are_sound_and_never_worse_than_greedy(seed: int) -> None:
    problem = larger(seed, OBJECTIVES[seed % len(OBJECTIVES)])
    found, quick = solve(problem, budget=1.0), greedy(problem)
    assert check(problem, found) == []
    assert quick is not None and check(problem, quick) == []
    assert not is_better(problem, quick.metrics, found.metrics)
    assert all(bound.gap >= 0.0 for bound in found.bounds)
    for bound in found.bounds:
        worst = max(bound.bound, bound.value) if bound.metric == "accuracy" else bound.value
        assert min(bound.bound, bound.value) <= worst


def test_an_answer_is_never_worse_than_the_placement_it_starts_from() -> None:
    problem = larger(3)
    best = solve(problem, budget=2.0)
    again = solve(problem, budget=0.001, warm_start=best)
    assert not is_better(problem, best.metrics, again.metrics)


def test_a_percentile_limit_changes_the_plan_and_is_met() -> None:
    problem = larger(5)
    free = solve(problem, budget=2.0)
    fastest = solve(replace(problem, objectives=("latency",)), budget=2.0).metrics.latency_s[1]
    bound = (fastest + free.metrics.latency_s[1]) / 2
    limit = Limit("latency", "<=", bound, "latency.p95 is short", 1)
    tight = replace(problem, limits=(*problem.limits, limit))
    found = solve(tight, budget=4.0)
    assert fastest < bound < free.metrics.latency_s[1]
    assert check(tight, found) == []
    assert found.metrics.latency_s[1] <= bound
    assert found.metrics.cost_usd >= free.metrics.cost_usd


@pytest.mark.parametrize("seed", range(3))
def test_a_higher_percentile_is_never_below_a_lower_one(seed: int) -> None:
    """Also where a requirement has steps start late, or longer steps happen to pack better."""
    problem = larger(seed, ("cost", "latency"))
    free = solve(problem, budget=0.5)
    more = Limit("gpus", "==", free.metrics.gpus + 1, "gpus are one more")
    slow = Limit("latency", ">=", 2 * free.metrics.latency_s[0], "latency is twice as long")
    quick = Limit("latency", "<=", 1.5 * free.metrics.latency_s[1], "p95 is bounded", 1)
    for limits in ((more,), (slow,), (slow, more), (more, quick)):
        limited = replace(problem, limits=(*problem.limits, *limits))
        try:
            found = solve(limited, budget=1.0)
        except Infeasible:
            continue
        assert check(limited, found) == []
        assert found.metrics.latency_s[0] <= found.metrics.latency_s[1]


def test_the_first_objective_comes_first() -> None:
    problem = larger(7, ("latency", "cost"))
    found = solve(problem, budget=2.0)
    alone = solve(replace(problem, objectives=("latency",)), budget=2.0)
    assert found.metrics.latency_s[0] == pytest.approx(alone.metrics.latency_s[0], rel=1e-5)
    assert found.metrics.cost_usd <= alone.metrics.cost_usd * (1 + 1e-6)


def test_equal_inputs_give_equal_answers_in_another_process() -> None:
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('t', {__file__!r})\n"
        "t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)\n"
        "print(repr(t.solve(t.larger(1), budget=0.5)))\n"
    )
    command = [sys.executable, "-c", script]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    runs = [
        subprocess.run(
            command, capture_output=True, text=True, check=True, env={**environment, **seed}
        ).stdout
        for seed in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    ]
    assert runs[0] == runs[1]
    assert runs[0].strip() == repr(solve(larger(1), budget=0.5))


def test_a_step_without_modes_is_refused() -> None:
    problem = larger(0)
    empty = replace(problem, steps=(replace(problem.steps[0], modes=()), *problem.steps[1:]))
    with pytest.raises(ValueError, match="`s0` has no mode"):
        solve(empty)


def test_tiny_and_huge_amounts_keep_their_precision() -> None:
    """Durations from 1e-4 s to 1e5 s and prices of 1e-9 USD in one problem."""
    free = EngineOption(
        "hosted", -1, False, 1, 0, 0, 0.0, 0.0, 8, 0.0, 0.0, 0.0, 0.0, 0.0, "hosted"
    )
    long = Mode("long", 0, 1, (Times(1e5, 1e5, 1e5),), 1e9, 3e-9, 1.0)
    short = Mode("short", 0, 1, (Times(1e-4, 1e-4, 1e-4),), 1e-3, 2e-9, 1.0)
    dear = replace(short, label="dear", usd=2.1e-9)
    steps = (Step("a", (long,)), Step("b", (dear, short), after=(0,)))
    found = solve(Problem(steps, (free,), (), ("cost", "latency")), budget=1.0)
    assert found.modes == (0, 1)
    assert found.metrics.cost_usd == pytest.approx(5e-9)
    assert math.isclose(found.metrics.latency_s[0], 1e5 + 1e-4, rel_tol=1e-5)
