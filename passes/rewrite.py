"""What the passes that rewrite the IR share: traits, names, substitution, equality, sizes."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.diagnostics import Span
from ..ir.inference import result_type
from ..ir.ops import Attr, Attrs, Op, Region, Value, attributes
from ..ir.printer import attr_text
from ..ir.types import Record, Type, assignable
from ..ir.workflow import Module, Workflow

_FIELD = re.compile(r"(?!value_)[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Traits:
    """What an operation holds, itself or in its regions."""

    calls: bool = False
    effects: bool = False
    sampled: bool = False

    def __or__(self, other: Traits) -> Traits:
        """Return what both hold together."""
        return Traits(
            self.calls or other.calls,
            self.effects or other.effects,
            self.sampled or other.sampled,
        )

    @property
    def movable(self) -> bool:
        """Whether running the operation more or less often gives the same values."""
        return not (self.effects or self.sampled)


class TraitsOf:
    """Computes the traits of a module's operations, each once."""

    def __init__(self, module: Module) -> None:
        """Learn which tasks change the world."""
        self._effects = frozenset(task.name for task in module.tasks if task.effect)
        # keyed by identity; the operation is kept so that its identity is not given out again
        self._known: dict[int, tuple[Op, Traits]] = {}

    def __call__(self, op: Op) -> Traits:
        """Return an operation's traits."""
        known = self._known.get(id(op))
        if known is not None:
            return known[1]
        traits = Traits()
        if op.symbol is not None:
            traits = Traits(True, op.symbol in self._effects, op.flag("sampled"))
        for region in op.regions:
            traits |= self.region(region)
        self._known[id(op)] = (op, traits)
        return traits

    def region(self, region: Region) -> Traits:
        """Return what the operations of a region hold together."""
        traits = Traits()
        for op in region.ops:
            traits |= self(op)
        return traits


class FreshNames:
    """Gives out value names that a workflow does not use."""

    def __init__(self, workflow: Workflow) -> None:
        """Learn the names in use."""
        self._taken = {value.name for value in workflow.params} | set(defined(workflow.body))
        self._next: dict[str, int] = {}

    def value(self, base: str, kind: Type) -> Value:
        """Return a value called `base`, or `base_1`, `base_2`, … where that is taken."""
        name, count = base, self._next.get(base, 1)
        while name in self._taken:
            name = f"{base}_{count}"
            count += 1
        self._next[base] = count
        self._taken.add(name)
        return Value(name, kind)


def defined(region: Region) -> Iterator[str]:
    """Yield the name of every value a region defines, in nested regions too."""
    yield from (value.name for value in region.args)
    for top in region.ops:
        for op in top.walk():
            yield from (value.name for nested in op.regions for value in nested.args)
            if op.result is not None:
                yield op.result.name


def used(op: Op) -> Iterator[Value]:
    """Yield the values an operation reads, in its regions too, as often as it reads them."""
    for inner in op.walk():
        yield from inner.operands


def substitute(op: Op, values: Mapping[str, Value]) -> Op:
    """Return the operation with values replaced by name, in its regions too; itself if none is."""
    operands = tuple(values.get(value.name, value) for value in op.operands)
    regions: list[Region] = []
    for region in op.regions:  # no comprehension: each would be a frame more for a level of nesting
        ops: list[Op] = []
        for inner in region.ops:
            ops.append(substitute(inner, values))
        same = all(a is b for a, b in zip(ops, region.ops, strict=True))
        regions.append(region if same else replace(region, ops=tuple(ops)))
    if operands == op.operands and all(a is b for a, b in zip(regions, op.regions, strict=True)):
        return op
    return replace(op, operands=operands, regions=tuple(regions))


def copied(op: Op, values: dict[str, Value], names: FreshNames) -> Op:
    """Return the operation under new names, with `values` in place; `values` learns its result."""
    copy = substitute(op, values)
    regions: list[Region] = []
    for region in copy.regions:
        inner = dict(values)
        for value in region.args:
            inner[value.name] = names.value(value.name, value.type)
        args = tuple(inner[value.name] for value in region.args)
        regions.append(Region(args, tuple(copied(o, inner, names) for o in region.ops)))
    if copy.result is None:
        return replace(copy, regions=tuple(regions))
    result = names.value(copy.result.name, copy.result.type)
    values[copy.result.name] = result
    return replace(copy, result=result, regions=tuple(regions))


class Uses:
    """Who reads each value, and whether it may be replaced by one of another type.

    A value may be replaced by a narrower one (an enumeration for a text) only if each reader's
    result still has a type: `coalesce` refuses what is never `none`, a `map` an item of another
    type than its region's argument.
    """

    def __init__(self, workflow: Workflow) -> None:
        """Index the uses of every value."""
        self._uses: dict[str, list[tuple[Op, str]]] = {}
        for op in workflow.walk():
            for name in {value.name for value in op.operands}:
                self._uses.setdefault(name, []).append((op, name))

    def accept(self, old: Value, kind: Type) -> bool:
        """Tell whether a value of this type may stand wherever `old` is read."""
        if kind == old.type:
            return True
        return assignable(kind, old.type) and all(
            _accepts(op, name, kind) for op, name in self._uses.get(old.name, ())
        )

    def replaced(self, old: Value, new: Value) -> None:
        """Note that what read `old` reads `new` from now on."""
        self._uses.setdefault(new.name, []).extend(self._uses.get(old.name, ()))


def _accepts(op: Op, name: str, kind: Type) -> bool:
    if op.symbol is not None or op.result is None:
        return True  # calls, yields and returns take what is assignable
    operands = tuple(Value(v.name, kind) if v.name == name else v for v in op.operands)
    found = result_type(replace(op, operands=operands))
    return not isinstance(found, str) and assignable(found, op.result.type)


def signature(op: Op, bound: Mapping[str, int] | None = None) -> Hashable:
    """Return a key that is equal for operations that compute the same from the same values.

    Names of values defined inside do not matter, nor do source positions. Numbers count as equal
    only if they print the same: `1`, `1.0` and `true` are three values.
    """
    known = bound or {}
    if op.regions:
        arguments = [value.name for region in op.regions for value in region.args]
        known = {**known, **{name: len(known) + i for i, name in enumerate(arguments)}}
    regions: list[Hashable] = []
    for region in op.regions:
        regions.append(region_signature(region, known))
    return (
        op.kind,
        op.symbol,
        _attrs_key(op.attrs),
        tuple(known.get(value.name, value.name) for value in op.operands),
        None if op.result is None else op.result.type,
        tuple(regions),
    )


def region_signature(region: Region, bound: Mapping[str, int]) -> Hashable:
    """Return the signatures of a region's operations; `bound` numbers its arguments, and more."""
    known = dict(bound)
    found = []
    for op in region.ops:
        found.append(signature(op, known))
        if op.result is not None:
            known[op.result.name] = len(known)
    return tuple(found)


def _attrs_key(attrs: Attrs) -> str:
    # `at.*` are places in the source of pins
    shown = (f"{name}={attr_text(value)}" for name, value in attrs if not name.startswith("at."))
    return ", ".join(shown) if attrs else ""


def united(*spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return all source spans, each once, in order of first appearance."""
    return tuple(dict.fromkeys(span for group in spans for span in group))


def unite_regions(kept: Region, dropped: Region) -> Region:
    """Return a region with the spans of another that has the same signature."""
    ops: list[Op] = []
    for op, other in zip(kept.ops, dropped.ops, strict=True):
        regions: list[Region] = []
        for inner, others in zip(op.regions, other.regions, strict=True):
            regions.append(unite_regions(inner, others))
        ops.append(replace(op, regions=tuple(regions), locs=united(op.locs, other.locs)))
    return replace(kept, ops=tuple(ops))


def carry_lengths(workflow: Workflow, renamed: Mapping[str, str]) -> Workflow:
    """Return the workflow where `expect len(old)` also holds of the value that replaces `old`."""
    facts = {expectation.fact for expectation in workflow.expectations}
    added = []
    for expectation in workflow.expectations:
        name = expectation.fact.removeprefix("len(").removesuffix(")")
        last = name
        while last in renamed:
            last = renamed[last]
        new = f"len({last})"
        if expectation.fact == f"len({name})" and new not in facts:
            facts.add(new)
            added.append(replace(expectation, fact=new))
    return replace(workflow, expectations=(*workflow.expectations, *added)) if added else workflow


def field_names(values: Sequence[Value]) -> tuple[str, ...]:
    """Return distinct field names for a record of these values: their own where they can be."""
    found: list[str] = []
    for index, value in enumerate(values):
        own = _FIELD.fullmatch(value.name) and value.name not in found
        found.append(value.name if own else f"value_{index}")
    return tuple(found)


def record_of(values: Sequence[Value], names: FreshNames, locs: tuple[Span, ...]) -> Op:
    """Return the operation that makes a record of values, its fields called as they are."""
    fields = field_names(values)
    kind = Record(tuple((f, v.type) for f, v in zip(fields, values, strict=True)))
    result = names.value("record", kind)
    return Op("record", tuple(values), result, attrs=(("fields", fields),), locs=locs)


def field_of(record: Value, name: str, result: Value, locs: tuple[Span, ...]) -> Op:
    """Return the operation that takes a field out of a record."""
    return Op("field", (record,), result, attrs=(("name", name),), locs=locs)


def with_notes(module: Module, notes: Mapping[str, Attr]) -> Module:
    """Return the module with more attributes, such as `note.*`, which plans repeat."""
    return replace(module, attrs=attributes({**dict(module.attrs), **notes})) if notes else module
