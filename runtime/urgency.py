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

    def visit(self, region: Region, after_s: float) -> float:
        """Walk a region backwards; its result is used by work of `after_s`.

        Returns the longest path from its start.
        """
        self._used(region.terminator, after_s)
        return max([after_s, *map(self._op, reversed(region.body))])

    def _op(self, op: Op) -> float:
        """Return the longest path from an operation's start."""
        path_s = self._after.get(op.out().name, 0.0)
        if op.kind in ("call", "invoke"):
            path_s += self._call_s.get(op.out().name, 0.0)
            self.found[op.out().name] = path_s
        # nothing in a region begins before the operation's operands are there: an item, a condition
        ahead = op.flag("speculative")
        longest_s = max([path_s, *(self.visit(region, path_s) for region in op.regions)])
        self._used(op, path_s if ahead else longest_s)
        return longest_s

    def _used(self, op: Op, path_s: float) -> None:
        for value in op.operands:
            self._later(value.name, path_s)

    def _later(self, name: str, path_s: float) -> None:
        self._after[name] = max(self._after.get(name, 0.0), path_s)
