"""How long engines are held, by the paths of the job: rows of the relaxation with whole numbers.

Look at the job through the window in which one group of engines is held: clip the start and the end
of every step to it. Clipped times keep the job's order, and a step of which the window covers all
takes its whole duration in it. The window covers a step when the group is in use before or in it
and in or after it. A step's mode times "covered" is a variable of its own, bounded as in the
reformulation-linearisation technique (Sherali and Adams 1990): a mode is fast only because it is
dear, and a share of it must not make all of a window short.

Between two steps all work on one engine takes its area divided by the engine's slots, and so much
of it as the window covers takes that long in the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cuts import relatives
from .problem import Problem

if TYPE_CHECKING:
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

    from .relaxation import Relaxation


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of time: its length, and for each step and mode what share of it is covered."""

    length: mathopt.LinearTypes
    covered: list[list[mathopt.Variable]]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Steps that run between two others; None: the job's start or end.

    `from_end` and `to_start` say on which side of these steps the stage begins and ends.
    """

    first: int | None
    from_end: bool
    last: int | None
    to_start: bool
    between: tuple[int, ...]


def span_job(built: Relaxation) -> None:
    """Let the job take as long as its longest path and the work in each of its stages."""
    parts = stages(built.problem)
    for percentile, makespan in built.makespans.items():
        _clip(built, _Window(makespan, built.chosen), parts, percentile)


def span_groups(built: Relaxation) -> None:
    """Hold the engine in use of each group as long as the steps between its first and last use."""
    from ortools.math_opt.python import mathopt

    problem, parts = built.problem, stages(built.problem)
    longest = built.second * _horizon(problem, built.resident)
    groups: dict[str, list[int]] = {}
    for e in built.resident:
        groups.setdefault(problem.engines[e].group, []).append(e)
        built.add(built.held[e] <= longest * built.used[e])
    for engines in groups.values():
        used = mathopt.LinearSum(built.used[e] for e in engines)
        ready = mathopt.LinearSum(built.prestarted[e] for e in engines)
        length = mathopt.LinearSum(
            built.held[e]
            - built.second * problem.engines[e].late_s * (built.used[e] - built.prestarted[e])
            for e in engines
        )
        _clip(built, _Window(length, _covered(built, set(engines), used, ready)), parts)


def _covered(
    built: Relaxation,
    engines: set[int],
    used: mathopt.LinearSum,
    ready: mathopt.LinearSum,
) -> list[list[mathopt.Variable]]:
    """Return what share of each step in each mode the hold of these alternatives covers."""
    from ortools.math_opt.python import mathopt

    steps = built.problem.steps
    begun, due = [built.share() for _ in steps], [built.share() for _ in steps]
    rows: list[list[mathopt.Variable]] = []
    for s, step in enumerate(steps):
        row = list(built.chosen[s])
        for m, mode in enumerate(step.modes):
            if mode.engine not in engines:
                row[m] = built.share()
                built.add(row[m] <= built.chosen[s][m])
        mine = [x for x, mode in zip(row, step.modes, strict=True) if mode.engine in engines]
        built.add(begun[s] >= ready)
        if mine:
            built.add(begun[s] >= mathopt.LinearSum(mine))
            built.add(due[s] >= mathopt.LinearSum(mine))
        for before in (*step.after, *step.streams):
            built.add(begun[s] >= begun[before])
            built.add(due[before] >= due[s])
        share = mathopt.LinearSum(row)
        built.add(share >= begun[s] + due[s] - used)
        built.add(share <= used)
        rows.append(row)
    return rows


def _clip(built: Relaxation, window: _Window, parts: list[_Stage], percentile: int = 0) -> None:
    """Add the clipped starts and ends of all steps, and that the window is as long as they say."""
    from ortools.math_opt.python import mathopt

    problem = built.problem
    starts = [built.length() for _ in problem.steps]
    ends = [built.length() for _ in problem.steps]
    for s, step in enumerate(problem.steps):
        modes = [
            (x, mode.times[percentile])
            for x, mode in zip(window.covered[s], step.modes, strict=True)
        ]
        full = [built.second * times.duration_s * x for x, times in modes]
        last = [built.second * min(times.last_s, times.duration_s) * x for x, times in modes]
        built.add(ends[s] >= starts[s] + mathopt.LinearSum(full))
        built.add(window.length >= ends[s])
        for before in step.after:
            built.add(starts[s] >= ends[before])
        for before in step.streams:
            sources = [
                (x, mode.times[percentile])
                for x, mode in zip(window.covered[before], problem.steps[before].modes, strict=True)
            ]
            head = [built.second * min(times.first_s, times.duration_s) * x for x, times in sources]
            built.add(starts[s] >= starts[before] + mathopt.LinearSum(head))
            built.add(ends[s] >= ends[before] + mathopt.LinearSum(last))
    for part in parts:
        left: mathopt.LinearTypes = 0.0
        if part.first is not None:
            left = (ends if part.from_end else starts)[part.first]
        right = window.length
        if part.last is not None:
            right = (starts if part.to_start else ends)[part.last]
        for work in _work(built, window, part, percentile):
            built.add(right >= left + work)


def _work(
    built: Relaxation, window: _Window, part: _Stage, percentile: int
) -> list[mathopt.LinearSum]:
    """Return how long the covered work of a stage takes each group's engine at least."""
    from ortools.math_opt.python import mathopt

    groups: dict[str, list[mathopt.LinearTypes]] = {}
    for s in part.between:
        for x, mode in zip(window.covered[s], built.problem.steps[s].modes, strict=True):
            engine = None if mode.engine is None else built.problem.engines[mode.engine]
            if engine is None or not engine.resident:
                continue
            seconds = mode.slots * mode.times[percentile].duration_s / engine.slots
            groups.setdefault(engine.group, []).append(built.second * seconds * x)
    return [mathopt.LinearSum(terms) for terms in groups.values() if len(terms) > 1]


def stages(problem: Problem) -> list[_Stage]:
    """Return the stage that ends in each join of branches, and the one that ends the job.

    A stage goes back to the last step before all of its branches.
    """
    before, after = relatives(problem)
    found = []
    for s, step in enumerate(problem.steps):
        links = (*step.after, *step.streams)
        if len(links) < 2:
            continue
        between = {*before[s], s} if step.streams else before[s]
        found.append(_stage(problem, links, between, s, not step.streams, before, after))
    leaves = [s for s in range(len(problem.steps)) if not after[s]]
    everything = set(range(len(problem.steps)))
    if leaves:
        found.append(_stage(problem, leaves, everything, None, True, before, after))
    return found


def _stage(
    problem: Problem,
    links: tuple[int, ...] | list[int],
    within: set[int],
    last: int | None,
    to_start: bool,
    before: list[set[int]],
    after: list[set[int]],
) -> _Stage:
    first = max(set.intersection(*(before[b] | {b} for b in links)), default=None)
    if first is None:
        return _Stage(None, True, last, to_start, tuple(sorted(within)))
    between = within & after[first]
    from_end = not any(first in problem.steps[s].streams for s in between)
    if not from_end:
        between = between | {first}
    return _Stage(first, from_end, last, to_start, tuple(sorted(between)))


def _horizon(problem: Problem, resident: list[int]) -> float:
    """Return a makespan in seconds that no sensible plan exceeds: one step after the other."""
    steps = sum(
        max(mode.times[0].duration_s + mode.times[0].last_s for mode in step.modes)
        for step in problem.steps
    )
    return steps + sum(problem.engines[e].late_s for e in resident)
