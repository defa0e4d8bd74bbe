"""How much work depends on each step: what has most ahead of it had better go first."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.ops import Op, Region
from ..ir.workflow import Workflow


def remaining_s(workflow: Workflow, call_s: Mapping[str, float]) -> dict[str, float]:
    """Return, by step, the seconds of the longest path from its start to the workflow's result.

    `call_s` are the seconds of one call, by step. An iteration counts as one: all items of a `for`
    go through its steps side by side. The time after a nested region is that after its operation.
    """
    paths = _Paths(call_s)
    paths.visit(workflow.body, 0.0)
    return paths.found


class _Paths:
    def __init__(self, call_s: Mapping[str, float]) -> None:
        self._call_s = call_s
        self._after: dict[str, float] = {}  # by value: from when it is there to the result
        self.found: dict[str, float] = {}

    def visit(self, region: Region, after_s: float) -> None:
        """Walk a region backwards; its result is used by work of `after_s`."""
        self._used(region.terminator, after_s)
        for op in reversed(region.body):
            self._op(op)

    def _op(self, op: Op) -> None:
        after_s = self._after.get(op.out().name, 0.0)
        if op.regions:
            for region in op.regions:
                self.visit(region, after_s)
                # what the region takes from the operation is there when the operand is
                for arg, operand in zip(region.args, op.operands, strict=False):
                    self._later(operand.name, self._after.get(arg.name, 0.0))
            self._used(op, after_s)
            return
        own_s = 0.0
        if op.kind in ("call", "invoke"):
            own_s = self._call_s.get(op.out().name, 0.0)
            self.found[op.out().name] = own_s + after_s
        self._used(op, own_s + after_s)

    def _used(self, op: Op, path_s: float) -> None:
        for value in op.operands:
            self._later(value.name, path_s)

    def _later(self, name: str, path_s: float) -> None:
        self._after[name] = max(self._after.get(name, 0.0), path_s)
