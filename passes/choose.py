"""Choose: restructure a workflow where placement says that it pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from ..ir.diagnostics import CompileError
from ..ir.ops import Level, attributes
from ..ir.workflow import Module, Requirement
from .base import Context, Pass, Proposal, Proposer
from .compositions.proposing import composed
from .formulate import (
    DEFAULT_FLOOR,
    DEFAULT_TEXT,
    expected,
    reference_accuracy,
    variants,
    without_tiers,
)
from .job.problem import stated
from .job.schedule import is_better
from .optionals import without_optionals
from .place import optimal
from .promptfusion import fused_prompts
from .speculate import run_ahead
from .substitute import Substitute

if TYPE_CHECKING:
    from .job.problem import Metrics, Problem

# What proposes rewrites, in the order in which they are tried; of equal ones the first wins.
PROPOSERS: tuple[Proposer, ...] = (without_optionals, run_ahead, fused_prompts, composed)
_CALLS = 1_000  # of all the workflows together that are placed to find out what a proposal is worth
_MEASURED = "whole configurations were measured: how it changes their accuracy is not known"


@dataclass(frozen=True)
class Choose(Pass):
    """Take the rewrites that make the best plan better, the one that gains most first.

    What a rewrite is worth depends on hardware, load and requirements, so each proposal is
    substituted and placed as a whole, and compared by the workflow's objectives. What was taken is
    proposed upon again, until nothing gains: a search by best improvement, exact for one rewrite,
    not for several that pay only together. `most` bounds the proposals that are placed; of large
    workflows fewer are, as placing takes the longer the more calls there are: together they have
    1,000 calls at most.

    A last resort is only taken where no plan meets the requirements without it, nor with another
    proposal. Requirements hold, tiers by what they stand for in the workflow as it is written;
    where it requires no accuracy, its floor does. Refused: workflows of which whole configurations
    were measured, which does not say how they do when they are restructured.
    """

    name: ClassVar[str] = "choose"
    needs: ClassVar[Level] = "logical"
    most: int = 48

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with the proposals taken, each noted among its attributes."""
        if module.level == "placed":
            return module
        report, quiet = context.reporter(self), context.quiet()
        calls = sum(1 for _ in module.sole().calls())
        taken, left = module, min(self.most, _CALLS // max(1, calls))
        if not left:
            report.refused("restructuring", f"placing {calls} calls once more takes too long")
            return module
        proposals = list(islice(_proposals(module, context), left))
        if context.measured.of(module.sole().name):
            for proposal in proposals:
                report.refused("restructuring", f"{proposal.name}: {_MEASURED}", proposal)
            return module
        if not proposals:
            return module
        needs = _needs(module, context)
        best = _placed(module, quiet)
        while proposals:
            left -= len(proposals)
            found = [_placed(_held_to(p.module, needs), quiet) for p in proposals]
            winner = _winner(proposals, found, best)
            if winner is None:
                for proposal, other in zip(proposals, found, strict=True):
                    report.refused("restructuring", _said(proposal, other, best), proposal)
                break
            chosen = proposals[winner]
            report.did("restructuring", _said(chosen, found[winner], best), chosen)
            best = found[winner]
            notes = sum(key.startswith("note.choose.") for key, _ in taken.attrs)
            attrs = {**dict(chosen.module.attrs), f"note.choose.{notes + 1}": chosen.name}
            taken = replace(_held_to(chosen.module, needs), attrs=attributes(attrs))
            proposals = list(islice(_proposals(taken, context), left))
        return taken


@dataclass(frozen=True, slots=True)
class _Placed:
    """What the best plan of a module takes; its accuracy is that of the plan."""

    problem: Problem
    metrics: Metrics

    def beats(self, other: _Placed) -> bool:
        """Tell whether it is better by the objectives in their order."""
        return is_better(self.problem, self.metrics, other.metrics)


def _winner(
    proposals: Sequence[Proposal], found: Sequence[_Placed | None], best: _Placed | None
) -> int | None:
    """Return which proposal has the best plan, None where none is better than what there is."""
    winner = None
    for last_resort in (False, True):
        if last_resort and best is not None:
            break
        for index, (proposal, placed) in enumerate(zip(proposals, found, strict=True)):
            if placed is None or proposal.last_resort != last_resort:
                continue
            if best is None or placed.beats(best):
                best, winner = placed, index
    return winner


def _said(proposal: Proposal, placed: _Placed | None, other: _Placed | None) -> str:
    """Return what a proposal would change, by the first objective that it does change."""
    if placed is None:
        return f"{proposal.name}: no plan would meet the requirements"
    if other is None:
        return f"{proposal.name}: without it no plan meets the requirements"
    if proposal.last_resort:
        return f"{proposal.name}: it costs more, and the requirements are met without it"
    problem = placed.problem
    for metric in problem.objectives:
        with_it = placed.metrics.of(metric, problem.aimed)
        without = other.metrics.of(metric, problem.aimed)
        if stated(metric, with_it) != stated(metric, without):
            figures = f"{stated(metric, with_it)}, {stated(metric, without)} without it"
            return f"{proposal.name}: {metric} {figures}"
    return f"{proposal.name}: nothing would change"


def _proposals(module: Module, context: Context) -> Iterator[Proposal]:
    for proposer in PROPOSERS:
        yield from proposer(module, context)


def _needs(module: Module, context: Context) -> tuple[Requirement, ...]:
    """Return the requirements of the workflow as it is written, whatever becomes of it."""
    workflow = module.sole()
    service = expected(workflow, "rate") is not None
    steps, ways = variants(module, context, single=service)
    needs = without_tiers(workflow, steps, ways, None)
    if any(need.metric == "accuracy" for need in needs):
        return needs
    floor = DEFAULT_FLOOR * reference_accuracy(workflow)
    return (*needs, Requirement("accuracy", ">=", floor, text=DEFAULT_TEXT))


def _held_to(module: Module, needs: tuple[Requirement, ...]) -> Module:
    return module.with_workflow(replace(module.sole(), requirements=needs))


def _placed(module: Module, context: Context) -> _Placed | None:
    """Return what the best plan takes; None where there is none."""
    try:
        formulation, placement = optimal(
            Substitute().run(module, context), context, explaining=False
        )
    except CompileError:
        return None
    metrics = placement.metrics
    metrics = replace(metrics, accuracy=metrics.accuracy * formulation.accuracy)
    return _Placed(formulation.problem, metrics)
