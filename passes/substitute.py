"""Substitute: the configurations each step may take, without those no optimal plan can need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.ops import Attr, Level, Region
from ..ir.workflow import Module
from .base import Context, Pass
from .dominance import undominated
from .formulate import expected, variants, without_tiers
from .measured import measure


@dataclass(frozen=True)
class Substitute(Pass):
    """Replace candidate executors by their configurations (executor and knobs), dominated ones out.

    A configuration goes when every way to run it, on any hardware at any load, is dominated
    (passes/dominance.py): it is never one that some optimal plan needs. `prune=false` keeps all.
    Where the workflow was measured, configurations that were not go too. Of a service, whose
    instances are shared by requests, none is dominated by what one request takes.
    Whether optional work runs is left to `place`. Requirements that name a tier get its value.
    """

    name: ClassVar[str] = "substitute"
    needs: ClassVar[Level] = "logical"
    prune: bool = True

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with narrowed candidates."""
        if module.level == "placed":
            return module  # already decided
        workflow = module.sole()
        service = expected(workflow, "rate") is not None
        steps, everything = variants(module, context, single=service)
        measured = measure(workflow, context.measured, steps, everything)
        accuracies = None if measured is None else measured.accuracies
        if measured is not None:
            everything = measured.only(everything)
        found = everything
        if self.prune and not service:
            found = undominated(everything, apart=measured is not None)
        report = context.reporter(self)
        labels: dict[str, tuple[Attr, ...]] = {}
        for step, ways in zip(steps, found, strict=True):
            left = {way.configuration.label for way in ways}
            kept = tuple(
                c.label for c in step.configurations if c.executor is not None and c.label in left
            )
            labels[step.op.out().name] = kept
            gone = sum(c.executor is not None for c in step.configurations) - len(kept)
            if gone:
                report.did(
                    "dominance", f"{gone} of {gone + len(kept)} ways need not be tried", step.op
                )
        return module.with_workflow(
            replace(
                workflow,
                body=_narrow(workflow.body, labels),
                # tiers are ranks among all configurations, so they are read off before any goes
                requirements=without_tiers(workflow, steps, everything, accuracies),
            )
        )


def _narrow(region: Region, labels: Mapping[str, tuple[Attr, ...]]) -> Region:
    ops = []
    for op in region.ops:
        if op.kind == "call" and labels.get(op.out().name):
            op = op.with_attrs({"candidates": labels[op.out().name]})
        elif op.regions:
            op = replace(op, regions=tuple(_narrow(r, labels) for r in op.regions))
        ops.append(op)
    return replace(region, ops=tuple(ops))
