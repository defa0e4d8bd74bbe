"""Tool fusion: chains of calls of Python tools, one after the other in one process."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..ir.ops import Op, Region
from ..ir.workflow import Module, Workflow
from ..targets.library import Library
from .rewrite import TraitsOf


def mark_chains(module: Module, library: Library) -> Module:
    """Return a logical module whose chains of tools carry `chain = k`, k from 1 in program order.

    A call continues the chain of the call beside it whose result only it reads, as one of its
    operands. Marks of an earlier run are made anew.
    """
    return module.with_workflow(_Marker(module, library).run())


class _Marker:
    def __init__(self, module: Module, library: Library) -> None:
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
        before: set[str] = set()  # calls of this region that nothing continues yet
        for op in region.ops:
            for nested in op.regions:
                self._link(nested)
            if not self._is_tool(op):
                continue
            for operand in op.operands:
                if operand.name in before and self._reads[operand.name] == 1:
                    self._next[operand.name] = op.out().name
                    before.discard(operand.name)
                    break
            before.add(op.out().name)

    def _is_tool(self, op: Op) -> bool:
        if op.kind != "call" or op.flag("optional"):
            return False  # what may be left out holds no chain together
        if self._traits(op).effects:
            return False  # an effect runs on its own
        candidates = op.attr("candidates", ())
        return isinstance(candidates, tuple) and not self._tools.isdisjoint(map(str, candidates))

    def _marked(self, region: Region) -> Region:
        ops = []
        for op in region.ops:
            op = replace(op, regions=tuple(self._marked(nested) for nested in op.regions))
            if op.kind == "call":
                op = op.with_attrs({"chain": self._chains.get(op.out().name)})
            ops.append(op)
        return replace(region, ops=tuple(ops))
