"""Map fusion: two maps over the same items become one (`fuse` says when, and when not)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

from ..ir.ops import Op, Region, Value
from ..ir.remarks import Reporter
from ..ir.types import ListOf
from ..ir.workflow import Module
from .rewrite import (
    FreshNames,
    TraitsOf,
    Uses,
    carry_lengths,
    field_names,
    field_of,
    record_of,
    signature,
    substitute,
    united,
    used,
)


def fuse_maps(module: Module, report: Reporter) -> Module:
    """Return the module, flow or logical, with its maps fused in every region.

    Two that became one may leave a list with one reader, so that fusing goes on until none is left.
    """
    while (fuser := _Fuser(module, report)).run():
        module = module.with_workflow(fuser.workflow)
    return module


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two maps of a region that work on the same items, and where they stand.

    `nested` says that the second maps over the first's result, not over the same list.
    """

    first: Op
    second: Op
    at: int
    then: int
    nested: bool


class _Fuser:
    def __init__(self, module: Module, report: Reporter) -> None:
        self.report = report
        self.workflow = module.sole()
        self.traits = TraitsOf(module)
        self.names = FreshNames(self.workflow)
        self.uses = Uses(self.workflow)
        self.lengths: dict[str, str] = {}  # from a list to the one that now decides its length
        self.done = 0  # pairs that became one

    def run(self) -> bool:
        """Rewrite the workflow; tell whether anything was fused."""
        body = self.region(self.workflow.body)
        self.workflow = carry_lengths(replace(self.workflow, body=body), self.lengths)
        return self.done > 0

    def region(self, region: Region) -> Region:
        """Return the region with its own maps fused, and then those inside them."""
        ops: list[Op] = []
        for op in _Stretch(self, region).run():
            regions: list[Region] = []
            for nested in op.regions:  # a comprehension would be a frame more for each level
                regions.append(self.region(nested))
            ops.append(replace(op, regions=tuple(regions)))
        return replace(region, ops=tuple(ops))


class _Stretch:
    """The operations of one region while its maps are fused, by their first position."""

    def __init__(self, fuser: _Fuser, region: Region) -> None:
        self._fuser = fuser
        self._slots: list[list[Op]] = [[op] for op in region.ops]
        self._defined: dict[str, int] = {}
        self._readers: dict[str, set[int]] = {}
        self._maps: dict[str, int] = {}  # results of maps: where they stand
        self._over: dict[str, list[str]] = {}  # lists: the results of the maps over them
        for index, op in enumerate(region.ops):
            if op.result is not None:
                self._defined[op.result.name] = index
            self._read(op, index)

    def run(self) -> Iterator[Op]:
        for index in range(len(self._slots)):
            for op in list(self._slots[index]):
                if op.kind == "map":
                    self._consider(op, index)
        return (op for slot in self._slots for op in slot)

    def _read(self, op: Op, index: int) -> None:
        for value in used(op):
            self._readers.setdefault(value.name, set()).add(index)

    def _consider(self, op: Op, index: int) -> None:
        """Fuse a map with one before it, if there is one that fits; else remember it."""
        for pair in self._pairs(op, index):
            if self._fused(pair):
                self._fuser.done += 1
                return
        self._remember(op, index)

    def _remember(self, op: Op, index: int) -> None:
        self._maps[op.out().name] = index
        self._over.setdefault(op.operands[0].name, []).append(op.out().name)

    def _pairs(self, op: Op, index: int) -> Iterator[_Pair]:
        source = op.operands[0].name
        if source in self._maps:
            at = self._maps[source]
            yield _Pair(self._map(source, at), op, at, index, nested=True)
        for name in reversed(self._over.get(source, ())):
            at = self._maps[name]
            yield _Pair(self._map(name, at), op, at, index, nested=False)

    def _map(self, name: str, at: int) -> Op:
        return next(op for op in self._slots[at] if op.out().name == name)

    # ---- guards

    def _fused(self, pair: _Pair) -> bool:
        """Fuse two maps unless something speaks against it; tell whether it was done."""
        others = self._readers.get(pair.first.out().name, set()) - {pair.then}
        chained = pair.nested and not others
        if not chained and not self._worth_a_record(pair, others):
            if self._both_call(pair) and not pair.nested:
                why = "nothing reads both, and each reader would wait for the other's work"
                self._fuser.report.refused("maps", why, pair.first, pair.second)
            return False
        guard = self._guard(pair)
        place = None if chained else self._place(pair, others)
        if guard is None and place is None and not chained:
            guard = "what stands between needs the first and is needed by the second"
        report = self._fuser.report
        if guard is not None:
            report.refused("maps", guard, pair.first, pair.second)
            return False
        if place is None:
            report.did("maps", "items go on as soon as they are ready", pair.first, pair.second)
            self._chain(pair)
            return True
        report.did("maps", "one walk over the items for both", pair.first, pair.second)
        self._bundle(pair, place)
        return True

    def _guard(self, pair: _Pair) -> str | None:
        """Return what speaks against fusing, but for where the result would stand."""
        if pair.first.attrs != pair.second.attrs:
            return "the two differ in an attribute, which would hold for both"
        if not self._items_fit(pair):
            return "the second needs items of a wider type"
        held = [self._fuser.traits(op).effects for op in (pair.first, pair.second)]
        if all(held):
            return "both hold effects: all of the first come before all of the second"
        if any(held) and self._effect_between(pair):
            return "another effect stands between the two"
        if any(value == pair.first.out() for op in _inner(pair.second) for value in used(op)):
            return "each item of the second needs all of the first"
        return None

    def _items_fit(self, pair: _Pair) -> bool:
        """Tell whether the second's body takes the items as they will come."""
        (item,) = pair.second.regions[0].args
        return self._fuser.uses.accept(item, self._item(pair).type)

    def _effect_between(self, pair: _Pair) -> bool:
        between = (op for slot in self._slots[pair.at : pair.then + 1] for op in slot)
        return any(
            self._fuser.traits(op).effects
            for op in between
            if op is not pair.first and op is not pair.second
        )

    def _both_call(self, pair: _Pair) -> bool:
        return all(self._fuser.traits(op).calls for op in (pair.first, pair.second))

    def _worth_a_record(self, pair: _Pair, others: set[int]) -> bool:
        if not self._both_call(pair):
            return False  # there is nothing to gain from one walk over the items
        same_readers = others == self._readers.get(pair.second.out().name, set())
        return same_readers or _share_calls(pair, self._fuser.traits)

    def _place(self, pair: _Pair, others: set[int]) -> int | None:
        """Return where both may stand: what they read is before, who reads them after."""
        if pair.at in others:
            return None  # it was fused before, and its projections stand beside it
        names = {value.name for value in used(pair.second)} - {pair.first.out().name}
        if all(self._defined.get(name, -1) < pair.at for name in names):
            return pair.at
        return pair.then if all(reader > pair.then for reader in others) else None

    # ---- fusing

    def _item(self, pair: _Pair) -> Value:
        region = pair.first.regions[0]
        return region.terminator.operands[0] if pair.nested else region.args[0]

    def _bodies(self, pair: _Pair) -> tuple[tuple[Op, ...], Value, Value]:
        """Return both bodies as one, and what each yields."""
        first, second = pair.first.regions[0], pair.second.regions[0]
        values = {second.args[0].name: self._item(pair)}
        self._fuser.uses.replaced(second.args[0], self._item(pair))
        *rest, end = (substitute(op, values) for op in second.ops)
        return (*first.body, *rest), first.terminator.operands[0], end.operands[0]

    def _chain(self, pair: _Pair) -> None:
        """Put both into the second's place: nothing else reads what the first gives."""
        ops, _, result = self._bodies(pair)
        ends = (pair.first.regions[0].terminator, pair.second.regions[0].terminator)
        stop = Op("yield", (result,), locs=united(*(end.locs for end in ends)))
        region = Region(pair.first.regions[0].args, (*ops, stop))
        fused = replace(
            pair.first,
            result=pair.second.result,
            regions=(region,),
            locs=united(pair.first.locs, pair.second.locs),
        )
        self._fuser.lengths[pair.first.out().name] = fused.out().name
        self._forget(pair.first, pair.at)
        self._slots[pair.then] = [
            fused if op is pair.second else op for op in self._slots[pair.then]
        ]
        self._read(fused, pair.then)
        self._consider(fused, pair.then)

    def _bundle(self, pair: _Pair, place: int) -> None:
        """Put a map that yields a record into `place`, and a projection for each reader."""
        ops, one, other = self._bodies(pair)
        locs = united(pair.first.locs, pair.second.locs)
        packed = record_of((one, other), self._fuser.names, locs)
        stop = Op("yield", (packed.out(),), locs=locs)
        region = Region(pair.first.regions[0].args, (*ops, packed, stop))
        result = self._fuser.names.value("fused", ListOf(packed.out().type))
        fused = replace(pair.first, result=result, regions=(region,), locs=locs)
        fields = field_names((one, other))
        projections = [
            self._projection(fused, field, op)
            for field, op in zip(fields, (pair.first, pair.second), strict=True)
        ]
        self._forget(pair.first, pair.at)
        self._forget(pair.second, pair.then)
        self._fuser.lengths |= {op.out().name: result.name for op in projections}
        self._slots[place] += [fused, *projections]
        for op in (fused, *projections):
            self._read(op, place)
            self._defined[op.out().name] = place
            self._remember(op, place)

    def _projection(self, fused: Op, field: str, op: Op) -> Op:
        kind = fused.out().type
        assert isinstance(kind, ListOf)  # a map's result
        item = self._fuser.names.value("item", kind.item)
        wanted = op.regions[0].terminator.operands[0].type
        part = self._fuser.names.value(field, wanted)
        take = field_of(item, field, part, op.locs)
        region = Region((item,), (take, Op("yield", (part,), locs=op.locs)))
        return Op("map", (fused.out(),), op.result, regions=(region,), locs=op.locs)

    def _forget(self, op: Op, index: int) -> None:
        """Take a map out of its place."""
        self._slots[index] = [other for other in self._slots[index] if other is not op]
        for value in used(op):
            self._readers[value.name].discard(index)
        for other in self._slots[index]:
            self._read(other, index)
        name = op.out().name
        if self._maps.pop(name, None) is not None:
            self._over[op.operands[0].name].remove(name)


def _inner(op: Op) -> tuple[Op, ...]:
    return op.regions[0].ops


def _share_calls(pair: _Pair, traits: TraitsOf) -> bool:
    """Tell whether both bodies make an equal call on the item, one that may be merged."""
    numbers: dict[Hashable, int] = {}
    first, second = pair.first.regions[0], pair.second.regions[0]
    known = {first.args[0].name: 0}
    calls = _numbered(first, known, numbers, traits)
    item = first.terminator.operands[0] if pair.nested else first.args[0]
    if item.name in known:
        known[second.args[0].name] = known[item.name]
    return not calls.isdisjoint(_numbered(second, known, numbers, traits))


def _numbered(
    region: Region, known: dict[str, int], numbers: dict[Hashable, int], traits: TraitsOf
) -> set[int]:
    """Give equal values equal numbers, in `known`; return the numbers of calls."""
    calls = set()
    for op in region.body:
        if not traits(op).movable:
            continue  # its value is like no other, and goes by its name
        number = numbers.setdefault(signature(op, known), -1 - len(numbers))
        known[op.out().name] = number
        if traits(op).calls:
            calls.add(number)
    return calls
