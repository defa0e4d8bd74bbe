"""Redundant constraints of the job model: they make its relaxation, so its bounds, strong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .problem import Problem

if TYPE_CHECKING:
    from .model import JobModel


def bound_holds(built: JobModel) -> None:
    """Hold an engine at least for the work on it, and for each step on it, with what comes before.

    A hold begins `late_s` before the first use or at time zero, so that it is longer than the
    use of the engine by the smaller of start-up and the earliest start of any step on it.
    """
    problem, model, track = built.problem, built.model, built.tracks[0]
    heads = earliest_starts(problem)
    for e in built.resident:
        engine, steps = problem.engines[e], built.on[e]
        held = track.held[e]
        lead = int(min(engine.late_s, min(heads[s] for s in steps)))
        area = []
        for s, modes in steps.items():
            each = [problem.steps[s].modes[m] for m in modes]
            literals = [built.chosen[s][m] for m in modes]
            area += [
                int(mode.slots * mode.times[0].duration_s) * x
                for mode, x in zip(each, literals, strict=True)
            ]
            before = int(min(engine.late_s, heads[s]))
            lengths = [before + int(mode.times[0].duration_s) for mode in each]
            model.add(held >= sum(a * x for a, x in zip(lengths, literals, strict=True)))
        model.add(engine.slots * (held - lead * built.used[e]) >= sum(area))


def earliest_starts(problem: Problem) -> list[float]:
    """Return when each step can start at the earliest at p50, engines left aside."""
    starts: list[float] = []
    shortest = [min(m.times[0].duration_s for m in step.modes) for step in problem.steps]
    first = [min(m.times[0].first_s for m in step.modes) for step in problem.steps]
    for step in problem.steps:
        waits = [starts[b] + shortest[b] for b in step.after]
        waits += [starts[b] + first[b] for b in step.streams]
        starts.append(max(waits, default=0.0))
    return starts


def relatives(problem: Problem) -> tuple[list[set[int]], list[set[int]]]:
    """Return the steps that start before each step, and those that end after it, by the DAG."""
    before: list[set[int]] = []
    for step in problem.steps:
        links = (*step.after, *step.streams)
        before.append(set(links).union(*(before[b] for b in links)))
    after: list[set[int]] = [set() for _ in problem.steps]
    for s, earlier in enumerate(before):
        for b in earlier:
            after[b].add(s)
    return before, after
