"""Pushdown: which items of a `for` go on is decided before work is done for those that do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.ops import Op, Region, Value
from ..ir.remarks import Reporter
from ..ir.types import ListOf
from ..ir.workflow import Module, Workflow
from .base import Context, Pass
from .filterorder import fields_read, needed_for, ordered
from .rewrite import (
    FreshNames,
    TraitsOf,
    carry_lengths,
    copied,
    field_names,
    field_of,
    record_of,
    substitute,
    united,
    used,
)


@dataclass(frozen=True)
class Pushdown(Pass):
    """Filter items before the work that the condition does not need.

    **push**: where a `where` filters the result of a `for` that nothing else reads, and looks only
    at some fields of what the `for` yields, the condition is decided first: before the `for`, where
    no call gives those fields, else between those calls and the others. Calls are then made only
    for items that go on; none is made twice.

    **order**: of the conditions of a `where` (`and`, or one `where` after another), those without
    calls are asked before those with calls, and of two with calls that by whose cost over the share
    of items it drops is less (Hellerstein and Stonebraker, "Predicate Migration", SIGMOD 1993).

    Refused, because results, effects, the number of calls or somebody's waiting would change:

    * latency is asked for (the first objective, or a requirement) and calls that ran side by side
      would wait for each other;
    * effects in the `for` or in a condition: each item has its own, in order;
    * sampled calls in them: which item gets which sample would change;
    * the `for`'s result has other readers: they need every item;
    * the condition needs the whole item, or work that all the rest depends on: nothing is saved;
    * the `for` and the `where` differ in an attribute, such as `concurrency`;
    * a condition that may fail (a division) goes before none: the other may be its guard.
    """

    name: ClassVar[str] = "pushdown"
    push: bool = True
    order: bool = True

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with its filters where they belong."""
        if module.level == "placed":
            return module  # the plan accounts for every step
        report = context.reporter(self)
        while True:
            # a condition that was pushed may leave another without calls
            before = module
            if self.order:
                module = ordered(module, context, report)
            if self.push:
                module = module.with_workflow(_Pusher(module, report).run())
            if module == before:
                return module


@dataclass(frozen=True, slots=True)
class _Split:
    """A `for`'s body in two: what a condition needs, and the rest; and how it reads the item.

    `fields` maps the results of the condition's projections to the values of the body they take.
    """

    needed: tuple[Op, ...]
    rest: tuple[Op, ...]
    fields: Mapping[str, Value]


class _Pusher:
    def __init__(self, module: Module, report: Reporter) -> None:
        self._report = report
        self._workflow = module.sole()
        self._traits = TraitsOf(module)
        self._names = FreshNames(self._workflow)
        self._reads = Counter(v.name for op in self._workflow.walk() for v in op.operands)
        self._lengths: dict[str, str] = {}
        workflow = self._workflow
        limits = any(need.metric == "latency" for need in workflow.requirements)
        self._hurried = limits or workflow.objectives[0] == "latency"

    def run(self) -> Workflow:
        body = self._region(self._workflow.body)
        return carry_lengths(replace(self._workflow, body=body), self._lengths)

    def _region(self, region: Region) -> Region:
        ops = [
            replace(op, regions=tuple(self._region(r) for r in op.regions)) if op.regions else op
            for op in region.ops
        ]
        at = 0
        while at < len(ops):
            pushed = self._pushed(ops, at)
            if pushed is None:
                at += 1
            else:
                ops, at = pushed
        return replace(region, ops=tuple(ops))

    def _pushed(self, ops: Sequence[Op], at: int) -> tuple[list[Op], int] | None:
        """Push the filter that stands at `at`, if it can be; return where the new one stands."""
        op = ops[at]
        source = next((i for i in range(at) if _gives(ops[i], op)), None)
        if op.kind != "filter" or source is None:
            return None
        work = ops[source]
        if work.kind != "map" or not self._traits(work).calls:
            return None
        split = self._split(work.regions[0], op.regions[0])
        guard = None if split is None else self._guard(work, op, split)
        if split is None or guard is not None:
            why = guard or "the condition needs the whole item, or all calls of the `for`"
            self._report.refused("pushing", why, work, op)
            return None
        direct = self._direct(split)
        self._report.did("pushing", "calls are made only for the items that go on", work, op)
        new = (self._before if direct else self._between)(work, op, split)
        left = [*ops[:source], *ops[source + 1 : at]]
        where = len(left) + next(i for i, made in enumerate(new) if made.kind == "filter")
        return [*left, *new, *ops[at + 1 :]], where if direct else where + 1

    # ---- guards

    def _guard(self, work: Op, op: Op, split: _Split) -> str | None:
        """Return what speaks against pushing, None where nothing does."""
        traits = self._traits(work) | self._traits(op)
        if self._reads[work.out().name] != 1:
            return "others read the result of the `for`, and need every item"
        if work.attrs != op.attrs:
            return "the `for` and the `where` differ in an attribute"
        if traits.effects:
            return "an effect happens for each item"
        if traits.sampled:
            return "which item gets which sample would change"
        if self._hurried and not self._direct(split):
            return "latency is asked for, and calls that run side by side would wait"
        return None

    def _direct(self, split: _Split) -> bool:
        """Tell whether the condition needs no call of the `for`."""
        return not any(self._traits(op).calls for op in split.needed)

    def _split(self, body: Region, condition: Region) -> _Split | None:
        """Return the body in two, None where nothing would be saved."""
        fields = fields_read(body, condition)
        if not fields:
            return None  # it needs the whole item, or nothing of it
        needed = needed_for(body.body, [value.name for value in fields.values()])
        rest = tuple(op for op in body.body if op not in needed)
        if not any(self._traits(op).calls for op in rest):
            return None
        return _Split(tuple(needed), rest, fields)

    # ---- rewriting

    def _before(self, work: Op, op: Op, split: _Split) -> tuple[Op, ...]:
        """Filter the list itself: the condition makes for itself what it needs of an item."""
        (argument,) = work.regions[0].args
        item = self._names.value(argument.name, argument.type)
        values = {argument.name: item}
        made = [copied(n, values, self._names) for n in split.needed]
        fields = {name: values.get(v.name, v) for name, v in split.fields.items()}
        condition = _condition(op.regions[0], fields)
        kept = self._names.value(op.out().name, work.operands[0].type)
        first = replace(
            op,
            operands=work.operands,
            result=kept,
            regions=(Region((item,), (*made, *condition)),),
            locs=united(op.locs, work.locs),
        )
        self._lengths[op.out().name] = kept.name
        then = replace(work, operands=(kept,), result=op.result)
        return first, then

    def _between(self, work: Op, op: Op, split: _Split) -> tuple[Op, ...]:
        """Do what the condition needs, filter, and do the rest for the items that go on."""
        region = work.regions[0]
        available = [*region.args, *(n.out() for n in split.needed)]
        later = {v.name for o in (*split.rest, region.terminator) for v in used(o)}
        asked = {value.name for value in split.fields.values()}
        carried = [v for v in available if v.name in later | asked]
        packed = record_of(carried, self._names, work.locs)
        stop = Op("yield", (packed.out(),), locs=work.locs)
        kind = ListOf(packed.out().type)
        prepared = self._names.value(f"{work.out().name}_asked", kind)
        kept = self._names.value(f"{op.out().name}_kept", kind)
        first = replace(
            work, result=prepared, regions=(Region(region.args, (*split.needed, packed, stop)),)
        )
        item, taken, values = self._unpacked(packed.out(), carried, asked, op)
        fields = {name: values[v.name] for name, v in split.fields.items()}
        condition = _condition(op.regions[0], fields)
        second = replace(
            op,
            operands=(prepared,),
            result=kept,
            regions=(Region((item,), (*taken, *condition)),),
            locs=united(op.locs, work.locs),
        )
        item, taken, values = self._unpacked(packed.out(), carried, later, work)
        body = [substitute(o, values) for o in (*split.rest, region.terminator)]
        third = replace(
            work,
            operands=(kept,),
            result=op.result,
            regions=(Region((item,), (*taken, *body)),),
        )
        self._lengths |= {work.out().name: prepared.name, op.out().name: kept.name}
        for name in (prepared.name, kept.name):
            self._reads[name] = 1
        return first, second, third

    def _unpacked(
        self, packed: Value, carried: Sequence[Value], wanted: Container[str], op: Op
    ) -> tuple[Value, list[Op], dict[str, Value]]:
        """Return an item that is a record, what takes the wanted fields, and their new names."""
        item = self._names.value("item", packed.type)
        taken: list[Op] = []
        values: dict[str, Value] = {}
        for field, value in zip(field_names(carried), carried, strict=True):
            if value.name in wanted:
                values[value.name] = self._names.value(value.name, value.type)
                taken.append(field_of(item, field, values[value.name], op.locs))
        return item, taken, values


def _gives(op: Op, reader: Op) -> bool:
    return op.result is not None and op.result in reader.operands


def _condition(region: Region, values: Mapping[str, Value]) -> tuple[Op, ...]:
    """Return a condition's operations with values in place of its projections of the item."""
    return tuple(substitute(op, values) for op in _without(region, values))


def _without(region: Region, names: Mapping[str, Value]) -> tuple[Op, ...]:
    kept: list[Op] = []
    for op in region.ops:
        if op.result is not None and op.result.name in names:
            continue
        inner = tuple(replace(r, ops=_without(r, names)) for r in op.regions)
        kept.append(replace(op, regions=inner) if op.regions else op)
    return tuple(kept)
