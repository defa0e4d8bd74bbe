"""What requirements from below need: no amount larger in the model than in the placement.

Objectives and requirements from above pull holds, ends and peaks down to what they are; one from
below (`energy >= 1 kJ`) would have the model push them up instead. Each gets a witness: one of the
things it is the maximum of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    from .model import JobModel


def exact_makespan(built: JobModel, percentile: int) -> None:
    """Let the job end with its last step, and steps when their work and their inputs have."""
    track = built.tracks[percentile]
    assert track.makespan is not None
    built.model.add_max_equality(track.makespan, track.ends)
    _exact_ends(built, percentile)


def exact_holds(built: JobModel) -> None:
    """Hold engines from a start-up before their first use, or time zero, to the end of the last."""
    model, track = built.model, built.tracks[0]
    _exact_ends(built, 0)
    for e in built.resident:
        if built.problem.engines[e].standing:
            continue  # held throughout
        up = int(built.problem.engines[e].late_s)
        last, first = [], []
        for s, modes in built.on[e].items():
            using = [built.chosen[s][m] for m in modes]
            ends, starts = model.new_bool_var(f"last{e}.{s}"), model.new_bool_var(f"first{e}.{s}")
            model.add_bool_or(using).only_enforce_if(ends)
            model.add_bool_or(using).only_enforce_if(starts)
            model.add(track.hold_to[e] <= track.ends[s]).only_enforce_if(ends)
            model.add(track.hold_from[e] + up >= track.starts[s]).only_enforce_if(starts)
            last.append(ends)
            first.append(starts)
        model.add_exactly_one([*last, built.used[e].negated()])
        model.add_exactly_one([*first, built.used[e].negated()])


def exact_peaks(built: JobModel) -> None:
    """Let each node's peak be what the engines held at the start of one of them take there.

    Transient engines that take GPUs are left aside, and with them their pools.
    """
    model, engines, track = built.model, built.problem.engines, built.tracks[0]
    _exact_ends(built, 0)
    for (k, n), peak in built.peaks.items():
        if any(engines[e].pool == k and engines[e].gpus for e in built.on if e not in built.used):
            continue
        here = [e for e in built.resident if engines[e].pool == k and engines[e].gpus]
        empty = model.new_bool_var(f"empty{k}.{n}")
        model.add(peak == 0).only_enforce_if(empty)
        at = {e: model.new_bool_var(f"at{e}.{n}") for e in here}
        model.add_exactly_one([empty, *at.values()])
        amounts: list[cp_model.LinearExprT] = []
        for other in here:
            beside = model.new_bool_var(f"beside{other}.{n}")
            amount = model.new_int_var(0, engines[other].replicas, f"amount{other}.{n}")
            model.add(amount <= built.seated[other][n])
            model.add(amount == 0).only_enforce_if(beside.negated())
            for e, literal in at.items():
                both = (literal, beside)
                model.add(track.hold_from[other] <= track.hold_from[e]).only_enforce_if(*both)
                model.add(track.hold_to[other] > track.hold_from[e]).only_enforce_if(*both)
            amounts.append(engines[other].gpus * amount)
        model.add(peak <= sum(amounts)).only_enforce_if(empty.negated())


def _exact_ends(built: JobModel, percentile: int) -> None:
    """End steps that stream when their own work has ended, or that on their last input."""
    model, track = built.model, built.tracks[percentile]
    for s, step in enumerate(built.problem.steps):
        if not step.streams:
            continue
        times = [mode.times[percentile] for mode in step.modes]
        own = track.starts[s] + built.total(s, [t.duration_s for t in times])
        last = built.total(s, [t.last_s for t in times])
        waits = [own, *(track.ends[before] + last for before in step.streams)]
        model.add_max_equality(track.ends[s], waits)
