"""Canonicalise: fold what is known, merge what is equal, drop what nothing uses."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.diagnostics import Span
from ..ir.ops import Op, Region, Value
from ..ir.remarks import Reporter
from ..ir.workflow import Module, Workflow
from .base import Context, Pass
from .folding import RULES, Facts, Inline, Rewrite, Rule, constant
from .rewrite import Traits, TraitsOf, Uses, carry_lengths, signature, substitute, united

_WORDS = {"map": "for", "filter": "where", "loop": "repeat", "if": "if"}
_BY_KIND: dict[str, tuple[Rule, ...]] = {
    kind: tuple(rule for rule in RULES if kind in rule.kinds)
    for kind in {kind for rule in RULES for kind in rule.kinds}
}


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Fold constants, merge equal pure operations and equal calls, drop what nothing uses.

    The rules of `folding.py` are applied from the inside out, until nothing changes. Kept as they
    are:

    * effects, and whatever holds one: they are neither merged nor dropped;
    * sampled calls: equal ones give different values (an unused one is dropped);
    * calls that differ in a pin, in `optional` or in their candidates;
    * operations that would fail (a division by zero): they fail when they run;
    * values whose readers need the wider type: `coalesce` of what is never `none` is no operation;
    * placed modules: the plan accounts for every step they have.
    """

    name: ClassVar[str] = "canonicalize"

    def run(self, module: Module, context: Context) -> Module:
        """Return the canonical module."""
        if module.level == "placed":
            return module  # the plan accounts for every step
        changed = True
        report = context.reporter(self)
        while changed:
            step = _Round(module, report)
            module = module.with_workflow(step.run())
            changed = step.changed
        return module


class _Round(Facts):
    """One walk over a workflow: rules and merging on the way in, dropping on the way back."""

    def __init__(self, module: Module, report: Reporter) -> None:
        self.workflow: Workflow = module.sole()
        self.changed = False
        self._report = report
        self._traits = TraitsOf(module)
        self._uses = Uses(self.workflow)
        self._values: dict[str, Value] = {}  # what stands for a value from now on
        self._defining: dict[str, Op] = {}
        # what is visible here, by signature; calls also by task and arguments
        self._seen: dict[Hashable, Op] = {}
        self._spans: dict[str, tuple[Span, ...]] = {}  # of what was merged into a value

    def run(self) -> Workflow:
        body = self._region(self.workflow.body)
        body = self._prune(body, set())
        renamed = {old: new.name for old, new in self._values.items()}
        return carry_lengths(replace(self.workflow, body=body), renamed)

    # ---- what rules may ask

    def define(self, value: Value) -> Op | None:
        """Return the operation that defines a value."""
        return self._defining.get(value.name)

    def traits(self, region: Region) -> Traits:
        """Return what a region holds."""
        return self._traits.region(region)

    # ---- rules, and merging of what is equal

    def _region(self, region: Region) -> Region:
        out: list[Op] = []
        mine: list[Hashable] = []
        for op in region.ops:
            operands = tuple(self._values.get(v.name, v) for v in op.operands)
            regions: list[Region] = []
            for nested in op.regions:  # a comprehension would be a frame more for each level
                regions.append(self._region(nested))
            self._rewrite(replace(op, operands=operands, regions=tuple(regions)), out, mine)
        for key in mine:
            del self._seen[key]
        return replace(region, ops=tuple(out))

    def _rewrite(self, op: Op, out: list[Op], mine: list[Hashable]) -> None:
        """Append what becomes of an operation; `mine` are the signatures its region made known."""
        rewritten = self._applied(op)
        if rewritten is not None:
            self.changed = True
            if op.regions:
                self._report.did("folding", f"what the `{_WORDS[op.kind]}` needs is known", op)
        while isinstance(rewritten, Op):
            op = rewritten
            rewritten = self._applied(op)
        if rewritten is None:
            self._append(op, out, mine)
            return
        for argument, value in rewritten.bound:
            self._uses.replaced(argument, value)
        bound = {argument.name: value for argument, value in rewritten.bound}
        for inner in rewritten.ops:
            # what is equal to one of these is found in the next round
            moved = substitute(inner, bound)
            if moved.result is not None:
                self._defining[moved.result.name] = moved
            out.append(moved)
        value = bound.get(rewritten.value.name, rewritten.value)
        if value == op.result:
            return
        if self._uses.accept(op.out(), value.type):
            self._replace(op.out(), value)
        else:
            retyped = replace(self._defining[value.name], result=op.result, locs=op.locs)
            self._append(retyped, out, mine)

    def _applied(self, op: Op) -> Rewrite:
        for rule in _BY_KIND.get(op.kind, ()):
            found = rule.apply(op, self)
            if isinstance(found, Op) or (found is not None and self._possible(op, found)):
                return found
        return None

    def _possible(self, op: Op, found: Inline) -> bool:
        """Tell whether types allow it; a constant may be given the type of what it replaces."""
        if not all(self._uses.accept(old, new.type) for old, new in found.bound):
            return False
        value = dict(found.bound).get(found.value, found.value)
        if value == op.result or self._uses.accept(op.out(), value.type):
            return True
        source = self.define(value)
        return (
            source is not None
            and source.kind == "const"
            and constant(op, source.attr("value")) is not None
        )

    def _replace(self, old: Value, new: Value) -> None:
        self._uses.replaced(old, new)
        self._values[old.name] = new

    def _append(self, op: Op, out: list[Op], mine: list[Hashable]) -> None:
        if op.result is None:
            out.append(op)
            return
        if self._traits(op).movable:
            key = signature(op)
            equal = self._seen.get(key)
            if equal is not None:
                self._replace(op.result, equal.out())
                self._merge_spans(equal, op)
                self.changed = True
                if self._traits(op).calls:
                    self._report.did(
                        "merging", "what is asked for twice is computed once", equal, op
                    )
                return
            self._seen[key] = op
            mine.append(key)
        if op.symbol is not None:
            self._tell_alike(op, op.symbol, mine)
        self._defining[op.result.name] = op
        out.append(op)

    def _tell_alike(self, op: Op, task: str, mine: list[Hashable]) -> None:
        """Say why a call is made that another seems to make already."""
        key = (task, op.operands)
        other = self._seen.get(key)
        if other is None:
            self._seen[key] = op
            mine.append(key)
            return
        traits = self._traits(op)
        if traits.effects:
            why = "effects are never merged"
        elif traits.sampled or self._traits(other).sampled:
            why = "sampled calls give different values"
        else:
            why = "the calls differ in a pin, in `optional` or in who may carry them out"
        self._report.refused("merging", why, other, op)

    def _merge_spans(self, kept: Op, dropped: Op) -> None:
        for one, other in zip(kept.walk(), dropped.walk(), strict=True):
            if one.result is not None:
                name = one.result.name
                self._spans[name] = united(self._spans.get(name, one.locs), other.locs)

    # ---- dropping what nothing uses

    def _prune(self, region: Region, live: set[str]) -> Region:
        """Return the region without dead operations; adds the names it reads to `live`."""
        kept: list[Op] = []
        for op in reversed(region.ops):
            dead = op.result is not None and op.result.name not in live
            traits = self._traits(op)
            if dead and not traits.effects:
                self.changed = True
                if traits.calls:
                    self._report.did("dropping", "nothing uses the result", op)
                continue
            regions: list[Region] = []
            for nested in op.regions:
                regions.append(self._prune(nested, live))
            locs = op.locs if op.result is None else self._spans.get(op.result.name, op.locs)
            kept.append(replace(op, regions=tuple(regions), locs=locs))
            live.update(value.name for value in op.operands)
        return replace(region, ops=tuple(reversed(kept)))
