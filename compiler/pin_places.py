"""Where pins stand in the source: known to the syntax tree, and of use to the binding of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..ir.diagnostics import Span
from ..ir.ops import Attr, Op, Region
from ..ir.workflow import Module
from ..passes.base import Pass
from ..passes.bind import Bind


def with_places(
    module: Module, places: Mapping[Span, Mapping[str, Span]], passes: Sequence[Pass]
) -> Module:
    """Tell `bind`, where it comes first, in which places pins stand, so that it can point at them.

    `places` are by the place of a call, then by the name of the pin.
    """
    if not passes or not isinstance(passes[0], Bind):
        return module
    workflow = module.sole()
    return module.with_workflow(replace(workflow, body=_region_with_places(workflow.body, places)))


def _region_with_places(region: Region, places: Mapping[Span, Mapping[str, Span]]) -> Region:
    ops: list[Op] = []
    for op in region.ops:
        if op.regions:
            nested = tuple(_region_with_places(r, places) for r in op.regions)
            op = replace(op, regions=nested)
        elif op.kind == "call" and op.locs and op.locs[0] in places:
            at: dict[str, Attr] = {
                f"at.{name}": (s.line, s.column, s.end_line, s.end_column)
                for name, s in places[op.locs[0]].items()
            }
            op = op.with_attrs(at)
        ops.append(op)
    return replace(region, ops=tuple(ops))
