"""Hoist: what does not depend on the item of a `for`, or on what a `repeat` carries, moves out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import ClassVar

from ..ir.ops import Op, Region, Value, attributes
from ..ir.remarks import Reporter
from ..ir.types import BOOL, FLOAT, INT, NEVER, Option, option
from ..ir.workflow import Module
from .base import Context, Pass
from .rewrite import (
    FreshNames,
    TraitsOf,
    field_names,
    field_of,
    record_of,
    substitute,
    used,
)


@dataclass(frozen=True)
class Hoist(Pass):
    """Move calls that do not depend on the item out of a `for` or `repeat`: N calls become one.

    Never is there a call more than before. The body of a `repeat` runs at least once, so what
    moves out of it simply stands before it. A `for` may have no items: unless its list is known to
    have some (a list display, or a branch of `if len(list) > 0`), its calls move into
    `if len(list) > 0`, and the body takes them from there.

    Operations that are no calls move out only where they cannot fail, or where a call that moves
    needs them. What stays:

    * effects, and what holds one: each item has its own;
    * sampled calls: each item's is another;
    * calls under an `if` of the body: they may run for no item at all;
    * what depends on any of these.
    """

    name: ClassVar[str] = "hoist"

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with its invariant calls moved out."""
        if module.level == "placed":
            return module  # the plan says how often each step runs
        workflow = module.sole()
        body = _Mover(module, context.reporter(self)).region(workflow.body, frozenset())
        return module.with_workflow(replace(workflow, body=body))


_ONCE = {
    "map": "made once instead of for each item",
    "filter": "made once instead of for each item",
    "loop": "made once instead of in each round",
}


class _Fate(Enum):
    """What becomes of an operation of a body."""

    STAYS = auto()
    MOVES = auto()  # before the loop, whatever happens
    GUARDED = auto()  # before the loop, if the loop has items
    IF_NEEDED = auto()  # a constant, an empty list: where what needs it goes
    GUARDED_IF_NEEDED = auto()  # it may fail, or uses what is guarded


class _Mover:
    def __init__(self, module: Module, report: Reporter) -> None:
        self._report = report
        self._traits = TraitsOf(module)
        self._names = FreshNames(module.sole())
        self._defining: dict[str, Op] = {}

    def region(self, region: Region, filled: frozenset[str]) -> Region:
        """Return the region rewritten; `filled` are lists known to have items here."""
        out: list[Op] = []
        for op in region.ops:
            regions = tuple(
                self.region(nested, filled | self._fills(op, index))
                for index, nested in enumerate(op.regions)
            )
            op = replace(op, regions=regions)
            if op.result is not None:
                self._defining[op.result.name] = op
            out += self._lift(op, filled) if op.kind in ("map", "filter", "loop") else (op,)
        return replace(region, ops=tuple(out))

    # ---- lists known to have items

    def _fills(self, op: Op, index: int) -> frozenset[str]:
        """Return the list that has items where an operation's region runs."""
        if op.kind in ("map", "filter"):
            return frozenset([self._root(op.operands[0]).name])
        if op.kind == "if" and index == 0:
            condition = self._defining.get(op.operands[0].name)
            counted = self._counted(condition) if condition is not None else None
            return frozenset() if counted is None else frozenset([self._root(counted).name])
        return frozenset()

    def _counted(self, condition: Op) -> Value | None:
        """Return the list of a condition `len(list) > 0`."""
        if condition.kind not in ("gt", "ne"):
            return None
        length, zero = (self._defining.get(value.name) for value in condition.operands)
        if length is None or length.kind != "len" or zero is None or zero.attr("value") != 0:
            return None
        return length.operands[0]

    def _root(self, items: Value) -> Value:
        """Return the list that has items exactly when this one has: a `map` keeps the number."""
        while (op := self._defining.get(items.name)) is not None and op.kind == "map":
            items = op.operands[0]
        return items

    def _runs(self, op: Op, filled: frozenset[str]) -> bool:
        """Tell whether an operation's region is known to run at least once."""
        if op.kind == "loop":
            return True
        root = self._root(op.operands[0]).name
        source = self._defining.get(root)
        display = source is not None and source.kind == "list" and source.operands != ()
        return display or root in filled

    # ---- moving

    def _lift(self, op: Op, filled: frozenset[str]) -> tuple[Op, ...]:
        """Return what moves out of a loop, and the loop."""
        (region,) = op.regions
        fates = self._fates(region, self._runs(op, filled))
        pairs = list(zip(region.ops, fates, strict=True))
        for inner, fate in pairs:
            if fate is not _Fate.STAYS and self._traits(inner).calls:
                self._report.did("invariant calls", _ONCE[op.kind], inner)
        guarded = [o for o, f in pairs if f in (_Fate.GUARDED, _Fate.GUARDED_IF_NEEDED)]
        before = [o for o, f in pairs if f in (_Fate.MOVES, _Fate.IF_NEEDED)]
        stays = [o for o, f in pairs if f is _Fate.STAYS]
        if guarded:
            guard, taken, stays = self._guard(op, guarded, stays)
            before += guard
            stays = taken + stays
        if not before:
            return (op,)
        return (*before, replace(op, regions=(replace(region, ops=tuple(stays)),)))

    def _fates(self, region: Region, runs: bool) -> list[_Fate]:
        varying = {value.name for value in region.args}
        guarded: set[str] = set()
        fates: list[_Fate] = []
        for op in region.ops:
            fate = self._fate(op, varying, guarded, runs)
            fates.append(fate)
            if op.result is not None and fate is _Fate.STAYS:
                varying.add(op.result.name)
            if op.result is not None and fate in (_Fate.GUARDED, _Fate.GUARDED_IF_NEEDED):
                guarded.add(op.result.name)
        return _only_needed(region.ops, fates)

    def _fate(self, op: Op, varying: set[str], guarded: set[str], runs: bool) -> _Fate:
        traits = self._traits(op)
        if op.result is None:
            return _Fate.STAYS
        names = {value.name for value in used(op)}
        if names & varying:
            self._tell_of_branches(op, varying)
            return _Fate.STAYS
        if not traits.movable:
            why = "an effect happens for each item" if traits.effects else "each sample is another"
            self._report.refused("invariant calls", why, op)
            return _Fate.STAYS
        if not (op.operands or op.regions or traits.calls):
            return _Fate.IF_NEEDED
        if runs:
            return _Fate.MOVES
        if traits.calls:
            return _Fate.GUARDED
        return _Fate.GUARDED_IF_NEEDED if names & guarded or may_fail(op) else _Fate.MOVES

    def _tell_of_branches(self, op: Op, varying: set[str]) -> None:
        """Say which calls of a branch could move but for the `if` that they stand in."""
        if op.kind != "if":
            return
        inside = {inner.result.name for inner in op.walk() if inner.result is not None}
        for region in op.regions:
            for inner in region.ops:
                names = {value.name for value in used(inner)}
                if inner.symbol is not None and not names & (varying | inside):
                    self._report.refused("invariant calls", "it may run for no item", inner)

    # ---- what only runs if there are items

    def _guard(
        self, loop: Op, moved: Sequence[Op], stays: Sequence[Op]
    ) -> tuple[list[Op], list[Op], list[Op]]:
        """Return the guarded operations, what takes their values in the body, and the body."""
        read = {value.name for op in stays for value in used(op)}
        wanted = [op.out() for op in moved if op.out().name in read]
        locs = loop.locs
        # the length of where the items come from is known before they have been worked on
        items = self._root(loop.operands[0])
        count = Op("len", (items,), self._names.value("len", INT), locs=locs)
        zero = Op(
            "const",
            result=self._names.value("const", INT),
            attrs=attributes({"value": 0}),
            locs=locs,
        )
        some = Op("gt", (count.out(), zero.out()), self._names.value("gt", BOOL), locs=locs)
        then = list(moved)
        kept = wanted[0]
        if len(wanted) > 1 or isinstance(kept.type, Option):
            # an `Option` of its own could not be told from the `none` of no items
            packed = record_of(wanted, self._names, locs)
            then.append(packed)
            kept = packed.out()
        absent = Op("const", result=self._names.value("none", option(kept.type)), locs=locs)
        held = Op(
            "if",
            (some.out(),),
            self._names.value("kept", option(kept.type)),
            regions=(_block(then, kept), _block([absent], absent.out())),
            locs=locs,
        )
        taken, values = self._take(held.out(), kept, wanted, loop)
        body = [substitute(op, values) for op in stays]
        return [count, zero, some, held], taken, body

    def _take(
        self, held: Value, kept: Value, wanted: Sequence[Value], loop: Op
    ) -> tuple[list[Op], dict[str, Value]]:
        """Return what unpacks the guarded values where there are items, and their new names."""
        # in the body there are items, so the value is there: nobody looks at the `none`
        nobody = Op("const", result=self._names.value("never", NEVER), locs=loop.locs)
        present = self._names.value(kept.name, kept.type)
        taken = [nobody, Op("coalesce", (held, nobody.out()), present, locs=loop.locs)]
        if kept == wanted[0]:
            return taken, {kept.name: present}
        values: dict[str, Value] = {}
        for field, value in zip(field_names(wanted), wanted, strict=True):
            values[value.name] = self._names.value(value.name, value.type)
            taken.append(field_of(present, field, values[value.name], loop.locs))
        return taken, values


def _only_needed(ops: Iterable[Op], fates: Iterable[_Fate]) -> list[_Fate]:
    """Let constants and what may fail stay where nothing that moves needs them.

    Guarded operations whose values nothing in the body reads stay, too: they are dead.
    """
    needed: set[str] = set()
    read: set[str] = set()
    found: list[_Fate] = []
    for op, fate in reversed(list(zip(ops, fates, strict=True))):
        names = {value.name for value in used(op)}
        if fate in (_Fate.IF_NEEDED, _Fate.GUARDED_IF_NEEDED) and op.out().name not in needed:
            fate = _Fate.STAYS
        if fate is _Fate.GUARDED and op.out().name not in read:
            fate = _Fate.STAYS
        if fate is not _Fate.STAYS:
            needed |= names
        read |= names
        found.append(fate)
    return found[::-1]


def may_fail(op: Op) -> bool:
    """Tell whether computing an operation that holds no call may fail.

    A division does, by zero; so does a vote, of nobody; arithmetic on `Float` does, where a whole
    number is too large for one. An operand of type `Never` is a value that is not there.
    """
    return any(
        inner.kind in ("div", "majority", "agreement")
        or (inner.kind in ("add", "sub", "mul") and inner.out().type == FLOAT)
        or any(value.type == NEVER for value in inner.operands)
        for inner in op.walk()
    )


def _block(ops: Sequence[Op], result: Value) -> Region:
    return Region((), (*ops, Op("yield", (result,), locs=ops[-1].locs)))
