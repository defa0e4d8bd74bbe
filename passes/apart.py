"""Engines of a step's own, beside engines that steps share.

An engine that steps share is held from its first use to its last. Where another has to take its
place in between, it must be started again: then every step has an engine of its own, as at `-O0`,
and pays for its start. Such plans are made only where sharing leaves none, or `-O0` does better.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.workflow import Module
from .base import Context
from .formulate import Formulation, formulate
from .job.problem import Conflict, Infeasible, Placement
from .job.schedule import evaluate
from .job.search import better
from .reference import reference_modes


def apart(
    module: Module, context: Context, shared: Placement | None, conflict: Conflict | None
) -> tuple[Formulation, Placement] | None:
    """Return the plan with engines of its own for each step, where it is better than `shared`.

    `conflict` says why nothing was found where `shared` is None; engines apart can help where it is
    about GPUs or what a pool has. None for services, whose engines stand all the time, and where
    whole configurations were measured, whose accuracy is on another scale than the reference's.
    """
    if any(fact.fact == "rate" for fact in module.sole().expectations):
        return None
    whole = formulate(module, context, prune=False, reference=True)
    if whole.measured is not None:
        return None
    laid = evaluate(whole.problem, reference_modes(whole, "reference"))
    reference = laid if isinstance(laid, Placement) else None
    best = better(whole.problem, shared, reference)
    if shared is not None and best is shared:
        return None
    if best is None and not (conflict is not None and _about_room(whole, conflict)):
        return None
    return _better(module, context, whole, best)


def _better(
    module: Module, context: Context, whole: Formulation, reference: Placement | None
) -> tuple[Formulation, Placement] | None:
    """Return the best plan with engines apart: the reference's where nothing better is found."""
    from .job.solver import solve

    formulation = formulate(module, context, reference=True)
    try:
        found: Placement | None = solve(
            formulation.problem, budget=context.effort, explaining=False
        )
    except Infeasible:
        found = None
    if found is not None and better(whole.problem, found, reference) is found:
        return formulation, found
    return None if reference is None else (whole, replace(reference, status="greedy"))


def _about_room(whole: Formulation, conflict: Conflict) -> bool:
    metrics = {limit.text: limit.metric for limit in whole.problem.limits}
    return any(metrics.get(reason, "gpus") == "gpus" for reason in conflict.reasons)
