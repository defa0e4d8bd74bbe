"""Tool fusion: chains of calls of Python tools, one after the other in one process."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..ir.ops import Op, Region
from ..ir.remarks import Reporter
from ..ir.workflow import Module, Workflow
from ..targets.library import Library
from .rewrite import TraitsOf


def mark_chains(module: Module, library: Library, report: Reporter) -> Module:
    """Return a logical module whose chains of tools carry `chain = k`, k from 1 in program order.

    A call continues the chain of the call beside it whose result only it reads, as one of its
    operands. Marks of an earlier run are made anew.
    """
    return module.with_workflow(_Marker(module, library, report).run())


class _Marker:
    def __init__(self, module: Module, library: Library, report: Reporter) -> None:
        self._report = report
        self.workflow = module.sole()
        self._traits = TraitsOf(module)
        self._tools = {e.name for e in library.executors if e.runner == "python"}
        self._reads = Counter(v.name for op in self.workflow.walk() for v in op.operands)
        self._next: dict[str, str] = {}  # from a call to the one that continues its chain
        self._chains: dict[str, int] = {}

    def run(self) -> Workflow:
        self._link(self.workflow.body)
        followers = set(self._next.values())
        heads = [name for name in self._next if name not in followers]
        for number, name in enumerate(heads, start=1):
            self._chains[name] = number
            while name in self._next:
                name = self._next[name]
                self._chains[name] = number
        return replace(self.workflow, body=self._marked(self.workflow.body))

    def _link(self, region: Region) -> None:
        before: dict[str, Op] = {}  # tools of this region that nothing continues yet
        for op in region.ops:
            for nested in op.regions:
                self._link(nested)
            if not self._is_tool(op):
                continue
            for operand in op.operands:
                first = before.get(operand.name)
                if first is not None and self._continues(first, op):
                    self._next[operand.name] = op.out().name
                    del before[operand.name]
                    break
            before[op.out().name] = op

    def _is_tool(self, op: Op) -> bool:
        candidates = op.attr("candidates", ())
        return (
            op.kind == "call"
            and isinstance(candidates, tuple)
            and not self._tools.isdisjoint(map(str, candidates))
        )

    def _continues(self, first: Op, then: Op) -> bool:
        """Tell whether a tool that takes another's result may run right after it."""
        guard = None
        if first.flag("optional") or then.flag("optional"):
            guard = "what may be left out holds no chain together"
        elif self._traits(first).effects or self._traits(then).effects:
            guard = "an effect runs on its own"
        elif self._reads[first.out().name] != 1:
            guard = "others read the result, and only one can come next in its process"
        if guard is not None:
            self._report.refused("tools", guard, first, then)
            return False
        self._report.did("tools", "the result stays in the process that made it", first, then)
        return True

    def _marked(self, region: Region) -> Region:
        ops = []
        for op in region.ops:
            op = replace(op, regions=tuple(self._marked(nested) for nested in op.regions))
            if op.kind == "call":
                op = op.with_attrs({"chain": self._chains.get(op.out().name)})
            ops.append(op)
        return replace(region, ops=tuple(ops))
