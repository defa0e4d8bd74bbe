"""Redundant constraints of the job model: they make its relaxation, so its bounds, strong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .problem import Problem

if TYPE_CHECKING:
    from .jobmodel import JobModel


def bound_holds(built: JobModel) -> None:
    """Hold an engine at least for the work on it, and for each step on it, with what comes before.

    A hold begins `startup_s` before the first use or at time zero, so that it is longer than the
    use of the engine by the smaller of start-up and the earliest start of any step on it.
    """
    problem, model, track = built.problem, built.model, built.tracks[0]
    heads = earliest_starts(problem)
    for e in built.resident:
        engine, steps = problem.engines[e], built.on[e]
        held = track.hold_to[e] - track.hold_from[e]
        lead = int(min(engine.startup_s, min(heads[s] for s in steps)))
        area = []
        for s, modes in steps.items():
            each = [problem.steps[s].modes[m] for m in modes]
            literals = [built.chosen[s][m] for m in modes]
            area += [
                int(mode.slots * mode.times[0].duration_s) * x
                for mode, x in zip(each, literals, strict=True)
            ]
            before = int(min(engine.startup_s, heads[s]))
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
