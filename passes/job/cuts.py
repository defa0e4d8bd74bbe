"""Redundant constraints of the job model: they make its relaxation, so its bounds, strong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .problem import Problem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

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


def follow_path(built: JobModel) -> None:
    """Tie how long engines are held to the steps of a long path through the job.

    Cut time into the segments between the ends of the path's steps. An engine is held in a whole
    segment when a step that must start before it and a step that must end after it both use it (or
    it was started before the job). A segment is as long as its step's mode says: the product of
    "held" and "mode" is a variable of its own, bounded as in the reformulation-linearisation
    technique (Sherali and Adams 1990), which keeps the relaxation tight where a mode is fast only
    because it is dear.
    """
    problem, model, track = built.problem, built.model, built.tracks[0]
    path = _long_path(problem)
    before, after = relatives(problem)
    groups: dict[tuple[str, int, int], list[cp_model.IntVar]] = {}
    for e in built.resident:
        engine, steps = problem.engines[e], built.on[e]
        uses = {s: [built.chosen[s][m] for m in modes] for s, modes in steps.items()}
        length: Any = int(engine.late_s) * (built.used[e] - built.prestarted[e])
        for position, (s, streaming) in enumerate(path):
            begun, due, held = (
                model.new_bool_var(f"{name}{e}.{position}") for name in ("begun", "due", "held")
            )
            model.add(begun >= built.prestarted[e])
            for other, literals in uses.items():
                if other == s or other in before[s]:
                    model.add(begun >= sum(literals))
                if other == s or other in after[s]:
                    model.add(due >= sum(literals))
            model.add(held >= begun + due - built.used[e])
            model.add(held <= built.used[e])
            products = []
            for m, mode in enumerate(problem.steps[s].modes):
                times = mode.times[0]
                seconds = int(times.last_s if streaming else times.duration_s)
                chosen = built.chosen[s][m]
                product = chosen
                if mode.engine != e:
                    product = model.new_bool_var("")
                    model.add_implication(product, chosen)
                groups.setdefault((engine.group, position, m), []).append(product)
                products.append(product)
                length += seconds * product
            model.add(sum(products) == held)
        model.add(track.held[e] >= length)
    for (_, position, m), products in groups.items():
        if len(products) > 1:
            model.add(sum(products) <= built.chosen[path[position][0]][m])


def _long_path(problem: Problem) -> list[tuple[int, bool]]:
    """Return the longest path by mean durations: steps, and whether each streams from the last."""
    best: list[float] = []
    came: list[tuple[int, bool] | None] = []
    for step in problem.steps:
        mean = sum(m.times[0].duration_s for m in step.modes) / len(step.modes)
        tail = sum(m.times[0].last_s for m in step.modes) / len(step.modes)
        options: list[tuple[float, tuple[int, bool] | None]] = [(mean, None)]
        options += [(best[b] + mean, (b, False)) for b in step.after]
        options += [(best[b] + tail, (b, True)) for b in step.streams]
        length, previous = max(options, key=lambda option: option[0])
        best.append(length)
        came.append(previous)
    path: list[tuple[int, bool]] = []
    at = max(range(len(best)), key=lambda s: best[s], default=None)
    while at is not None:
        previous = came[at]
        path.append((at, previous is not None and previous[1]))
        at = previous[0] if previous is not None else None
    return path[::-1]


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
