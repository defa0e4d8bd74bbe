"""Optional work left out together with what only feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..ir.ops import Op, Region, attributes
from ..ir.workflow import Module
from .base import Context, Proposal
from .canonicalize import Canonicalize
from .configurations import LEFT_OUT_QUALITY


def without_optionals(module: Module, context: Context) -> Iterator[Proposal]:
    """Propose, for each optional call that something is made for alone, to make neither.

    `place` leaves an optional call out by itself; what feeds it, and what only makes sense of its
    result, is work all the same then. Here its value is `none` before placement, and what nothing
    uses any more goes. The workflow's `factor` has what that costs in accuracy, as `place` counts
    it. Refused: an optional call with nothing beside it that would go; effects stay in any case.
    """
    workflow = module.sole()
    calls = len(list(workflow.calls()))
    for op in workflow.calls():
        if not op.flag("optional"):
            continue
        body = _absent(workflow.body, op)
        lost = LEFT_OUT_QUALITY ** op.number("weight", 1.0)
        known = dict(workflow.attrs).get("factor")
        factor = lost * known if isinstance(known, float) else lost
        attrs = attributes({**dict(workflow.attrs), "factor": factor})
        without = module.with_workflow(replace(workflow, body=body, attrs=attrs))
        without = Canonicalize().run(without, context.quiet())
        gone = calls - len(list(without.sole().calls()))
        if gone > 1:
            name = f"`{op.out().name}` is left out, with {gone - 1} calls that only served it"
            yield Proposal(name.replace("1 calls that", "1 call that"), op.locs, without)


def _absent(region: Region, absent: Op) -> Region:
    ops = []
    for op in region.ops:
        if op is absent:
            op = replace(op, kind="const", operands=(), attrs=(), symbol=None)
        elif op.regions:
            op = replace(op, regions=tuple(_absent(r, absent) for r in op.regions))
        ops.append(op)
    return replace(region, ops=tuple(ops))
