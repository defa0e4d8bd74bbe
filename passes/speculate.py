"""Speculate: run both branches of an `if` before its condition is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.ops import Op, Region
from ..ir.remarks import Reporter
from ..ir.workflow import Module, Workflow
from .base import Context, Pass, Proposal
from .rewrite import TraitsOf

_Calls = frozenset[str]  # by the name of their result
_Controls = tuple[tuple[str, _Calls], ...]


@dataclass(frozen=True)
class Speculate(Pass):
    """Let branches run ahead of their condition wherever that may save time.

    Results and effects stay; there are more calls, and so more energy and cost. Which `if`s are
    worth it is for `choose` to find out, which has proposals from here; this pass takes them all.

    An `if` stays as it is where a branch holds an effect, the condition waits for no call, no call
    of the branches is sure to be made (what is `optional` may be left out anyway), or all of
    them need what the condition needs, so that none could begin before it. A placed module stays:
    its timeline would not be that of what runs.
    """

    name: ClassVar[str] = "speculate"

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with every branch that may save time running ahead."""
        report = context.reporter(self)
        found = gains(module, report)
        for op in found:
            report.did("branches", "they run while their condition is found out", op)
        names = frozenset(op.out().name for op in found)
        return _marked(module, module.sole(), names) if names else module


def run_ahead(module: Module, context: Context) -> Iterator[Proposal]:
    """Propose, for each `if` whose branches may save time, that they run ahead.

    Only where latency is what is minimised first, or is limited: it costs energy. Where it is only
    limited, an `if` that does not say how `likely` its branches are is a last resort: both are
    predicted to be paid for either way, so what it costs would not show.
    """
    workflow = module.sole()
    report = Reporter("choose", context.remarked)
    first = workflow.objectives[0] == "latency"
    if not first and all(need.metric != "latency" for need in workflow.requirements):
        for op in gains(module, Reporter("choose")):
            guard = "it costs energy, and latency is neither minimised first nor limited"
            report.refused("branches", guard, op)
        return
    for op in gains(module, report):
        name = op.out().name
        after = _marked(module, workflow, frozenset((name,)))
        said = f"both branches of `{name}` run ahead of its condition"
        hidden = not first and op.attr("likely") is None
        yield Proposal(said, op.locs, after, last_resort=hidden)


def _marked(module: Module, workflow: Workflow, names: _Calls) -> Module:
    return module.with_workflow(replace(workflow, body=_marked_region(workflow.body, names)))


def _marked_region(region: Region, names: _Calls) -> Region:
    ops = []
    for op in region.ops:
        if op.regions:
            op = replace(op, regions=tuple(_marked_region(r, names) for r in op.regions))
        if op.kind == "if" and op.out().name in names:
            op = op.with_attrs({"speculative": True})
        ops.append(op)
    return replace(region, ops=tuple(ops))


def gains(module: Module, report: Reporter) -> tuple[Op, ...]:
    """Return the `if`s both of whose branches may run ahead and could save time so."""
    if module.level == "placed":
        return ()
    needs = _Needs(module)
    found = []
    for op in needs.branching():
        guard = needs.guard(op)
        if guard is None:
            found.append(op)
        else:
            report.refused("branches", guard, op)
    return tuple(found)


class _Needs:
    """Which calls each value comes from, and what each call waits for."""

    def __init__(self, module: Module) -> None:
        """Walk over the workflow, in program order."""
        self._traits = TraitsOf(module)
        self._body = module.sole().body
        self._of: dict[str, _Calls] = {value.name: frozenset() for value in module.sole().params}
        # by call: the calls its arguments come from, and, by enclosing operation, those that
        # decide whether it is made at all
        self._calls: dict[str, tuple[_Calls, _Controls]] = {}
        self._region(self._body, ())

    def branching(self) -> Iterator[Op]:
        """Yield the `if`s whose branches call something and wait for what the condition calls."""
        for top in self._body.ops:
            for op in top.walk():
                waits = op.kind == "if" and self._of[op.operands[0].name]
                if waits and self._traits(op).calls and not op.flag("speculative"):
                    yield op

    def guard(self, op: Op) -> str | None:
        """Return why branches stay behind, None if one could begin while the condition is asked."""
        if self._traits(op).effects:
            return "a branch holds an effect, which cannot be undone"
        condition = self._of[op.operands[0].name]
        calls = [inner for inner in op.walk() if inner.symbol is not None]
        certain = [inner.out().name for inner in calls if not inner.flag("optional")]
        if not certain:
            return "all calls of the branches are optional, and may be left out anyway"
        if not any(condition - self._awaited(name, besides=op) for name in certain):
            return "the calls of the branches need what the condition needs"
        return None

    def _awaited(self, call: str, besides: Op) -> _Calls:
        """Return what a call waits for, but for the condition of an `if`."""
        own, controls = self._calls[call]
        around = (calls for name, calls in controls if name != besides.out().name)
        return own.union(*around)

    # ---- the walk

    def _region(self, region: Region, controls: _Controls) -> _Calls:
        """Walk a region; return what its results come from."""
        for op in region.body:
            self._of[op.out().name] = self._op(op, controls)
        return _Calls().union(*(self._of[value.name] for value in region.terminator.operands))

    def _op(self, op: Op, controls: _Controls) -> _Calls:
        name = op.out().name
        own = _Calls().union(*(self._of[value.name] for value in op.operands))
        if op.symbol is not None:
            self._calls[name] = (own, controls)
            return own | {name}
        for region in op.regions:
            for value in region.args:
                # what a `repeat` carries comes from its own calls too, of the round before: from
                # no call that this round could wait for
                self._of[value.name] = own
        inner = controls if op.flag("speculative") else (*controls, (name, own))
        return own.union(*(self._region(region, inner) for region in op.regions))
